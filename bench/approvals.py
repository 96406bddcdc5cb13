"""Approvals: 10,000 are pending: their memory, a restart, the list, and the way of a decision to the executor."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from statistics import median

import grpc
from runwright._gen.runwright.callback.v1 import tool_executor_service_pb2 as tool_pb
from runwright._gen.runwright.v1 import approval_pb2
from runwright._gen.runwright.v1 import approval_service_pb2 as pb

from bench.calls import RAW, SERVICE, Unary, channel, start_run, timed, unary
from bench.children import running
from bench.executor import Executor, executing
from bench.figures import Figure, Goal, quantile
from bench.parts import Installation, Spec, asks, install, package, tool
from bench.resident import WORKERS, finished, mib, resident, served, used
from bench.rounds import interleaved, say

CEILING = "of a decision's way: a raw server that hands the call on to the executor; the other bounds are absolute"
APPROVALS = "/runwright.v1.ApprovalService/"
EXECUTE = "/runwright.callback.v1.ToolExecutorService/ExecuteTool"
RUNS, PAGE = 10_000, 100
LISTS, WARM_DECISIONS, DECISIONS = 200, 100, 1_000
MEMORY = Goal("A1", "memory of a pending approval and its run, beyond the empty server", "KiB", 4, 3)
AGAIN = Goal("A2", "the same after a restart", "KiB", 4, 3)
RESTART = Goal("A3", "restart to SERVING with all of them", "s", 2, 1.5)
LIST = Goal("A4", "first page of the list, p50", "ms", 20, 10)
HALF = Goal("P10", "decision → executor has the call, over the same hops, p50", "ms", 10, 5)
MOST = Goal("P10", "decision → executor has the call, over the same hops, p99", "ms", 25, 15)


async def measure(directory: Path) -> Sequence[Figure]:
    """Two servers of the same packages, one of which gets the runs; it is stopped in good order and started again."""
    ready = package("ready", [{"text": "Done."}])
    empty, full = (install(directory, ask_package(), ready, name=name) for name in ("empty", "full"))
    async with executing() as executor:
        async with served(directory, empty, executor.address) as (server, to):
            cold = server.started
            await finished(to, empty)
            base = await resident(server)
        async with served(directory, full, executor.address) as (server, to):
            await finished(to, full)
            say(f"  A: asking for {RUNS:,} approvals")
            start = unary(to, SERVICE + "StartRun", full)
            await timed(lambda: start(start_run("asking")), number=RUNS, workers=WORKERS)
            await _all_pending(to, full)
            first = await resident(server)
        say("  A: restarting")
        async with (
            served(directory, full, executor.address) as (server, to),
            running(directory, "-m", "bench.raw_server", announces=("raw",)) as bare,
            channel(bare.addresses["raw"]) as raw,
        ):
            restart, spent = server.started, used(server)
            again = await resident(server)
            approvals = await _all_pending(to, full)
            lists = await first_pages(to, full)
            way = await _ways(
                executor, unary(to, APPROVALS + "DecideApproval", full), unary(raw, RAW + "Relay"), approvals
            )
    return [
        Figure(MEMORY, [(first - base) / 1024 / RUNS], f"{mib(first)}, empty {mib(base)}"),
        Figure(AGAIN, [(again - base) / 1024 / RUNS], f"{mib(again)}, empty {mib(base)}"),
        Figure(RESTART, [restart], f"{spent:.2f} s of CPU; {cold:.2f} s without runs"),
        Figure(LIST, [median(lists)], f"p99 {quantile(lists, 0.99):.1f} ms, {LISTS} times {PAGE} of {RUNS:,}"),
        *way,
    ]


def ask_package() -> Spec:
    """Every call waits for somebody, as long as it takes."""
    spec = package("asking", [asks("send"), {"text": "Found {results}."}], tool("send", "write"))
    del spec["policy"]
    spec["policies"] = [{"rules": [{"then": "ask", "approval": "writes"}]}]
    spec["approvals"] = {"writes": {"sets": [{"roles": ["approver"]}], "expires": "7d"}}
    return spec


async def _all_pending(to: grpc.aio.Channel, installed: Installation) -> list[approval_pb2.Approval]:
    """What is pending, by the list, once it is all of them."""
    async with asyncio.timeout(60):
        while True:
            found = await _pending(to, installed)
            if len(found) == RUNS:
                return found
            await asyncio.sleep(0.5)  # models are still being asked


async def _pending(to: grpc.aio.Channel, installed: Installation) -> list[approval_pb2.Approval]:
    found: list[approval_pb2.Approval] = []
    token = ""
    while True:
        requested = pb.ListApprovalsRequest(page_size=1000, page_token=token).SerializeToString()
        page = pb.ListApprovalsResponse.FromString(await unary(to, APPROVALS + "ListApprovals", installed)(requested))
        found += page.approvals
        token = page.next_page_token
        if not token:
            return found


async def first_pages(to: grpc.aio.Channel, installed: Installation) -> list[float]:
    """Milliseconds of each first page."""
    requested = pb.ListApprovalsRequest(page_size=PAGE).SerializeToString()
    listed = unary(to, APPROVALS + "ListApprovals", installed)
    await timed(lambda: listed(requested), number=LISTS, workers=1)
    *each, _ = await timed(lambda: listed(requested), number=LISTS, workers=1)
    return [1000 * seconds for seconds in each]


async def _ways(
    executor: Executor, decide: Unary, relay: Unary, approvals: Sequence[approval_pb2.Approval]
) -> Sequence[Figure]:
    """From sending a decision to the executor that has the call, beside a raw server that hands a call on to it.

    One of each in turn: where a machine stands still now and then, both meet that.
    """
    left = iter(approvals)

    async def ours() -> float:
        approval = next(left)
        decision = pb.DecisionRequest(
            approval_id=approval.approval_id,
            digest=approval.digest,
            verdict=approval_pb2.APPROVAL_VERDICT_APPROVE,
            request_id="decision",
        )
        request = pb.DecideApprovalRequest(decision=decision).SerializeToString()
        return await _way(executor, approval.run_id, decide, request)

    async def hops() -> float:
        run_id = f"relayed-{next(numbers)}"
        call = tool_pb.ExecuteToolRequest(run_id=run_id, tool="send", arguments_json=b'{"query":"lamp"}')
        request = b"\n".join((executor.address.encode(), EXECUTE.encode(), call.SerializeToString()))
        return await _way(executor, run_id, relay, request)

    numbers = count()
    await interleaved("A, warm-up", {"ours": ours, "hops": hops}, rounds=WARM_DECISIONS, warm_up=0, is_told=False)
    found = await interleaved("A", {"ours": ours, "hops": hops}, rounds=DECISIONS, warm_up=0, is_told=False)
    figures = []
    for goal, share in ((HALF, 0.5), (MOST, 0.99)):
        our, best = (quantile(found[side], share) for side in ("ours", "hops"))
        detail = (
            f"{our:.2f} ms, the hops {best:.2f} ms; {DECISIONS:,} of each in turn, longest {max(found['ours']):.0f} ms"
        )
        figures.append(Figure(goal, [our - best], detail))
    return figures


async def _way(executor: Executor, run_id: str, call: Unary, request: bytes) -> float:
    """Milliseconds until the executor has the call of the run. Returns when the answer is there, too."""
    arrived: asyncio.Future[float] = asyncio.get_running_loop().create_future()
    executor.arrived[run_id] = arrived
    began = time.perf_counter()
    answered = asyncio.ensure_future(call(request))
    at = await arrived
    await answered
    return 1000 * (at - began)
