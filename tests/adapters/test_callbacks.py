"""Registered executors: which one gets a call, and what makes one get none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2_grpc
from msgspec.structs import replace
from runwright.adapters.clock import SystemClock
from runwright.adapters.remote import callback_connection
from runwright.core.callback_kinds import ToolExecutor
from runwright.core.callbacks import HealthKind
from runwright.core.ids import DEFAULT_NAMESPACE, Namespace
from runwright.core.outcomes import ExecutorIdentity
from runwright.ports.tools import Place
from runwright.ports.tools import ToolOutcomeKind as Kind
from runwright.testing import ManualClock

from tests.adapters.callback_hosts import (
    NAME,
    SECRET,
    Host,
    callback,
    dialling,
    executed,
    found,
    has_place,
    healthy,
    invocation,
    place_at,
    wanted,
)
from tests.adapters.raw_executor import RawExecutor
from tests.builders import SECOND, ListLog
from tests.runtime.watching import eventually, quiet


@pytest.fixture
async def pair() -> AsyncIterator[tuple[Host, Host]]:
    """Two executors that are up."""
    hosts = Host(), Host()
    for host in hosts:
        await host.start()
    yield hosts
    for host in hosts:
        await host.stop()


async def test_calls_are_spread_over_those_that_are_healthy(pair: tuple[Host, Host]) -> None:
    first, second = pair
    async with dialling() as tools:
        await healthy(tools, callback(first, "a"), callback(second, "b"))

        answers = [(await executed(tools, invocation(number))).data.decode() for number in range(6)]

    assert answers == [str(first.port), str(second.port)] * 3


async def test_a_call_goes_to_one_that_performs_its_tool(pair: tuple[Host, Host]) -> None:
    first, second = pair
    async with dialling() as tools:
        await healthy(
            tools,
            callback(first, "a", details=ToolExecutor(("write",))),
            callback(second, "b", details=ToolExecutor(("look", "see"))),
        )

        outcomes = [await executed(tools, invocation(number)) for number in range(3)]
        nobody = await executed(tools, invocation(tool="erase"))

    assert [outcome.kind for outcome in outcomes] == [Kind.RESULT] * 3
    assert (len(first.requested), len(second.requested)) == (0, 3)
    assert nobody.kind is Kind.NOT_SENT


async def test_whoever_approved_a_call_does_not_perform_it_and_holds_up_no_other(pair: tuple[Host, Host]) -> None:
    first, second = pair
    async with dialling() as tools:
        await healthy(tools, callback(first, "a", owner="bob"))
        approved = replace(wanted(NAME, invocation(1)), not_by="bob")
        got: list[Place] = []

        alone = (tools.take_place(approved), tools.is_reachable(approved))
        tools.wait_for_place(approved, got.append)
        other = (await executed(tools, invocation(2))).data.decode()
        before = list(got)
        await healthy(tools, callback(second, "b", owner="hal"))
        await eventually(lambda: bool(got))
        outcome = await tools.execute(got[0], invocation(1))

    assert (alone, other, before) == ((None, False), str(first.port), [])
    assert outcome.executor_identity is not None
    assert (outcome.data.decode(), outcome.executor_identity.principal) == (str(second.port), "hal")


async def test_another_namespace_is_not_served(pair: tuple[Host, Host]) -> None:
    theirs = Namespace("team-b")
    async with dialling() as tools:
        await healthy(tools, callback(pair[0], "a"), callback(pair[1], "a", namespace=theirs))

        ours = await executed(tools)
        tools.callbacks.drop(DEFAULT_NAMESPACE, "a")
        after = await executed(tools)
        foreign = await executed(tools, invocation(namespace=theirs))

    assert (ours.kind, after.kind, foreign.kind) == (Kind.RESULT, Kind.NOT_SENT, Kind.RESULT)
    assert (len(pair[0].requested), len(pair[1].requested)) == (1, 1)


async def test_what_the_operator_configured_serves_every_namespace(pair: tuple[Host, Host]) -> None:
    async with dialling(configured={NAME: f"127.0.0.1:{pair[0].port}"}) as tools:
        outcome = await executed(tools, invocation(namespace=Namespace("team-b")))
        await healthy(tools, callback(pair[1], "a"))
        shared = {(await executed(tools, invocation(number))).data for number in range(2)}

    assert outcome.kind is Kind.RESULT
    assert shared == {str(host.port).encode() for host in pair}


async def test_the_attempt_after_a_loss_prefers_another(pair: tuple[Host, Host]) -> None:
    first, second = pair
    first.fails_with = grpc.StatusCode.UNAVAILABLE
    a = callback(first, "a")
    async with dialling() as tools:
        await healthy(tools, a, callback(second, "b"))
        lost = await executed(tools)
        first.fails_with = None
        await found(tools, a, HealthKind.HEALTHY)
        await executed(tools, invocation(2))  # by the second: now it is the first one's turn

        again = await executed(tools, invocation(attempt=2))
        other = await executed(tools, invocation(3))

    assert (lost.kind, again.kind) == (Kind.LOST, Kind.RESULT)
    assert (again.data, other.data) == (str(second.port).encode(), str(first.port).encode())


async def test_what_one_has_not_begun_goes_to_another(pair: tuple[Host, Host]) -> None:
    first, second = pair
    first.is_stopping = True
    async with dialling() as tools:
        await healthy(tools, callback(first, "a"), callback(second, "b"))
        put_off = await executed(tools)
        await executed(tools, invocation(2))  # by the second: now it is the first one's turn

        again = await executed(tools, invocation(attempt=2))

    assert (put_off.kind, again.kind, again.data) == (Kind.NOT_SENT, Kind.RESULT, str(second.port).encode())


async def test_one_that_lost_a_call_is_examined_before_it_gets_another(pair: tuple[Host, Host]) -> None:
    a = callback(pair[0], "a")
    async with dialling() as tools:
        await healthy(tools, a, callback(pair[1], "b"))
        pair[0].hold.clear()
        losing = asyncio.create_task(executed(tools))
        await pair[0].begun.wait()
        await pair[0].stop()

        lost = await losing
        others = [await executed(tools, invocation(number)) for number in (2, 3)]

    assert lost.kind is Kind.LOST
    assert {outcome.data for outcome in others} == {str(pair[1].port).encode()}


async def test_giving_up_tells_the_one_that_has_the_call(pair: tuple[Host, Host]) -> None:
    for host in pair:
        host.hold.clear()
    async with dialling() as tools:
        await healthy(tools, callback(pair[0], "a"), callback(pair[1], "b"))
        calls = [asyncio.create_task(executed(tools, invocation(number))) for number in (1, 2)]
        for host in pair:
            await host.begun.wait()

        calls[0].cancel()
        async with asyncio.timeout(60):
            await pair[0].gave_up.wait()
        pair[1].hold.set()
        retained = await calls[1]

    assert retained.kind is Kind.RESULT
    assert not pair[1].gave_up.is_set()


async def test_health_decides_who_gets_calls_and_wakes_who_waits() -> None:
    clock, host = ManualClock(), Host()
    await host.start(has_health=True)
    only = callback(host, clock=clock)
    async with dialling(clock=clock) as tools:
        await healthy(tools, only)
        await host.says(serving=False)
        await asleep(clock)
        clock.advance(callback_connection.WELL_US)
        message = await found(tools, only, HealthKind.UNHEALTHY)
        turned_away = await executed(tools, invocation(clock=clock))
        waiting = asyncio.create_task(has_place(tools))
        await host.says(serving=True)
        await asleep(clock)
        early = waiting.done()

        clock.advance(callback_connection.ILL_US)
        async with asyncio.timeout(60):
            await waiting
        outcome = await executed(tools, invocation(clock=clock))
    await host.stop()

    assert "does not serve" in message
    assert (turned_away.kind, early, outcome.kind) == (Kind.NOT_SENT, False, Kind.RESULT)


async def asleep(clock: ManualClock) -> None:
    """Returns once the next examination has been put off."""
    await eventually(lambda: bool(clock.waiting))


async def test_who_waits_is_woken_by_a_registration(pair: tuple[Host, Host]) -> None:
    async with dialling() as tools:
        waiting = asyncio.create_task(has_place(tools))
        await healthy(tools, callback(pair[0], "a", details=ToolExecutor(("write",))))
        for_another_tool = waiting.done()

        tools.callbacks.open(callback(pair[1], "b"))
        async with asyncio.timeout(60):
            await waiting

    assert not for_another_tool


async def test_one_that_comes_back_before_it_is_examined_wakes_who_waits(pair: tuple[Host, Host]) -> None:
    clock, only = ManualClock(), pair[0]
    registered = callback(only, clock=clock)
    async with dialling(clock=clock) as tools:
        await healthy(tools, registered)
        [line] = tools._serving[(DEFAULT_NAMESPACE, NAME)]
        await only.stop()
        await eventually(lambda: not line.is_ready)
        waiting = asyncio.create_task(has_place(tools))
        again = Host()
        await again.start(port=only.port)

        async with asyncio.timeout(60):
            await waiting
        await again.stop()


async def test_a_renewal_wakes_who_waits_for_a_lease_that_was_over(pair: tuple[Host, Host]) -> None:
    clock = ManualClock()
    leased = callback(pair[0], expires_at=clock.now() + SECOND)
    async with dialling(clock=clock) as tools:
        await healthy(tools, leased)
        clock.advance(SECOND)
        waiting = asyncio.create_task(has_place(tools))
        await quiet()
        early = waiting.done()

        tools.callbacks.open(replace(leased, expires_at=clock.now() + SECOND))
        async with asyncio.timeout(60):
            await waiting

    assert not early


class OddHealth(health_pb2_grpc.HealthServicer):
    """Ends every check with a code, or never."""

    def __init__(self, code: grpc.StatusCode | None) -> None:
        self._code = code

    async def Check(self, request: object, context: Any) -> None:
        """See the class."""
        if self._code is None:
            await asyncio.Event().wait()
        await context.abort(self._code, "odd")


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (grpc.StatusCode.UNIMPLEMENTED, ""),
        (grpc.StatusCode.NOT_FOUND, ""),
        (grpc.StatusCode.PERMISSION_DENIED, "credential"),
        (grpc.StatusCode.INTERNAL, "INTERNAL"),
        (None, "DEADLINE_EXCEEDED"),
    ],
)
async def test_what_a_health_check_means(
    monkeypatch: pytest.MonkeyPatch, code: grpc.StatusCode | None, message: str
) -> None:
    if code is None:
        monkeypatch.setattr(callback_connection, "CHECK_SECONDS", 0.1)
    host = Host(health=OddHealth(code))
    await host.start()
    only = callback(host)
    async with dialling() as tools:
        tools.callbacks.open(only)
        detail = await found(tools, only, HealthKind.UNHEALTHY if message else HealthKind.HEALTHY)
    await host.stop()

    assert message in detail


async def test_a_health_check_that_is_answered_unreadably_says_so() -> None:
    host = RawExecutor()
    host.answer = host.says(b"\xff\xff")
    await host.server.start()
    only = callback(host.port)
    async with dialling() as tools:
        tools.callbacks.open(only)
        message = await found(tools, only, HealthKind.UNHEALTHY)
    await host.server.stop(0)

    assert message == "The answer to its health check cannot be read."


async def test_another_key_of_its_owner_leaves_a_registration_connected(pair: tuple[Host, Host]) -> None:
    first = callback(pair[0], owner_key="old")
    async with dialling() as tools:
        await healthy(tools, first)
        tools.callbacks.open(replace(first, owner_key="new"))

        assert (tools.callbacks.health(first).kind, (await executed(tools)).kind) == (HealthKind.HEALTHY, Kind.RESULT)


async def test_what_was_chosen_and_dropped_before_the_call_gets_nothing(pair: tuple[Host, Host]) -> None:
    clock = SystemClock()
    registered = callback(pair[0])
    async with dialling(clock=clock) as tools:
        await healthy(tools, registered)
        [line] = tools._serving[(DEFAULT_NAMESPACE, registered.name)]
        tools.callbacks.drop(DEFAULT_NAMESPACE, "one")

        outcome = await line.perform(invocation(), 5)

    assert (outcome.kind, pair[0].requested) == (Kind.NOT_SENT, [])


async def test_an_outcome_names_the_registration_that_gave_it(pair: tuple[Host, Host]) -> None:
    for host in pair:
        host.fails_with = grpc.StatusCode.ABORTED
    async with dialling() as tools:
        await healthy(tools, callback(pair[0], "a"), callback(pair[1], "b", owner="others"))
        lost = [await executed(tools, invocation(number)) for number in (1, 2)]

    assert [outcome.executor_identity for outcome in lost] == [
        ExecutorIdentity("a", "tools", f"127.0.0.1:{pair[0].port}"),
        ExecutorIdentity("b", "others", f"127.0.0.1:{pair[1].port}"),
    ]


async def test_nothing_is_sent_after_the_lease_and_a_renewal_is_enough(pair: tuple[Host, Host]) -> None:
    clock = ManualClock()
    leased = callback(pair[0], expires_at=clock.now() + 10 * SECOND)
    async with dialling(clock=clock) as tools:
        await healthy(tools, leased)
        during = await executed(tools, invocation(clock=clock))
        clock.advance(10 * SECOND)
        over = await executed(tools, invocation(clock=clock))

        tools.callbacks.open(replace(leased, expires_at=clock.now() + SECOND))
        renewed = await executed(tools, invocation(clock=clock))

    assert (during.kind, over.kind, renewed.kind) == (Kind.RESULT, Kind.NOT_SENT, Kind.RESULT)


async def test_a_call_under_way_outlives_its_registration(pair: tuple[Host, Host]) -> None:
    pair[0].hold.clear()
    async with dialling() as tools:
        await healthy(tools, callback(pair[0]))
        under_way = asyncio.create_task(executed(tools))
        await pair[0].begun.wait()

        tools.callbacks.open(callback(pair[1]))  # the same id at another address
        await found(tools, callback(pair[1]), HealthKind.HEALTHY)
        later = await executed(tools, invocation(2))
        tools.callbacks.drop(DEFAULT_NAMESPACE, "one")
        pair[0].hold.set()

        assert (await under_way).data == str(pair[0].port).encode()
    assert later.data == str(pair[1].port).encode()


async def test_the_credential_is_shown_with_every_call_and_to_nobody_else() -> None:
    host = Host(accepts=f"Bearer {SECRET}")
    await host.start(has_health=True)
    known, stranger = (
        callback(host, "a", credential=SECRET),
        callback(host, "b", credential="wrong", details=ToolExecutor(("none",))),
    )
    async with dialling() as tools:
        await healthy(tools, known)
        outcome = await executed(tools)
        tools.callbacks.open(stranger)
        message = await found(tools, stranger, HealthKind.UNHEALTHY)
    await host.stop()

    assert outcome.kind is Kind.RESULT
    assert "credential" in message
    assert set(host.shown) == {f"Bearer {SECRET}", "Bearer wrong"}
    assert SECRET not in repr(known)


async def test_one_that_accepts_and_says_nothing_is_not_healthy() -> None:
    silent = await asyncio.start_server(lambda reader, writer: asyncio.Event().wait(), "127.0.0.1", 0)
    only = callback(silent.sockets[0].getsockname()[1])
    async with dialling() as tools:
        tools.callbacks.open(only)
        message = await found(tools, only, HealthKind.UNHEALTHY)
        outcome = await executed(tools)
    silent.close()

    assert only.address in message
    assert outcome.kind is Kind.NOT_SENT


async def test_each_registration_has_the_places_it_says_and_eight_if_it_says_none(pair: tuple[Host, Host]) -> None:
    few, usual = pair
    async with dialling() as tools:
        await healthy(tools, callback(few, "few", max_calls_in_flight=2), callback(usual, "usual"))

        places = [tools.take_place(wanted(NAME, invocation(number))) for number in range(12)]

        taken = [place for place in places if place is not None]
        assert [place.connection.name for place in taken].count("few") == 2
        assert len(taken) == 2 + 8
        taken[0].release()
        taken[0].release()
        assert tools.take_place(wanted(NAME, invocation(20))) is not None
        assert tools.take_place(wanted(NAME, invocation(21))) is None


async def test_a_place_at_a_registration_that_has_gone_moves_to_another_of_the_name(pair: tuple[Host, Host]) -> None:
    gone, other = pair
    async with dialling() as tools:
        await healthy(tools, callback(gone, "gone"))
        place = await place_at(tools, wanted(NAME))
        await healthy(tools, callback(other, "other"))
        tools.callbacks.drop(DEFAULT_NAMESPACE, "gone")

        outcome = await tools.execute(place, invocation())
        place.release()

        assert outcome.data.decode() == str(other.port)
        assert gone.requested == []


async def test_a_call_waits_for_a_registration_and_gets_a_place_when_it_comes(pair: tuple[Host, Host]) -> None:
    host, _ = pair
    async with dialling() as tools:
        waits = [asyncio.create_task(place_at(tools, wanted(NAME, invocation(number)))) for number in range(3)]
        await healthy(tools, callback(host, max_calls_in_flight=2))

        await asyncio.wait_for(asyncio.gather(*waits[:2]), 10)
        assert not waits[2].done()
        waits[0].result().release()
        await asyncio.wait_for(waits[2], 10)


def with_schema(digest: str) -> ToolExecutor:
    """What a host says that has this schema of the tool."""
    return ToolExecutor((), (("look", digest),))


async def test_a_host_with_another_schema_than_the_package_is_not_used_for_the_tool(pair: tuple[Host, Host]) -> None:
    first, second = pair
    ours, theirs = "sha256:" + "a" * 64, "sha256:" + "b" * 64
    looking = replace(wanted(NAME), schema_digest=ours, package="sha256:p:1")
    other = callback(first, "other", details=with_schema(theirs))
    async with dialling() as tools:
        await healthy(tools, other)

        alone = tools.take_place(looking), tools.is_reachable(looking), tools.unused(looking)
        another_tool = tools.is_reachable(replace(looking, tool="see"))
        matching = tools.take_place(replace(looking, schema_digest=theirs))
        await healthy(tools, callback(second, "same", details=with_schema(ours)))
        place = tools.take_place(looking)
        await healthy(tools, callback(second, "same"))
        silent = tools.take_place(looking)
        noted = tools.callbacks.unused(other)

        assert (alone[0], alone[1]) == (None, False)
        [unused] = alone[2]
        assert (unused.callback_id, unused.tool, unused.schema_digest) == ("other", "look", theirs)
        assert (unused.package_schema_digest, unused.package_fingerprint) == (ours, "sha256:p:1")
        assert another_tool and matching is not None
        assert place is not None and place.connection.name == "same"
        assert silent is not None, "a host that says nothing is used for any schema"
        assert [(each.tool, each.package_fingerprint) for each in noted] == [("look", "sha256:p:1")]


async def test_who_is_only_to_be_asked_about_a_call_is_found_whatever_schema_it_says(pair: tuple[Host, Host]) -> None:
    asking = replace(wanted(NAME), first="one")  # without a schema: no call is sent, so none has to fit
    one = callback(pair[0], "one", details=with_schema("sha256:" + "b" * 64))
    async with dialling() as tools:
        await healthy(tools, one)

        place = tools.take_place(asking)

        assert place is not None and place.connection.name == "one"
        assert (tools.unused(asking), tools.callbacks.unused(one)) == ([], [])


async def test_a_registration_with_other_digests_begins_with_nothing_noted(pair: tuple[Host, Host]) -> None:
    looking = replace(wanted(NAME), schema_digest="sha256:" + "a" * 64)
    other = callback(pair[0], "one", details=with_schema("sha256:" + "b" * 64))
    async with dialling() as tools:
        await healthy(tools, other)
        tools.take_place(looking)
        await healthy(tools, replace(other, expires_at=other.expires_at + 1))
        renewed = tools.callbacks.unused(other)
        await healthy(tools, replace(other, details=with_schema(looking.schema_digest)))

        assert len(renewed) == 1
        assert not tools.callbacks.unused(other)
        assert tools.take_place(looking) is not None


async def test_a_call_that_waits_gets_a_host_that_comes_with_its_schema(pair: tuple[Host, Host]) -> None:
    looking = replace(wanted(NAME), schema_digest="sha256:" + "a" * 64)
    async with dialling() as tools:
        await healthy(tools, callback(pair[0], "other", details=with_schema("sha256:" + "b" * 64)))
        waiting = asyncio.create_task(place_at(tools, looking))
        await quiet()
        assert not waiting.done()

        await healthy(tools, callback(pair[1], "same", details=with_schema(looking.schema_digest)))

        assert (await waiting).connection.name == "same"


async def test_what_is_not_used_is_told_the_operator_once_a_package_and_listed_in_bounds(
    pair: tuple[Host, Host],
) -> None:
    digests = tuple((f"tool{number:03}", "sha256:" + "b" * 64) for number in range(20))
    other, log = callback(pair[0], "other", details=ToolExecutor((), digests)), ListLog()
    looking = replace(wanted(NAME), schema_digest="sha256:" + "a" * 64, package="sha256:p:1")
    async with dialling(log=log) as tools:
        await healthy(tools, other)
        for _ in range(3):
            for tool, _ in digests:
                tools.is_reachable(replace(looking, tool=tool))
        for _ in range(3):
            tools.is_reachable(replace(looking, tool="tool019", package="sha256:p:2"))
        listed = [each.tool for each in tools.callbacks.unused(other)]

    told = [line.fields for line in log.lines if "not used for a tool" in line.event]
    assert listed == [f"tool{number:03}" for number in range(4, 20)]
    assert [line["package"] for line in told if line["tool"] == "tool019"] == ["sha256:p:1", "sha256:p:2"]
