"""Approvals: somebody decides on exactly what is going to be done, once. The values, and who may decide."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from msgspec import Struct
from pydantic import JsonValue

from runwright.core.fingerprint import canonical_plain_json, fingerprint
from runwright.core.ids import EffectId, effect_id, parse_effect_id
from runwright.core.principal import Role
from runwright.core.units import Micros

DIGEST_TAG = "runwright-approval-v1"
APPROVAL_EFFECT = "a"
DENIED = "approval.denied"  # the code of a denial by somebody who was asked


class ApprovalKind(Enum):
    """What is to be approved. The numbers are those of `runwright.v1.ApprovalKind`."""

    TOOL_CALL = 1
    RUN_START = 2
    OUTPUT = 3

    __hash__ = object.__hash__


class ApprovalState(Enum):
    """Where an approval stands. The numbers are those of `runwright.v1.ApprovalState`."""

    PENDING = 1
    APPROVED = 2
    DENIED = 3
    EXPIRED = 4
    WITHDRAWN = 5
    SUPERSEDED = 6
    RESPONDED = 7
    ABORTED = 8

    __hash__ = object.__hash__


class ApprovalVerdict(Enum):
    """What somebody decides. The numbers are those of `runwright.v1.ApprovalVerdict`."""

    APPROVE = 1
    DENY = 2
    RESPOND = 3
    ABORT_RUN = 4
    APPROVE_WITH_EDITS = 5
    DELEGATE = 6

    __hash__ = object.__hash__

    @property
    def state(self) -> ApprovalState:
        """Where it takes an approval."""
        return _STATES[self]


APPROVING = (ApprovalVerdict.APPROVE, ApprovalVerdict.APPROVE_WITH_EDITS)
_STATES = {
    ApprovalVerdict.APPROVE: ApprovalState.APPROVED,
    ApprovalVerdict.DENY: ApprovalState.DENIED,
    ApprovalVerdict.RESPOND: ApprovalState.RESPONDED,
    ApprovalVerdict.ABORT_RUN: ApprovalState.ABORTED,
    ApprovalVerdict.APPROVE_WITH_EDITS: ApprovalState.APPROVED,
    ApprovalVerdict.DELEGATE: ApprovalState.PENDING,
}


class ApprovalExpiry(Enum):
    """What becomes of a call that nobody decides on. The numbers are those of `runwright.v1.ApprovalExpiry`."""

    DENY = 1
    ABORT_RUN = 2
    ESCALATE = 3  # as packages say it: first others have their time


class ApprovalSeparation(Enum):
    """Whether approvers are told from others. The numbers are those of `runwright.v1.ApprovalSeparation`."""

    ENFORCED = 1
    NOT_ENFORCED = 2  # there are no keys: everybody is `local`


class ApproverSet(Struct, frozen=True):
    """Who may decide until when (microseconds): whoever has one of the roles, or is one of the principals."""

    roles: tuple[str, ...] = ()
    principals: tuple[str, ...] = ()
    until: Micros = 0

    def has(self, name: str, roles: Sequence[str]) -> bool:
        """True when a principal of that name and with these roles is in it; an admin has every role."""
        has_role = any(role in self.roles for role in roles) or (bool(self.roles) and Role.ADMIN.value in roles)
        return has_role or name in self.principals

    def __str__(self) -> str:
        """In words: `role approver, ann`."""
        return ", ".join([*(f"role {role}" for role in self.roles), *self.principals])


class Decider(Struct, frozen=True):
    """Somebody who decides, as the credential says. `may_perform`: they may serve the executor of the call.

    Of a server without keys nothing is known of anybody: `separation` is NOT_ENFORCED then. `is_dispatcher`: they
    decide in the answer of a dispatcher, or with a key that may register one.
    """

    name: str
    roles: tuple[str, ...] = ()
    may_perform: bool = False
    separation: ApprovalSeparation = ApprovalSeparation.ENFORCED
    is_dispatcher: bool = False


class NotAllowed(Enum):
    """Why somebody may not decide: the values of `rule` in APPROVER_NOT_ALLOWED."""

    APPROVER_SET = "approver_set"
    EXECUTOR = "executor"
    FOUR_EYES = "four_eyes"
    DISPATCHER = "dispatcher"


def why_not_allowed(decider: Decider, current: ApproverSet, starter: str, *, four_eyes: bool) -> NotAllowed | None:
    """Why somebody may not decide on what `starter` asked for, while it is the turn of `current`; None: they may."""
    if decider.separation is ApprovalSeparation.NOT_ENFORCED:
        return None
    if not current.has(decider.name, decider.roles):
        return NotAllowed.APPROVER_SET
    if decider.may_perform:
        return NotAllowed.EXECUTOR
    if four_eyes and decider.name == starter:
        return NotAllowed.FOUR_EYES
    if four_eyes and decider.is_dispatcher:
        return NotAllowed.DISPATCHER
    return None


def current_set(sets: Sequence[ApproverSet], at: Micros) -> int:
    """Whose turn it is at that time, counted from 0; the last one's once all are over."""
    return next((index for index, each in enumerate(sets) if at < each.until), len(sets) - 1)


