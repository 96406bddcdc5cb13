"""What is true of a run now: counters and open effects, no conversation. `apply` says how records change it."""

from __future__ import annotations

from msgspec import Struct, field

from runwright.core.approval_dispatches import Dispatch
from runwright.core.approvals import ApprovalPhase, ApprovalSeparation, CallApproval
from runwright.core.content import ContentRef
from runwright.core.errors import ErrorReason, Failure
from runwright.core.ids import EffectId, RunKey
from runwright.core.outcomes import CallPhase, ExecutorIdentity, RunPhase, StopReason, Usage
from runwright.core.policy import PolicyStage
from runwright.core.policy_walk import CachedAnswer, PolicyWalk
from runwright.core.request import Budget
from runwright.core.run_approvals import RunApproval
from runwright.core.taint import RunTaint, Taint
from runwright.core.trace import trace_id
from runwright.core.units import Micros, Seq


class CallPolicy(Struct, frozen=True):
    """What policies need to know of a call."""

    tainted: bool = False  # see `RunState.tainted`, when it was requested
    untrusted: bool = False  # the tool is marked so: what it answers taints what is requested later
    operator_digest: str = ""  # of the operator's rules that were heard last
    walk: PolicyWalk | None = None  # None: no remote policy was asked about it
    # What came of it, or what a policy has put in its place, while the model has not been told: it awaits its release.
    outcome: ContentRef | None = None

    @property
    def is_outcome_replaced(self) -> bool:
        """True when a policy has put something else in the place of what came of it."""
        return self.outcome is not None and self.walk is not None and self.walk.replacements > 0


NO_POLICY = CallPolicy()


class Reconciling(Struct, frozen=True):
    """How far asking about a lost attempt has come. Times are microseconds."""

    reason: ErrorReason  # why the outcome is unknown
    give_up_at: Micros  # when a person is needed
    next_ask_at: Micros
    asks: int = 0  # begun so far
    is_asked: bool = False  # the last one has no result yet


class CallState(Struct, frozen=True):
    """One tool call of the current round. A closed call keeps only its id, tool and phase.

    One that awaits its release also keeps what policies must know: `attempt`, `arguments` and `policy`.
    """

    call_id: EffectId
    tool: str
    phase: CallPhase
    attempt: int = 0
    passed: PolicyStage | None = None  # the last stage it has passed: it is never started before PRE_TOOL
    arguments: ContentRef | None = None
    executor: str = ""
    idempotent: bool = False
    idempotency_key: str = ""
    deadline: Micros = 0
    not_before: Micros = 0
    give_up_at: Micros = 0
    losses: int = 0  # attempts that reached the executor and were not answered, or not so that it can be read
    since: Micros = 0
    executor_identity: ExecutorIdentity | None = None  # who got the attempt whose outcome is unknown
    policy: CallPolicy | None = None  # None: nothing that is not the default
    reconciling: Reconciling | None = None  # there while the executor is asked what became of the attempt
    approval: CallApproval | None = None  # None: nobody is asked

    @property
    def is_pending(self) -> bool:
        """True while somebody is asked to decide on it."""
        return self.approval is not None and self.approval.phase is ApprovalPhase.PENDING

    @property
    def not_performed_by(self) -> str:
        """The principal that must not perform it, because it approved; empty for none."""
        approval = self.approval
        if approval is None or approval.separation is ApprovalSeparation.NOT_ENFORCED:
            return ""
        return approval.approved_by

    @property
    def outcome(self) -> ContentRef | None:
        """What came of it, while it awaits its release."""
        return self.policy.outcome if self.policy else None

    @property
    def awaits_release(self) -> bool:
        """True when it is closed, and policies are still to say whether the model sees what came of it."""
        return self.outcome is not None

    @property
    def is_held_by_policy(self) -> bool:
        """True while a remote policy is asked about it, or has deferred it."""
        walk = self.policy.walk if self.policy is not None else None
        return (
            walk is not None and walk.stage is not None and (self.phase is CallPhase.REQUESTED or self.awaits_release)
        )


class ModelState(Struct, frozen=True):
    """The model request of the current round, until it is answered."""

    attempt: int = 0  # the latest; 0 when nothing is to be answered
    is_open: bool = False
    failures: int = 0  # attempts that failed over the current route
    losses: int = 0  # attempts that were under way when the server ended
    retry_at: Micros = 0  # when the next attempt is due; 0 when none is planned
    since: Micros = 0  # when it was planned


