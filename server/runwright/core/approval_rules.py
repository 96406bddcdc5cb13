"""How a package asks for approvals: who may decide, for how long each, and what becomes of what nobody decides on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from runwright.core.approval_dispatches import MAX_DISPATCHERS
from runwright.core.approvals import ApprovalExpiry, ApproverSet
from runwright.core.grant_rules import GrantsSpec
from runwright.core.units import Micros

MAX_APPROVALS = 64
MAX_SETS = 8
MAX_IN_SET = 16  # roles, and principals, of one set
MAX_EXPIRES_US = 366 * 86_400 * 1_000_000
NAME = r"^[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}$"
_DURATION = re.compile(r"([1-9][0-9]{0,7})(s|m|h|d)\Z")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}

EXPIRIES = {"deny": ApprovalExpiry.DENY, "abort_run": ApprovalExpiry.ABORT_RUN}


def duration_us(text: str) -> Micros:
    """A duration as packages write it, such as `90s`, `15m`, `8h` or `2d`, in microseconds. Raises ValueError."""
    found = _DURATION.match(text)
    if found is None:
        raise ValueError("a duration such as 90s, 15m, 8h or 2d")
    return int(found[1]) * _SECONDS[found[2]] * 1_000_000


def _is_duration(text: str) -> str:
    if duration_us(text) > MAX_EXPIRES_US:
        raise ValueError("at most 366d")
    return text


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, serialize_by_alias=True)


class ApproverSetSpec(_Frozen):
    """Who may decide while it is this set's turn: whoever has one of the roles or is one of the principals.

    `turn` is written `for`: how long. The last set has none; its turn lasts until the approval expires.
    """

    roles: Annotated[
        tuple[Literal["caller", "observer", "executor", "author", "approver", "repairer", "admin"], ...],
        Field(max_length=MAX_IN_SET),
    ] = ()
    principals: Annotated[tuple[Annotated[str, Field(pattern=NAME)], ...], Field(max_length=MAX_IN_SET)] = ()
    turn: Annotated[str | None, Field(alias="for")] = None

    @field_validator("turn")
    @classmethod
    def _turn_is_a_duration(cls, turn: str | None) -> str | None:
        return None if turn is None else _is_duration(turn)

    @model_validator(mode="after")
    def _names_somebody(self) -> ApproverSetSpec:
        if not (self.roles or self.principals):
            raise ValueError("roles or principals with at least one entry")
        return self


class ApprovalSpec(_Frozen):
    """One way to ask. `four_eyes`: whoever started the run must not decide. `dispatchers` are told of it, by name."""

    sets: Annotated[tuple[ApproverSetSpec, ...], Field(min_length=1, max_length=MAX_SETS)] = (
        ApproverSetSpec(roles=("approver",)),
    )
    expires: str = "24h"
    on_expiry: Literal["deny", "abort_run"] = "deny"
    four_eyes: Annotated[bool, Field(strict=True)] = False
    dispatchers: Annotated[
        tuple[Annotated[str, Field(pattern=NAME)], ...],
        Field(max_length=MAX_DISPATCHERS, exclude_if=lambda value: not value),
    ] = ()
    # None: nobody can give any. Left out of the canonical form then.
    grants: Annotated[GrantsSpec | None, Field(exclude_if=lambda value: value is None)] = None

    @field_validator("dispatchers")
    @classmethod
    def _dispatchers_differ(cls, dispatchers: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(dispatchers)) < len(dispatchers):
            raise ValueError("each dispatcher once")
        return dispatchers

    @field_validator("expires")
    @classmethod
    def _expires_is_a_duration(cls, expires: str) -> str:
        return _is_duration(expires)

    @model_validator(mode="after")
    def _turns_fit(self) -> ApprovalSpec:
        if self.sets[-1].turn is not None:
            raise ValueError("no `for` in the last set: its turn lasts until the approval expires")
        if any(each.turn is None for each in self.sets[:-1]):
            raise ValueError("`for` in every set but the last one")
        if sum(duration_us(each.turn) for each in self.sets if each.turn) >= duration_us(self.expires):
            raise ValueError("turns that leave the last set some time before the approval expires")
        return self

    @property
    def expiry(self) -> ApprovalExpiry:
        """What becomes of a call that nobody decides on."""
        return EXPIRIES[self.on_expiry]

    def expires_at(self, at: Micros) -> Micros:
        """From when on nobody may decide on what is asked for at that time."""
        return at + duration_us(self.expires)

    def approvers(self, at: Micros) -> tuple[ApproverSet, ...]:
        """Who may decide on what is asked for at that time, one set after the other."""
        found: list[ApproverSet] = []
        until, end = at, self.expires_at(at)
        for each in self.sets:
            until = until + duration_us(each.turn) if each.turn else end
            found.append(ApproverSet(each.roles, each.principals, until))
        return tuple(found)


# What a rule that names no approval asks for.
BUILT_IN = ApprovalSpec()


def approval_spec(approvals: Mapping[str, ApprovalSpec], name: str) -> ApprovalSpec:
    """The one of that name; for none the one that an approval policy says, else the built-in one."""
    return approvals[name] if name else approvals.get(name, BUILT_IN)
