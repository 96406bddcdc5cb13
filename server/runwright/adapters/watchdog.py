"""The watchdog of the event loop: notices when it does not turn, and says what keeps it."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Iterator, Sequence
from types import FrameType

from msgspec import Struct

from runwright.adapters.clock import monotonic
from runwright.ports.log import OperatorLog
from runwright.ports.telemetry import LoopMeter

BEATS = 5  # in the time that counts as a stall
LEAST_SECONDS = 0.005  # between two beats: the watch must cost nothing that is noticed
QUIET_SECONDS = 10.0  # between two lines in the log
_SHOWN_FRAMES = 12
_OURS = "runwright"
_OF_THE_LOOP = ("_run_once", "run_forever")


class LoopWatchdog:
    """A beat on the loop, and a thread that misses it. Start it on the loop that it watches.

    The thread only looks on: a loop that a library keeps by holding the
    interpreter's lock is noticed when the lock is let go, without a stack.
    """

    def __init__(self, stall_seconds: float, log: OperatorLog, meter: LoopMeter | None = None) -> None:
        self._stall = stall_seconds
        self._every = max(stall_seconds / BEATS, LEAST_SECONDS)
        self._log = log
        self._meter = meter
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="runwright-loop-watchdog", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._loop_thread = 0
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0  # when the next beat should come
        self._is_stalled = False
        self._quiet_until = 0.0
        self._unsaid = 0  # stalls that were not logged

    def start(self) -> None:
        """Begins to watch the running loop."""
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._plan()
        self._thread.start()

    def close(self) -> None:
        """Stops watching, if it began; on the loop."""
        if self._timer is not None:
            self._timer.cancel()
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()

    def _plan(self) -> None:
        assert self._loop is not None
        self._due = monotonic() + self._every
        self._timer = self._loop.call_later(self._every, self._beat)

    def _beat(self) -> None:
        late = max(0.0, monotonic() - self._due)
        if self._meter is not None:
            self._meter.turned(late)
        if late > self._stall and not self._is_stalled:  # the thread could not run either
            self._note(late, "a call that keeps the interpreter's lock", "", [])
        self._is_stalled = False
        self._plan()

    def _watch(self) -> None:
        while not self._ended.wait(self._every):
            late = monotonic() - self._due
            if late > self._stall and not self._is_stalled:
                self._is_stalled = True
                frames = list(_frames(sys._current_frames().get(self._loop_thread)))
                self._note(late, _culprit(frames), self._task(), frames)

    def _note(self, late: float, where: str, task: str, frames: Sequence[_Frame]) -> None:
        """One line at most in QUIET_SECONDS; the next one says how many were left out."""
        if self._meter is not None:
            self._meter.stalled()
        now = monotonic()
        if now < self._quiet_until:
            self._unsaid += 1
            return
        self._quiet_until = now + QUIET_SECONDS
        stack = [frame.description for frame in frames[:_SHOWN_FRAMES]]
        milliseconds = round(late * 1000)
        self._log.error(
            "event loop blocked", ms=milliseconds, where=where, task=task, stack=stack, not_logged=self._unsaid
        )
        self._unsaid = 0

    def _task(self) -> str:
        task = asyncio.current_task(self._loop)
        return task.get_name() if task is not None else ""


class _Frame(Struct, frozen=True):
    module: str
    description: str


def _frames(frame: FrameType | None) -> Iterator[_Frame]:
    """The innermost first, up to the loop's own. Source lines are not read: the disk may be what the loop waits for."""
    while frame is not None and frame.f_code.co_name not in _OF_THE_LOOP:
        description = f"{frame.f_code.co_filename}:{frame.f_lineno} {frame.f_code.co_qualname}"
        yield _Frame(str(frame.f_globals.get("__name__", "")), description)
        frame = frame.f_back


def _culprit(frames: Sequence[_Frame]) -> str:
    """The innermost frame of this program, else the innermost at all."""
    ours = next((frame.description for frame in frames if frame.module.partition(".")[0] == _OURS), None)
    return ours or (frames[0].description if frames else "unknown")
