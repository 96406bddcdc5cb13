"""A data directory is put back to an older copy and grows past it: no cursor of before is taken for one of now."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import grpc
import pytest
from runwright._gen.runwright.v1 import event_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb

from tests.e2e.client import error_info
from tests.e2e.conftest import MakeServer
from tests.e2e.packages import package, says
from tests.e2e.server_process import Server
from tests.e2e.test_keys_and_tls import ended

ALL = pb.StreamScope(all=pb.AllRuns())
ENDS = pb.EventFilter(terminal_only=True)


async def ran(server: Server, *names: str) -> None:
    for name in names:
        await server.call.start(name)
        await server.call.settled(name)


async def opening(server: Server, cursor: str, **fields: object) -> event_pb2.EventFrame:
    """The first frame of a stream."""
    call = server.call.stub.Subscribe(pb.SubscribeRequest(after_cursor=cursor, **fields), timeout=10)
    async for response in call:
        call.cancel()
        frame: event_pb2.EventFrame = response.frames[0]
        return frame
    raise AssertionError("the stream ended")


async def reason(call: object) -> str:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call  # type: ignore[misc]
    assert refused.value.code() is grpc.StatusCode.OUT_OF_RANGE
    return error_info(refused.value).reason


async def test_no_cursor_of_the_time_after_the_copy_is_accepted(make_server: MakeServer, tmp_path: Path) -> None:
    server = make_server(package("plain", [says("hello")]))
    await server.start()
    await ran(server, "common")
    common = (await opening(server, "", scope=ALL, live_only=True)).cursor
    server.terminate()
    await server.ended()
    shutil.copytree(server.data, tmp_path / "older")
    await server.start()
    await ran(server, "before-1", "before-2")
    stub = server.call.stub
    page = await stub.ListEvents(pb.ListEventsRequest(scope=ALL, page_size=12), timeout=10)
    hidden = await opening(server, "", scope=ALL, filter=ENDS, live_only=True)
    bookmark = await opening(server, "", scope=ALL, live_only=True)
    runs = await stub.ListRuns(pb.ListRunsRequest(page_size=1), timeout=10)
    cursors = [(page.next_page_token, {}), (bookmark.cursor, {}), (hidden.cursor, {"filter": ENDS})]
    server.terminate()
    await server.ended()

    shutil.rmtree(server.data)
    shutil.copytree(tmp_path / "older", server.data)
    await server.start()
    await ran(server, "after-1", "after-2", "after-3")

    stub = server.call.stub
    for cursor, fields in cursors:
        listed = stub.ListEvents(pb.ListEventsRequest(scope=ALL, page_token=cursor, **fields), timeout=10)
        assert await reason(listed) == "JOURNAL_RESTORED"
        assert await reason(opening(server, cursor, scope=ALL, **fields)) == "JOURNAL_RESTORED"
    again = stub.ListRuns(pb.ListRunsRequest(page_size=1, page_token=runs.next_page_token), timeout=10)
    assert await reason(again) == "JOURNAL_RESTORED"
    rest = await stub.ListEvents(pb.ListEventsRequest(scope=ALL, page_token=common, page_size=1000), timeout=10)
    seen = {frame.event.run_id for frame in rest.frames}
    assert seen == {"after-1", "after-2", "after-3"}


@pytest.mark.parametrize("lost", ["frame", "wal", "both"])
async def test_a_killed_server_s_last_acknowledged_commit_cannot_be_lost_unseen(
    make_server: MakeServer, lost: str
) -> None:
    server = make_server(package("plain", [says("hello")]))
    await server.start()
    await ran(server, "first", "last")  # to their ends: what is written last is what was acknowledged last
    server.kill()
    await server.ended()
    wal = server.data / "journal.db-wal"
    if lost == "frame":
        with wal.open("r+b") as file:
            file.truncate(wal.stat().st_size - 1)
    else:
        wal.unlink()
    if lost == "both":
        (server.data / "journal.head").unlink()

    code, _, said = await ended(sys.executable, *server.arguments())

    assert code == 2
    assert "has lost events that were acknowledged" in said
    assert "Traceback" not in said


async def test_a_server_that_follows_a_killed_one_says_what_cannot_be_excluded(make_server: MakeServer) -> None:
    server = make_server(package("plain", [says("hello")]))
    await server.start()
    await ran(server, "first")

    await server.restart()

    (line,) = [line for line in server.log.read_text().splitlines() if "was not closed by its last server" in line]
    assert "loss of power" in line
