"""The watchdog: a loop that does not turn is noticed while it does not, and named."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest
from runwright.adapters.telemetry.prometheus import Metrics
from runwright.adapters.telemetry.scrape import MetricsServer
from runwright.adapters.watchdog import LoopWatchdog

from tests.builders import ListLog, LogLine
from tests.e2e.scraping import fetch
from tests.runtime.watching import eventually

STALL_SECONDS = 0.5  # far above what a busy machine does to a loop by itself
CAP_SECONDS = 60.0


class TellingLog(ListLog):
    """A log that somebody on another thread waits for."""

    def __init__(self) -> None:
        super().__init__()
        self.message = threading.Event()

    def error(self, event: str, error: BaseException | None = None, **fields: object) -> None:
        """Keeps the line, and tells."""
        super().error(event, error, **fields)
        self.message.set()


@pytest.fixture
async def watched() -> AsyncIterator[tuple[TellingLog, Metrics]]:
    """This test's loop under watch."""
    log, metrics = TellingLog(), Metrics()
    watchdog = LoopWatchdog(STALL_SECONDS, log, metrics)
    watchdog.start()
    yield log, metrics
    watchdog.close()


def holds_the_loop(until: threading.Event) -> bool:
    """Keeps the thread that calls it."""
    return until.wait(CAP_SECONDS)


async def in_a_task(until: threading.Event) -> bool:
    return holds_the_loop(until)


async def test_a_blocked_loop_is_logged_with_what_keeps_it(watched: tuple[TellingLog, Metrics]) -> None:
    log, metrics = watched

    assert await asyncio.create_task(in_a_task(log.message), name="the culprit")

    [line] = log.lines
    assert line.event == "event loop blocked"
    assert line.fields["task"] == "the culprit"
    stack = line.fields["stack"]
    assert isinstance(stack, list)
    assert any(frame.endswith(" holds_the_loop") and __file__ in frame for frame in stack)
    assert not any("_run_once" in frame for frame in stack)
    assert isinstance(line.fields["ms"], int)
    assert line.fields["ms"] >= STALL_SECONDS * 1000
    assert metrics.registry.get_sample_value("runwright_event_loop_stalls_total") == 1


async def test_the_innermost_frame_of_this_program_is_named(watched: tuple[TellingLog, Metrics]) -> None:
    log, _ = watched
    source = "def reads_forever(until):\n    return until.wait(20)\n"
    space: dict[str, object] = {"__name__": "runwright.adapters.pretended"}
    exec(compile(source, "pretended.py", "exec"), space)

    space["reads_forever"](log.message)  # type: ignore[operator]

    assert log.lines[0].fields["where"] == "pretended.py:2 reads_forever"


async def test_one_line_a_while_however_often_it_stalls(watched: tuple[TellingLog, Metrics]) -> None:
    log, metrics = watched

    for stalls in range(1, 4):
        blocked_until(lambda stalls=stalls: counted(metrics) == stalls)
        seen = turns(metrics)
        await eventually(lambda seen=seen: turns(metrics) > seen)

    assert counted(metrics) == 3
    assert [line.event for line in log.lines] == ["event loop blocked"]


def blocked_until(holds: object) -> None:
    """Keeps the loop until it is so; bounded."""
    pause = threading.Event()
    for _ in range(2000):
        if holds():  # type: ignore[operator]
            return
        pause.wait(0.01)
    raise AssertionError


def turns(metrics: Metrics) -> float:
    return metrics.registry.get_sample_value("runwright_event_loop_lag_seconds_count") or 0.0


def counted(metrics: Metrics) -> float:
    return metrics.registry.get_sample_value("runwright_event_loop_stalls_total") or 0.0


async def test_metrics_are_answered_while_the_loop_is_blocked(watched: tuple[TellingLog, Metrics]) -> None:
    log, metrics = watched
    server = MetricsServer("127.0.0.1:0", metrics.registry)
    answered = threading.Event()
    stalls: list[float] = []

    def ask() -> None:
        log.message.wait(CAP_SECONDS)
        stalls.append(fetch(server.address).value("runwright_event_loop_stalls_total"))
        answered.set()

    asker = threading.Thread(target=ask)
    asker.start()
    assert holds_the_loop(answered)

    asker.join()
    server.close()
    assert stalls == [1]


async def test_a_loop_that_turns_is_left_alone() -> None:
    log, metrics = ListLog(), Metrics()
    watchdog = LoopWatchdog(30.0, log, metrics)
    watchdog.start()
    await asyncio.sleep(0)
    watchdog.close()

    lines: list[LogLine] = log.lines
    assert lines == []
    assert counted(metrics) == 0
