"""Runs whose model answers piece by piece when the test says so, and readers that ask for the pieces."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

from runwright.adapters.providers.scripted import ScriptedProvider
from runwright.core.selection import Selection
from runwright.ports.journal import Journal
from runwright.ports.provider import EmitText, ModelReply, ModelRequest
from runwright.runtime import AgentRuntime, RunHandle, StreamItem, TextDelta
from runwright.runtime.runs.live_text import SHOWN_EVERY_US

from tests import builders as b
from tests.runtime.watching import CAP_SECONDS, eventually, key, quiet


@dataclass
class Pieces:
    """A gate that lets one piece through for every `next`; the last one lets the answer itself go."""

    permits: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    waiting: int = 0  # the number of the piece that waits

    async def __call__(self, request: ModelRequest, number: int) -> None:
        """See the provider's gate."""
        self.waiting = number
        await self.permits.acquire()

    def next(self, pieces: int = 1) -> None:
        """Lets so many through."""
        for _ in range(pieces):
            self.permits.release()


@dataclass
class Listener:
    """A reader that asks for deltas, and keeps all it gets."""

    batches: AsyncGenerator[list[StreamItem], None]
    items: list[StreamItem] = field(default_factory=list)
    reading: asyncio.Task[None] | None = None

    async def one(self) -> list[StreamItem]:
        """The next batch."""
        async with asyncio.timeout(CAP_SECONDS):
            self.items += (batch := await anext(self.batches))
        return batch

    async def _all(self) -> None:
        async for batch in self.batches:
            self.items += batch

    def start(self) -> None:
        """Reads from now on, as fast as there is something."""
        self.reading = asyncio.create_task(self._all())
        # Not every test waits for the end, and the server's own end is none of a failure.
        self.reading.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def end(self) -> None:
        """Waits for the end of the stream."""
        async with asyncio.timeout(CAP_SECONDS):
            await (self.reading or asyncio.create_task(self._all()))

    @property
    def deltas(self) -> list[TextDelta]:
        """What came of texts."""
        return [item.ephemeral for item in self.items if isinstance(item.ephemeral, TextDelta)]

    @property
    def kinds(self) -> list[str]:
        """What came, one letter each for what is not durable: a delta, a gap; bookmarks left out."""
        return [
            item.event.kind.name if item.event else "d" if isinstance(item.ephemeral, TextDelta) else "gap"
            for item in self.items
            if item.event or item.ephemeral
        ]


@dataclass
class Scene:
    """A run whose model answers piece by piece."""

    bench: b.Bench
    runtime: AgentRuntime
    pieces: Pieces
    run: RunHandle

    async def listen(
        self, cursor: str = "", *, selection: Selection | None = None, live_only: bool = False
    ) -> Listener:
        """A reader, from its first batch on."""
        chosen = selection or Selection.of_run(key())
        return Listener(await self.runtime.subscribe(chosen, after_cursor=cursor, live_only=live_only, deltas=True))

    async def delta_text(self, pieces: int) -> None:
        """Returns once so many pieces have been emitted."""
        await eventually(lambda: self.pieces.waiting == pieces)

    async def turn(self) -> None:
        """Lets pieces that wait for their time come out."""
        await quiet()
        self.bench.manual_clock.advance(SHOWN_EVERY_US)
        await quiet()


async def scene(journal: Journal | None = None, *script: b.Fields, **parts: object) -> Scene:
    """A run that has been started; its model has said nothing yet."""
    pieces = Pieces()
    bench = b.Bench(providers={"scripted": ScriptedProvider(pieces)}, **({"journal": journal} if journal else {}))
    runtime = bench.runtime(b.package(*(script or ({"chunks": ["A ", "lamp", "."]},)), tools=(b.tool(),)))
    handle, _ = await runtime.start_run(b.request(**parts))
    return Scene(bench, runtime, pieces, handle)


class Emitting:
    """A provider that emits the pieces, then waits to be let go; when it is given up, it emits once more."""

    def __init__(self, *pieces: str, answer: str = "") -> None:
        self.pieces = pieces
        self.answer = answer
        self.let_go = asyncio.Event()

    async def complete(self, request: ModelRequest, emit: EmitText) -> ModelReply:
        """See the class."""
        for piece in self.pieces:
            emit(piece)
        try:
            await self.let_go.wait()
        except asyncio.CancelledError:
            for _ in range(20):  # while its end is on its way to the readers, and after
                await quiet()
                emit("too late")
            raise
        return ModelReply(text=self.answer)
