"""A subscriber that collects a run's stream: cut when it likes to be, and always back with its last cursor."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from itertools import pairwise

import grpc
from runwright._gen.runwright.v1 import event_pb2, run_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb

from tests.e2e.client import error_info
from tests.e2e.notice import Notice
from tests.e2e.server_process import Server

# What a stream may end with when its server is killed or stops: come back.
_COME_BACK = grpc.StatusCode.UNAVAILABLE


class Reader:
    """Reads one run from its beginning to its end, over cuts and restarts.

    `cuts` says after how many frames each stream is left by the reader itself;
    0 leaves right after the opening bookmark. `on_event` is called for each event.
    """

    def __init__(
        self,
        server: Server,
        run_id: str,
        *,
        cuts: Iterable[int] = (),
        on_event: Callable[[event_pb2.Event], None] | None = None,
    ) -> None:
        self.frames: list[event_pb2.EventFrame] = []
        self.cursor = ""
        self.cut_count = 0
        self.broken_by: list[str] = []  # a reason for each stream the server broke off; "" when it said nothing
        self.news = Notice()
        self._server = server
        self._run_id = run_id
        self._cuts = list(cuts)
        self.on_event = on_event

    @property
    def seqs(self) -> list[int]:
        """The sequence numbers seen, in the order in which they came."""
        return [frame.event.seq for frame in self.frames]

    async def read(self) -> None:
        """Returns at the end of the run's stream; waits for the next life when the server ends."""
        while True:
            life = self._server.life
            try:
                if await self.read_once():
                    return
            except grpc.aio.AioRpcError as error:
                assert error.code() is _COME_BACK, error
                self.broken_by.append(error_info(error).reason)
                self.news.tell()
                await self._server.next_life(life)

    async def read_once(self) -> bool:
        """One stream. False when the reader cut it, True when the server ended it with OK."""
        left = self._cuts[0] if self._cuts else None
        request = pb.SubscribeRequest(scope=pb.StreamScope(run_id=self._run_id), after_cursor=self.cursor)
        stream = self._server.call.stub.Subscribe(request, timeout=120)
        is_opening = True
        try:
            async for response in stream:
                for frame in response.frames:
                    assert not is_opening or frame.bookmark.opening, "a stream opens with a bookmark"
                    if not is_opening and left is not None:
                        left -= 1
                    is_opening = False
                    self._take(frame)
                    if left == 0:
                        self._cuts.pop(0)
                        self.cut_count += 1
                        return False
            return True
        finally:
            stream.cancel()

    def _take(self, frame: event_pb2.EventFrame) -> None:
        self.cursor = frame.cursor
        if frame.WhichOneof("item") != "event":
            return
        self.frames.append(frame)
        self.news.tell()
        if self.on_event is not None:
            self.on_event(frame.event)

    async def until_seen(self, holds: Callable[[event_pb2.Event], bool]) -> None:
        """Returns once an event has come for which `holds` does."""
        await self.news.until(lambda: any(holds(frame.event) for frame in self.frames))


async def until_waiting(server: Server, run_id: str) -> run_pb2.RunSnapshot:
    """The run once it has said that it waits, for an executor or for a repetition."""
    reader = Reader(server, run_id)
    reading = asyncio.create_task(reader.read_once())
    await reader.until_seen(lambda event: event.HasField("retry_scheduled"))
    reading.cancel()
    return await server.call.snapshot(run_id)


def assert_whole(seen: list[event_pb2.EventFrame], listed: list[event_pb2.EventFrame]) -> None:
    """What was seen is exactly what ListEvents lists: dense, chained, nothing twice, one end at the end."""
    assert [frame.event.seq for frame in seen] == list(range(1, len(listed) + 1))
    assert seen == listed
    for earlier, later in pairwise(seen):
        assert later.previous_hash == earlier.hash
        assert later.position > earlier.position
    assert [frame.event.kind for frame in seen if frame.event.kind in TERMINAL] == [seen[-1].event.kind]


TERMINAL = (
    event_pb2.EVENT_KIND_RUN_COMPLETED,
    event_pb2.EVENT_KIND_RUN_FAILED,
    event_pb2.EVENT_KIND_RUN_CANCELLED,
)
