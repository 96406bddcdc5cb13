"""How a package asks for approvals: who may decide, for how long each, and what becomes of what nobody decides on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from runwright.core.approval_dispatches import MAX_DISPATCHERS
from runwright.core.approvals import ApprovalExpiry, ApproverSet
from runwright.core.grant_rules import GrantsSpec
from runwright.core.principal import Role
from runwright.core.units import Micros

MAX_APPROVALS = 64
MAX_SETS = 8
MAX_IN_SET = 16  # roles, and principals, of one set
MAX_EXPIRES_US = 366 * 86_400 * 1_000_000
NAME = r"^[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}$"
_DURATION = re.compile(r"([1-9][0-9]{0,7})(s|m|h|d)\Z")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}

EXPIRIES = {
    "deny": ApprovalExpiry.DENY,
    "abort_run": ApprovalExpiry.ABORT_RUN,
    "escalate": ApprovalExpiry.ESCALATE,
}


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


_Roles: TypeAlias = Annotated[tuple[Role, ...], Field(max_length=MAX_IN_SET)]
_Names: TypeAlias = Annotated[tuple[Annotated[str, Field(pattern=NAME)], ...], Field(max_length=MAX_IN_SET)]


class ApproverSetSpec(_Frozen):
    """Who may decide while it is this set's turn: whoever has one of the roles or is one of the principals.

    `turn` is written `for`: how long. The last set has none; its turn lasts until the approval expires.
    """

    roles: _Roles = ()
    principals: _Names = ()
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


class EscalationSpec(_Frozen):
    """Who decides once `expires` is over, for how long (`turn`, written `for`), and what becomes of the call `then`."""

    roles: _Roles = ()
    principals: _Names = ()
    turn: Annotated[str, Field(alias="for")]
    then: Literal["deny", "abort_run"] = "deny"

    @field_validator("turn")
    @classmethod
    def _turn_is_a_duration(cls, turn: str) -> str:
        return _is_duration(turn)

    @model_validator(mode="after")
    def _names_somebody(self) -> EscalationSpec:
        if not (self.roles or self.principals):
            raise ValueError("roles or principals with at least one entry")
        return self


class ApprovalSpec(_Frozen):
    """One way to ask. `four_eyes`: whoever started the run must not decide.

    `delegates` are the principals that whoever may decide can have decide. `escalate` says what ESCALATE means.
    `dispatchers` are told of it, by name.
    """

    sets: Annotated[tuple[ApproverSetSpec, ...], Field(min_length=1, max_length=MAX_SETS)] = (
        ApproverSetSpec(roles=(Role.APPROVER,)),
    )
    expires: str = "24h"
    on_expiry: Literal["deny", "abort_run", "escalate"] = "deny"
    four_eyes: Annotated[bool, Field(strict=True)] = False
    # Left out of the canonical form where they say nothing: older fingerprints stand.
    delegates: Annotated[_Names, Field(exclude_if=lambda value: not value)] = ()
    escalate: Annotated[EscalationSpec | None, Field(exclude_if=lambda value: value is None)] = None
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

    @model_validator(mode="after")
    def _escalation_fits(self) -> ApprovalSpec:
        if (self.on_expiry == "escalate") != (self.escalate is not None):
            raise ValueError("`escalate` with `on_expiry: escalate`, and neither without the other")
        if self.escalate and duration_us(self.expires) + duration_us(self.escalate.turn) > MAX_EXPIRES_US:
            raise ValueError("`expires` and the `for` of `escalate` of 366d at most together")
        return self

    @property
    def expiry(self) -> ApprovalExpiry:
        """What becomes of a call that nobody decides on: never ESCALATE, which has an end."""
        return EXPIRIES[self.escalate.then if self.escalate else self.on_expiry]

    def expires_at(self, at: Micros) -> Micros:
        """From when on nobody may decide on what is asked for at that time."""
        return at + duration_us(self.expires) + (duration_us(self.escalate.turn) if self.escalate else 0)

    def escalates_at(self, at: Micros) -> Micros | None:
        """When what is asked for at that time goes to those of `escalate`; None where it does not."""
        return at + duration_us(self.expires) if self.escalate else None

    def approvers(self, at: Micros) -> tuple[ApproverSet, ...]:
        """Who may decide on what is asked for at that time, one set after the other."""
        found: list[ApproverSet] = []
        until, end = at, at + duration_us(self.expires)
        for each in self.sets:
            until = until + duration_us(each.turn) if each.turn else end
            found.append(ApproverSet(_values(each.roles), each.principals, until))
        if self.escalate is not None:
            found.append(ApproverSet(_values(self.escalate.roles), self.escalate.principals, self.expires_at(at)))
        return tuple(found)


def _values(roles: tuple[Role, ...]) -> tuple[str, ...]:
    return tuple(role.value for role in roles)


# What a rule that names no approval asks for.
BUILT_IN = ApprovalSpec()


def approval_spec(approvals: Mapping[str, ApprovalSpec], name: str) -> ApprovalSpec:
    """The one of that name; for none the one that an approval policy says, else the built-in one."""
    return approvals[name] if name else approvals.get(name, BUILT_IN)
