"""Waits: what runs wait for while nothing has to run for them. A wait is an entry here, whether its run has a driver or
not.

Times come from one queue of timers. Places come from the executors port, which keeps those that wait for an executor
in their order. What ends a wait is handed to whoever owns the drivers, with the place, if there is one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import assert_never

from msgspec import Struct

from runwright.core import effects as e
from runwright.core import inputs as i
from runwright.core.callbacks import UnusedTool
from runwright.core.ids import RunKey
from runwright.core.package import RuntimePackage
from runwright.core.state import RunState
from runwright.ports.approval_dispatchers import DispatcherWait
from runwright.ports.remote_policies import PolicyWait
from runwright.ports.tools import Place, PlaceRequest, PlaceWait
from runwright.runtime.ports import Ports
from runwright.runtime.runs.pending_ages import PendingAges
from runwright.runtime.runs.timer_queue import Timer, TimerQueue
from runwright.runtime.waiting import bounded

# How long an executor that is not connected may take to be, before its outage is written down.
CONNECT_US = 1_000_000
# How long an executor has to come back to a call whose wait was over before this server could look for it.
PROBE_US = 5_000_000
LEFT_AT_ONCE = 256  # runs whose waits are left before everybody else has a turn


class Wake(Struct, frozen=True):
    """What ends a wait: an input and the place it carries, or a fault of ours or of an adapter.

    The place belongs to whoever gets this.
    """

    run: RunKey
    effect: e.ParkingEffect
    outcome: i.Input | Exception
    place: Place | None = None
    not_by: str = ""  # whose the place is not

    def give_back(self) -> None:
        """Nothing comes of it."""
        if self.place is not None:
            self.place.release()


class Wait:
    """One wait: for a timer, or in turn for a time, for a place, and for as long as an executor may be away."""

    __slots__ = ("_waits", "due", "effect", "patience_us", "queued", "run", "since", "wanted", "was_there")

    def __init__(self, waits: Waits, run: RunKey, effect: e.ParkingEffect) -> None:
        self._waits = waits
        self.run = run
        self.effect = effect
        self.since = 0  # when the wait was planned, microseconds
        self.due: Timer | None = None
        self.wanted: PlaceRequest | None = None  # of a wait for an executor
        self.patience_us = 0  # how long the executor may be away
        self.was_there = False
        self.queued: PlaceWait | PolicyWait | DispatcherWait | None = None

    def leave(self) -> None:
        """Waits for nothing any more."""
        due, self.due = self.due, None
        queued, self.queued = self.queued, None
        if due is not None:
            due.cancel()
        if queued is not None:
            queued.leave()

    def granted(self, place: Place) -> None:
        """Has got a place."""
        self.queued = None
        self._waits.is_over(self, place)


class Waits:
    """The waits of all runs, by run. `wake` gets what ends one, on the event loop, once."""

    def __init__(self, ports: Ports, wake: Callable[[Wake], None]) -> None:
        self.timers = TimerQueue(ports.clock, ports.log)
        self.approvals = PendingAges()
        self._ports = ports
        self._wake = wake
        self._waits: dict[RunKey, list[Wait]] = {}
        self._is_draining = False
        self._not_used: list[Place] = []  # came while draining, and go back at the end of it

    def __len__(self) -> int:
        return sum(map(len, self._waits.values()))

    def enter(self, state: RunState, effect: e.ParkingEffect, package: RuntimePackage) -> None:
        """Waits for what settles the effect, unless that is waited for already: who waits keeps its turn."""
        if self._is_draining and not effect.settles_while_draining:
            return
        waits = self._waits.setdefault(state.key, [])
        if waits and any(wait.effect.key == effect.key for wait in waits):
            return
        wait = Wait(self, state.key, effect)
        waits.append(wait)
        now = self._ports.clock.now()
        match effect:
            case e.AwaitRetry():
                self._until(wait, bounded(effect.due, state.model_request.since, now), self.is_over)
            case e.AwaitApproval():
                self.approvals.add(effect.since)
                self._until(wait, bounded(effect.due, effect.since, now), self.is_over)
            case e.WaitForCancelDeadline():
                self._until(wait, effect.due, self.is_over)
            case e.AwaitExecutor():
                call = state.call(effect.call_id)
                tool = package.tool(call.tool) if call else None
                assert call is not None and tool is not None, "what waits is a call of a declared tool"
                wait.wanted = PlaceRequest(
                    state.key,
                    call.call_id,
                    tool.executor,
                    tool.name,
                    tool.arguments_digest,
                    state.package_fingerprint,
                    not_by=call.not_performed_by,
                )
                wait.patience_us, wait.since = tool.unavailable_timeout_ms * 1000, call.since
                not_before = bounded(effect.not_before, wait.since, now)
                if not_before > now:
                    self._until(wait, not_before, self._look)
                else:
                    self._look(wait)
            case e.AwaitDeferral():
                self._until(wait, bounded(effect.due, effect.since, now), self.is_over)
            case e.AwaitPolicy():
                wait.since = effect.since
                self._until(wait, bounded(effect.not_before, wait.since, now), self._look_for_policy)
            case e.AwaitDispatcher():
                self._until(wait, bounded(effect.not_before, effect.since, now), self._look_for_dispatcher)
            case e.AwaitReconcile():
                call = state.call(effect.call_id)
                assert call is not None, "what waits is a call"
                wait.since, got_it = call.since, call.executor_identity
                first = (got_it.callback_id or got_it.address) if got_it is not None and not effect.ask else ""
                # With whatever schema: a host that has another one by now still knows what it did.
                wait.wanted = PlaceRequest(state.key, call.call_id, call.executor, call.tool, first=first)
                self._until(wait, bounded(effect.not_before, state.updated_at, now), self._ask)
            case _:
                assert_never(effect)

    def unused(self, run: RunKey) -> dict[str, Sequence[UnusedTool]]:
        """By call that waits for an executor, the hosts of its tool that have another schema; most often none."""
        wanted = [wait.wanted for wait in self._waits.get(run, ()) if wait.wanted is not None]
        return {each.call_id: unused for each in wanted if (unused := self._ports.tools.unused(each))}

    def leave(self, run: RunKey, key: e.EffectKey) -> None:
        """Waits no more for what settles that effect; harmless when nobody did."""
        for wait in self._waits.get(run, ()):
            if wait.effect.key == key:
                self._forget(wait)
                return

    def keep(self, run: RunKey, keys: Collection[e.EffectKey]) -> None:
        """Waits on behalf of the run for nothing but what settles these effects."""
        for wait in list(self._waits.get(run, ())):
            if wait.effect.key not in keys:
                self._forget(wait)

    def drop(self, run: RunKey) -> None:
        """Waits for nothing any more on behalf of the run."""
        for wait in self._waits.pop(run, ()):
            self._left(wait)

    async def drain(self) -> None:
        """Waits on only for what settles while the server stops: from the call on, nothing else wakes anybody.

        Leaving the waits of many runs takes turns with everybody else. A place that comes to one of them meanwhile
        is held until all have been left: whoever gives one back has it offered to the next.
        """
        self._is_draining = True
        try:
            for number, run in enumerate(list(self._waits), start=1):
                for wait in list(self._waits.get(run, ())):
                    if not wait.effect.settles_while_draining:
                        self._forget(wait)
                if number % LEFT_AT_ONCE == 0:
                    await asyncio.sleep(0)
        finally:
            not_used, self._not_used = self._not_used, []
            for place in not_used:
                place.release()

    def close(self) -> None:
        """Waits for nothing any more."""
        for run in list(self._waits):
            self.drop(run)
        self.timers.close()

    def is_over(self, wait: Wait, place: Place | None = None, *, is_there: bool = False) -> None:
        """Hands on what the end of the wait means. `is_there`: a host of the policy that is waited for."""
        self._forget(wait)
        at, effect = self._ports.clock.now(), wait.effect
        outcome: i.Input
        match effect:
            # A wait is over, whatever the clock says: the time on record goes on from what was planned.
            case e.AwaitRetry():
                outcome = i.RetryDue(at=max(at, effect.due), round=effect.round, attempt=effect.attempt)
            case e.AwaitApproval():
                at = max(at, effect.due)
                outcome = i.ApprovalDue(at=at, call_id=effect.call_id, approval_id=effect.approval_id)
            case e.WaitForCancelDeadline():
                outcome = i.CancelDeadlinePassed(at=at)
            case e.AwaitExecutor():
                outcome = i.ExecutorAwaited(
                    at=max(at, effect.not_before),
                    call_id=effect.call_id,
                    attempt=effect.attempt,
                    has_place=place is not None,
                    give_up_at=effect.give_up_at,
                )
            case e.AwaitDeferral():
                outcome = i.ResumeRequested(at=max(at, effect.due), effect_id=effect.effect_id)
            case e.AwaitPolicy():
                due = effect.not_before if is_there else effect.give_up_at
                outcome = i.PolicyAwaited(
                    at=max(at, due), effect_id=effect.effect_id, attempt=effect.attempt, is_there=is_there
                )
            case e.AwaitDispatcher():
                at = max(at, effect.not_before)
                outcome = i.DispatcherAwaited(at=at, effect_id=effect.effect_id, attempt=effect.attempt)
            case e.AwaitReconcile():
                outcome = i.ReconcileAwaited(
                    at=max(at, effect.not_before),
                    call_id=effect.call_id,
                    attempt=effect.attempt,
                    ask=effect.ask,
                    has_place=place is not None,
                )
            case _:
                assert_never(effect)
        self._hand_on(Wake(wait.run, effect, outcome, place, wait.wanted.not_by if wait.wanted else ""))

    def _look_for_policy(self, wait: Wait) -> None:
        """Asks as soon as a host can be asked; but not for ever."""
        self._guarded(wait, self._looked_for_policy)

    def _looked_for_policy(self, wait: Wait) -> None:
        effect, now, hosts = wait.effect, self._ports.clock.now(), self._ports.remote_policies
        assert isinstance(effect, e.AwaitPolicy), "only hosts of policies are looked for"
        if hosts.is_there(wait.run.namespace, effect.policy):
            self.is_over(wait, is_there=True)
            return

        def there() -> None:
            self.is_over(wait, is_there=True)

        wait.queued = hosts.wait_for_host(wait.run.namespace, effect.policy, there)
        # Looked for at least once: the wait may have been over while the server was down.
        due = max(bounded(effect.give_up_at, wait.since, now), now + PROBE_US)
        self._until(wait, due, self.is_over)

    def _look_for_dispatcher(self, wait: Wait) -> None:
        """Tells as soon as a dispatcher can be told, however long that takes: nobody waits for it."""
        self._guarded(wait, self._looked_for_dispatcher)

    def _looked_for_dispatcher(self, wait: Wait) -> None:
        effect, dispatchers = wait.effect, self._ports.dispatchers
        assert isinstance(effect, e.AwaitDispatcher), "only dispatchers are looked for"
        if dispatchers.is_there(wait.run.namespace, effect.dispatcher):
            self.is_over(wait)
            return
        wait.queued = dispatchers.wait_for_dispatcher(wait.run.namespace, effect.dispatcher, lambda: self.is_over(wait))

    def _until(self, wait: Wait, due: int, then: Callable[[Wait], None]) -> None:
        wait.due = self.timers.at(due, lambda: then(wait))

    def _forget(self, wait: Wait) -> None:
        waits = self._waits.get(wait.run, [])
        if wait in waits:
            waits.remove(wait)
            if not waits:
                del self._waits[wait.run]
            self._left(wait)

    def _left(self, wait: Wait) -> None:
        """Of a wait that stands here no more."""
        wait.leave()
        if isinstance(wait.effect, e.AwaitApproval):
            self.approvals.remove(wait.effect.since)

    def _ask(self, wait: Wait) -> None:
        """Takes a place for asking about a call, or has it wait for one, as long as it is asked at all."""
        self._guarded(wait, self._asked)

    def _look(self, wait: Wait) -> None:
        """Takes a place for the call, or has it wait for one; but not for ever while the executor is away."""
        self._guarded(wait, self._looked)

    def _look_again(self, wait: Wait) -> None:
        """A time has passed in which there was no place: the executor is away, or it has too much to do.

        One that is there is waited for without end: the call is next after those before it.
        """
        self._guarded(wait, self._looked_again)

    def _looked(self, wait: Wait) -> None:
        wanted, effect, now = wait.wanted, wait.effect, self._ports.clock.now()
        assert wanted is not None and isinstance(effect, e.AwaitExecutor), "only executors are looked for"
        if place := self._ports.tools.take_place(wanted):
            self.is_over(wait, place)
            return
        wait.queued = self._ports.tools.wait_for_place(wanted, wait.granted)
        due = now + CONNECT_US
        if effect.give_up_at:
            # Looked for at least once: the wait may have been over while there was no room for the call.
            due = max(bounded(effect.give_up_at, wait.since, now), now + PROBE_US)
        self._until(wait, due, self._look_again)

    def _asked(self, wait: Wait) -> None:
        wanted, effect, now = wait.wanted, wait.effect, self._ports.clock.now()
        assert wanted is not None and isinstance(effect, e.AwaitReconcile), "only executors are asked"
        if place := self._ports.tools.take_place(wanted):
            self.is_over(wait, place)
            return
        wait.queued = self._ports.tools.wait_for_place(wanted, wait.granted)
        # Looked for at least once: the time may have been over before this server could ask.
        self._until(wait, max(bounded(effect.give_up_at, wait.since, now), now + PROBE_US), self.is_over)

    def _looked_again(self, wait: Wait) -> None:
        wanted, effect = wait.wanted, wait.effect
        assert wanted is not None and isinstance(effect, e.AwaitExecutor), "only executors are looked for"
        is_there = self._ports.tools.is_reachable(wanted)
        if not is_there and not (effect.give_up_at and wait.was_there):
            self.is_over(wait)
            return
        wait.was_there = is_there
        self._until(wait, self._ports.clock.now() + wait.patience_us, self._look_again)

    def _guarded(self, wait: Wait, act: Callable[[Wait], None]) -> None:
        """Asks an adapter, whose fault is its run's alone. Nobody is cancelled by an adapter that cancels itself."""
        try:
            act(wait)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - see above
            self._forget(wait)
            fault = error if isinstance(error, Exception) else RuntimeError("the adapter cancelled itself")
            self._hand_on(Wake(wait.run, wait.effect, fault))

    def _hand_on(self, wake: Wake) -> None:
        if not self._is_draining or wake.effect.settles_while_draining:
            self._wake(wake)
        elif wake.place is not None:
            self._not_used.append(wake.place)
