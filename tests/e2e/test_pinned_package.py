"""A run ends on the package it was started with, whatever the file says at the next start."""

from __future__ import annotations

import json

from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright.core.schema_digests import schema_digest

from tests.e2e.client import answer
from tests.e2e.conftest import MakeServer
from tests.e2e.executor import Executor, Gate
from tests.e2e.packages import LOOK, PEEK, Spec, asks, package, says, write


def edition(answer_text: str, *tools: Spec) -> Spec:
    """A package of one id that calls each of its tools and says what edition it is."""
    script = [asks((tool["name"], {})) for tool in tools]
    return package("guide", [*script, says(f"{answer_text}: {{results}}")], *tools)


async def test_an_open_run_ends_on_its_own_package_and_a_new_one_takes_the_new(
    make_server: MakeServer, executor: Executor
) -> None:
    executor.before = gate = Gate()
    server = make_server(edition("first edition", LOOK))
    await server.start()
    first = (await server.call.start("run-1")).run.package_fingerprint
    await executor.until_asked(1)
    server.kill()
    await server.ended()
    write(server.packages[0].parent, edition("second edition", PEEK))

    await server.start()
    gate.open()
    old = await server.call.settled("run-1")
    await server.call.start("run-2")
    new = await server.call.settled("run-2")

    assert answer(old).startswith("first edition: ")
    assert old.package_fingerprint == first
    assert {frame.event.package_fingerprint for frame in await server.call.frames("run-1")} == {first}
    assert answer(new).startswith("second edition: ")
    assert new.package_fingerprint != first
    assert {requested.tool for requested in executor.calls_of("run-1")} == {"look"}
    assert {requested.tool for requested in executor.calls_of("run-2")} == {"peek"}
    info = await server.call.stub.GetServerInfo(pb.GetServerInfoRequest())
    assert [package.fingerprint for package in info.packages] == [new.package_fingerprint]
    assert not (await server.call.start("run-1")).created, "the same request is the same run under a new package, too"


async def test_a_run_keeps_the_schemas_beside_its_package_when_they_are_gone(
    make_server: MakeServer, executor: Executor
) -> None:
    schema = {"type": "object", "properties": {"step": {"type": "integer", "maximum": 2}}}
    digest = schema_digest(schema)
    tool = {key: value for key, value in LOOK.items() if key != "parameters"} | {"schema_digest": digest}
    rounds = [asks(("look", {"step": step})) for step in (1, 2, 3)]
    executor.before = gate = Gate()
    server = make_server(package("guide", [*rounds, says("{results}")], {**tool, "model_view": {"type": "object"}}))
    sidecar = server.packages[0].parent / "sidecars" / f"{digest[7:]}.json"
    sidecar.parent.mkdir()
    sidecar.write_text(json.dumps(schema))
    await server.start()
    await server.call.start("run-1")
    await executor.until_asked(1)
    server.kill()
    await server.ended()
    sidecar.unlink()
    write(server.packages[0].parent, edition("another edition", PEEK))

    await server.start()
    gate.open()
    ended = await server.call.settled("run-1")

    # The first is asked for again after the kill; the third is more than the schema allows, whatever the view says.
    assert [json.loads(requested.arguments)["step"] for requested in executor.calls_of("run-1")] == [1, 1, 2]
    assert "not accepted" in answer(ended)
