"""What a real server's metrics say of approvals: what is pending, what became of the others, over a restart."""

from __future__ import annotations

import asyncio

from tests.e2e.conftest import MakeServer
from tests.e2e.executor import Executor
from tests.e2e.scraping import WITH_METRICS, Scrape, scrape
from tests.e2e.test_approval_kills import APPROVE, DENY, asking, decide, pending

RUNS = [f"run-{number}" for number in range(5)]


def standing(seen: Scrape) -> tuple[float, float, float]:
    """Approvals that are pending, those of them of the first five minutes, and how many were asked for."""
    return (
        seen.total("runwright_approvals_pending"),
        seen.value("runwright_approvals_pending", age="5m"),
        seen.value("runwright_approvals_requested_total"),
    )


def outcomes(seen: Scrape) -> dict[str, float]:
    """How many approvals became what, of what any became."""
    counted = [
        sample
        for family in seen.families
        for sample in family.samples
        if sample.name == "runwright_approval_wait_seconds_count"
    ]
    return {sample.labels["outcome"]: sample.value for sample in counted if sample.value}


async def test_a_scrape_says_what_is_pending_and_what_became_of_the_others_also_after_a_restart(
    make_server: MakeServer, executor: Executor
) -> None:
    server = make_server(asking(), options=WITH_METRICS)
    await server.start()
    before = await scrape(server)
    await asyncio.gather(*(server.call.start(run_id) for run_id in RUNS))
    asked = {run_id: (await pending(server.call, run_id))[0] for run_id in RUNS}
    during = await scrape(server)

    await decide(server.call, asked["run-0"], APPROVE)
    await decide(server.call, asked["run-1"], DENY)
    await server.call.cancel("run-2", grace=0)
    for run_id in RUNS[:3]:
        await server.call.settled(run_id)
    after = await scrape(server)
    await server.restart()
    again = await scrape(server)
    await decide(server.call, asked["run-3"], DENY)
    await server.call.settled("run-3")
    last = await scrape(server)

    assert standing(before) == (0, 0, 0)
    assert standing(during) == (5, 5, 5)
    assert during.value("runwright_approvals_oldest_pending_seconds") < 300
    assert standing(after) == (2, 2, 5)
    assert outcomes(after) == {"approved": 1, "denied": 1, "withdrawn": 1}
    assert standing(again) == (2, 2, 0), "counters begin at 0; what is pending is what was"
    assert standing(last) == (1, 1, 0)
    assert outcomes(last) == {"denied": 1}
    assert len(executor.requested) == 1
