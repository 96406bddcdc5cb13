"""What the journal remembers: settled facts. One record is one event kind.

`at` is microseconds since 1970-01-01 UTC, as everywhere in the core.
"""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct, field

from runwright.core.content import ContentRef
from runwright.core.context import Context
from runwright.core.errors import ErrorReason, Failure
from runwright.core.ids import EffectId
from runwright.core.outcomes import ExecutorIdentity, FinishReason, StopReason, Usage
from runwright.core.policy import Decision, PolicyStage
from runwright.core.request import Budget


class RunStarted(Struct, frozen=True, kw_only=True):
    """The run is on disk with everything it was started with; the package is pinned."""

    at: int
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


class ContextAssembled(Struct, frozen=True, kw_only=True):
    """Which earlier turns of the session the model sees; decided with the start, never again."""

    at: int
    context: Context


class TurnStarted(Struct, frozen=True, kw_only=True):
    """The turn began with its input, part by part."""

    at: int
    input: tuple[ContentRef, ...]


class ModelAttemptStarted(Struct, frozen=True, kw_only=True):
    """Intent of a model request. `route` counts the package's routes; 0 is its `provider`."""

    at: int
    round: int
    attempt: int
    provider: str = ""
    model: str = ""
    route: int = 0


class ModelMessageCompleted(Struct, frozen=True, kw_only=True):
    """Result of a model request. `opaque`: what goes back over the same `route`, and nowhere else.

    `route` is as in ModelAttemptStarted, and 0 in older events; none of those has `opaque`.
    """

    at: int
    round: int
    attempt: int
    text: ContentRef | None
    finish: FinishReason
    tool_calls: int
    input_tokens: int
    output_tokens: int
    opaque: ContentRef | None = None
    route: int = 0


class ModelAttemptFailed(Struct, frozen=True, kw_only=True):
    """A model request failed or was given up."""

    at: int
    round: int
    attempt: int
    error: Failure


class ToolRequested(Struct, frozen=True, kw_only=True):
    """The model asked for a tool. `executor` performs it; empty for an unknown tool, and in older events."""

    at: int
    call_id: EffectId
    tool: str
    provider_call_id: str
    arguments: ContentRef
    executor: str = ""


class PolicyDecided(Struct, frozen=True, kw_only=True):
    """A policy decided, at a stage of its subject: of a call, or of the run when there is no `subject`."""

    at: int
    stage: PolicyStage
    subject: EffectId | None
    policy_ref: str
    decision: Decision


class ToolStarted(Struct, frozen=True, kw_only=True):
    """Intent of one attempt of a tool call."""

    at: int
    call_id: EffectId
    attempt: int
    tool: str
    executor: str
    effect: str
    idempotent: bool
    idempotency_key: str
    arguments_digest: str
    deadline: int


class ToolCompleted(Struct, frozen=True, kw_only=True):
    """Result of a tool call."""

    at: int
    call_id: EffectId
    attempt: int
    tool: str
    result: ContentRef
    executor_identity: ExecutorIdentity | None = None


class ToolFailed(Struct, frozen=True, kw_only=True):
    """A tool call failed or was never made. Without a `message` the reason's own text is told."""

    at: int
    call_id: EffectId
    attempt: int
    tool: str
    reason: ErrorReason
    message: ContentRef | None = None
    executor_identity: ExecutorIdentity | None = None


class ToolDenied(Struct, frozen=True, kw_only=True):
    """Policy forbids a call."""

    at: int
    call_id: EffectId
    tool: str
    policy_ref: str
    code: str


class ToolCancelled(Struct, frozen=True, kw_only=True):
    """A call was given up because the run was cancelled."""

    at: int
    call_id: EffectId
    attempt: int
    tool: str


class ToolRecoveryRequired(Struct, frozen=True, kw_only=True):
    """The outcome of a call is unknown and it must not be repeated."""

    at: int
    call_id: EffectId
    attempt: int
    tool: str
    executor: str
    idempotency_key: str
    arguments_digest: str
    reason: ErrorReason
    executor_identity: ExecutorIdentity | None = None


class RetryScheduled(Struct, frozen=True, kw_only=True):
    """An attempt was not sent, failed or may be repeated; a later one waits for `not_before`.

    One of a tool call also waits for its executor, until `give_up_at`, which only a call has. Its attempt 0: the
    executor was away when the call was requested, and the first attempt waits for it.
    """

    at: int
    effect_id: EffectId
    attempt: int
    reason: ErrorReason
    not_before: int
    give_up_at: int | None = None
    executor_identity: ExecutorIdentity | None = None


class RunCancelRequested(Struct, frozen=True, kw_only=True):
    """A cancel was accepted; the record's sequence is the barrier."""

    at: int
    reason: str
    requested_by: str
    deadline: int


class TurnCompleted(Struct, frozen=True, kw_only=True):
    """The turn ended with an answer."""

    at: int


class TurnFailed(Struct, frozen=True, kw_only=True):
    """The turn ended without an answer."""

    at: int
    error: Failure


class RunCompleted(Struct, frozen=True, kw_only=True):
    """Terminal: the run completed."""

    at: int
    stop: StopReason
    result: ContentRef
    usage: Usage


class RunFailed(Struct, frozen=True, kw_only=True):
    """Terminal: the run failed."""

    at: int
    stop: StopReason
    error: Failure
    usage: Usage


class RunCancelled(Struct, frozen=True, kw_only=True):
    """Terminal: the run was cancelled; `unknown_effects` stay unknown."""

    at: int
    error: Failure
    unknown_effects: tuple[EffectId, ...]
    usage: Usage


ModelRecord: TypeAlias = ModelAttemptStarted | ModelMessageCompleted | ModelAttemptFailed
CallRecord: TypeAlias = (
    ToolRequested | ToolStarted | ToolCompleted | ToolFailed | ToolDenied | ToolCancelled | ToolRecoveryRequired
)
RunRecord: TypeAlias = (
    RunStarted
    | ContextAssembled
    | TurnStarted
    | RunCancelRequested
    | TurnCompleted
    | TurnFailed
    | RunCompleted
    | RunFailed
    | RunCancelled
)
Record: TypeAlias = ModelRecord | CallRecord | RunRecord | RetryScheduled | PolicyDecided
# What an effect came to: after one of these the same effect is not in hand again.
OUTCOMES = (
    ModelMessageCompleted,
    ModelAttemptFailed,
    ToolCompleted,
    ToolFailed,
    ToolDenied,
    ToolCancelled,
    ToolRecoveryRequired,
)
