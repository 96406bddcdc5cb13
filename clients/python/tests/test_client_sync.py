"""The client without asyncio, used from several threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from relay import Relay
from tests.e2e.conftest import MakeServer
from tests.e2e.executor import Executor, Gate
from tests.e2e.packages import LOOK, one_call

from runwright_client import EventKind, RunStatus, RunwrightError, SyncClient


async def test_threads_share_a_client(make_server: MakeServer, relay: Relay) -> None:
    server = make_server(one_call("one", LOOK))
    await server.start()
    relay.to = server.address

    def use(number: int) -> tuple[RunStatus, int, int]:
        run_id = f"r{number}"
        client.start("hello", run_id=run_id)
        with client.subscribe(run_id) as subscription:
            kinds = [event.kind for event in subscription.events()]
        assert kinds[-1] is EventKind.RUN_COMPLETED
        assert subscription.reconnects == 0
        assert subscription.cursor
        return client.wait(run_id).status, len(kinds), len(list(client.list_events(run_id, page_size=2)))

    def all_of_it() -> list[tuple[RunStatus, int, int]]:
        with ThreadPoolExecutor(6) as threads:
            return list(threads.map(use, range(12)))

    with SyncClient.connect(relay.address) as client:
        done = await asyncio.to_thread(all_of_it)
        listed = await asyncio.to_thread(lambda: [run.run_id for run in client.list(page_size=5)])

    assert {status for status, _, _ in done} == {RunStatus.COMPLETED}
    assert all(seen == there > 0 for _, seen, there in done)
    assert sorted(listed) == sorted(f"r{number}" for number in range(12))


async def test_a_thread_that_waits_is_let_go_when_the_client_is_closed(
    make_server: MakeServer, executor: Executor, relay: Relay
) -> None:
    executor.before = Gate()
    server = make_server(one_call("one", LOOK))
    await server.start()
    relay.to = server.address
    client = await asyncio.to_thread(SyncClient.connect, relay.address)
    await asyncio.to_thread(client.start, "hello", run_id="r1")
    reading = threading.Event()

    def follow() -> None:
        for _ in client.subscribe("r1"):
            reading.set()

    outcomes = [_outcome(follow), _outcome(lambda: client.wait("r1"))]
    tasks = [asyncio.create_task(asyncio.to_thread(outcome)) for outcome in outcomes]
    await asyncio.to_thread(reading.wait, 30)
    await asyncio.to_thread(client.close)
    await asyncio.to_thread(client.close)
    async with asyncio.timeout(30):
        ends = [await task for task in tasks]

    assert ends == ["CANCELLED", "CANCELLED"]
    assert _outcome(lambda: client.snapshot("r1"))() == "CANCELLED"
    with pytest.raises(ValueError, match="host:port"):
        SyncClient.connect("nowhere")
    assert not [thread for thread in threading.enumerate() if thread.name == "runwright-client"]


def _outcome(work: Callable[[], Any]) -> Callable[[], str]:
    def message() -> str:
        try:
            work()
        except RunwrightError as error:
            return error.reason
        return "OK"

    return message
