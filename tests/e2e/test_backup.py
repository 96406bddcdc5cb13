"""A backup taken from a server that works, and a server on what was restored from it."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest
from runwright._gen.runwright.v1 import run_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb

from tests.e2e.client import answer, error_info
from tests.e2e.conftest import MakeServer
from tests.e2e.executor import Executor, Gate, pass_by
from tests.e2e.packages import LOOK, one_call, package, says
from tests.e2e.test_keys_and_tls import runwright


async def test_a_backup_of_a_busy_server_goes_on_as_a_journal_of_its_own(
    make_server: MakeServer, executor: Executor, tmp_path: Path
) -> None:
    server = make_server(one_call("one", LOOK))
    await server.start()
    await server.call.start("ended")
    ended = await server.call.settled("ended")
    executor.after = Gate()
    await server.call.start("open")
    await executor.until_asked(2)

    backed_up = await runwright("backup", "--data", str(server.data), "--to", str(tmp_path / "copy"))
    executor.after = pass_by
    server.kill()
    await server.ended()
    restored = await runwright("restore", str(tmp_path / "copy"), "--data", str(tmp_path / "restored"))
    server.data = tmp_path / "restored"
    await server.start()
    going_on = await server.call.settled("open")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        scope = pb.StreamScope(run_id="ended")
        await server.call.stub.ListEvents(pb.ListEventsRequest(scope=scope, page_token=ended.last_cursor), timeout=60)

    assert (backed_up[0], restored[0]) == (0, 0), (backed_up, restored)
    assert answer(await server.call.snapshot("ended")) == answer(ended)
    assert going_on.status == run_pb2.RUN_STATUS_COMPLETED
    assert error_info(refused.value).reason == "JOURNAL_RESTORED"
    assert (tmp_path / "restored" / "journal.db").stat().st_mode & 0o777 == 0o600


async def test_nothing_is_written_over_and_what_is_no_backup_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "noise").write_bytes(b"noise" * 2000)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "journal.db").write_bytes(b"precious")

    noise = await runwright("restore", str(tmp_path / "noise"), "--data", str(tmp_path / "new"))
    over = await runwright("restore", str(tmp_path / "noise"), "--data", str(tmp_path / "taken"))
    missing = await runwright("backup", "--data", str(tmp_path / "nowhere"), "--to", str(tmp_path / "copy"))

    assert [code for code, _, _ in (noise, over, missing)] == [2, 2, 2]
    assert "there is a journal already" in over[2]
    assert "nowhere/journal.db does not exist. Check the path." in missing[2]
    assert all("Traceback" not in message for _, _, message in (noise, over, missing))
    assert (tmp_path / "taken" / "journal.db").read_bytes() == b"precious"
    assert not (tmp_path / "new").exists()
    assert not (tmp_path / "copy").exists()


async def test_a_journal_is_not_made_beside_what_a_killed_server_left_of_another(
    make_server: MakeServer, tmp_path: Path
) -> None:
    server = make_server(package("plain", [says("hello")]))
    await server.start()
    await server.call.start("kept")
    await server.call.settled("kept")
    backed_up = await runwright("backup", "--data", str(server.data), "--to", str(tmp_path / "copy"))
    await server.call.start("later")
    await server.call.settled("later")
    server.kill()
    await server.ended()
    (server.data / "journal.db").unlink()

    refused = await runwright("restore", str(tmp_path / "copy"), "--data", str(server.data))

    assert backed_up[0] == 0, backed_up
    assert refused[0] == 2, "SQLite would read the old -wal into the restored journal"
    assert "journal.db-wal: it belongs to another journal" in refused[2]
    assert not (server.data / "journal.db").exists()
    assert (server.data / "journal.db-wal").stat().st_size > 0


async def test_a_file_that_sqlite_cannot_open_is_refused_in_one_line(tmp_path: Path) -> None:
    too_long = tmp_path.joinpath(*["x" * 200] * 3)  # above 512 bytes SQLite opens nothing
    too_long.mkdir(parents=True)
    (too_long / "journal.db").write_bytes(b"")

    code, _, message = await runwright("backup", "--data", str(too_long), "--to", str(tmp_path / "copy"))

    assert (code, message.count("\n")) == (2, 1), message
    assert "cannot be used as a journal" in message
    assert not (tmp_path / "copy").exists()
