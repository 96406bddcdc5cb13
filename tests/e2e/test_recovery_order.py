"""After a restart nothing is sent to anybody before the journal says what became of the life before."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
import pytest
from runwright._gen.runwright.v1 import run_pb2

from tests.e2e.conftest import MakeServer
from tests.e2e.executor import Executor, Gate, pass_by
from tests.e2e.packages import BOOK, LOOK, Spec, one_call

LONG_ENOUGH_SECONDS = 1.0  # for a server that does it wrong to reach an executor that is there


@contextmanager
def held(data: Path) -> Iterator[None]:
    """Nobody can write to the journal while the block runs, as when a disk is slow or a backup is made."""
    db = apsw.Connection(str(data / "journal.db"))
    db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        db.execute("ROLLBACK")
        db.close()


@pytest.mark.parametrize("tool", [BOOK, LOOK], ids=["not-idempotent", "idempotent"])
async def test_an_open_call_is_not_sent_while_its_recovery_is_not_on_disk(
    make_server: MakeServer, executor: Executor, tool: Spec
) -> None:
    executor.after = Gate()  # the effect has happened, the answer is not given
    server = make_server(one_call("one", tool))
    await server.start()
    await server.call.start("run-1")
    await executor.until_asked(1)
    server.kill()
    assert await server.ended() == -signal.SIGKILL
    executor.after = pass_by

    with held(server.data):
        await server.start()
        with pytest.raises(TimeoutError):
            await executor.news.until(lambda: len(executor.asked) > 1, seconds=LONG_ENOUGH_SECONDS)

    settled = await asyncio.wait_for(server.call.settled("run-1"), 30)
    if tool is BOOK:
        assert settled.status == run_pb2.RUN_STATUS_REPAIR_NEEDED
        assert [asked.attempt for asked in executor.asked] == [1]
    else:
        assert settled.status == run_pb2.RUN_STATUS_COMPLETED
        assert [asked.attempt for asked in executor.asked] == [1, 2]
