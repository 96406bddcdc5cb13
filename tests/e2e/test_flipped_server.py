"""The same with a server as a process and an executor over a socket: one bit of its journal flips while it is down."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from pathlib import Path

import grpc
import pytest
import pytest_asyncio
from google.protobuf.duration_pb2 import Duration
from runwright._gen.runwright.v1 import run_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb

from tests.e2e.client import answer, error_info
from tests.e2e.conftest import SOAK
from tests.e2e.executor import EXECUTOR, Executor, running_executor
from tests.e2e.packages import Spec, asks, package, says, tool, write
from tests.e2e.server_process import Server

SEEDS = 40 if SOAK else 3
NOBODY = "127.0.0.1:1"
PAY, MARK = tool("pay", "write"), tool("mark", "write", idempotent=True)
WAITING = [f"{name}-{number}" for name in ("pay", "mark") for number in range(4)]
DOES_NOT_GO_ON = (run_pb2.RUN_STATUS_RUNNING, run_pb2.RUN_STATUS_WAITING, run_pb2.RUN_STATUS_HELD)
pytestmark = pytest.mark.asyncio(loop_scope="module")


def packages() -> list[Spec]:
    """One that only answers, and one for each waiting run, with arguments of its own."""
    calls = [
        package(run, [asks((run.partition("-")[0], {"for": run})), says(run + " {results}")], PAY, MARK)
        for run in WAITING
    ]
    return [package("talk", [says("hello")]), *calls]


class Scene:
    """What a server left when it stopped: runs that have ended and runs that wait for an executor."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.packages = [write(directory, spec) for spec in packages()]
        self.data = directory / "data"
        self.frames: dict[str, list[bytes]] = {}

    async def make(self) -> None:
        """One life of a server whose executor is not there."""
        server = Server(self.data, self.packages, {EXECUTOR: NOBODY})
        try:
            await server.start()
            for number in range(3):
                await server.call.start(f"talk-{number}", package={"package_id": "talk"})
                await server.call.settled(f"talk-{number}")
            for run_id in WAITING:
                await server.call.start(run_id, package={"package_id": run_id})
                await waits(server, run_id)
            for run_id in (*WAITING, *(f"talk-{number}" for number in range(3))):
                self.frames[run_id] = [frame.event for frame in await server.call.frames(run_id)]
            server.terminate()
            assert await server.ended() == 0
        finally:
            await server.close()


async def waits(server: Server, run_id: str) -> None:
    """Returns once the run waits for its executor."""
    while (await server.call.snapshot(run_id)).status != run_pb2.RUN_STATUS_WAITING:
        await server.call.stub.Wait(pb.WaitRequest(run_id=run_id, timeout=Duration(nanos=50_000_000)), timeout=30)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    scene = Scene(tmp_path_factory.mktemp("flipped"))
    await scene.make()
    return scene


def flipped(scene: Scene, seed: int, target: Path) -> str:
    """A copy of the directory with one other bit."""
    chance = random.Random(seed)
    shutil.copytree(scene.data, target)
    path = target / ("journal.head" if seed % 8 == 7 else "journal.db")
    data = bytearray(path.read_bytes())
    bit = chance.randrange(8 * len(data))
    data[bit // 8] ^= 1 << (bit % 8)
    path.write_bytes(data)
    return f"seed {seed}, bit {bit} of {path.name}"


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_a_server_on_a_flipped_bit_sends_and_shows_nothing_altered(
    scene: Scene, tmp_path: Path, seed: int
) -> None:
    what = flipped(scene, seed, tmp_path / "data")
    async with running_executor() as executor:
        server = Server(tmp_path / "data", scene.packages, {EXECUTOR: executor.address})
        try:
            for _ in ("flipped", "and started again"):
                if not await started(server):
                    return
                damaged = await looked_at(server, scene, what)
                check_calls(executor, damaged, what)
                server.terminate()
                await server.ended()
        finally:
            await server.close()


async def started(server: Server) -> bool:
    """Starts a life. False when it refuses the journal, with the exit code of that."""
    try:
        await server.start()
    except AssertionError:
        assert await server.ended() == 2, server.log.read_text()
        return False
    return True


async def looked_at(server: Server, scene: Scene, what: str) -> set[str]:
    """Asks for every run. Returns those that are refused, or do not go on, by name."""
    damaged: set[str] = set()
    for run_id, was in scene.frames.items():
        try:
            snapshot = await at_rest(server, run_id)
            if snapshot.status in DOES_NOT_GO_ON:
                damaged.add(run_id)
            elif run_id in WAITING:
                assert answer(snapshot) == f"{run_id} {result_of(run_id)}", what
            else:
                assert answer(snapshot) == "hello", what
            frames = await server.call.frames(run_id)
            assert [frame.event for frame in frames][: len(was)] == was, what
            async for response in server.call.stub.ExportRun(pb.ExportRunRequest(run_id=run_id), timeout=30):
                assert response.ByteSize() > 0
        except grpc.aio.AioRpcError as error:
            assert error.code() is grpc.StatusCode.DATA_LOSS, (what, error)
            assert error_info(error).metadata["run_id"] == run_id, what
            damaged.add(run_id)
    return damaged


async def at_rest(server: Server, run_id: str) -> run_pb2.RunSnapshot:
    """The run once it has ended, or after a while in which it has not."""
    request = pb.WaitRequest(run_id=run_id, timeout=Duration(seconds=3))
    return (await server.call.stub.Wait(request, timeout=30)).run


def result_of(run_id: str) -> str:
    """What the executor answers to the run's call."""
    name = run_id.partition("-")[0]
    return f'{{"arguments": {{"for": "{run_id}"}}, "tool": "{name}"}}'


def check_calls(executor: Executor, damaged: set[str], what: str) -> None:
    """Every call once, with its own arguments; only a damaged run's may be missing."""
    assert executor.refused == [], what
    assert {requested.arguments for requested in executor.requested} <= {f'{{"for":"{run}"}}' for run in WAITING}, what
    assert all(requested.arguments == f'{{"for":"{requested.run_id}"}}' for requested in executor.requested), what
    times = Counter(requested.run_id for requested in executor.requested)
    assert all(number == 1 for number in times.values()), (what, times)
    assert set(WAITING) - damaged <= set(times), (what, damaged)
