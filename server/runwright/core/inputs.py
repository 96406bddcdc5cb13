"""What can happen to a run. Time and ids come in on inputs; `at` is microseconds.

Late and repeated inputs are normal; `decide` answers them with no records.
Content enters on inputs: `contents` are stored by the append that the input causes.
"""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct

from runwright.core.content import Content, ContentRef
from runwright.core.context import Context
from runwright.core.errors import ErrorReason, Failure
from runwright.core.ids import EffectId
from runwright.core.outcomes import ExecutorIdentity, FinishReason
from runwright.core.request import RunRequest


class StartRequested(Struct, frozen=True, kw_only=True):
    """Somebody asks for the run. `context` is there for a run of a session, `contents` hold what it refers to."""

    at: int
    request: RunRequest
    turn_id: str
    principal: str
    request_ref: ContentRef
    package_ref: ContentRef
    package_fingerprint: str
    input: tuple[ContentRef, ...]
    context: Context | None = None
    contents: tuple[Content, ...] = ()
    trace_parent: str = ""
    journal_id: str = ""


class RequestedCall(Struct, frozen=True):
    """A tool call as the model asked for it; `problem` is what the edge found wrong with it."""

    tool: str
    provider_call_id: str
    arguments: ContentRef
    problem: ErrorReason | None = None
    problem_text: ContentRef | None = None


class ModelReplied(Struct, frozen=True, kw_only=True):
    """The model answered."""

    at: int
    round: int
    attempt: int
    text: ContentRef | None
    finish: FinishReason
    calls: tuple[RequestedCall, ...] = ()
    input_tokens: int = 0
    output_tokens: int = 0
    contents: tuple[Content, ...] = ()


class ModelFailed(Struct, frozen=True, kw_only=True):
    """The model call failed, or its answer cannot be used."""

    at: int
    round: int
    attempt: int
    error: Failure
    contents: tuple[Content, ...] = ()


class RetryDue(Struct, frozen=True, kw_only=True):
    """The time of a planned model request has come; `attempt` is the one that failed."""

    at: int
    round: int
    attempt: int
    contents: tuple[Content, ...] = ()


class ToolReturned(Struct, frozen=True, kw_only=True):
    """The executor answered for certain: with a result, or with what is a failure of the tool for this reason."""

    at: int
    call_id: EffectId
    attempt: int
    ok: bool
    result: ContentRef
    reason: ErrorReason = ErrorReason.TOOL_FAILED
    executor_identity: ExecutorIdentity | None = None
    contents: tuple[Content, ...] = ()


class ToolNotSent(Struct, frozen=True, kw_only=True):
    """The attempt certainly never reached the executor, or the executor says that it has not begun it."""

    at: int
    call_id: EffectId
    attempt: int
    executor_identity: ExecutorIdentity | None = None
    contents: tuple[Content, ...] = ()


class ToolOutcomeUnknown(Struct, frozen=True, kw_only=True):
    """The attempt began and nothing came that says how it ended.

    EXECUTOR_LOST or TOOL_TIMED_OUT: no answer. TOOL_ANSWER_INVALID: one that cannot be read.
    """

    at: int
    call_id: EffectId
    attempt: int
    reason: ErrorReason
    executor_identity: ExecutorIdentity | None = None
    contents: tuple[Content, ...] = ()


class ExecutorAwaited(Struct, frozen=True, kw_only=True):
    """Waiting for an executor is over: it can be reached, or the wait was given up."""

    at: int
    call_id: EffectId
    attempt: int
    reachable: bool
    contents: tuple[Content, ...] = ()


class CancelRequested(Struct, frozen=True, kw_only=True):
    """Somebody asks the run to end."""

    at: int
    reason: str
    requested_by: str
    grace_us: int
    contents: tuple[Content, ...] = ()


class CancelDeadlinePassed(Struct, frozen=True, kw_only=True):
    """The grace of a cancel is over."""

    at: int
    contents: tuple[Content, ...] = ()


class Recovered(Struct, frozen=True, kw_only=True):
    """The server found the run open after a restart; whatever was under way is lost."""

    at: int
    contents: tuple[Content, ...] = ()


Input: TypeAlias = (
    StartRequested
    | ModelReplied
    | ModelFailed
    | RetryDue
    | ToolReturned
    | ToolNotSent
    | ToolOutcomeUnknown
    | ExecutorAwaited
    | CancelRequested
    | CancelDeadlinePassed
    | Recovered
)
