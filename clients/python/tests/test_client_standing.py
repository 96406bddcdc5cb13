"""When a reader is told that the run it follows needs repair: a run that stands still has no next event to ask with."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from runwright_client import RunwrightError, standing
from runwright_client._gen.runwright.v1 import Event, EventFrame, EventKind, RunSnapshot, RunStatus
from runwright_client.standing import End

LOST = RunwrightError("Too many calls.", reason="TOO_MANY_CALLS", code="RESOURCE_EXHAUSTED")


def unknown(seq: int) -> EventFrame:
    """The event that says that nobody knows what became of a call."""
    return EventFrame(event=Event(seq=seq, kind=EventKind.TOOL_RECOVERY_REQUIRED), cursor=f"c{seq}")


def in_repair(last_seq: int) -> RunSnapshot:
    """A run in repair whose last event has that number."""
    return RunSnapshot(status=RunStatus.REPAIR_NEEDED, last_seq=last_seq, last_cursor=f"c{last_seq}")


async def reached(end: End) -> None:
    """Lets what is asked beside go on until the end is reached."""
    for _ in range(100):
        if end.is_reached:
            return
        await asyncio.sleep(0)
    pytest.fail("nobody was told")


def ending(*answers: RunSnapshot | RunwrightError, before: Callable[[], Awaitable[None]] | None = None) -> End:
    """The end of a stream whose run is found to be so, one time after the other; `before` happens in the first."""
    left, happens = list(answers), [before] if before else []

    async def stands() -> RunSnapshot:
        answer = left.pop(0)
        if happens:
            await happens.pop()()
        if isinstance(answer, RunwrightError):
            raise answer
        return answer

    return End(None, stands, "", is_late=False)


async def test_a_reader_is_told_once_somebody_says_how_the_run_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standing, "ASK_AGAIN", 0)
    end = ending(LOST, in_repair(5))

    end.passed(unknown(5))

    await reached(end)
    assert end.told() is not None


async def test_a_second_call_that_is_lost_while_it_is_asked_leaves_nobody_waiting() -> None:
    async def lost_meanwhile() -> None:
        end.passed(unknown(6))  # the answer is that of the moment before

    end = ending(in_repair(5), in_repair(6), before=lost_meanwhile)

    end.passed(unknown(5))

    await reached(end)
    told = end.told()
    assert told is not None and told.run.last_seq == 6
