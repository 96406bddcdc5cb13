"""The unary calls, against a real server."""

from __future__ import annotations

import asyncio

import pytest
from relay import Relay
from tests.e2e.conftest import MakeServer
from tests.e2e.executor import Executor, Gate
from tests.e2e.packages import LOOK, one_call
from tests.transport.known import add_key

from runwright_client import Client, Keepalive, RunFilter, RunStatus, RunwrightError, StreamScope, is_done


async def test_a_run_is_started_once_waited_for_listed_and_read(
    make_server: MakeServer, relay: Relay, client: Client
) -> None:
    server = make_server(one_call("one", LOOK))
    await server.start()
    relay.to = server.address

    first = await client.start("hello", run_id="r1", labels={"team": "a"}, session_id="s1")
    again = await client.start("hello", run_id="r1", labels={"team": "a"}, session_id="s1")
    nameless = await client.start(["two", "parts"], package="one")
    run = await client.wait("r1")
    await client.wait(nameless.run.run_id)
    events = [frame.event async for frame in client.list_events("r1", page_size=3)]
    listed = [run.run_id async for run in client.list(page_size=1)]
    labelled = [run.run_id async for run in client.list(RunFilter(labels={"team": "a"}))]
    of_session = [frame async for frame in client.list_events(StreamScope(session_id="s1"))]

    assert (first.created, again.created) == (True, False)
    assert run.status is RunStatus.COMPLETED
    assert is_done(run)
    assert run.result is not None
    assert run.result.text is not None
    assert "look" in run.result.text
    assert [event.seq for event in events if event is not None] == list(range(1, run.last_seq + 1))
    assert listed == [nameless.run.run_id, "r1"]
    assert labelled == ["r1"]
    assert len(of_session) == run.last_seq
    assert (await client.server_info()).packages[0].package.package_id == "one"
    by_fingerprint = await client.start("hello", package=run.package_fingerprint)
    assert by_fingerprint.run.package_fingerprint == run.package_fingerprint


async def test_errors_of_the_server_are_typed(make_server: MakeServer, relay: Relay, client: Client) -> None:
    server = make_server(one_call("one", LOOK))
    await server.start()
    relay.to = server.address
    await client.start("hello", run_id="r1")

    with pytest.raises(RunwrightError) as unknown:
        await client.snapshot("nope")
    with pytest.raises(RunwrightError) as conflict:
        await client.start("another", run_id="r1")
    with pytest.raises(RunwrightError) as invalid:
        await client.start([], run_id="r2")

    assert (unknown.value.reason, unknown.value.code) == ("RUN_NOT_FOUND", "NOT_FOUND")
    assert unknown.value.metadata == {"run_id": "nope"}
    assert unknown.value.remedy
    assert unknown.value.message == "There is no run nope."
    assert not unknown.value.retryable
    assert conflict.value.metadata["fields"] == "input"
    assert (invalid.value.reason, invalid.value.metadata["field"]) == ("INVALID_REQUEST", "input")


async def test_a_wrong_key_is_refused(make_server: MakeServer, relay: Relay) -> None:
    keys = "keys.json"
    server = make_server(one_call("one", LOOK))
    file = server.data.parent / keys
    key = add_key(file, "caller")
    server.options += ["--keys", str(file)]
    await server.start()
    relay.to = server.address

    async with Client.connect(relay.address, key=key) as known:
        await known.start("hello", run_id="r1")
    async with Client.connect(relay.address, key="rwk_wrong") as stranger:
        with pytest.raises(RunwrightError) as refused:
            await stranger.snapshot("r1")
        with pytest.raises(RunwrightError) as unread:
            await anext(stranger.subscribe("r1"))

    assert (refused.value.reason, refused.value.code) == ("UNAUTHENTICATED", "UNAUTHENTICATED")
    assert unread.value.reason == "UNAUTHENTICATED"
    assert "rwk_wrong" not in str(refused.value)


