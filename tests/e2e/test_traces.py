"""Traces: a run's spans reach a real collector, and its trace goes through executors and restarts."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from runwright._gen.runwright.v1 import run_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright.adapters.telemetry.conventions import SCHEMA_URL
from runwright.core import trace

from tests.e2e.client import SECONDS, answer, run_request
from tests.e2e.collector import Collector, attributes, running_collector
from tests.e2e.conftest import MakeServer
from tests.e2e.executor import Executor, Gate, pass_by
from tests.e2e.packages import BOOK, LOOK, asks, one_call, package, says
from tests.e2e.scraping import log_lines
from tests.e2e.server_process import Server

TRACE, CALLER_SPAN = "5af0" * 8, "c0de" * 4
TRACE_PARENT = f"00-{TRACE}-{CALLER_SPAN}-01"


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    """Where spans go."""
    async with running_collector() as running:
        yield running


async def start(server: Server, trace_parent: str, run_id: str = "run-1") -> run_pb2.RunSnapshot:
    """Starts a run as a caller who is in a trace."""
    request = pb.StartRunRequest(run=run_request(run_id, "the secret question", session_id="desk-7"))
    started = await server.call.stub.StartRun(request, timeout=SECONDS, metadata=(("traceparent", trace_parent),))
    return started.run


async def stopped(server: Server) -> None:
    """Ends the server as a deploy does: the last spans go out first."""
    server.terminate()
    assert await server.ended() == 0


async def test_a_run_is_one_trace_from_its_caller_to_its_executor(
    make_server: MakeServer, executor: Executor, collector: Collector
) -> None:
    spec = package("asking", [asks(("look", {"for": "the secret lamp"})), says("the secret answer")], LOOK)
    server = make_server(spec, options=("--otlp-endpoint", collector.endpoint))
    await server.start()
    await start(server, TRACE_PARENT)
    assert answer(await server.call.settled("run-1")) == "the secret answer"
    listed = [frame.event for frame in await server.call.frames("run-1")]
    await stopped(server)

    [run] = collector.named("invoke_agent clerk")
    first, second = collector.named("chat script-1")
    [call] = collector.named("execute_tool look")
    assert len(collector.spans) == 4
    assert {span.trace_id.hex() for span in collector.spans} == {TRACE}
    assert run.parent_span_id.hex() == CALLER_SPAN
    assert {span.parent_span_id for span in (first, second, call)} == {run.span_id}
    assert executor.trace_parents == [f"00-{TRACE}-{call.span_id.hex()}-01"]
    assert run.start_time_unix_nano == listed[0].time.ToNanoseconds()
    assert run.end_time_unix_nano == listed[-1].time.ToNanoseconds()
    assert first.end_time_unix_nano <= call.start_time_unix_nano <= call.end_time_unix_nano
    assert {event.trace_parent for event in listed} == {TRACE_PARENT}
    assert collector.schemas == {SCHEMA_URL}
    assert not any(b"secret" in request.SerializeToString() for request in collector.requests)


async def test_a_collector_on_this_machine_is_reached_without_a_proxy(
    make_server: MakeServer, executor: Executor, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = make_server(one_call("asking", LOOK), options=("--otlp-endpoint", collector.endpoint))
    with monkeypatch.context() as environment:
        for name in ("http_proxy", "https_proxy", "grpc_proxy"):
            environment.setenv(name, "http://127.0.0.1:1")
        environment.delenv("no_proxy", raising=False)
        await server.start()

    await start(server, TRACE_PARENT)
    await server.call.settled("run-1")
    await stopped(server)

    assert collector.named("invoke_agent clerk")


async def test_spans_say_what_the_conventions_name(
    make_server: MakeServer, executor: Executor, collector: Collector
) -> None:
    server = make_server(one_call("asking", LOOK), options=("--otlp-endpoint", collector.endpoint))
    await server.start()
    await start(server, TRACE_PARENT)
    await server.call.settled("run-1")
    await stopped(server)

    [run], [call] = collector.named("invoke_agent clerk"), collector.named("execute_tool look")
    message = attributes(run)
    common = {"gen_ai.agent.id": "clerk", "gen_ai.conversation.id": "desk-7", "runwright.run.id": "run-1"}
    assert common.items() <= message.items()
    assert (message["gen_ai.operation.name"], message["runwright.run.status"]) == ("invoke_agent", "completed")
    assert message["runwright.run.stop_reason"] == "end_turn"
    message = attributes(call)
    assert common.items() <= message.items()
    assert (message["gen_ai.operation.name"], message["gen_ai.tool.name"]) == ("execute_tool", "look")
    assert (message["gen_ai.tool.call.id"], message["runwright.attempt"]) == ("c1.1", 1)
    for chat in collector.named("chat script-1"):
        message = attributes(chat)
        assert (message["gen_ai.provider.name"], message["gen_ai.request.model"]) == ("scripted", "script-1")
        assert message["gen_ai.response.finish_reasons"].values[0].string_value in ("tool_calls", "stop")


async def test_a_killed_server_goes_on_in_the_same_trace(
    make_server: MakeServer, executor: Executor, collector: Collector
) -> None:
    executor.before = Gate()
    server = make_server(one_call("asking", LOOK), options=("--otlp-endpoint", collector.endpoint))
    await server.start()
    await start(server, TRACE_PARENT)
    await executor.until_asked(1)
    server.kill()
    await server.ended()
    executor.before = pass_by
    await server.start()
    await server.call.settled("run-1")
    await stopped(server)

    first, second = executor.trace_parents
    [run], [call] = collector.named("invoke_agent clerk"), collector.named("execute_tool look")
    assert trace.trace_id(first) == trace.trace_id(second) == run.trace_id.hex() == TRACE
    assert first != second, "each attempt is a span of its own"
    assert (second.split("-")[2], attributes(call)["runwright.attempt"]) == (call.span_id.hex(), 2)
    assert run.start_time_unix_nano < call.start_time_unix_nano, "the run began in the life before"


async def test_a_run_without_a_caller_in_a_trace_has_a_trace_of_its_own(
    make_server: MakeServer, executor: Executor, collector: Collector
) -> None:
    server = make_server(one_call("asking", LOOK), options=("--otlp-endpoint", collector.endpoint))
    await server.start()
    for run_id in ("run-1", "run-2"):
        await start(server, "no trace at all", run_id)
        await server.call.settled(run_id)
    await stopped(server)

    runs = collector.named("invoke_agent clerk")
    assert {run.parent_span_id for run in runs} == {b""}
    assert [run.trace_id.hex() for run in runs] == [trace.trace_id(parent) for parent in executor.trace_parents]
    assert len({run.trace_id for run in runs}) == 2


async def test_a_caller_who_does_not_record_is_not_recorded(
    make_server: MakeServer, executor: Executor, collector: Collector
) -> None:
    server = make_server(one_call("asking", LOOK), options=("--otlp-endpoint", collector.endpoint))
    await server.start()
    await start(server, f"00-{TRACE}-{CALLER_SPAN}-00")
    await server.call.settled("run-1")
    await stopped(server)

    assert collector.spans == []
    assert [parent[-3:] for parent in executor.trace_parents] == ["-00"]


async def test_without_a_collector_the_callers_trace_is_handed_on_as_it_came(
    make_server: MakeServer, executor: Executor
) -> None:
    server = make_server(one_call("asking", LOOK))
    await server.start()
    await start(server, TRACE_PARENT)
    await server.call.settled("run-1")
    await server.call.start("run-2")
    await server.call.settled("run-2")

    assert executor.trace_parents == [TRACE_PARENT, ""]


async def test_a_failed_call_is_an_error_in_its_trace(
    make_server: MakeServer, executor: Executor, collector: Collector
) -> None:
    executor.before = Gate()
    server = make_server(one_call("asking", BOOK), options=("--otlp-endpoint", collector.endpoint))
    await server.start()
    await start(server, TRACE_PARENT)
    await executor.until_asked(1)
    await server.call.cancel("run-1", grace=0)
    await server.call.settled("run-1")
    await stopped(server)

    [run], [call] = collector.named("invoke_agent clerk"), collector.named("execute_tool book")
    assert attributes(run)["error.type"] == "CANCELLED"
    assert (run.status.code, call.status.code) == (2, 2)


async def test_a_collector_that_is_away_costs_spans_and_nothing_else(
    make_server: MakeServer, executor: Executor
) -> None:
    server = make_server(one_call("asking", LOOK), options=("--otlp-endpoint", "http://127.0.0.1:1"))
    await server.start()
    await start(server, TRACE_PARENT)
    await server.call.settled("run-1")
    await stopped(server)

    message = [line for line in log_lines(server) if line.get("logger", "").startswith("opentelemetry")]
    assert {line["level"] for line in message} <= {"error"}
