"""What can happen to a run. Time and ids come in on inputs; `at` is microseconds.

Late and repeated inputs are normal; `decide` answers them with no records.
Content enters on inputs: `contents` are stored by the append that the input causes.
"""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct

from runwright.core.approval_delegation import Delegate
from runwright.core.approval_dispatches import DispatchResult
from runwright.core.approval_records import DispatchedDecision
from runwright.core.approvals import ApprovalVerdict, Decider
from runwright.core.content import Content, ContentRef
from runwright.core.context import Context
from runwright.core.errors import ErrorReason, Failure
from runwright.core.findings import Availability as Availability  # noqa: PLC0414  # a part of inputs
from runwright.core.findings import Findings as Findings  # noqa: PLC0414  # a part of one
from runwright.core.findings import RequestedCall as RequestedCall  # noqa: PLC0414  # a part of one
from runwright.core.grants import GrantRequest
from runwright.core.ids import EffectId
from runwright.core.outcomes import ExecutorIdentity, FinishReason, ReconcileAnswer, Resolution
from runwright.core.policy import PolicyFindings
from runwright.core.policy_walk import PolicyAnswer
from runwright.core.request import RunRequest
from runwright.core.side_rows import Condition
from runwright.core.units import Micros


class StartRequested(Struct, frozen=True, kw_only=True):
    """Somebody asks for the run. `context` is there for a run of a session, `contents` hold what it refers to."""

    at: Micros
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
    principal_roles: tuple[str, ...] = ()
    policies: tuple[PolicyFindings, ...] = ()  # of the stages RUN_START and INPUT, where they are used


class ModelReplied(Struct, frozen=True, kw_only=True):
    """The model answered. `opaque`: what its vendor needs back with the results of the calls."""

    at: Micros
    round: int
    attempt: int
    text: ContentRef | None
    finish: FinishReason
    calls: tuple[RequestedCall, ...] = ()
    input_tokens: int = 0
    output_tokens: int = 0
    opaque: ContentRef | None = None
    policies: tuple[PolicyFindings, ...] = ()  # of the stage OUTPUT, where it is used
    contents: tuple[Content, ...] = ()


class ModelFailed(Struct, frozen=True, kw_only=True):
    """The model call failed, or its answer cannot be used."""

    at: Micros
    round: int
    attempt: int
    error: Failure
    contents: tuple[Content, ...] = ()


class RetryDue(Struct, frozen=True, kw_only=True):
    """The time of a planned model request has come; `attempt` is the one that failed."""

    at: Micros
    round: int
    attempt: int
    contents: tuple[Content, ...] = ()


class ToolReturned(Struct, frozen=True, kw_only=True):
    """The executor answered for certain: with a result, or with what is a failure of the tool for this reason.

    `is_gated`: the operator's policies are heard at POST_TOOL. `policies`: what all policies say there, if that was
    found at once; else the result is made durable first.
    """

    at: Micros
    call_id: EffectId
    attempt: int
    ok: bool
    result: ContentRef
    reason: ErrorReason = ErrorReason.TOOL_FAILED
    executor_identity: ExecutorIdentity | None = None
    is_gated: bool = False
    policies: tuple[PolicyFindings, ...] = ()
    contents: tuple[Content, ...] = ()


class ToolNotSent(Struct, frozen=True, kw_only=True):
    """The attempt was certainly not performed.

    `withdrawn`: by this server, which stops, and no executor refused it.
    """

    at: Micros
    call_id: EffectId
    attempt: int
    withdrawn: bool = False
    executor_identity: ExecutorIdentity | None = None
    contents: tuple[Content, ...] = ()


class ToolOutcomeUnknown(Struct, frozen=True, kw_only=True):
    """The attempt began and nothing came that says how it ended.

    EXECUTOR_LOST or TOOL_TIMED_OUT: no answer. TOOL_ANSWER_INVALID: one that cannot be read.
    """

    at: Micros
    call_id: EffectId
    attempt: int
    reason: ErrorReason
    executor_identity: ExecutorIdentity | None = None
    contents: tuple[Content, ...] = ()


