"""The texts that people read, out of the messages that hold them."""

from __future__ import annotations

from pathlib import Path

from relay import Relay
from tests.e2e.conftest import MakeServer
from tests.e2e.packages import asks, package, says, tool

from runwright_client import (
    Client,
    Event,
    EventFrame,
    EventKind,
    EventView,
    ToolError,
    ToolServer,
    delta_text,
    result_text,
    tool_text,
)
from runwright_client._gen.runwright.v1 import ModelStreamDelta


def test_a_delta_has_a_text_and_nothing_else_has() -> None:
    delta = Event(kind=EventKind.MODEL_STREAM_DELTA, model_stream_delta=ModelStreamDelta(text="piece", offset=3))

    assert delta_text(delta) == delta_text(EventFrame(event=delta)) == "piece"
    assert delta_text(Event(kind=EventKind.RUN_STARTED)) is None
    assert delta_text(EventFrame()) is tool_text(EventFrame()) is None


async def test_what_models_and_tools_say_is_had_without_knowing_the_messages(
    make_server: MakeServer, relay: Relay, client: Client, tmp_path: Path
) -> None:
    def fails(arguments: object, call: object) -> None:
        raise ToolError("There is no such desk.")

    script = [asks(("look", {}), ("fails", {})), says("It is here.")]
    spec = package("one", script, tool("look", "read"), tool("fails", "read"))
    server = make_server(spec, executors={})
    await server.start()
    relay.to = server.address
    tools = ToolServer()
    tools.add("look", lambda arguments, call: {"seen": True})
    tools.add("fails", fails)
    await tools.start()
    await tools.register(client, spec["tools"][0]["executor"])
    started = await client.start("hello")
    assert result_text(started.run) is None

    run_id = started.run.run_id
    frames = [frame async for frame in client.subscribe(run_id, view=EventView.FULL, deltas=True, until_done=True)]
    short = [frame async for frame in client.subscribe(run_id)]
    await tools.stop()

    assert sorted(message for frame in frames if (message := tool_text(frame))) == [
        "There is no such desk.",
        '{"seen":true}',
    ]
    assert "It is here.".startswith("".join(delta_text(frame) or "" for frame in frames))
    assert not any(tool_text(frame) or delta_text(frame) for frame in short)
    assert result_text(await client.wait(run_id)) == "It is here."
