"""Subscriptions that come back by themselves: nothing lost, nothing twice, whatever happens to the server."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from itertools import pairwise

import pytest
from relay import Relay
from tests.e2e.conftest import MakeServer
from tests.e2e.executor import Executor, Gate, StartCaller
from tests.e2e.packages import LOOK, one_call, package
from tests.e2e.scraping import WITH_METRICS, scrape
from tests.e2e.server_process import Server

from runwright_client import (
    AllRuns,
    Client,
    EventFilter,
    EventFrame,
    EventKind,
    EventView,
    Keepalive,
    RunwrightError,
    StreamScope,
)

SECONDS = 60.0
EVERYTHING = StreamScope(all=AllRuns())


async def hold_first_attempts(requested: StartCaller) -> None:
    """Leaves every call open until its server has died."""
    if requested.attempt == 1:
        await asyncio.Event().wait()


async def serving(server: Server, relay: Relay) -> None:
    """Starts the server behind the relay."""
    await server.start()
    relay.to = server.address


def events_of(frames: list[EventFrame]) -> list[EventFrame]:
    """The frames that hold an event."""
    return [frame for frame in frames if frame.event is not None]


async def test_a_server_killed_in_every_call_is_followed_exactly_once(
    make_server: MakeServer, executor: Executor, relay: Relay, client: Client
) -> None:
    executor.before = hold_first_attempts
    server = make_server(one_call("one", LOOK, times=3))
    await serving(server, relay)
    await client.start("hello", run_id="r1")
    lost: list[RunwrightError] = []
    seen: list[EventFrame] = []

    async with asyncio.timeout(SECONDS), client.subscribe("r1", on_reconnect=lost.append) as subscription:
        async for frame in subscription:
            seen.append(frame)
            if frame.event is not None and frame.event.kind is EventKind.TOOL_STARTED and frame.event.attempt == 1:
                await executor.until_asked(len(executor.requested) or 1)
                await relay.restart(server)
        cursor = subscription.cursor

    whole = [frame async for frame in client.subscribe("r1")]
    listed = [frame async for frame in client.list_events("r1")]
    assert server.life == 4
    assert events_of(seen) == events_of(whole) == listed
    assert all(later.previous_hash == earlier.hash for earlier, later in pairwise(events_of(seen)))
    assert subscription.reconnects == len(lost) >= 3
    assert {error.code for error in lost} == {"UNAVAILABLE"}
    assert cursor == listed[-1].cursor


async def test_cut_lines_are_not_noticed_in_what_is_seen(
    make_server: MakeServer, executor: Executor, relay: Relay, client: Client
) -> None:
    async def cut(_: StartCaller) -> None:
        relay.cut()

    executor.before = executor.after = cut
    server = make_server(one_call("one", LOOK, times=5))
    await serving(server, relay)
    seen: list[EventFrame] = []

    async with asyncio.timeout(SECONDS), client.subscribe(EVERYTHING, view=EventView.FULL) as subscription:
        seen.append(await anext(subscription))
        await client.start("hello", run_id="r1")
        async for frame in subscription:
            seen.append(frame)
            if frame.event is not None and frame.event.kind is EventKind.RUN_COMPLETED:
                break

    listed = [frame async for frame in client.list_events(EVERYTHING, view=EventView.FULL)]
    assert events_of(seen) == listed
    assert subscription.reconnects >= 1
    for place, frame in enumerate(seen):
        if frame.bookmark is not None:
            after = client.list_events(EVERYTHING, after=frame.cursor, view=EventView.FULL)
            assert [later async for later in after] == events_of(seen[place:]), "its cursor is where it stands"


async def test_a_kept_cursor_is_where_another_process_goes_on(
    make_server: MakeServer, relay: Relay, client: Client
) -> None:
    server = make_server(one_call("one", LOOK))
    await serving(server, relay)
    await client.start("hello", run_id="r1")
    async with client.subscribe("r1") as first:
        half = [await anext(first) for _ in range(6)]
    await relay.restart(server)

    async with Client.connect(relay.address) as other:
        rest = [frame async for frame in other.subscribe("r1", after=first.cursor)]

    seqs = [frame.event.seq for frame in [*half, *rest] if frame.event is not None]
    assert seqs == list(range(1, len(seqs) + 1))
    assert rest[-1].event is not None
    assert rest[-1].event.kind is EventKind.RUN_COMPLETED


async def test_a_draining_server_is_waited_for(
    make_server: MakeServer, executor: Executor, relay: Relay, client: Client
) -> None:
    executor.before = gate = Gate()
    server = make_server(one_call("one", LOOK))
    await serving(server, relay)
    await client.start("hello", run_id="r1")
    await executor.until_asked(1)
    lost = asyncio.Event()

    async def follow() -> list[EventFrame]:
        return [frame async for frame in client.subscribe("r1", on_reconnect=lambda _: lost.set())]

    following = asyncio.create_task(follow())
    async with asyncio.timeout(SECONDS):
        await client.wait("r1", timeout=0.2)
        server.terminate()
        await lost.wait()
        await server.ended()
        await serving(server, relay)
        gate.open()
        seen = await following

    assert events_of(seen) == [frame async for frame in client.list_events("r1")]


async def test_a_frozen_server_is_noticed(make_server: MakeServer, executor: Executor, relay: Relay) -> None:
    executor.before = gate = Gate()
    server = make_server(one_call("one", LOOK), options=("--min-ping-interval", "0"))
    await serving(server, relay)
    async with Client.connect(relay.address, keepalive=Keepalive(0.3, 0.3)) as client:
        await client.start("hello", run_id="r1")
        await executor.until_asked(1)
        lost: list[RunwrightError] = []

        def noted(error: RunwrightError) -> None:
            lost.append(error)
            os.kill(server.pid, signal.SIGCONT)
            gate.open()

        async with asyncio.timeout(SECONDS), client.subscribe("r1", on_reconnect=noted) as subscription:
            seen = [await anext(subscription)]
            os.kill(server.pid, signal.SIGSTOP)
            with pytest.raises(RunwrightError) as silent:
                await client.snapshot("r1", deadline=0.1)
            seen += [frame async for frame in subscription]

        assert silent.value.code == "DEADLINE_EXCEEDED"
        assert lost[0].code == "UNAVAILABLE"
        assert events_of(seen) == [frame async for frame in client.list_events("r1")]


async def test_a_quiet_stream_is_not_taken_for_a_dead_one(
    make_server: MakeServer, executor: Executor, relay: Relay
) -> None:
    executor.before = gate = Gate()
    server = make_server(one_call("one", LOOK), options=("--min-ping-interval", "0"))
    await serving(server, relay)
    async with Client.connect(relay.address, keepalive=Keepalive(0.05, 5)) as client:
        await client.start("hello", run_id="r1")
        async with client.subscribe("r1") as subscription:
            await anext(subscription)
            await client.wait("r1", timeout=1)
            gate.open()
            async with asyncio.timeout(SECONDS):
                rest = [frame async for frame in subscription]

    assert subscription.reconnects == 0
    assert events_of(rest)


async def test_what_does_not_pass_is_raised(make_server: MakeServer, relay: Relay, client: Client) -> None:
    server = make_server(one_call("one", LOOK))
    await serving(server, relay)

    with pytest.raises(RunwrightError) as malformed:
        await anext(client.subscribe(EVERYTHING, after="nonsense"))
    unknown = client.subscribe("nope")
    for _ in range(2):
        with pytest.raises(RunwrightError, match="RUN_NOT_FOUND"):
            await anext(unknown)

    assert malformed.value.reason == "CURSOR_MALFORMED"
    assert unknown.reconnects == 0


async def test_leaving_a_subscription_ends_its_stream(
    make_server: MakeServer, executor: Executor, relay: Relay, client: Client
) -> None:
    executor.before = Gate()
    server = make_server(one_call("one", LOOK), options=WITH_METRICS)
    await serving(server, relay)
    await client.start("hello", run_id="r1")

    async def until_followed_by(number: int) -> None:
        while (await scrape(server)).value("runwright_subscribers") != number:
            pass

    async with asyncio.timeout(SECONDS):
        async with client.subscribe("r1") as left:
            await anext(left)
            await until_followed_by(1)
        await until_followed_by(0)
        async for _ in client.subscribe("r1"):
            await until_followed_by(1)
            break
        gc.collect()
        await until_followed_by(0)
        held = client.subscribe("r1")
        reading = asyncio.create_task(_all(held))
        await until_followed_by(1)
        await held.aclose()
        await until_followed_by(0)
        frames = await reading

    assert frames
    assert relay.connections == 1, "the connection outlives its streams"
    with pytest.raises(StopAsyncIteration):
        await anext(left)


async def _all(subscription: object) -> list[EventFrame]:
    return [frame async for frame in subscription]  # type: ignore[attr-defined]


async def test_a_time_out_around_a_frame_loses_none(
    make_server: MakeServer, executor: Executor, relay: Relay, client: Client
) -> None:
    executor.before = gate = Gate()
    server = make_server(one_call("one", LOOK))
    await serving(server, relay)
    await client.start("hello", run_id="r1")
    seen: list[EventFrame] = []

    async with client.subscribe("r1") as subscription:
        with pytest.raises(TimeoutError):
            while True:
                async with asyncio.timeout(0.3):
                    seen.append(await anext(subscription))
        gate.open()
        async with asyncio.timeout(SECONDS):
            seen += [frame async for frame in subscription]

    assert events_of(seen) == [frame async for frame in client.list_events("r1")]


async def test_a_subscription_that_nobody_reads_is_no_burden_for_other_calls(
    make_server: MakeServer, relay: Relay, client: Client
) -> None:
    text = "x" * 30_000
    server = make_server(one_call("one", LOOK))
    await serving(server, relay)
    for number in range(20):
        await client.start(text, run_id=f"r{number}")
    for number in range(20):
        await client.wait(f"r{number}")

    async with client.subscribe(EVERYTHING, view=EventView.FULL) as unread:
        await anext(unread)
        listed = [frame async for frame in client.list_events(EVERYTHING, view=EventView.FULL)]
        async with asyncio.timeout(SECONDS):
            seen = [frame for frame in [await anext(unread) for _ in listed] if frame.event is not None]

    assert seen == listed[: len(seen)]
    assert len(seen) >= len(listed) - 2


async def test_text_is_heard_while_it_comes_and_filters_hold(
    make_server: MakeServer, relay: Relay, client: Client
) -> None:
    server = make_server(package("spoken", [{"chunks": ["Half of the ", "answer, ", "then the rest."]}], LOOK))
    await serving(server, relay)
    ends = EventFilter(kinds=[EventKind.RUN_COMPLETED])

    async with client.subscribe(EVERYTHING, live_only=True, filter=ends, deltas=True) as subscription:
        await anext(subscription)
        await client.start("hello", run_id="r1")
        kinds: list[EventKind] = []
        async with asyncio.timeout(SECONDS):
            async for event in subscription.events():
                kinds.append(event.kind)
                if event.kind is EventKind.RUN_COMPLETED:
                    break

    assert set(kinds) <= {EventKind.MODEL_STREAM_DELTA, EventKind.RUN_COMPLETED}
    assert kinds[-1] is EventKind.RUN_COMPLETED
