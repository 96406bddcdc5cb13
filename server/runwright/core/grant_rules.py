"""Which grants a package lets whoever approves give: none, unless an approval says so."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from runwright.core.grants import GrantMatcher, GrantOffer, GrantScope
from runwright.core.units import span_us

MAX_USES = 100_000
LONGEST_TIME = "366d"
SPAN = r"^[1-9][0-9]{0,6}[smhd]$"  # what `span_us` reads

SCOPES = {scope.name.lower(): scope for scope in GrantScope}
MATCHERS = {matcher.name.lower(): matcher for matcher in GrantMatcher}
_EXACT: tuple[Literal["exact_arguments", "constraints", "any"], ...] = ("exact_arguments",)


class GrantsSpec(BaseModel):
    """The grants that an approval may be given with: for which runs and calls, how often and how long at most.

    `tainted`: they may answer for tainted calls, too.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)

    scopes: Annotated[
        tuple[Literal["run", "session", "agent_and_principal", "namespace"], ...], Field(min_length=1, max_length=4)
    ]
    matchers: Annotated[
        tuple[Literal["exact_arguments", "constraints", "any"], ...], Field(min_length=1, max_length=3)
    ] = _EXACT
    max_uses: Annotated[int, Field(strict=True, ge=1, le=MAX_USES)]
    max_time: Annotated[str, Field(pattern=SPAN)]
    tainted: Annotated[bool, Field(strict=True)] = False

    @field_validator("scopes")
    @classmethod
    def _scopes_in_order(cls, scopes: tuple[str, ...]) -> tuple[str, ...]:
        return _in_order(scopes, tuple(SCOPES))

    @field_validator("matchers")
    @classmethod
    def _matchers_in_order(cls, matchers: tuple[str, ...]) -> tuple[str, ...]:
        return _in_order(matchers, tuple(MATCHERS))

    @field_validator("max_time")
    @classmethod
    def _not_for_ever(cls, time: str) -> str:
        if span_us(time) > span_us(LONGEST_TIME):
            raise ValueError(f"at most {LONGEST_TIME}")
        return time

    @property
    def offer(self) -> GrantOffer:
        """What is offered to whoever approves."""
        scopes = tuple(SCOPES[each] for each in self.scopes)
        matchers = tuple(MATCHERS[each] for each in self.matchers)
        return GrantOffer(scopes, matchers, self.max_uses, self.max_time, self.tainted)


def _in_order(names: tuple[str, ...], known: tuple[str, ...]) -> tuple[str, ...]:
    # One way to say it, so that one fingerprint: nobody has to sort them.
    if names != tuple(name for name in known if name in names):
        raise ValueError(f"each once, in this order: {', '.join(known)}")
    return names
