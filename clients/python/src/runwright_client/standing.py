"""When the stream of a run that stands still is over: the run is asked, and all its events have to be handed out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from ._gen.runwright.v1 import EffectState, EventFrame, EventKind, OpenEffect, RunSnapshot, RunStatus
from .errors import RunwrightError

Ask = Callable[[], Awaitable[RunSnapshot]]


class RepairNeeded(RunwrightError):
    """The run that is followed goes on only once somebody says what became of a call: `Client.resolve_effect`.

    `run` is the run as it stands, `effects` are the calls. All events so far have been handed out, and
    `subscribe(…, after=subscription.cursor)` goes on. Its reason is REPAIR_NEEDED.
    """

    def __init__(self, run: RunSnapshot) -> None:
        self.run = run
        self.effects: list[OpenEffect] = [one for one in run.open_effects if one.state is EffectState.UNKNOWN]
        first = self.effects[0] if self.effects else OpenEffect()
        of = f"{first.effect_id} {first.tool}, attempt {first.attempt}"
        words = f"runwright effects resolve {run.run_id} {first.effect_id} --attempt {first.attempt} --as …"
        super().__init__(
            f"The run {run.run_id} needs repair: nobody knows what became of {of}.",
            reason="REPAIR_NEEDED",
            code="FAILED_PRECONDITION",
            metadata={"run_id": run.run_id, "effect_id": first.effect_id, "attempt": str(first.attempt)},
            remedy=f"Say what became of it, with resolve_effect or `{words}`, then go on after the cursor.",
        )


class End:
    """The end of one run's stream, while the run itself has none.

    `done` is asked at once and answers when the run has ended or stands still; then the stream just ends. `stands` is
    asked, without `done`, whenever the run may have come to need repair; then the stream ends with `RepairNeeded`.
    `is_late`: the stream begins behind events that may have said so.
    """

    def __init__(self, done: Ask | None, stands: Ask | None, cursor: str, *, is_late: bool) -> None:
        self._done = done
        self._stands = None if done is not None else stands
        self._cursor = cursor
        self._is_to_ask = is_late
        self._seq = 0
        self._run: RunSnapshot | None = None
        self._task: asyncio.Task[None] | None = None
        self._wake: Callable[[], None] = lambda: None

    @property
    def is_reached(self) -> bool:
        """True once nothing more is to come."""
        run = self._run
        return run is not None and (self._seq >= run.last_seq or self._cursor == run.last_cursor)

    def told(self) -> RepairNeeded | None:
        """What the reader is told then, unless the stream just ends."""
        return RepairNeeded(self._run) if self._stands is not None and self._run is not None else None

    def watch(self, wake: Callable[[], None]) -> None:
        """Begins to ask, and says when there is an answer."""
        self._wake = wake
        if self._done is not None:
            self._ask(self._done)
        elif self._is_to_ask:
            self._look()

    def passed(self, frame: EventFrame) -> None:
        """A frame was handed out."""
        self._cursor = frame.cursor or self._cursor
        if frame.event is not None:
            self._seq = max(self._seq, frame.event.seq)
            self._is_to_ask |= frame.event.kind is EventKind.TOOL_RECOVERY_REQUIRED
        if self._stands is not None and self._run is not None and self._seq > self._run.last_seq:
            self._run, self._is_to_ask = None, True  # it has gone on since it was asked
        if self._is_to_ask:
            self._look()

    def stop(self) -> None:
        """Asks no more. May be called from any thread, and more than once."""
        if self._task is not None and not (loop := self._task.get_loop()).is_closed():
            loop.call_soon_threadsafe(self._task.cancel)

    def _look(self) -> None:
        """Asks how the run stands, unless it is being asked: then once more with the next frame."""
        if self._stands is not None and (self._task is None or self._task.done()):
            self._is_to_ask = False
            self._ask(self._stands)

    def _ask(self, how: Ask) -> None:
        self._task = asyncio.create_task(self._asked(how))
        self._task.add_done_callback(lambda _: self._wake())

    async def _asked(self, how: Ask) -> None:
        ends = (RunStatus.REPAIR_NEEDED,) if self._done is None else (RunStatus.REPAIR_NEEDED, RunStatus.HELD)
        with suppress(RunwrightError):  # the stream meets the same, and says so
            run = await how()
            self._run = run if run.status in ends and self._seq <= run.last_seq else None
            return
        self._is_to_ask = True
