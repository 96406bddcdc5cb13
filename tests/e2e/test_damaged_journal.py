"""A server is started on a journal in which a bit has flipped: what was seen before the journal was checked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import apsw
import grpc
import pytest
from runwright._gen.runwright.v1 import run_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright.core.content import JSON, Content
from runwright.wire.references import event_refs

from tests.e2e.client import answer, error_info
from tests.e2e.conftest import MakeServer
from tests.e2e.executor import Executor, Gate, pass_by
from tests.e2e.packages import BOOK, LOOK, asks, package, says
from tests.e2e.server_process import Server

THE_DOOR = Content.of(b'{"at":"the door"}', JSON).ref
PACKAGES = (
    package("talk", [says("hello")]),
    package("book", [asks(("book", {"seat": "12A"})), says("{results}")], BOOK),
    package("look", [asks(("look", {"at": "the door"})), says("{results}")], LOOK),
)


async def left_in_a_call(server: Server, executor: Executor, name: str) -> None:
    """A server that is killed in the middle of the call of run `cut`; all that it wrote is in `journal.db`."""
    await server.start()
    await server.call.start("whole", package={"package_id": "talk"})
    await server.call.settled("whole")
    executor.before = Gate()
    await server.call.start("cut", package={"package_id": name})
    await executor.until_asked(1)
    server.kill()
    await server.ended()
    executor.before = pass_by
    db = apsw.Connection(str(server.data / "journal.db"))
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    db.close()


def flip(server: Server, old: bytes, new: bytes) -> None:
    """Writes one bit differently, wherever the bytes are found in the file."""
    assert sum((a ^ b).bit_count() for a, b in zip(old, new, strict=True)) == 1
    path = server.data / "journal.db"
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"phase":2,"seq"', b'"phase":0,"seq"'),  # not begun: the call was sent again and again, each as attempt 1
        (b'"phase":2,"seq"', b'"phase":6,"seq"'),  # completed, without an answer
        (b'"phase":2,"attempt":1', b'"phase":3,"attempt":1'),
        (b'"phase":2,"attempt":1', b'"phase":2,"attempt":0'),
    ],
)
async def test_a_flipped_row_repeats_no_call_and_ends_no_run(
    make_server: MakeServer, executor: Executor, old: bytes, new: bytes
) -> None:
    server = make_server(*PACKAGES)
    await left_in_a_call(server, executor, "book")
    flip(server, old, new)

    await server.start()
    statuses = await server.call.settled("cut")

    assert statuses.status == run_pb2.RUN_STATUS_REPAIR_NEEDED
    assert [requested.attempt for requested in executor.requested] == [1]
    assert answer(await server.call.snapshot("whole")) == "hello"
    assert "the row of a run was damaged" in server.log.read_text()


async def test_flipped_arguments_reach_neither_executor_nor_reader(make_server: MakeServer, executor: Executor) -> None:
    server = make_server(*PACKAGES)
    await left_in_a_call(server, executor, "look")
    length = bytes([17])  # before the bytes of the content; the package has the words as well
    flip(
        server, b"application/json" + length + b'{"at":"the door"}', b"application/json" + length + b'{"at":"the dogr"}'
    )

    await server.start()
    await server.call.start("another", package={"package_id": "book"})
    other = await server.call.settled("another")
    refused = [await refusal(ask(server.call.stub)) for ask in (full_view, export)]
    summary = await server.call.frames("cut")

    assert other.status == run_pb2.RUN_STATUS_COMPLETED
    assert [(wanted.run_id, wanted.arguments) for wanted in executor.requested] == [
        ("cut", '{"at":"the door"}'),
        ("another", '{"seat":"12A"}'),
    ]
    said = [THE_DOOR in event_refs(frame.event.SerializeToString()) for frame in summary]
    requested = said.index(True) + 1
    assert refused == [(grpc.StatusCode.DATA_LOSS, "JOURNAL_CORRUPT", "cut", str(requested))] * 2


async def full_view(stub: Any) -> AsyncIterator[Any]:
    """Every event with its contents."""
    request = pb.ListEventsRequest(scope=pb.StreamScope(run_id="cut"), view=pb.EVENT_VIEW_FULL)
    yield await stub.ListEvents(request, timeout=30)


async def export(stub: Any) -> AsyncIterator[Any]:
    """The whole run."""
    async for part in stub.ExportRun(pb.ExportRunRequest(run_id="cut"), timeout=30):
        yield part


async def refusal(answers: AsyncIterator[Any]) -> tuple[grpc.StatusCode, str, str, str]:
    """How a call ends that is refused on its way."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        async for _ in answers:
            pass
    info = error_info(refused.value)
    return refused.value.code(), info.reason, info.metadata["run_id"], info.metadata["first_bad"]
