"""Streams of events: stored bytes, framed once, in batches, with a bound on how long a reader may stall."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

import grpc

from runwright._gen.runwright.v1 import event_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright.core.content import ContentRef
from runwright.core.errors import AgentError, ErrorReason
from runwright.runtime import AgentRuntime, StreamItem
from runwright.wire import requests as wire
from runwright.wire.frames import FrameBatch, event_refs

BATCH_FRAMES = 64
BATCH_BYTES = 64 * 1024
Inlined = dict[str, list[tuple[ContentRef, bytes]]]


class EventStreams:
    """Serves Subscribe and ListEvents over an AgentRuntime. `stall_seconds` bounds one write."""

    def __init__(self, runtime: AgentRuntime, *, stall_seconds: float) -> None:
        self._runtime = runtime
        self._stall_seconds = stall_seconds

    async def subscribe(self, request: pb.SubscribeRequest, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        """Streams until the run has ended. Raises SUBSCRIBER_STALLED with the last cursor that was written."""
        run_id = wire.scope_run_id(request.scope)
        full = wire.wants_contents(request.view)
        batches = await self._runtime.subscribe_run(
            run_id, after_cursor=request.after_cursor, live_only=request.live_only
        )
        last_cursor = request.after_cursor
        async for items in batches:
            inlined = await self._inlined(run_id, items) if full else {}
            for encoded, cursor in _framed(items, inlined):
                try:
                    await asyncio.wait_for(context.write(encoded), self._stall_seconds)
                except TimeoutError:
                    raise AgentError(
                        ErrorReason.SUBSCRIBER_STALLED,
                        f"The subscriber did not read for {self._stall_seconds:g} s.",
                        metadata={"last_cursor": last_cursor},
                    ) from None
                last_cursor = cursor

    async def page(self, request: pb.ListEventsRequest) -> list[event_pb2.EventFrame]:
        """One page, at most `page_size` frames and 1 MiB beyond the first."""
        run_id = wire.scope_run_id(request.scope)
        full = wire.wants_contents(request.view)
        items = await self._runtime.list_events(
            run_id, after_cursor=request.page_token, limit=wire.page_size(request.page_size)
        )
        inlined = await self._inlined(run_id, items) if full else {}
        frames: list[event_pb2.EventFrame] = []
        size = 0
        for encoded, _ in _framed(items, inlined):
            size += len(encoded)
            if frames and size > 16 * BATCH_BYTES:
                break
            frames += pb.SubscribeResponse.FromString(encoded).frames
        return frames

    async def _inlined(self, run_id: str, items: Sequence[StreamItem]) -> Inlined:
        refs = {item.cursor: event_refs(item.event.data) for item in items if item.event}
        digests = sorted({ref.digest for found in refs.values() for ref in found})
        stored = await self._runtime.contents(run_id, digests) if digests else {}
        return {
            cursor: [(ref, stored[ref.digest]) for ref in found if ref.digest in stored]
            for cursor, found in refs.items()
        }


def _framed(items: Sequence[StreamItem], inlined: Inlined) -> Iterator[tuple[bytes, str]]:
    """Encoded responses, each with the cursor of its last frame, within the bounds of a batch."""
    batch = FrameBatch()
    cursor = ""
    for item in items:
        contents = inlined.get(item.cursor, [])
        size = len(item.event.data) + sum(ref.size for ref, _ in contents) if item.event else 0
        if batch.frames and (batch.frames == BATCH_FRAMES or batch.bytes + size > BATCH_BYTES):
            yield batch.encode(), cursor
            batch = FrameBatch()
        if item.event:
            stored = (item.event.data, item.event.previous_hash, item.event.hash)
            batch.add_event(item.cursor, item.position, stored, contents)
        else:
            batch.add_bookmark(item.cursor, item.position)
        cursor = item.cursor
    if batch.frames:
        yield batch.encode(), cursor
