"""EffectsUnderWay: what a driver has begun for its run, and how that is made to match what the run wants."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import Protocol

from runwright.core import effects as e
from runwright.core import inputs as i
from runwright.core.ids import EffectId
from runwright.core.package import RuntimePackage
from runwright.runtime.runs.performer import Performer
from runwright.runtime.runs.refusals import does_not_fit
from runwright.runtime.runs.run_on_record import RunOnRecord
from runwright.runtime.runs.waits import Waits, Wake


class Driving(Protocol):
    """The driver of the run. It is not held here: a driver is let go as soon as its run has ended."""

    def submit(self, input: i.Input, settles: e.Effect | None = None) -> object:
        """Takes an input, and the effect that it settles."""

    def may_begin(self) -> bool:
        """True while a tool call may be sent."""


class EffectsUnderWay:
    """A task for each effect that has to run, an entry in the index of waits for each that parks.

    An effect is under way until its answer has been decided on: while that is
    being written down it must not look missing.
    """

    def __init__(self, performer: Performer, on_record: RunOnRecord, waits: Waits, package: RuntimePackage) -> None:
        self.is_faulty = False  # a task has failed: its group cancels the loop next
        self._performer = performer
        self._on_record = on_record
        self._waits = waits
        self._package = package
        self._tasks: dict[e.EffectKey, asyncio.Task[None]] = {}
        self._waiting: dict[e.EffectKey, e.ParkingEffect] = {}

    @property
    def only_waits(self) -> bool:
        """True when something is waited for, and nothing else is under way."""
        return bool(self._waiting) and not self._tasks

    @property
    def is_to_be_settled(self) -> bool:
        """True while a server that stops has to wait."""
        return bool(self._tasks) or any(effect.settles_while_draining for effect in self._waiting.values())

    def reconcile(self, driver: Driving, group: asyncio.TaskGroup, wanted: Mapping[e.EffectKey, e.Effect]) -> None:
        """Stops what is under way and not wanted, and begins what is wanted and not under way.

        Raises JOURNAL_CORRUPT when something would be sent whose intent was not made durable here, or was sent.
        """
        self.stop([key for key in (*self._tasks, *self._waiting) if key not in wanted])
        # A run that was parked has waits that its driver has not entered, and may want no more.
        self._waits.keep(self._on_record.state.key, wanted)
        if self._performer.places:
            with_place = e.CallTool | e.ReconcileTool
            called = {EffectId(key[0]) for key, effect in wanted.items() if isinstance(effect, with_place)}
            self._performer.places.keep(called)
        state = self._on_record.state
        for key, effect in wanted.items():
            if key in self._tasks or key in self._waiting:
                continue
            if effect.needs_intent and key not in self._on_record.intents:
                raise does_not_fit(state.key, key)
            if effect.parks:
                self._waiting[key] = effect
                self._waits.enter(state, effect, self._package)
            else:
                name = f"{state.key.run_id} {key[0]}"
                self._tasks[key] = group.create_task(self._perform(driver, key, effect), name=name)

    def settling(
        self, driver: Driving, wanted: Mapping[e.EffectKey, e.Effect], now: int
    ) -> dict[e.EffectKey, e.Effect]:
        """Of what is wanted, what goes on while the server stops.

        A call that was decided but not begun is handed back as not sent, so that
        a restart finds no open intent of it.
        """
        settling = {key: effect for key, effect in wanted.items() if effect.settles_while_draining}
        for key, effect in list(settling.items()):
            if isinstance(effect, e.CallTool) and key not in self._tasks:
                del settling[key]
                withdrawn = i.ToolNotSent(at=now, call_id=effect.call_id, attempt=effect.attempt, withdrawn=True)
                driver.submit(withdrawn)
        return settling

    def woken(self, wake: Wake) -> None:
        """Takes note of a wait that has ended, and of the place that came with it."""
        self._waiting[wake.effect.key] = wake.effect
        if wake.place is not None and isinstance(wake.effect, e.AwaitExecutor | e.AwaitReconcile):
            self._performer.places.offer(wake.effect.call_id, wake.place, wake.not_by)

    def settled(self, effect: e.Effect) -> None:
        """Takes note that the answer was decided on, or is left to the next start: nothing is sent for it any more."""
        key = effect.key
        self._tasks.pop(key, None)
        self._waiting.pop(key, None)
        self._on_record.intents.discard(key)

    def stop(self, keys: Collection[e.EffectKey] | None = None) -> None:
        """Stops these, or all that runs: what is only waited for then may be left to its waits."""
        for key in list(self._tasks) if keys is None else keys:
            if (task := self._tasks.pop(key, None)) is not None:
                task.cancel()
            if self._waiting.pop(key, None) is not None:
                self._waits.leave(self._on_record.state.key, key)

    async def _perform(self, driver: Driving, key: e.EffectKey, effect: e.RunningEffect) -> None:
        try:
            on_record = self._on_record
            answer = await self._performer.perform(on_record.state, on_record.position, effect, driver.may_begin)
        except Exception:
            self.is_faulty = True
            raise
        if self._tasks.get(key) is asyncio.current_task():
            driver.submit(answer, settles=effect)
        else:
            self._performer.places.withdraw(answer)
