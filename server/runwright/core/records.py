"""What the journal remembers: settled facts. One record is one event kind; its row is in `core/kinds.py`.

The fields of a record are those of its message in `runwright/v1/event.proto`, under the same names; `wire/codec.py`
says what is irregular.
"""

from __future__ import annotations

from msgspec import field

from runwright.core.approval_records import ApprovalDecided as ApprovalDecided  # noqa: PLC0414  # a record like the others
from runwright.core.approval_records import ApprovalDelegated as ApprovalDelegated  # noqa: PLC0414  # a record like the others
from runwright.core.approval_records import ApprovalDispatched as ApprovalDispatched  # noqa: PLC0414  # a record like the others
from runwright.core.approval_records import ApprovalDispatchStarted as ApprovalDispatchStarted  # noqa: PLC0414  # a record like the others
from runwright.core.approval_records import ApprovalEscalated as ApprovalEscalated  # noqa: PLC0414  # a record like the others
from runwright.core.approval_records import ApprovalExpired as ApprovalExpired  # noqa: PLC0414  # a record like the others
from runwright.core.approval_records import ApprovalRequested as ApprovalRequested  # noqa: PLC0414  # a record like the others
from runwright.core.approval_records import ApprovalSuperseded as ApprovalSuperseded  # noqa: PLC0414  # a record like the others
from runwright.core.approval_records import ApprovalWithdrawn as ApprovalWithdrawn  # noqa: PLC0414  # a record like the others
from runwright.core.approval_records import (
    DispatchedDecision as DispatchedDecision,  # noqa: PLC0414  # a part of one
)
from runwright.core.content import ContentRef
from runwright.core.context import Context
from runwright.core.errors import ErrorReason, Failure
from runwright.core.grant_records import GrantIssued as GrantIssued  # noqa: PLC0414  # a record like the others
from runwright.core.grant_records import GrantSuperseded as GrantSuperseded  # noqa: PLC0414  # a record like the others
from runwright.core.grant_records import GrantUsed as GrantUsed  # noqa: PLC0414  # a record like the others
from runwright.core.ids import EffectId
from runwright.core.outcomes import (
    ExecutorIdentity,
    FinishReason,
    ReconcileAnswer,
    Resolution,
    ResultRelease,
    StopReason,
    Usage,
)
from runwright.core.policy_records import PolicyAnswered as PolicyAnswered  # noqa: PLC0414  # a record like the others
from runwright.core.policy_records import PolicyAsked as PolicyAsked  # noqa: PLC0414  # a record like the others
from runwright.core.policy_records import PolicyDecided as PolicyDecided  # noqa: PLC0414  # a record like the others
from runwright.core.policy_records import PolicyResumed as PolicyResumed  # noqa: PLC0414  # a record like the others
from runwright.core.policy_records import SubjectReplaced as SubjectReplaced  # noqa: PLC0414  # a record like the others
from runwright.core.record import Record as Record  # noqa: PLC0414  # a record like the others
from runwright.core.request import Budget
from runwright.core.taint import Taint
from runwright.core.units import Micros


class RunStarted(Record, frozen=True):
    """The run is on disk with everything it was started with; the package is pinned."""

    session_id: str
    turn_id: str
    agent_id: str
    principal: str
    request: ContentRef
    request_digest: str
    package_id: str
    package: ContentRef
    package_fingerprint: str
    provider: str
    model: str
    budget: Budget
    labels: dict[str, str] = field(default_factory=dict)
    trace_parent: str = ""
    journal_id: str = ""  # what its idempotency keys begin with; empty in runs that older servers began
    principal_roles: tuple[str, ...] = ()


class ContextAssembled(Record, frozen=True):
    """Which earlier turns of the session the model sees; decided with the start, never again."""

    context: Context


class TurnStarted(Record, frozen=True):
    """The turn began with its input, part by part."""

    input: tuple[ContentRef, ...]


class ModelAttemptStarted(Record, frozen=True):
    """Intent of a model request. `route` counts the package's routes; 0 is its `provider`."""

    round: int
    attempt: int
    provider: str = ""
    model: str = ""
    route: int = 0


class ModelMessageCompleted(Record, frozen=True):
    """Result of a model request. `opaque`: what goes back over the same `route`, and nowhere else.

    `route` is as in ModelAttemptStarted, and 0 in older events; none of those has `opaque`.
    """

    round: int
    attempt: int
    text: ContentRef | None
    finish: FinishReason
    tool_calls: int
    input_tokens: int
    output_tokens: int
    opaque: ContentRef | None = None
    route: int = 0
    is_held: bool = False  # an answer that a remote policy or a person is still to decide on


class ModelAttemptFailed(Record, frozen=True):
    """A model request failed or was given up."""

    round: int
    attempt: int
    error: Failure


class ToolRequested(Record, frozen=True):
    """The model asked for a tool. `executor` performs it; empty for an unknown tool, and in older events.

    `tainted`: it had seen what a tool marked `untrusted` answered, in this run or before in its session.
    """

    call_id: EffectId
    tool: str
    provider_call_id: str
    arguments: ContentRef
    executor: str = ""
    tainted: bool = False
    untrusted: bool = False


