"""Properties: whatever happens to a run, and in whatever order, the machine keeps these promises.

A run here is 20 to 40 random inputs: answers to what the run wants, and among them news that
come late, twice, for an older attempt or for a call nobody made, restarts and cancels. Every
run follows from its seed alone: `check_run(seed)` plays a failing one again.
"""

from __future__ import annotations

import dataclasses
import functools
from concurrent.futures import ProcessPoolExecutor
from random import Random

from runwright.core import effects as e
from runwright.core import inputs as i
from runwright.core import records as r
from runwright.core.context import Context
from runwright.core.errors import ErrorReason, Failure
from runwright.core.events import TERMINAL, kind_of
from runwright.core.ids import EffectId
from runwright.core.machine import decide, pending, status, waiting_on
from runwright.core.machine.rounds import MAX_LOSSES
from runwright.core.outcomes import CallPhase, FinishReason, RunPhase
from runwright.core.package import RuntimePackage
from runwright.core.request import Budget
from runwright.core.state import RunState, fold

from tests.core import builders as b

RUNS = 20_000
_SLICE = 500
_WORLDS = 64
_TEXT = b.text("words")
_FOREIGN = [EffectId("c1.9"), EffectId("c9.1"), EffectId("m1"), EffectId("")]
_PROBLEMS = [ErrorReason.TOOL_UNKNOWN, ErrorReason.TOOL_ARGUMENTS_INVALID]
_UNKNOWN = [ErrorReason.EXECUTOR_LOST, ErrorReason.TOOL_TIMED_OUT]
_FAILED = [
    Failure(reason, "The provider failed.", (("adapter", "scripted"), *asks))
    for reason, asks in [
        (ErrorReason.PROVIDER_FAILED, ()),
        (ErrorReason.PROVIDER_RATE_LIMITED, (("retry_after", "7s"),)),
        (ErrorReason.PROVIDER_RATE_LIMITED, (("retry_after", "301s"),)),
        (ErrorReason.PROVIDER_KEY_REFUSED, ()),
        (ErrorReason.MODEL_OUTPUT_INVALID, (("rule", "none"),)),
    ]
]
_asked = functools.cache(b.asked)
_FINISHES = [FinishReason.STOP, FinishReason.STOP, FinishReason.LENGTH, FinishReason.CONTENT_FILTER]


@functools.cache
def _worlds() -> list[tuple[RuntimePackage, i.StartRequested]]:
    """Packages, each with a request for a run; made once, because digests cost more than a whole run."""
    worlds = []
    for number in range(_WORLDS):
        rng = Random(number)
        pinned = random_package(rng)
        budget = Budget(*(rng.choice([0, 0, 0, 1, 3, 99]) for _ in range(3)))
        context = rng.choice([None, None, Context((b.earlier("run-0", "Is it cold?", "No."),))])
        worlds.append((pinned, b.started(pinned, budget=budget, context=context)))
    return worlds


def random_package(rng: Random) -> RuntimePackage:
    """A package with a mixture of effects, of what may be repeated, and of tight budgets."""
    tools = [
        b.tool(
            f"tool_{index}",
            effect=rng.choice(["read", "write", "process", "network"]),
            idempotent=rng.random() < 0.5,
            max_attempts=rng.randint(1, 3),
            timeout_ms=rng.choice([1, 1000, 60_000]),
            unavailable_timeout_ms=rng.choice([1, 1000, 60_000]),
        )
        for index in range(rng.randint(1, 4))
    ]
    policy = rng.choice(["builtin:read-only", "builtin:allow-declared", "builtin:allow-declared"])
    budget = {"rounds": rng.randint(1, 8), "tool_calls": rng.randint(0, 24), "parallel_calls": rng.randint(1, 4)}
    first, *others = [
        {"adapter": "scripted", "model": f"model-{index}", "max_attempts": rng.randint(1, 3)}
        for index in range(rng.choice([1, 1, 2, 3]))
    ]
    return b.package(*tools, policy=policy, budget=budget, provider=first, fallbacks=others)


