"""What was put into a server is there after kill -9, and runs go on with what they were started with."""

from __future__ import annotations

import json

from runwright._gen.runwright.v1 import package_service_pb2 as pb
from runwright._gen.runwright.v1 import run_pb2
from runwright._gen.runwright.v1.package_service_pb2_grpc import PackageServiceStub

from tests.e2e.client import SECONDS, answer
from tests.e2e.conftest import MakeServer
from tests.e2e.executor import Executor, Gate
from tests.e2e.packages import LOOK, Spec, asks, package, says
from tests.e2e.server_process import Server

PROD = run_pb2.PackageSelector(tag="prod")


def edition(text: str) -> Spec:
    """A package of one id that looks once and says which edition it is."""
    return package("guide", [asks(("look", {})), says(text)], LOOK)


async def put(server: Server, spec: Spec, request_id: str) -> pb.PutPackageResponse:
    """Puts a package under the tag `prod`."""
    request = pb.PutPackageRequest(document=json.dumps(spec), tag="prod", request_id=request_id)
    return await PackageServiceStub(server.call.channel).PutPackage(request, timeout=SECONDS)


async def test_packages_and_tags_outlive_kill_9_and_an_open_run_keeps_its_own(
    make_server: MakeServer, executor: Executor
) -> None:
    executor.before = gate = Gate()
    server = make_server()  # no file at all: everything is put
    await server.start()
    first = await put(server, edition("first edition"), "q1")
    await server.call.start("run-1", package=PROD)
    await executor.until_asked(1)
    second = await put(server, edition("second edition"), "q2")
    server.kill()  # the answer of the put was there: it is on disk
    await server.ended()

    await server.start()
    again = [await put(server, edition("first edition"), "q1"), await put(server, edition("second edition"), "q2")]
    history = await PackageServiceStub(server.call.channel).ListTagHistory(
        pb.ListTagHistoryRequest(tag="prod"), timeout=SECONDS
    )
    gate.open()
    old = await server.call.settled("run-1")
    await server.call.start("run-2", package=PROD)
    new = await server.call.settled("run-2")

    assert [one.created for one in again] == [True, True], "the answers of the first calls"
    assert [move.fingerprint for move in history.moves] == [second.package.fingerprint, first.package.fingerprint]
    assert (answer(old), old.package_fingerprint) == ("first edition", first.package.fingerprint)
    assert (answer(new), new.package_fingerprint) == ("second edition", second.package.fingerprint)
