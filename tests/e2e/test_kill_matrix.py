"""The server is killed at every point of a run that somebody outside can see; the next life keeps the promise.

One server is killed and started again for all cases, on one data directory: each
case also recovers beside what the cases before have left.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest
import pytest_asyncio
from runwright._gen.runwright.v1 import event_pb2

from tests.e2e.client import answer, run_request
from tests.e2e.conftest import SOAK
from tests.e2e.executor import EXECUTOR, Executor, StartCaller, pass_by, running_executor
from tests.e2e.kills import Victim
from tests.e2e.packages import BOOK, LOOK, PEEK, Spec, asks, package, says, write
from tests.e2e.server_process import Server

pytestmark = pytest.mark.asyncio(loop_scope="module")


def three_rounds(package_id: str, other: Spec) -> Spec:
    """A read, the other tool, both side by side, and the answer."""
    name = other["name"]
    script = [
        asks(("look", {"at": "a"})),
        asks((name, {"at": "b"})),
        asks(("look", {"at": "c"}), (name, {"at": "d"})),
        says("done: {results}"),
    ]
    return package(package_id, script, LOOK, other, adapter="killing")


PACKAGES = (three_rounds("mixed", BOOK), three_rounds("read-only", PEEK))
CALLS = ("c1.1", "c2.1", "c3.1", "c3.2")
MODEL_CALLS = 4
EVENTS = 28
NAMES = [spec["id"] for spec in PACKAGES]
CYCLES = range(1, 11) if SOAK else range(1, 2)


@dataclass
class Relay:
    """The one server, its executor, and the answers of undisturbed runs."""

    server: Server
    executor: Executor
    model_calls: Path
    undisturbed: dict[str, str]
    numbers: count[int]

    async def victim(self, package_id: str, text: str = "go on") -> Victim:
        """A new run, with a server that is up."""
        self.executor.before = self.executor.after = pass_by
        if not self.server.is_running:
            await self.server.start()
        run_id = f"{package_id}-{next(self.numbers)}"
        request = run_request(run_id, text, package={"package_id": package_id})
        return Victim(self.server, self.executor, self.model_calls, run_id, request)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def relay(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Relay]:
    directory = tmp_path_factory.mktemp("relay")
    model_calls = directory / "model-calls"
    model_calls.mkdir()
    async with running_executor() as executor:
        server = Server(
            directory / "data",
            [write(directory, spec) for spec in PACKAGES],
            {EXECUTOR: executor.address},
            *("--model-calls", str(model_calls)),
            program=("tests.e2e.server_main",),
        )
        relay = Relay(server, executor, model_calls, {}, count(1))
        try:
            for package_id in NAMES:
                run = await relay.victim(package_id)
                await server.call.send(run.request)
                relay.undisturbed[package_id] = answer(await server.call.settled(run.run_id))
            yield relay
        finally:
            await server.close()
    assert server.foreign_output() == []
    assert executor.refused == []


def at(
    victim: Victim, call_id: str, act: Callable[[StartCaller], Awaitable[None]]
) -> Callable[[StartCaller], Awaitable[None]]:
    """A hook that lets the victim's calls wait for its subscriber, and does something at the first attempt of one."""

    async def hook(requested: StartCaller) -> None:
        if requested.run_id != victim.run_id:
            return
        await victim.reader.until_seen(lambda event: is_start_of(event, requested))
        if (requested.call_id, requested.attempt) == (call_id, 1):
            await act(requested)

    return hook


def is_start_of(event: event_pb2.Event, requested: StartCaller) -> bool:
    """True for the intent of that attempt."""
    started = event.kind == event_pb2.EVENT_KIND_TOOL_STARTED
    return started and (event.effect_id, event.attempt) == (requested.call_id, requested.attempt)


def strike(victim: Victim) -> Callable[[StartCaller], Awaitable[None]]:
    """Kills the server and goes no further with the call."""

    async def act(_: StartCaller) -> None:
        victim.server.kill()
        await asyncio.Event().wait()

    return act


@pytest.mark.parametrize("package_id", NAMES)
async def test_the_matrix_covers_every_call_and_event_of_the_run(relay: Relay, package_id: str) -> None:
    run = await relay.victim(package_id)
    await run.server.call.send(run.request)
    await run.server.call.settled(run.run_id)
    assert sorted(requested.call_id for requested in relay.executor.calls_of(run.run_id)) == list(CALLS)
    assert len(await run.server.call.frames(run.run_id)) == EVENTS
    assert len((relay.model_calls / run.run_id).read_text().splitlines()) == MODEL_CALLS


@pytest.mark.parametrize("cycle", CYCLES)
@pytest.mark.parametrize("call_id", CALLS)
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("package_id", NAMES)
async def test_the_executor_kills_around_the_effect_of(
    relay: Relay, package_id: str, moment: str, call_id: str, cycle: int
) -> None:
    victim = await relay.victim(package_id)
    setattr(relay.executor, moment, at(victim, call_id, strike(victim)))
    at_death = await victim.run_to_death()
    writes = {"c2.1", "c3.2"} if package_id == "mixed" else set()
    assert (call_id in at_death.open_writes) == (call_id in writes), "the intent was on disk before the call was made"
    await victim.check_next_life(at_death, relay.undisturbed[package_id])
    if call_id in writes:
        assert relay.executor.effects_of(victim.run_id, call_id) == (moment == "after")


@pytest.mark.parametrize("cycle", CYCLES)
@pytest.mark.parametrize("number", range(1, MODEL_CALLS + 1))
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("package_id", NAMES)
async def test_the_provider_kills_around_model_call(
    relay: Relay, package_id: str, moment: str, number: int, cycle: int
) -> None:
    victim = await relay.victim(package_id, f"kill {moment} model call {number}")
    at_death = await victim.run_to_death()
    assert at_death.open_writes == set(), "no tool is under way while the model is asked"
    await victim.check_next_life(at_death, relay.undisturbed[package_id])


@pytest.mark.parametrize("cycle", CYCLES)
@pytest.mark.parametrize("seq", range(1, EVENTS + 1))
@pytest.mark.parametrize("package_id", NAMES)
async def test_the_subscriber_kills_when_it_sees_event(relay: Relay, package_id: str, seq: int, cycle: int) -> None:
    victim = await relay.victim(package_id)
    relay.executor.before = at(victim, "", pass_by)
    victim.reader.on_event = lambda event: event.seq == seq and victim.server.is_running and victim.server.kill()
    at_death = await victim.run_to_death()
    assert len(at_death.events) >= seq, "what a subscriber has seen is on disk"
    victim.reader.on_event = None
    await victim.check_next_life(at_death, relay.undisturbed[package_id])
