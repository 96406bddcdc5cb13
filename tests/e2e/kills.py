"""Killing a server in the middle of a run, and what must be true of the run afterwards."""

from __future__ import annotations

import asyncio
import signal
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from runwright._gen.runwright.v1 import event_pb2, run_pb2

from tests.e2e.client import answer
from tests.e2e.executor import Executor
from tests.e2e.journal_file import events_on_disk
from tests.e2e.killing_provider import rounds_asked
from tests.e2e.reader import Reader, assert_whole
from tests.e2e.server_process import Server

_STARTED = event_pb2.EVENT_KIND_TOOL_STARTED
_RESULTS = (
    event_pb2.EVENT_KIND_TOOL_COMPLETED,
    event_pb2.EVENT_KIND_TOOL_FAILED,
    event_pb2.EVENT_KIND_TOOL_DENIED,
    event_pb2.EVENT_KIND_TOOL_CANCELLED,
)
_MODEL_ANSWERED = event_pb2.EVENT_KIND_MODEL_MESSAGE_COMPLETED


@dataclass
class AtDeath:
    """What was on disk and what had happened outside when the server died."""

    events: list[event_pb2.Event]
    rounds: list[int]  # rounds the model had been asked for

    @property
    def recorded_calls(self) -> set[str]:
        """Calls with a result on record."""
        return {event.effect_id for event in self.events if event.kind in _RESULTS}

    @property
    def answered_rounds(self) -> set[int]:
        """Rounds with the model's answer on record."""
        return {event.round for event in self.events if event.kind == _MODEL_ANSWERED}

    @property
    def open_writes(self) -> set[str]:
        """Calls that must not be repeated, with an intent and without a result on record."""
        started = {e.effect_id for e in self.events if e.kind == _STARTED and not e.tool_started.idempotent}
        return started - self.recorded_calls


@dataclass
class Victim:
    """One run and the server that is killed while it goes on."""

    server: Server
    executor: Executor
    model_calls: Path
    run_id: str
    request: run_pb2.RunRequest
    reader: Reader = field(init=False)
    _reading: asyncio.Task[bool] | None = None

    def __post_init__(self) -> None:
        self.reader = Reader(self.server, self.run_id)

    async def run_to_death(self) -> AtDeath:
        """Starts the run with a subscriber on it; returns once whoever was told to has killed the server."""
        await self.start()
        assert await self.server.ended() == -signal.SIGKILL
        return await self.at_death()

    async def check_next_life(self, at_death: AtDeath, undisturbed: str) -> None:
        """Starts the next life and holds it to the promise."""
        await self.server.start()
        await self.check(at_death, undisturbed)

    async def start(self) -> None:
        """Starts the run with a subscriber on it, unless the server is killed before it has answered."""
        try:
            await self.server.call.send(self.request)
        except grpc.aio.AioRpcError as error:
            assert error.code() is grpc.StatusCode.UNAVAILABLE, error
        else:
            self._reading = asyncio.create_task(self.reader.read_once())

    async def at_death(self) -> AtDeath:
        """What the dead server has left."""
        if self._reading is not None:
            await asyncio.gather(self._reading, return_exceptions=True)
        on_disk = await events_on_disk(self.server.data, self.run_id)
        return AtDeath(on_disk, rounds_asked(self.model_calls / self.run_id))

    async def check(self, at_death: AtDeath, undisturbed: str) -> None:
        """Holds the present life to the promise."""
        again = await self.server.call.send(self.request)
        assert again.created == (not at_death.events)
        reading = asyncio.create_task(self.reader.read())
        settled = await self.server.call.settled(self.run_id)
        if at_death.open_writes:
            await self._check_repair(settled, at_death.open_writes)
        else:
            assert answer(settled) == undisturbed
        await asyncio.wait_for(reading, 30)
        self._check_outside(at_death)
        listed = await self.server.call.frames(self.run_id)
        assert [frame.event for frame in listed][: len(at_death.events)] == at_death.events
        assert_whole(self.reader.frames, listed)

    async def _check_repair(self, run: run_pb2.RunSnapshot, open_writes: set[str]) -> None:
        """The run names exactly the calls nobody knows the outcome of, and can be cancelled."""
        assert run.status == run_pb2.RUN_STATUS_REPAIR_NEEDED, run
        unknown = {e.effect_id: e for e in run.open_effects if e.state == run_pb2.EFFECT_STATE_UNKNOWN}
        assert unknown.keys() == open_writes
        assert all(effect.idempotency_key.endswith(f"{self.run_id}/{name}") for name, effect in unknown.items())
        waits = {wait.effect_id for wait in run.waiting_on if wait.kind == run_pb2.WAIT_KIND_REPAIR}
        assert waits == open_writes
        await self.server.call.cancel(self.run_id)
        ended = await self.server.call.settled(self.run_id)
        assert ended.status == run_pb2.RUN_STATUS_CANCELLED
        last = (await self.server.call.frames(self.run_id))[-1].event
        assert set(last.run_cancelled.unknown_effects) == open_writes

    def _check_outside(self, at_death: AtDeath) -> None:
        """What is on record was not asked for again, and nothing that must not be repeated was."""
        closed = at_death.recorded_calls | at_death.open_writes
        attempts = {e.effect_id: e.attempt for e in at_death.events if e.kind == _STARTED}
        for requested in self.executor.calls_of(self.run_id):
            assert requested.call_id not in closed or requested.attempt <= attempts[requested.call_id], (
                f"{requested} was asked again"
            )
        rounds = rounds_asked(self.model_calls / self.run_id)[len(at_death.rounds) :]
        assert not set(rounds) & at_death.answered_rounds
        writes = {requested.key for requested in self.executor.calls_of(self.run_id) if requested.tool == "book"}
        assert all(self.executor.effects[key] <= 1 for key in writes)
