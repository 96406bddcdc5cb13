"""What a server that stops says of the calls it waits for."""

from __future__ import annotations

from collections.abc import Iterable

from runwright.core.outcomes import CallPhase
from runwright.ports.log import OperatorLog
from runwright.runtime.runs.driver import RunDriver

_MOST_NAMED = 10


def waits(log: OperatorLog, drivers: Iterable[RunDriver], grace_us: int) -> None:
    """Before the grace: which calls the server waits for, how long at most, and how to end it."""
    calls = _not_to_repeat(drivers)
    if calls:
        log.info(
            "stopping waits for calls that must not be repeated; a second signal ends the wait",
            calls=calls[:_MOST_NAMED],
            count=len(calls),
            at_most=f"{grace_us / 1_000_000:g}s",
        )


def gives_up(log: OperatorLog, drivers: Iterable[RunDriver]) -> None:
    """After it: which calls are still open."""
    calls = _not_to_repeat(drivers)
    if calls:
        log.warning(
            "stopped with calls open that must not be repeated; their runs need repair",
            calls=calls[:_MOST_NAMED],
            count=len(calls),
        )


def _not_to_repeat(drivers: Iterable[RunDriver]) -> list[str]:
    """Run, call and tool of each call under way that must not be made again."""
    return [
        f"{driver.state.key.run_id} {call.call_id} {call.tool}"
        for driver in drivers
        for call in driver.state.calls
        if call.phase is CallPhase.RUNNING and not call.idempotent
    ]