class ToolStarted(Record, frozen=True):
    """Intent of one attempt of a tool call. The first one spends the approval; a `grant_id` is that of who approved."""

    call_id: EffectId
    attempt: int
    tool: str
    executor: str
    effect: str
    idempotent: bool
    idempotency_key: str
    arguments_digest: str
    deadline: Micros
    approval_id: str = ""
    approved_by: str = ""
    approval_digest: str = ""
    grant_id: str = ""


class ToolCompleted(Record, frozen=True):
    """Result of a tool call. `awaits_release`: the model sees nothing of it before a ToolResultReleased says so."""

    call_id: EffectId
    attempt: int
    tool: str
    result: ContentRef
    executor_identity: ExecutorIdentity | None = None
    awaits_release: bool = False


class ToolFailed(Record, frozen=True):
    """A tool call failed or was never made. Without a `message` the reason's own text is told.

    `awaits_release` is as in ToolCompleted; what has no `message` awaits none.
    """

    call_id: EffectId
    attempt: int
    tool: str
    reason: ErrorReason
    message: ContentRef | None = None
    executor_identity: ExecutorIdentity | None = None
    awaits_release: bool = False


class ToolResultReleased(Record, frozen=True):
    """The model may go on with a call that awaited its release: with what it came to, or with who withholds that.

    REPLACED has a `replacement`, which is told as a failure of the call if that `failed`.
    """

    call_id: EffectId
    tool: str
    release: ResultRelease
    policy_ref: str = ""
    code: str = ""
    message: str = ""
    replacement: ContentRef | None = None
    failed: bool = False


class ToolDenied(Record, frozen=True):
    """Policy forbids a call."""

    call_id: EffectId
    tool: str
    policy_ref: str
    code: str
    message: str = ""


class ToolCancelled(Record, frozen=True):
    """A call was given up because the run was cancelled."""

    call_id: EffectId
    attempt: int
    tool: str


class ToolRecoveryRequired(Record, frozen=True):
    """The outcome of a call is unknown and it must not be repeated."""

    call_id: EffectId
    attempt: int
    tool: str
    executor: str
    idempotency_key: str
    arguments_digest: str
    reason: ErrorReason
    executor_identity: ExecutorIdentity | None = None


class EffectResolved(Record, frozen=True):
    """Somebody resolved a call of unknown outcome. What follows from it stands right after it, in the same append."""

    call_id: EffectId
    attempt: int
    tool: str
    resolution: Resolution
    resolved_by: str
    reason: str
    request_id: str
    request_digest: str


class ReconcileStarted(Record, frozen=True):
    """Intent of one ask: an executor is about to be asked what became of the attempt. Asks count from 1."""

    call_id: EffectId
    attempt: int
    tool: str
    executor: str
    ask: int
    idempotency_key: str
    arguments_digest: str
    deadline: Micros


class ReconcileEnded(Record, frozen=True):
    """What an ask came to; what follows from it stands right after it, in the same append.

    Ask 0: the attempt has just been lost, and `executor_identity` got it. `reason` is why, also later. Without
    `next_ask_at` nobody is asked any more.
    """

    call_id: EffectId
    attempt: int
    tool: str
    ask: int
    answer: ReconcileAnswer
    reason: ErrorReason
    give_up_at: Micros
    next_ask_at: Micros | None = None
    executor_identity: ExecutorIdentity | None = None


class RetryScheduled(Record, frozen=True):
    """An attempt was not sent, failed or may be repeated; a later one waits for `not_before`.

    One of a tool call also waits for its executor, until `give_up_at`, which only a call has. Its attempt 0: the
    executor was away when the call was requested, and the first attempt waits for it.
    """

    effect_id: EffectId
    attempt: int
    reason: ErrorReason
    not_before: Micros
    give_up_at: Micros | None = None
    executor_identity: ExecutorIdentity | None = None


class RunCancelRequested(Record, frozen=True):
    """A cancel was accepted; the record's sequence is the barrier."""

    reason: str
    requested_by: str
    deadline: Micros


class TurnCompleted(Record, frozen=True):
    """The turn ended with an answer."""


class TurnFailed(Record, frozen=True):
    """The turn ended without an answer."""

    error: Failure


class RunCompleted(Record, frozen=True):
    """Terminal: the run completed. `input` is what the user said, where a policy has replaced it.

    `tainted_by` is not there in older events.
    """

    stop: StopReason
    result: ContentRef
    usage: Usage
    tainted: bool = False
    input: tuple[ContentRef, ...] = ()
    tainted_by: Taint | None = None


class RunFailed(Record, frozen=True):
    """Terminal: the run failed; `unknown_effects` stay unknown."""

    stop: StopReason
    error: Failure
    usage: Usage
    unknown_effects: tuple[EffectId, ...] = ()


class RunCancelled(Record, frozen=True):
    """Terminal: the run was cancelled; `unknown_effects` stay unknown."""

    error: Failure
    unknown_effects: tuple[EffectId, ...]
    usage: Usage