class ExecutorAwaited(Struct, frozen=True, kw_only=True):
    """Waiting for an executor is over: a place there is held for the call, or the executor is away.

    `give_up_at` is that of the wait: it is over then. 0: no outage was on record, and the first one begins.
    `policies` is there when the operator's rules are others than those on record for the call.
    """

    at: Micros
    call_id: EffectId
    attempt: int
    has_place: bool
    give_up_at: Micros = 0
    policies: tuple[PolicyFindings, ...] = ()
    contents: tuple[Content, ...] = ()


class PolicyReplied(Struct, frozen=True, kw_only=True):
    """What came of an attempt at a question: the policy's `answer`, or why there is none.

    That is POLICY_UNAVAILABLE when no host of the policy has got it. `policies` is what is said of the subject beside
    the answer.
    """

    at: Micros
    effect_id: EffectId
    attempt: int
    answer: PolicyAnswer | None = None
    error: Failure | None = None
    policies: tuple[PolicyFindings, ...] = ()
    contents: tuple[Content, ...] = ()


class PolicyAwaited(Struct, frozen=True, kw_only=True):
    """Waiting for a host of a remote policy is over: one can be asked, or none came in time."""

    at: Micros
    effect_id: EffectId
    attempt: int
    is_there: bool
    contents: tuple[Content, ...] = ()


class ResumeRequested(Struct, frozen=True, kw_only=True):
    """What the answer to a question has deferred is to go on: its time has come, or somebody, who is named, says so."""

    at: Micros
    effect_id: EffectId
    resumed_by: str = ""
    reason: str = ""
    request_id: str = ""
    contents: tuple[Content, ...] = ()


class PoliciesHeard(Struct, frozen=True, kw_only=True):
    """What policies say of a subject whose walk goes on; `step` as in `HearPolicies`."""

    at: Micros
    subject: EffectId
    step: int
    policies: tuple[PolicyFindings, ...]
    contents: tuple[Content, ...] = ()


class ReconcileAwaited(Struct, frozen=True, kw_only=True):
    """Waiting to ask about a lost attempt is over: a place is held for the ask, or it is waited for no more.

    `ask` is the last one; 0 when nobody was asked yet.
    """

    at: Micros
    call_id: EffectId
    attempt: int
    ask: int
    has_place: bool
    contents: tuple[Content, ...] = ()


class Reconciled(Struct, frozen=True, kw_only=True):
    """What asking about a lost attempt came to. PERFORMED has a `result`.

    `failure` is there when the result cannot be the call's: it was performed, and the model is told so in `result`.
    """

    at: Micros
    call_id: EffectId
    attempt: int
    ask: int
    answer: ReconcileAnswer
    result: ContentRef | None = None
    failure: ErrorReason | None = None
    is_gated: bool = False  # policies of the operator are heard of results
    executor_identity: ExecutorIdentity | None = None
    contents: tuple[Content, ...] = ()


class ResolutionRequested(Struct, frozen=True, kw_only=True):
    """Somebody says what became of an attempt whose outcome is unknown.

    `result` is there for HAPPENED, and for FAILED what the model is told. `grace_us` is that of the end of the run.
    `is_gated` is as in ToolReturned.
    """

    at: Micros
    call_id: EffectId
    attempt: int
    resolution: Resolution
    resolved_by: str
    reason: str
    request_id: str
    request_digest: str
    result: ContentRef | None = None
    grace_us: Micros = 0
    is_gated: bool = False
    contents: tuple[Content, ...] = ()


class ResultEvaluated(Struct, frozen=True, kw_only=True):
    """What policies say of what came of a call that awaits its release."""

    at: Micros
    call_id: EffectId
    attempt: int
    policies: tuple[PolicyFindings, ...]
    contents: tuple[Content, ...] = ()