class RandomRun:
    """One run in a random world. `state` is the live state, `records` all that was written."""

    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)
        self.package, self.first = self.rng.choice(_worlds())
        self.state: RunState = b.NEW
        self.records: list[r.Record] = []
        self.now = b.T0
        self._past: list[i.Input] = []

    def give(self, given: i.Input) -> list[r.Record]:
        """Lets something happen; returns what is written because of it."""
        new = decide(self.package, self.state, given)
        self.state = fold(self.state, new)
        self.records += new
        self._past.append(given)
        return new

    def next(self) -> i.Input:
        """Something that may happen now, or could have happened before."""
        self.now += self.rng.choice([0, 1, b.SECOND, b.SECOND, 60 * b.SECOND, -b.SECOND])
        dice = self.rng.random()
        if dice < 0.12:
            return self.rng.choice(self._past[-8:])
        if dice < 0.16:
            return i.Recovered(at=self.now)
        if dice < 0.17:
            return i.CancelRequested(at=self.now, reason="", requested_by="local", grace_us=self.rng.choice([0, 9]))
        if dice < 0.18:
            return i.CancelDeadlinePassed(at=self.now)
        wanted = [*pending(self.state).values(), *self._unwanted_waits()] or [e.CallModel(1, 1)]
        return self._altered(self._outcome(self.rng.choice(wanted)))

    def cooperate(self) -> None:
        """From here on the world does what the run wants, until it ends or wants nothing."""
        for _ in range(200):
            wanted = list(pending(self.state).values())
            if not wanted:
                return
            self.now += b.SECOND
            self.give(self._cooperative(self.rng.choice(wanted)))
        raise AssertionError("the run does not come to an end")

    def _unwanted_waits(self) -> list[e.Effect]:
        """Waits that may still come to an end, though no room is left for the call that waits."""
        wanted = pending(self.state)
        waiting = [call for call in self.state.calls if call.phase is CallPhase.REQUESTED and call.attempt]
        return [
            e.AwaitExecutor(call.call_id, call.attempt, call.executor, call.not_before, call.give_up_at)
            for call in waiting
            if (call.call_id, "await", call.attempt) not in wanted
        ]

    def _outcome(self, effect: e.Effect) -> i.Input:
        match effect:
            case e.CallModel():
                return self._model(effect)
            case e.AwaitRetry():
                return i.RetryDue(at=self._due(effect), round=effect.round, attempt=effect.attempt)
            case e.CallTool():
                return self._tool(effect)
            case e.AwaitExecutor():
                reachable = self.rng.random() < 0.7
                return i.ExecutorAwaited(
                    at=self.now, call_id=effect.call_id, attempt=effect.attempt, reachable=reachable
                )
            case e.WaitForCancelDeadline():
                return i.CancelDeadlinePassed(at=self.now)

    def _due(self, effect: e.AwaitRetry) -> int:
        """Mostly the time that was waited for; now and then a clock that is early."""
        self.now = max(self.now, effect.due - self.rng.choice([0, 0, 0, 1]))
        return self.now

    def _model(self, effect: e.CallModel) -> i.Input:
        rng, dice = self.rng, self.rng.random()
        if dice < 0.08:
            error = rng.choice(_FAILED)
            return i.ModelFailed(at=self.now, round=effect.round, attempt=effect.attempt, error=error)
        calls = tuple(self._call() for _ in range(rng.randint(1, 5))) if dice < 0.93 else ()
        finish = FinishReason.TOOL_CALLS if calls and rng.random() < 0.97 else rng.choice(_FINISHES)
        return i.ModelReplied(
            at=self.now,
            round=effect.round,
            attempt=effect.attempt,
            text=rng.choice([None, _TEXT]),
            finish=finish,
            calls=calls,
            input_tokens=rng.randint(0, 9),
            output_tokens=rng.randint(0, 9),
        )

    def _call(self) -> i.RequestedCall:
        if self.rng.random() < 0.1:
            return _asked("teleport", self.rng.choice(_PROBLEMS))
        problem = ErrorReason.TOOL_ARGUMENTS_INVALID if self.rng.random() < 0.1 else None
        return _asked(self.rng.choice(self.package.tools).name, problem)

    def _tool(self, effect: e.CallTool) -> i.Input:
        call_id, attempt, dice = effect.call_id, effect.attempt, self.rng.random()
        if dice < 0.6:
            return i.ToolReturned(at=self.now, call_id=call_id, attempt=attempt, ok=dice < 0.5, result=_TEXT)
        if dice < 0.8:
            return i.ToolNotSent(at=self.now, call_id=call_id, attempt=attempt)
        return i.ToolOutcomeUnknown(at=self.now, call_id=call_id, attempt=attempt, reason=self.rng.choice(_UNKNOWN))

    def _altered(self, given: i.Input) -> i.Input:
        """The same news, now and then about an older or later attempt, or a call nobody made."""
        dice = self.rng.random()
        if dice < 0.06 and hasattr(given, "attempt"):
            return dataclasses.replace(given, attempt=given.attempt + self.rng.choice([-1, 1]))
        if dice < 0.10 and hasattr(given, "call_id"):
            return dataclasses.replace(given, call_id=self.rng.choice(_FOREIGN))
        if dice < 0.10 and hasattr(given, "round"):
            return dataclasses.replace(given, round=given.round + self.rng.choice([-1, 1]))
        return given

    def _cooperative(self, effect: e.Effect) -> i.Input:
        match effect:
            case e.CallModel():
                return i.ModelReplied(
                    at=self.now, round=effect.round, attempt=effect.attempt, text=_TEXT, finish=FinishReason.STOP
                )
            case e.AwaitRetry():
                self.now = max(self.now, effect.due)
                return i.RetryDue(at=self.now, round=effect.round, attempt=effect.attempt)
            case e.CallTool():
                return i.ToolReturned(
                    at=self.now, call_id=effect.call_id, attempt=effect.attempt, ok=True, result=_TEXT
                )
            case e.AwaitExecutor():
                return i.ExecutorAwaited(at=self.now, call_id=effect.call_id, attempt=effect.attempt, reachable=True)
            case e.WaitForCancelDeadline():
                return i.CancelDeadlinePassed(at=self.now)