class RunState(Struct, frozen=True, kw_only=True):
    """A run, folded. Bounded: the calls of one round at most, whatever the history."""

    key: RunKey
    phase: RunPhase = RunPhase.NEW
    seq: Seq = 0
    session_id: str = ""
    turn_id: str = ""
    agent_id: str = ""
    principal: str = ""
    request: ContentRef | None = None
    request_digest: str = ""
    package_id: str = ""
    package: ContentRef | None = None
    package_fingerprint: str = ""
    provider: str = ""
    model: str = ""
    budget: Budget = Budget()
    labels: dict[str, str] = field(default_factory=dict)
    trace_parent: str = ""  # W3C, as it came with the request; empty without a trace
    journal_id: str = ""  # what its idempotency keys begin with; empty in runs that older servers began
    round: int = 0
    route: int = 0  # which of the package's routes answers; 0 is its `provider`
    model_request: ModelState = ModelState()
    calls: tuple[CallState, ...] = ()
    stop: StopReason | None = None  # decided, or already on the way once open calls have settled
    turn_ended: bool = False
    usage: Usage = Usage()
    cancel_barrier: Seq = 0
    cancel_deadline: Micros = 0
    cancel_reason: str = ""
    result: ContentRef | None = None
    error: Failure | None = None
    started_at: Micros = 0
    updated_at: Micros = 0
    ended_at: Micros = 0
    removed_at: Micros = 0  # when the run's events were removed; only an outline is left then
    principal_roles: tuple[str, ...] = ()
    tainted: bool = False  # the model has seen, or is about to see, what a tool marked `untrusted` answered
    policy_failure: Failure | None = None  # why a policy, or whoever was asked to approve, ends the run
    walk: PolicyWalk | None = None  # of the run itself; None: no remote policy was asked about it
    cached_answers: tuple[CachedAnswer, ...] = ()  # of remote policies that may be cached, the newest last
    input: tuple[ContentRef, ...] = ()  # what the user said, where a policy has replaced it
    approval: RunApproval | None = None  # of its start or its answer: the one that was asked for last
    dispatches: tuple[Dispatch, ...] = ()  # of approvals that dispatchers are, or may have to be, told of
    taint: RunTaint | None = None  # by which calls it is `tainted`; None when it is not

    @property
    def is_terminal(self) -> bool:
        """True when nothing can follow."""
        return self.phase.is_terminal

    @property
    def model_attempt(self) -> int:
        """The attempt of the open model request; 0 when none is open."""
        return self.model_request.attempt if self.model_request.is_open else 0

    @property
    def trace_id(self) -> str:
        """The trace the run belongs to; empty without one."""
        return trace_id(self.trace_parent)

    @property
    def tainted_by(self) -> Taint | None:
        """By which calls it is tainted what the model has asked for, or answered, last; None when it is not."""
        return self.taint.of_what_is_requested if self.taint is not None else None

    def walk_of(self, subject: EffectId | None) -> PolicyWalk | None:
        """How far a call's walk through its policies has come, or the run's; None before anybody was asked."""
        if not subject:
            return self.walk
        call = self.call(subject)
        return call.policy.walk if call is not None and call.policy is not None else None

    def dispatch(self, effect_id: EffectId) -> Dispatch | None:
        """How far a dispatcher has been told, by the id of telling it; None when there is nothing more to tell."""
        return next((each for each in self.dispatches if each.effect_id == effect_id), None)

    def call(self, call_id: EffectId) -> CallState | None:
        """The call of that id in the current round."""
        return next((call for call in self.calls if call.call_id == call_id), None)


def needs_repair(state: RunState) -> bool:
    """True while the outcome of a call is unknown: no attempt begins, and the model is not asked on.

    It would not hear of what may have happened.
    """
    for call in state.calls:  # noqa: SIM110 - asked at every step of every run: a generator takes three times as long
        if call.phase is CallPhase.UNKNOWN:
            return True
    return False


def may_start_call(state: RunState) -> bool:
    """True when another tool call may be started beside those that run, or may still run unseen."""
    if state.phase is not RunPhase.RUNNING or needs_repair(state):
        return False
    running = 0
    for call in state.calls:
        if call.phase is CallPhase.RUNNING or call.phase is CallPhase.RECONCILING:
            running += 1
    return running < state.budget.parallel_calls