async def test_cancel_ends_a_run_and_tells_where_its_barrier_is(
    make_server: MakeServer, executor: Executor, relay: Relay, client: Client
) -> None:
    executor.before = Gate()
    server = make_server(one_call("one", LOOK))
    await server.start()
    relay.to = server.address
    await client.start("hello", run_id="r1")
    await executor.until_asked(1)

    cancelled = await client.cancel("r1", "no longer needed", grace=5)
    again = await client.cancel("r1")
    run = await client.wait("r1")

    assert cancelled.barrier_seq == again.barrier_seq > 0
    assert run.status is RunStatus.CANCELLED
    assert run.error is not None
    assert "no longer needed" in run.error.message


async def test_a_wait_goes_on_across_a_kill(
    make_server: MakeServer, executor: Executor, relay: Relay, client: Client
) -> None:
    executor.before = gate = Gate()
    server = make_server(one_call("one", LOOK))
    await server.start()
    relay.to = server.address
    await client.start("hello", run_id="r1")
    await executor.until_asked(1)

    waiting = asyncio.create_task(client.wait("r1"))
    before = await client.wait("r1", timeout=0.2)
    await relay.restart(server)
    gate.open()
    async with asyncio.timeout(30):
        run = await waiting

    assert not is_done(before)
    assert run.status is RunStatus.COMPLETED


async def test_a_start_is_repeated_while_the_server_is_away(
    make_server: MakeServer, relay: Relay, client: Client
) -> None:
    server = make_server(one_call("one", LOOK))
    await server.start()
    starting = asyncio.create_task(client.start("hello", deadline=30))
    await relay.called.wait()
    relay.to = server.address

    started = await starting

    assert started.run.run_id
    assert relay.connections > 1


async def test_nobody_there_is_said_after_a_few_tries(relay: Relay) -> None:
    async with Client.connect(relay.address) as client:
        with pytest.raises(RunwrightError) as nobody:
            await client.snapshot("r1")

    assert (nobody.value.reason, nobody.value.code, nobody.value.retryable) == ("UNAVAILABLE", "UNAVAILABLE", True)
    assert relay.connections == 5


async def test_a_lost_call_does_not_count_as_a_cancellation_of_its_caller(relay: Relay) -> None:
    async with Client.connect(relay.address, deadline=0.1) as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                with pytest.raises(RunwrightError):
                    await client.snapshot("r1")
                await asyncio.Event().wait()

    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_closed_client_says_so(relay: Relay) -> None:
    client = Client.connect(relay.address)
    await client.close()

    with pytest.raises(RunwrightError) as closed:
        await client.snapshot("r1")
    with pytest.raises(RunwrightError):
        await anext(client.subscribe("r1"))

    assert (closed.value.reason, closed.value.retryable) == ("CANCELLED", False)


@pytest.mark.parametrize("address", ["localhost", "::1:80", "", "host:port", "host:70000"])
async def test_an_address_is_checked_at_once(address: str) -> None:
    with pytest.raises(ValueError, match="host:port"):
        Client.connect(address)


async def test_a_key_that_cannot_be_sent_is_refused_without_being_shown() -> None:
    with pytest.raises(ValueError, match="printable") as refused:
        Client.connect("localhost:1", key="gehëim\n")

    assert "geh" not in str(refused.value)


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n",
        b"\x00" * 64,
        b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\xfa\x00\x00\x00\x00\x00",  # SETTINGS, a kind nobody knows
        b"\x00\x00\x08\x07\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x0b",  # GOAWAY, ENHANCE_YOUR_CALM
        b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x04\x03\x00\x00\x00\x01\x00\x00\x00\x02",  # SETTINGS, RST_STREAM
        b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x01\x01\x05\x00\x00\x00\x01\x8d",  # SETTINGS, :status 404
    ],
    ids=["nothing", "http1", "zeros", "unknown-frame", "goaway", "reset", "http-404"],
)
async def test_whatever_a_peer_says_the_error_is_typed(said: bytes) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(said)
        await writer.drain()
        if not said:
            writer.close()
        await reader.read()
        writer.close()

    peer = await asyncio.start_server(answer, "127.0.0.1", 0)
    address = f"127.0.0.1:{peer.sockets[0].getsockname()[1]}"
    async with peer, Client.connect(address, deadline=1, keepalive=Keepalive(0.2, 0.2)) as client:
        with pytest.raises(RunwrightError) as failed:
            await client.snapshot("r1")

    assert failed.value.code in ("UNAVAILABLE", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL")
