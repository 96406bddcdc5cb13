"""Arguments that a server could be kept busy with, over a real socket: the model is told, everybody else is served."""

from __future__ import annotations

import asyncio
from pathlib import Path

from runwright._gen.runwright.v1 import run_pb2

from tests.e2e.client import answer
from tests.e2e.conftest import MakeServer
from tests.e2e.packages import LOOK, Spec, one_call, package, says

LIST = {"type": "array", "items": {"$ref": "#/$defs/f"}}
FILTER = {
    "type": "object",
    "properties": {"f": {"$ref": "#/$defs/f"}},
    "$defs": {
        "f": {
            "anyOf": [
                {"type": "object", "properties": {"and": LIST}},
                {"type": "object", "properties": {"and": LIST, "or": LIST}},
            ]
        }
    },
}


def filtering(levels: int, name: str = "filtering") -> Spec:
    """A package whose model asks for a filter of many levels, wrong at its heart, then says what it was told."""
    made = '{"f":' + '{"and":[' * levels + '{"and":3}' + "]}" * levels + "}"
    requested = {"calls": [{"tool": "look", "arguments_json": made}]}
    return package(name, [requested, says("told: {results}")], {**LOOK, "parameters": FILTER})


def children(pid: int) -> list[str]:
    """The processes that a process has started and that have not ended."""
    return [
        child for thread in Path(f"/proc/{pid}/task").iterdir() for child in (thread / "children").read_text().split()
    ]


async def test_filters_of_thirty_levels_keep_nobody_waiting_and_nothing_is_left_of_them(
    make_server: MakeServer,
) -> None:
    server = make_server(filtering(30), filtering(1, "modest"), one_call("plain", LOOK))
    await server.start()

    costly = [await server.call.start(f"costly-{number}", package={"package_id": "filtering"}) for number in range(4)]
    plain = [await server.call.start(f"plain-{number}", package={"package_id": "plain"}) for number in range(20)]
    message = await asyncio.gather(*(server.call.settled(started.run.run_id) for started in costly))
    done = await asyncio.gather(*(server.call.settled(started.run.run_id) for started in plain))

    await server.call.start("modest", package={"package_id": "modest"})
    modest = await server.call.settled("modest")

    assert all("simpler" in answer(run) for run in message)
    assert "anyOf does not hold" in answer(modest)
    assert {run.status for run in (*message, *done)} == {run_pb2.RUN_STATUS_COMPLETED}
    started = children(server.pid)
    assert started
    server.terminate()
    assert await server.ended() == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in started)
