"""Properties: whatever happens to a run, and in whatever order, the machine keeps these promises.

A run here is 20 to 40 random inputs: answers to what the run wants, and among them news that
come late, twice, for an older attempt or for a call nobody made, restarts and cancels. Every
run follows from its seed alone: `check_run(seed)` plays a failing one again.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple

from msgspec import structs
from runwright.core import effects as e
from runwright.core import inputs as i
from runwright.core import records as r
from runwright.core.apply import fold
from runwright.core.approval_dispatches import MAX_FAILURES, DispatchResult
from runwright.core.approvals import ApprovalVerdict
from runwright.core.errors import ErrorReason
from runwright.core.grants import Grant
from runwright.core.ids import EffectId
from runwright.core.kinds import TERMINAL, EventKind, kind_of
from runwright.core.machine import decide, pending, status, waiting_on
from runwright.core.machine.rounds import MAX_LOSSES
from runwright.core.outcomes import CallPhase, ReconcileAnswer, Resolution, RunPhase, RunStatus
from runwright.core.package import RuntimePackage
from runwright.core.places_held import places_held
from runwright.core.policy import Decision, PolicyStage, Verdict
from runwright.core.state import CallState, RunState, may_start_call

from tests.core import builders as b
from tests.properties.approval_ledger import ApprovalLedger
from tests.properties.random_runs import RandomRun

OF_REMOTE_POLICIES = {EventKind.POLICY_ASKED, EventKind.POLICY_ANSWERED, EventKind.POLICY_RESUMED}
RUNS = 20_000
_SLICE = 500


class _Told(NamedTuple):
    """How far a dispatcher was told of an approval."""

    attempt: int
    revision: int
    is_open: bool = False
    is_known: bool = False


class Ledger:
    """What the records so far allow: checked record by record, independently of `apply`."""

    def __init__(self) -> None:
        self.time = 0
        self.cancelled = False
        self.ended = False
        self.intents: set[e.EffectKey] = set()
        self.open_models: set[int] = set()
        self.model_request = (0, 0)  # round and attempt of the latest model request
        self.route = 0
        self.not_before = 0
        self._previous: r.Record | None = None
        self._grants: dict[str, tuple[Grant, int]] = {}  # with the uses that are left
        self._told: dict[EffectId, _Told] = {}  # dispatchers, by the effect that tells them
        # Calls that must not be repeated and went out: their next start needs proof that they were not sent.
        self._sent_for_good: set[EffectId] = set()
        self._passed: set[EffectId] = set()  # calls that policy allowed
        self._unknown = set[EffectId]()  # the calls whose outcome is unknown
        self._approvals = ApprovalLedger("local")
        self._asking: dict[EffectId, tuple[int, bool]] = {}  # calls asked about: the last ask, and whether it is open
        self._next_ask: dict[EffectId, int] = {}
        self._unreleased = set[EffectId]()  # the calls of which the model has not been told

    def check(self, record: r.Record) -> None:
        """Takes in one more record."""
        assert not self.ended, "nothing follows the end"
        assert record.at >= self.time, "times never decrease"
        self._check_asking(record)
        self._check_approval(record)
        match record:
            case r.ModelAttemptStarted():
                self._start_model(record)
            case r.ModelMessageCompleted() | r.ModelAttemptFailed():
                self.open_models.remove(record.round)
            case r.RetryScheduled() if record.effect_id.startswith("m"):
                requested = (f"m{self.model_request[0]}", self.model_request[1])
                assert (record.effect_id, record.attempt) == requested, "the attempt that failed is tried again"
                assert record.at < record.not_before <= record.at + 300 * b.SECOND, "a wait is bounded"
                self.intents.add((record.effect_id, "retry", record.attempt))
                self.not_before = record.not_before
            case r.ToolStarted():
                self._start_tool(record)
            case r.PolicyDecided(stage=PolicyStage.PRE_TOOL, subject=str(subject), decision=Decision(Verdict.ALLOW)):
                self._passed.add(subject)
            case r.PolicyDecided(stage=PolicyStage.PRE_TOOL, subject=str(subject)) if self._approvals.answers(record):
                self._passed.add(subject)
            case r.ToolCompleted(awaits_release=True) | r.ToolFailed(awaits_release=True):
                self._unreleased.add(record.call_id)
                self.intents.add((record.call_id, "release", record.attempt))
            case r.ToolResultReleased():
                assert record.call_id in self._unreleased, "only what is held is released, and once"
                assert not self.cancelled, "nobody is told anything after a cancel"
                self._unreleased.remove(record.call_id)
            case r.ToolFailed() | r.ToolDenied() | r.ApprovalSuperseded():
                self._passed.discard(record.call_id)
            case r.ToolRecoveryRequired():
                self._unknown.add(record.call_id)
            case r.EffectResolved():
                self._resolve(record)
            case r.ToolRequested():
                self.intents.add((record.call_id, "await", 0))
            case r.RetryScheduled():
                self.intents.add((record.effect_id, "await", record.attempt))
                if record.reason is ErrorReason.EXECUTOR_UNAVAILABLE:
                    self._sent_for_good.discard(record.effect_id)
            case r.RunCancelRequested():
                assert not self.cancelled, "a run is cancelled once"
                self.cancelled = True
                self.intents.add(("cancel", "deadline", 1))
            case _ if kind_of(record) in TERMINAL:
                self._end(record)
        self.time, self._previous = record.at, record

    def _check_approval(self, record: r.Record) -> None:
        """Who is asked, and what they let pass."""
        self._approvals.check(record)
        match record:
            case r.ApprovalRequested() | r.ApprovalEscalated():
                current = record.current_set if isinstance(record, r.ApprovalEscalated) else 0
                self.intents.add((EffectId(record.approval_id), "approval", current + 1))
            case r.ApprovalDecided(verdict=ApprovalVerdict.APPROVE):
                self._passed.add(record.call_id)
            case r.GrantIssued():
                self._grants[record.grant.grant_id] = record.grant, record.grant.uses
            case r.GrantUsed():
                given, left = self._grants[record.grant.grant_id]
                assert record.grant == given and left > 0, "a grant answers as it was given, and as often"
                assert record.at < given.until, "and no longer"
                self._grants[given.grant_id] = given, left - 1
                self._passed.add(record.call_id)
            case r.GrantSuperseded():
                self._passed.discard(record.call_id)
            case r.ApprovalDispatchStarted():
                told = self._told.get(record.effect_id)
                last, is_open, revision = (told.attempt, told.is_open, told.revision) if told else (0, False, 0)
                assert not is_open and record.attempt == last + 1, "a dispatcher is told one thing at a time"
                assert record.revision >= revision, "a dispatcher is not told what stood before"
                assert told is None or not told.is_known or record.revision > revision, "nothing is told twice"
                self._told[record.effect_id] = _Told(record.attempt, record.revision, is_open=True)
                self.intents.add((record.effect_id, "call", record.attempt))
            case r.ApprovalDispatched():
                told = self._told[record.effect_id]
                assert told.is_open and record.attempt == told.attempt, "each attempt has one result"
                is_known = record.result is DispatchResult.ACKNOWLEDGED
                self._told[record.effect_id] = _Told(record.attempt, record.revision, is_known=is_known)
                self.intents.add((record.effect_id, "await", record.attempt))

    def _check_asking(self, record: r.Record) -> None:
        """What settles a call comes behind the result of every ask about it, and settles the asking."""
        call_id = getattr(record, "call_id", None) or getattr(record, "effect_id", None) or EffectId("")
        if isinstance(record, r.ReconcileStarted):
            self._ask(record)
        elif isinstance(record, r.ReconcileEnded):
            self._end_ask(record)
        if isinstance(record, r.ReconcileStarted | r.ReconcileEnded) or call_id not in self._asking:
            return
        assert not self._asking[call_id][1], "no ask is left without a result"
        if not isinstance(record, r.EffectResolved):
            del self._asking[call_id]

    def _ask(self, record: r.ReconcileStarted) -> None:
        last, is_open = self._asking[record.call_id]
        assert not self.cancelled and not is_open, "one ask at a time, and none after a cancel"
        assert record.ask == last + 1 and record.at >= self._next_ask[record.call_id], "each ask has its time"
        self._asking[record.call_id] = record.ask, True
        self.intents.add((record.call_id, "reconcile", record.ask))

    def _end_ask(self, record: r.ReconcileEnded) -> None:
        last, is_open = self._asking.get(record.call_id, (0, False))
        assert record.ask == last and is_open is (record.ask > 0), "each ask has one result"
        self._asking[record.call_id] = record.ask, False
        if record.next_ask_at is not None:
            assert record.ask == 0 or record.next_ask_at <= record.give_up_at or record.at == record.next_ask_at
            self._next_ask[record.call_id] = record.next_ask_at
            self.intents.add((record.call_id, "await reconcile", record.ask))
        if record.answer is ReconcileAnswer.NOT_PERFORMED:
            self._sent_for_good.discard(record.call_id)

    def _resolve(self, record: r.EffectResolved) -> None:
        assert not self.cancelled, "nothing is decided about a call after a cancel"
        asked = record.call_id in self._asking
        assert asked or record.call_id in self._unknown, "only what is unknown is decided about"
        if record.resolution is not Resolution.END_RUN:
            self._unknown.discard(record.call_id)
        if record.resolution is Resolution.TRY_AGAIN:
            self._sent_for_good.discard(record.call_id)

    def _start_model(self, record: r.ModelAttemptStarted) -> None:
        assert not self.cancelled, "no model is asked after a cancel"
        assert not self._unknown, "the model is not asked on while the outcome of a call is unknown"
        assert not self._unreleased, "the model is not asked on before every result is released"
        self.open_models.add(record.round)
        assert len(self.open_models) == 1, "one model is asked at a time"
        assert record.at >= self.not_before, "no attempt is made before its time"
        round_before, attempt_before = self.model_request
        same = record.round == round_before
        assert record.attempt == (attempt_before + 1 if same else 1), "attempts of a round have no gap"
        assert record.route in (self.route, self.route + 1), "routes are taken in their order"
        self.model_request, self.route, self.not_before = (record.round, record.attempt), record.route, 0
        self.intents.add((f"m{record.round}", "call", record.attempt))

    def _start_tool(self, record: r.ToolStarted) -> None:
        assert not self.cancelled, "no tool is called after a cancel"
        assert record.call_id in self._passed, "no call is started that has not passed PRE_TOOL"
        assert not self._unknown, "no attempt begins while the outcome of a call is unknown"
        assert record.call_id not in self._sent_for_good, f"{record.call_id} must not be repeated"
        self.intents.add((record.call_id, "call", record.attempt))
        if not record.idempotent:
            self._sent_for_good.add(record.call_id)

    def _end(self, record: r.Record) -> None:
        completed = isinstance(record, r.RunCompleted)
        assert isinstance(self._previous, r.TurnCompleted if completed else r.TurnFailed), "the turn ends first"
        self.ended = True


def check_run(seed: int) -> None:
    """Plays the run of a seed and checks every promise on the way. Raises AssertionError naming the seed."""
    try:
        _check_run(seed)
    except Exception as error:
        raise AssertionError(f"seed {seed}: {error!r}") from error


def _check_run(seed: int) -> None:
    run, ledger = RandomRun(seed), Ledger()
    _step(run, ledger, run.first)
    for _ in range(run.rng.randint(20, 40)):
        if run.state.is_terminal:
            break
        _step(run, ledger, run.next())
    for _ in range(3):
        _step(run, ledger, run.next())
    assert fold(b.NEW, run.records) == run.state, "folding from scratch gives the live state"
    _check_completion(run, ledger)


def _step(run: RandomRun, ledger: Ledger, input_: i.Input) -> None:
    ended, late = run.state.is_terminal, not _is_awaited(input_, run.state)
    before = run.state
    new = run.give(input_)
    assert not (ended and new), "an ended run accepts nothing"
    assert not (late and new), "news of what is not under way change nothing"
    places = {*places_held(input_)}
    for record in new:
        ledger.check(record)
        if isinstance(record, r.ReconcileStarted):
            assert record.call_id in places, "no ask is begun without a place"
        if isinstance(record, r.ToolStarted):
            assert record.call_id in places, "no intent is written for a call that has no place"
            waited = before.call(record.call_id)
            assert waited is None or record.at >= waited.not_before, "no attempt is made before its time"
    if new:
        _check_standing(run.state, ledger)
        _check_independence(run.state, places)
        _check_repetition(run, input_, new)


def _is_awaited(input_: i.Input, state: RunState) -> bool:
    """True for news of the very attempt that is under way, and for news that are of no attempt."""
    match input_:
        case i.ModelReplied() | i.ModelFailed():
            return (f"m{input_.round}", "call", input_.attempt) in pending(state)
        case i.RetryDue():
            return (f"m{input_.round}", "retry", input_.attempt) in pending(state)
        case i.ToolReturned() | i.ToolNotSent() | i.ToolOutcomeUnknown():
            return (input_.call_id, "call", input_.attempt) in pending(state)
        case i.ReconcileAwaited():
            return (input_.call_id, "await reconcile", input_.ask) in pending(state)
        case i.Reconciled():
            return (input_.call_id, "reconcile", input_.ask) in pending(state)
        case i.ExecutorAwaited():
            # While as many calls run as may, a call waits on without being wanted; giving it up still counts.
            call = state.call(input_.call_id)
            return (
                call is not None
                and call.phase is CallPhase.REQUESTED
                and call.passed is not None
                and input_.attempt == call.attempt
            )
        case _:
            return True


def _check_standing(state: RunState, ledger: Ledger) -> None:
    wanted = pending(state)
    assert state.is_terminal is ledger.ended, "a run ends with its terminal record"
    assert wanted.keys() <= ledger.intents, "nothing is wanted without an intent on record"
    assert state.usage.tool_calls <= state.budget.tool_calls
    running = [key for key, effect in wanted.items() if isinstance(effect, e.CallTool)]
    assert len(running) <= state.budget.parallel_calls, "no more calls run side by side than allowed"
    assert state.usage.rounds == state.round <= state.budget.rounds
    if state.is_terminal:
        assert not wanted and not waiting_on(state), "an ended run wants nothing"
        return
    assert wanted or waiting_on(state), "an open run wants something or waits for something"
    unknown = any(call.phase is CallPhase.UNKNOWN for call in state.calls)
    assert status(state) is _expected_status(state, wanted), "what comes first is shown"
    if unknown:
        assert not any(isinstance(effect, e.AwaitExecutor) for effect in wanted.values()), "no attempt is looked for"


def _expected_status(state: RunState, wanted: Mapping[e.EffectKey, e.Effect]) -> RunStatus:
    """Cancelling comes before repair, repair before everything that runs or waits. Of an open run."""
    if state.cancel_barrier:
        return RunStatus.CANCELLING
    if any(call.phase is CallPhase.UNKNOWN for call in state.calls):
        return RunStatus.REPAIR_NEEDED
    under_way = any(isinstance(effect, e.CallModel | e.CallTool | e.EvaluateResult) for effect in wanted.values())
    return RunStatus.RUNNING if under_way else RunStatus.WAITING


def _check_independence(state: RunState, places: set[EffectId]) -> None:
    for call in state.calls:
        could_run = call.phase is CallPhase.REQUESTED and call.passed is PolicyStage.PRE_TOOL
        is_due = call.call_id in places and state.updated_at >= call.not_before
        assert not (could_run and is_due and may_start_call(state)), "a call that may run waits for no other one"


def _check_repetition(run: RandomRun, input_: i.Input, new: list[r.Record]) -> None:
    again = decide(run.package, run.state, input_)
    if not isinstance(input_, i.Recovered):
        assert again == [], "the same news twice change nothing"
        return
    is_spent = any(_is_spent(run.package, call) for call in run.state.calls)
    is_spent = is_spent or any(each.failures >= MAX_FAILURES - 1 for each in run.state.dispatches)
    if run.state.model_request.losses == MAX_LOSSES - 1 or input_.places or is_spent:
        return  # one restart too many, or calls that were sent again at once and are lost once more
    if any(isinstance(record, r.ToolFailed) for record in new):
        return  # that one was: what waited for the call's place has begun
    after = fold(run.state, again)
    assert _without_attempts(after) == _without_attempts(run.state), "a second restart only raises attempts"
    for record in again:
        assert isinstance(record, r.ModelAttemptStarted | r.ApprovalDispatched | r.ApprovalDispatchStarted)
        assert isinstance(record, r.ApprovalDispatched) or record.attempt > 1


def _is_spent(package: RuntimePackage, call: CallState) -> bool:
    tool = package.tool(call.tool)
    return call.phase is CallPhase.RUNNING and tool is not None and call.losses + 1 >= tool.max_attempts


def _without_attempts(state: RunState) -> RunState:
    calls = tuple(
        structs.replace(call, attempt=0, deadline=0, since=0, losses=0, reconciling=None) for call in state.calls
    )
    requested = structs.replace(state.model_request, attempt=min(state.model_request.attempt, 1), losses=0)
    told = tuple(structs.replace(each, attempt=0, failures=0) for each in state.dispatches)
    return structs.replace(state, calls=calls, model_request=requested, dispatches=told, seq=0, updated_at=0)


def _check_completion(run: RandomRun, ledger: Ledger) -> None:
    begun = len(run.records)
    run.cooperate()
    for record in run.records[begun:]:
        ledger.check(record)
    parked = not run.state.is_terminal and status(run.state) is RunStatus.REPAIR_NEEDED
    assert parked or ledger.ended, "a world that cooperates brings a run to its end"
    if parked:
        assert any(call.phase is CallPhase.UNKNOWN for call in run.state.calls)


def check_runs(seeds: range) -> int:
    """Checks the runs of several seeds; returns how many held."""
    for seed in seeds:
        check_run(seed)
    return len(seeds)


def test_every_promise_holds_over_random_runs() -> None:
    slices = [range(first, first + _SLICE) for first in range(0, RUNS, _SLICE)]

    # The checks are nothing but computation, so every processor takes its share.
    with ProcessPoolExecutor() as processes:
        held = sum(processes.map(check_runs, slices))

    assert held == RUNS


def test_the_random_runs_reach_every_phase_and_every_kind_of_record() -> None:
    phases: set[RunPhase] = set()
    kinds: set[str] = set()

    for run in map(RandomRun, range(700)):
        run.give(run.first)
        for _ in range(30):
            phases.add(run.state.phase)
            run.give(run.next())
        kinds |= set(b.kinds(run.records))

    assert phases == set(RunPhase) - {RunPhase.NEW}
    # What is asked of remote policies is in the random runs of `policy_runs.py`.
    assert kinds == {kind.name for kind in b.examples()} - {kind.name for kind in OF_REMOTE_POLICIES}
