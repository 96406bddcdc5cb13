"""Following a stream for as long as it takes: from the last cursor, over restarts of the server."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable

from runwright._gen.runwright.v1 import event_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright.cli.errors import Problem

FIRST_DELAY_SECONDS = 0.25
LONGEST_DELAY_SECONDS = 5.0

Subscribe = Callable[[str], Iterable[pb.SubscribeResponse]]


def follow(
    subscribe: Subscribe,
    cursor: str,
    *,
    notice: Callable[[str], None],
    wait: Callable[[float], None] = time.sleep,
) -> Generator[event_pb2.EventFrame]:
    """Frames after `cursor` until the stream ends.

    Raises what the first subscription fails with: a wrong address or run id does
    not pass by waiting. Once connected, it comes back after every failure that
    passes, exclusive of the last frame it gave out.
    """
    connected = False
    failures = 0
    while True:
        try:
            for response in subscribe(cursor):
                if failures:
                    notice("connected again")
                connected, failures = True, 0
                for frame in response.frames:
                    cursor = frame.cursor
                    yield frame
            return
        except Problem as problem:
            if not (connected and problem.passing):
                raise
            if failures == 0:
                notice(f"connection lost ({problem.reason}); reconnecting from the last cursor")
        wait(delay(failures))
        failures += 1


def delay(failures: int) -> float:
    """Seconds to wait after that many failures in a row: doubling, up to the longest."""
    return min(LONGEST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2.0 ** min(failures, 16))