class Ledger:
    """What the records so far allow: checked record by record, independently of `apply`."""

    def __init__(self) -> None:
        self.time = 0
        self.cancelled = False
        self.ended = False
        self.intents: set[e.EffectKey] = set()
        self.open_models: set[int] = set()
        self.asked = (0, 0)  # round and attempt of the latest model request
        self.route = 0
        self.not_before = 0
        self._previous: r.Record | None = None
        # Calls that must not be repeated and went out: their next start needs proof that they were not sent.
        self._sent_for_good: set[EffectId] = set()

    def check(self, record: r.Record) -> None:
        """Takes in one more record."""
        assert not self.ended, "nothing follows the end"
        assert record.at >= self.time, "times never decrease"
        match record:
            case r.ModelAttemptStarted():
                self._start_model(record)
            case r.ModelMessageCompleted() | r.ModelAttemptFailed():
                self.open_models.remove(record.round)
            case r.ModelRetryScheduled():
                assert (record.round, record.attempt) == self.asked, "the attempt that failed is tried again"
                assert record.at < record.not_before <= record.at + 300 * b.SECOND, "a wait is bounded"
                self.intents.add((f"m{record.round}", "retry", record.attempt))
                self.not_before = record.not_before
            case r.ToolStarted():
                self._start_tool(record)
            case r.RetryScheduled():
                self.intents.add((record.call_id, "await", record.attempt))
                if record.reason is ErrorReason.EXECUTOR_UNAVAILABLE:
                    self._sent_for_good.discard(record.call_id)
            case r.RunCancelRequested():
                assert not self.cancelled, "a run is cancelled once"
                self.cancelled = True
                self.intents.add(("cancel", "deadline", 1))
            case _ if kind_of(record) in TERMINAL:
                self._end(record)
        self.time, self._previous = record.at, record

    def _start_model(self, record: r.ModelAttemptStarted) -> None:
        assert not self.cancelled, "no model is asked after a cancel"
        self.open_models.add(record.round)
        assert len(self.open_models) == 1, "one model is asked at a time"
        assert record.at >= self.not_before, "no attempt is made before its time"
        round_before, attempt_before = self.asked
        same = record.round == round_before
        assert record.attempt == (attempt_before + 1 if same else 1), "attempts of a round have no gap"
        assert record.route in (self.route, self.route + 1), "routes are taken in their order"
        self.asked, self.route, self.not_before = (record.round, record.attempt), record.route, 0
        self.intents.add((f"m{record.round}", "call", record.attempt))

    def _start_tool(self, record: r.ToolStarted) -> None:
        assert not self.cancelled, "no tool is called after a cancel"
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