class ApprovalDecisionRequested(Struct, frozen=True, kw_only=True):
    """Somebody decides on a pending approval, of a call or, without one, of the run as a whole.

    `digest` is that of what they have looked at. `response` is there for RESPOND, `grant` for an APPROVE that is to
    give one, `edited` for APPROVE_WITH_EDITS: arguments that the tool's schema accepts, `delegate` for DELEGATE.
    `availability` and `policies` are what was found when the call, or the run, was about to go on, as for a call that
    has waited for its executor.
    """

    at: Micros
    call_id: EffectId | None
    approval_id: str
    digest: str
    verdict: ApprovalVerdict
    decider: Decider
    request_id: str
    request_digest: str
    message: str = ""
    note: str = ""
    on_behalf_of: str = ""
    response: ContentRef | None = None
    edited: ContentRef | None = None
    delegate: Delegate | None = None
    grant: GrantRequest | None = None
    availability: Availability = Availability.BUSY
    policies: tuple[PolicyFindings, ...] = ()
    is_gated: bool = False  # policies of the operator are heard of results: of a response, too
    contents: tuple[Content, ...] = ()


class ApprovalDue(Struct, frozen=True, kw_only=True):
    """The turn of an approver set, or the whole time of an approval, is over."""

    at: Micros
    call_id: EffectId | None
    approval_id: str
    contents: tuple[Content, ...] = ()


class ApprovalDispatchReported(Struct, frozen=True, kw_only=True):
    """What came of an attempt at telling a dispatcher, of the registration `callback_id` by `principal`.

    `decision` is what it decided, if that can be used so far; `decided` what it said, and `refusal` why that cannot be.
    """

    at: Micros
    effect_id: EffectId
    attempt: int
    result: DispatchResult
    principal: str = ""
    callback_id: str = ""
    reference: str = ""
    decided: DispatchedDecision | None = None
    refusal: str = ""
    decision: ApprovalDecisionRequested | None = None
    contents: tuple[Content, ...] = ()


class DispatcherAwaited(Struct, frozen=True, kw_only=True):
    """A dispatcher can be told, and it is time to; `attempt` is the last one."""

    at: Micros
    effect_id: EffectId
    attempt: int
    contents: tuple[Content, ...] = ()


class CancelRequested(Struct, frozen=True, kw_only=True):
    """Somebody asks the run to end."""

    at: Micros
    reason: str
    requested_by: str
    grace_us: Micros
    contents: tuple[Content, ...] = ()


class CancelDeadlinePassed(Struct, frozen=True, kw_only=True):
    """The grace of a cancel is over."""

    at: Micros
    contents: tuple[Content, ...] = ()


class Recovered(Struct, frozen=True, kw_only=True):
    """The server found the run open after a restart; whatever was under way is lost.

    `places`: the lost calls that may be repeated and for which a place is held.
    """

    at: Micros
    places: tuple[EffectId, ...] = ()
    contents: tuple[Content, ...] = ()


class ConditionFailed(Struct, frozen=True, kw_only=True):
    """What an input would have made true does not stand: conditions of its records did not hold at their append.

    `of` is decided on once more, with these known not to hold; records that are under one of them again are a fault.
    """

    at: Micros
    of: Input
    conditions: tuple[Condition, ...]

    @property
    def contents(self) -> tuple[Content, ...]:
        """Those of the input."""
        return self.of.contents


Input: TypeAlias = (
    StartRequested
    | ModelReplied
    | ModelFailed
    | RetryDue
    | ToolReturned
    | ToolNotSent
    | ToolOutcomeUnknown
    | ExecutorAwaited
    | PolicyReplied
    | PolicyAwaited
    | PoliciesHeard
    | ResumeRequested
    | ReconcileAwaited
    | Reconciled
    | ResultEvaluated
    | ResolutionRequested
    | ApprovalDecisionRequested
    | ApprovalDue
    | ApprovalDispatchReported
    | DispatcherAwaited
    | CancelRequested
    | CancelDeadlinePassed
    | Recovered
    | ConditionFailed
)
