"""Metrics of a real server, scraped over a socket while runs go on; and the page that documents them."""

from __future__ import annotations

import asyncio
import re
import socket

import grpc
import pytest
from runwright._gen.runwright.v1 import run_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright.cli.serve import UNUSABLE

from tests.e2e.conftest import MakeServer
from tests.e2e.executor import Executor, Gate
from tests.e2e.packages import BOOK, LOOK, asks, one_call, package, says
from tests.e2e.scraping import WITH_METRICS, Scrape, log_lines, scrape
from tests.e2e.server_process import ROOT
from tests.e2e.test_keys_and_tls import runwright

RUNS = [f"run-{number}" for number in range(12)]
METHOD = "runwright.v1.RuntimeService/"
_ROW = re.compile(r"\| `(\w+)` \| (\w+) \| ([^|]*) \| [^|]+ \|")


async def test_a_scrape_says_how_runs_stand_while_they_go_on(make_server: MakeServer, executor: Executor) -> None:
    executor.before = gate = Gate()
    options = (*WITH_METRICS, "--executor-calls", str(len(RUNS)))
    spec = one_call("looking", LOOK)
    spec["provider"]["parameters"]["script"][0].update(input_tokens=7, output_tokens=2)
    server = make_server(spec, options=options)
    await server.start()
    before = await scrape(server)
    await asyncio.gather(*(server.call.start(run_id) for run_id in RUNS))
    await executor.until_asked(len(RUNS))
    stream = server.call.stub.Subscribe(pb.SubscribeRequest(scope=pb.StreamScope(all=pb.AllRuns())))
    await stream.read()

    during = await scrape(server)
    gate.open()
    await asyncio.gather(*(server.call.settled(run_id) for run_id in RUNS))
    stream.cancel()
    after = await scrape(server)

    assert (before.value("runwright_runs_started_total"), before.value("runwright_runs", status="running")) == (0, 0)
    assert during.value("runwright_runs_started_total") == during.value("runwright_runs", status="running") == 12
    assert during.value("runwright_subscribers") == 1
    assert during.value("runwright_executors", state="configured") == 1
    assert during.value("runwright_executors", state="connected") == 1
    assert after.value("runwright_runs", status="running") == 0
    assert after.value("runwright_runs_ended_total", status="completed", stop_reason="end_turn") == 12
    assert after.value("runwright_tool_attempts_total", outcome="completed") == 12
    assert after.value("runwright_model_attempts_total", outcome="completed") == 24
    spent = {"gen_ai_operation_name": "chat", "gen_ai_provider_name": "scripted", "gen_ai_token_modality": "unknown"}
    tokens = [
        after.value(f"gen_ai_client_inference_usage_{which}_tokens_total", gen_ai_request_model="script-1", **spent)
        for which in ("input", "output")
    ]
    assert tokens == [12 * 7, 12 * 2]
    assert after.value("runwright_grpc_call_seconds_count", method=METHOD + "StartRun", code="OK") == 12
    assert after.value("runwright_journal_head") == after.value("runwright_journal_commit_records_sum") > 12
    assert after.value("runwright_journal_append_seconds_count") >= after.value(
        "runwright_journal_commit_records_count"
    )
    assert after.value("runwright_journal_takes_writes") == 1
    assert after.value("runwright_journal_bytes", file="journal.db") > 0
    assert after.value("runwright_disk_free_bytes") > 0


async def test_refused_and_cancelled_calls_count_by_their_status(make_server: MakeServer) -> None:
    server = make_server(one_call("looking", LOOK), options=WITH_METRICS)
    await server.start()
    with pytest.raises(grpc.aio.AioRpcError):
        await server.call.snapshot("nobody")
    stream = server.call.stub.Subscribe(pb.SubscribeRequest(scope=pb.StreamScope(all=pb.AllRuns())))
    await stream.read()
    stream.cancel()
    await server.call.start("run-1")
    await server.call.settled("run-1")

    async with asyncio.timeout(60):
        while (seen := await scrape(server)).value("runwright_subscribers"):
            await server.call.snapshot("run-1")

    assert seen.value("runwright_grpc_call_seconds_count", method=METHOD + "Snapshot", code="NOT_FOUND") == 1
    assert seen.value("runwright_grpc_call_seconds_count", method=METHOD + "Subscribe", code="CANCELLED") == 1


async def test_unknown_calls_are_counted_until_their_run_ends_also_after_a_restart(
    make_server: MakeServer, executor: Executor
) -> None:
    executor.after = Gate()
    server = make_server(one_call("booking", BOOK), options=WITH_METRICS)
    await server.start()
    await server.call.start("run-1")
    await executor.until_asked(1)

    seen: list[tuple[float, float]] = []
    for _ in range(2):
        await server.restart()
        assert (await server.call.settled("run-1")).status == run_pb2.RUN_STATUS_REPAIR_NEEDED
        seen.append(unknown(await scrape(server)))
    await server.call.cancel("run-1", grace=0)
    await server.call.settled("run-1")

    assert seen == [(1, 1), (1, 1)]
    assert unknown(await scrape(server)) == (0, 0)


def unknown(seen: Scrape) -> tuple[float, float]:
    """Unknown calls, and runs that need repair."""
    return seen.value("runwright_unknown_effects"), seen.value("runwright_runs", status="repair_needed")


async def test_the_page_lists_exactly_what_is_exported(make_server: MakeServer, executor: Executor) -> None:
    spec = package("both", [asks(("look", {})), says("done")], LOOK)
    server = make_server(spec, options=WITH_METRICS)
    await server.start()
    await server.call.start("run-1")
    await server.call.settled("run-1")
    page = (ROOT / "docs" / "operations.md").read_text()

    exported = {}
    for family in (await scrape(server)).families:
        if family.name.startswith("process_"):
            continue
        labels = {name for sample in family.samples for name in sample.labels} - {"le"}
        suffix = "_total" if family.type == "counter" else ""
        exported[family.name + suffix] = (family.type, labels)

    listed = {
        name: (kind, {word.strip(" `") for word in labels.split(",") if word.strip()})
        for name, kind, labels in _ROW.findall(page)
    }
    assert listed == exported


async def test_an_address_that_is_taken_is_refused_with_a_word(make_server: MakeServer) -> None:
    server = make_server(one_call("looking", LOOK))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        code, _, message = await runwright(*server.arguments()[2:], "--metrics", address)

    assert code == UNUSABLE
    assert f"--metrics {address}: port {address.rpartition(':')[2]} is in use by another program. End it" in message
    assert len(message.splitlines()) == 1, "gRPC says nothing of its own"


async def test_metrics_are_not_shown_to_other_machines_by_accident(make_server: MakeServer) -> None:
    server = make_server(one_call("looking", LOOK))

    code, _, message = await runwright(*server.arguments()[2:], "--metrics", "0.0.0.0:0")

    assert (code, "loopback" in message) == (UNUSABLE, True)


async def test_a_server_without_metrics_says_nothing_of_them(make_server: MakeServer) -> None:
    server = make_server(one_call("looking", LOOK))
    await server.start()
    server.terminate()
    await server.ended()

    assert [line["message"] for line in log_lines(server)] == ["recovered", "draining", "stopped"]
