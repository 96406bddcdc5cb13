"""Approvals as they come and as something becomes of them, over lost connections, without end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from runwright._gen.runwright.v1 import approval_service_pb2 as pb
from runwright.cli.client import Client
from runwright.cli.errors import Problem
from runwright.cli.follow import delay


def approval_updates(
    client: Client,
    cursor: str = "",
    *,
    mine: bool,
    notice: Callable[[str], None],
) -> Iterator[pb.WatchApprovalsResponse]:
    """Updates without end; after a failure that passes, from the last cursor.

    `notice` is called with what happens to the connection. Raises what the first subscription fails with, and every
    failure that does not pass.
    """
    failures, is_connected = 0, False
    while True:
        try:
            for update in client.watch_approvals(pb.WatchApprovalsRequest(after_cursor=cursor, mine=mine)):
                if failures:
                    notice("connected again")
                is_connected, failures, cursor = True, 0, update.cursor
                yield update
            return
        except Problem as problem:
            if not (is_connected and problem.passing):
                raise
            if failures == 0:
                notice(f"connection lost ({problem.reason}); reconnecting from the last cursor")
        time.sleep(delay(failures))
        failures += 1