def _step(run: RandomRun, ledger: Ledger, given: i.Input) -> None:
    ended, late = run.state.is_terminal, not _is_awaited(given, run.state)
    new = run.give(given)
    assert not (ended and new), "an ended run accepts nothing"
    assert not (late and new), "news of what is not under way change nothing"
    for record in new:
        ledger.check(record)
    if new:
        _check_standing(run.state, ledger)
        _check_repetition(run, given)


def _is_awaited(given: i.Input, state: RunState) -> bool:
    """True for news of the very attempt that is under way, and for news that are of no attempt."""
    match given:
        case i.ModelReplied() | i.ModelFailed():
            return (f"m{given.round}", "call", given.attempt) in pending(state)
        case i.RetryDue():
            return (f"m{given.round}", "retry", given.attempt) in pending(state)
        case i.ToolReturned() | i.ToolNotSent() | i.ToolOutcomeUnknown():
            return (given.call_id, "call", given.attempt) in pending(state)
        case i.ExecutorAwaited():
            # While as many calls run as may, a call waits on without being wanted; giving it up still counts.
            call = state.call(given.call_id)
            return call is not None and call.phase is CallPhase.REQUESTED and 0 < given.attempt == call.attempt
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
    assert unknown or state.phase is not RunPhase.REPAIR_NEEDED, "only an unknown call needs repair"
    assert status(state).name in (state.phase.name, "WAITING")


def _check_repetition(run: RandomRun, given: i.Input) -> None:
    again = decide(run.package, run.state, given)
    if not isinstance(given, i.Recovered):
        assert again == [], "the same news twice change nothing"
        return
    if run.state.asked.losses == MAX_LOSSES - 1:
        return  # one restart too many
    after = fold(run.state, again)
    assert _without_attempts(after) == _without_attempts(run.state), "a second restart only raises attempts"
    for record in again:
        assert isinstance(record, r.ModelAttemptStarted | r.ToolStarted)
        assert record.attempt > 1


def _without_attempts(state: RunState) -> RunState:
    calls = tuple(dataclasses.replace(call, attempt=0, deadline=0, since=0) for call in state.calls)
    asked = dataclasses.replace(state.asked, attempt=min(state.asked.attempt, 1), losses=0)
    return dataclasses.replace(state, calls=calls, asked=asked, seq=0, updated_at=0)


def _check_completion(run: RandomRun, ledger: Ledger) -> None:
    begun = len(run.records)
    run.cooperate()
    for record in run.records[begun:]:
        ledger.check(record)
    parked = run.state.phase is RunPhase.REPAIR_NEEDED
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

    for run in map(RandomRun, range(300)):
        run.give(run.first)
        for _ in range(30):
            phases.add(run.state.phase)
            run.give(run.next())
        kinds |= set(b.kinds(run.records))

    assert phases == set(RunPhase) - {RunPhase.NEW}
    assert kinds == {kind.name for kind in b.examples()}