def approval_digest(package: str, tool: str, schema: str, executor: str, arguments: str) -> str:
    """What is approved, as one digest: over the package's fingerprint, the tool, the digest of its argument schema,
    the executor's name and the digest of the canonical arguments."""
    form: dict[str, JsonValue] = {
        "arguments": arguments,
        "executor": executor,
        "package": package,
        "schema": schema,
        "tool": tool,
    }
    return fingerprint(canonical_plain_json(form), DIGEST_TAG)


def approval_effect_id(call_id: EffectId, number: int) -> EffectId:
    """The id of the `number`-th approval (from 1) of a call: `a3.2.1` of `c3.2`."""
    return effect_id(APPROVAL_EFFECT, *parse_effect_id(call_id).numbers, number)


class ApprovalPhase(Enum):
    """Where the approval of a call stands, as far as the call goes on from it."""

    ASKED = 0  # a policy asks; nobody was asked yet
    PENDING = 1
    APPROVED = 2

    __hash__ = object.__hash__


class CallApproval(Struct, frozen=True):
    """What a run knows of the approval of one of its calls, or of itself. `number` counts those of the same, from 1.

    Times are microseconds.
    """

    phase: ApprovalPhase
    name: str = ""  # which of the package's approvals; empty for the built-in one
    number: int = 0
    digest: str = ""
    arguments_digest: str = ""
    sets: tuple[ApproverSet, ...] = ()
    current_set: int = 0
    requested_at: Micros = 0
    expires_at: Micros = 0
    on_expiry: ApprovalExpiry = ApprovalExpiry.DENY
    four_eyes: bool = False
    approved_by: str = ""  # of one that a grant answered: who issued that
    separation: ApprovalSeparation = ApprovalSeparation.ENFORCED  # when it was approved
    delegates: tuple[str, ...] = ()  # whom it may be delegated to
    delegations: int = 0  # so far
    delegated_set: int | None = None  # whose turn was delegated last
    grant_id: str = ""  # of the grant that answered in place of somebody, in the namespace; then nobody was asked

    @property
    def due(self) -> Micros:
        """When something becomes of it although nobody decides: the next set's turn, or its end."""
        return min(self.sets[self.current_set].until, self.expires_at)

    @property
    def approvers(self) -> ApproverSet:
        """Whose turn it is."""
        return self.sets[self.current_set]

    @property
    def ref(self) -> str:
        """What stands for a policy where somebody who was asked has decided: `approval:writes`."""
        return f"approval:{self.name}" if self.name else "approval"

    def covers(self, name: str, arguments_digest: str) -> bool:
        """True when it was given for this approval and these arguments."""
        return self.name == name and self.is_given_for(arguments_digest)

    def is_given_for(self, arguments_digest: str) -> bool:
        """True when it was given for these arguments: as they were asked for, or as whoever approved edited them."""
        return self.phase is ApprovalPhase.APPROVED and self.arguments_digest == arguments_digest
