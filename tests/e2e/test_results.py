"""A server that is killed while a result waits for its release: the result stays, and rules decide after a restart."""

from __future__ import annotations

import signal

from runwright._gen.runwright.v1 import event_pb2, run_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb

from tests.e2e.client import answer
from tests.e2e.conftest import MakeServer
from tests.e2e.executor import Executor
from tests.e2e.journal_file import events_on_disk
from tests.e2e.packages import BOOK, one_call

STREAM_SECONDS = 30.0
RULES = [{"stage": "post_tool", "when": "result.size > 50000", "then": "deny", "code": "too_long"}]


async def test_a_result_that_was_not_released_yet_is_over_a_kill_and_its_call_is_not_made_again(
    make_server: MakeServer, executor: Executor
) -> None:
    executor.result_bytes = 100_000  # looked at in a process of its own, which takes its time to start
    package = one_call("one", BOOK) | {"policy": "builtin:read-only"}
    server = make_server(package | {"policies": [{"builtin": "allow-declared"}, {"rules": RULES}]})
    await server.start()
    await server.call.start("run-1")
    request = pb.SubscribeRequest(scope=pb.StreamScope(run_id="run-1"))
    async for response in server.call.stub.Subscribe(request, timeout=STREAM_SECONDS):
        if any(frame.event.kind == event_pb2.EVENT_KIND_TOOL_COMPLETED for frame in response.frames):
            break
    server.kill()
    assert await server.ended() == -signal.SIGKILL
    before = await events_on_disk(server.data, "run-1")

    await server.start()
    ended = await server.call.settled("run-1")

    assert [event.effect_id for event in before if event.tool_completed.awaits_release] == ["c1.1"]
    assert ended.status == run_pb2.RUN_STATUS_COMPLETED
    assert "withheld by policy policies.1 (too_long)" in answer(ended)
    after = [frame.event for frame in await server.call.frames("run-1")]
    assert after[: len(before)] == before
    released = [event.tool_result_released.code for event in after if event.HasField("tool_result_released")]
    assert released == ["too_long"]
    assert executor.effects_of("run-1", "c1.1") == 1
