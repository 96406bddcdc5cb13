"""Streams of events: stored bytes, framed once, in batches, with a bound on how long a reader may stall."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from runwright._gen.runwright.v1 import event_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright.core.content import INLINE_LIMIT_BYTES, ContentRef
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.ids import RunKey
from runwright.runtime import AgentRuntime, Ephemeral, StreamItem, TextDelta, TextGap
from runwright.runtime.lru_cache import LruCache
from runwright.transport.access import principal
from runwright.transport.method import BytesSender
from runwright.transport.usage import PAGE_BYTES
from runwright.wire import requests as wire
from runwright.wire import selections
from runwright.wire.ephemeral import encode_delta, encode_gap
from runwright.wire.frames import FrameBatch
from runwright.wire.references import shown_refs

BATCH_FRAMES = 64
BATCH_BYTES = 64 * 1024
BUFFERED_BATCHES = 64
BUFFERED_BATCH_BYTES = 256 * 1024  # a larger one is made again: what is kept stays within 16 MiB
FRAME_BYTES = 192  # cursor, position, two hashes and the tags around them
ENVELOPE_BYTES = 1024  # of an event that is not stored: ids of the longest, fingerprint, time
REF_BYTES = 320  # a digest and a media type of the longest


class EventStreams:
    """Serves Subscribe and ListEvents over an AgentRuntime."""

    def __init__(self, runtime: AgentRuntime) -> None:
        self._runtime = runtime
        self._encoded: LruCache[tuple[str, bool, str, int], Sequence[Response]] = LruCache(BUFFERED_BATCHES)

    async def subscribe(self, request: pb.SubscribeRequest, sender: BytesSender) -> None:
        """Streams until the run has ended, or for ever. Raises SUBSCRIBER_STALLED with the last cursor written."""
        selection = selections.selection(request, principal().namespace)
        full = wire.wants_contents(request.view)
        batches = await self._runtime.subscribe(
            selection,
            after_cursor=request.after_cursor,
            live_only=request.live_only,
            deltas=request.include_deltas,
        )
        last_cursor = request.after_cursor
        # Closed at once: a stream that is left must not be told of texts until it is collected.
        async with contextlib.aclosing(batches):
            async for items in batches:
                for response in await self._responses(items, full=full):
                    await sender.write(response.data, last_cursor)
                    last_cursor = response.last_cursor

    async def page(self, request: pb.ListEventsRequest) -> pb.ListEventsResponse:
        """One page, at most `page_size` frames and 1 MiB beyond the first."""
        selection = selections.selection(request, principal().namespace)
        full = wire.wants_contents(request.view)
        listed = await self._runtime.list_selected(
            selection, after_cursor=request.page_token, limit=wire.page_size(request.page_size)
        )
        frames: list[event_pb2.EventFrame] = []
        size = 0
        for group in _groups(listed.items, full=full):
            size += sum(sized.size for sized in group)
            if frames and size > PAGE_BYTES:
                break
            encoded = await self._encode(group)
            frames += pb.SubscribeResponse.FromString(encoded).frames
        cut = len(frames) < len(listed.items)
        token = frames[-1].cursor if cut else listed.next_cursor
        return pb.ListEventsResponse(frames=frames, next_page_token=token)

    async def _responses(self, items: Sequence[StreamItem], *, full: bool) -> Sequence[Response]:
        """A batch as it goes out, made once for all who stream the same scope and view at about the same time."""
        # Cursors know their scope. From between two events some may be removed, never added: so their number tells.
        stretch = (items[0].cursor, full, items[-1].cursor, len(items))
        # Bookmarks and the text of models are one reader's own.
        shared = all(item.event is not None for item in items)
        known = self._encoded.get(stretch) if shared else None
        if known is not None:
            return known
        made = [Response(await self._encode(group), group[-1].item.cursor) for group in _groups(items, full=full)]
        if shared and sum(len(response.data) for response in made) <= BUFFERED_BATCH_BYTES:
            self._encoded.put(stretch, made)
        return made

    async def _encode(self, group: Sequence[Sized]) -> bytes:
        stored = await self._contents(group)
        batch = FrameBatch()
        for item, refs, _ in group:
            if item.ephemeral is not None:
                _add_ephemeral(batch, item.cursor, item.sub_sequence, item.ephemeral)
                continue
            if item.event is None:
                batch.add_bookmark(item.cursor, item.position, opening=item.opening)
                continue
            raw = (item.event.data, item.event.previous_hash, item.event.hash)
            contents = [
                (ref, stored.get(ref.digest, b""))
                for ref in refs
                if ref.digest in stored or ref.size > INLINE_LIMIT_BYTES
            ]
            batch.add_event(item.cursor, item.position, raw, contents, ends_run=item.event.is_terminal)
        return batch.encode()

    async def _contents(self, group: Sequence[Sized]) -> dict[str, bytes]:
        """The contents to be inlined, by digest. Raises JOURNAL_CORRUPT for one that is damaged or missing.

        They are kept by namespace, and every event of a stream is of one: so
        they are asked for together, and one by one only to find whose is at fault.
        """
        wanted: dict[str, RunKey] = {}
        for item, refs, _ in group:
            if item.event is not None:
                for ref in refs:
                    if ref.size <= INLINE_LIMIT_BYTES:
                        wanted.setdefault(ref.digest, item.event.run)
        if not wanted:
            return {}
        try:
            stored = await self._runtime.contents(next(iter(wanted.values())), sorted(wanted))
        except AgentError as error:
            if error.reason is not ErrorReason.JOURNAL_CORRUPT:
                raise
            stored = {}
        for digest, run in wanted.items() if len(stored) < len(wanted) else ():
            try:
                stored[digest] = await self._runtime.required_content(run, digest)
            except AgentError as error:
                if error.reason is not ErrorReason.RUN_REMOVED:
                    raise
        return stored


def _add_ephemeral(batch: FrameBatch, cursor: str, number: int, found: Ephemeral) -> None:
    if isinstance(found, TextGap):
        batch.add_gap(cursor, number, encode_gap(found.state, found.effect, start=found.start, end=found.end))
        return
    event = encode_delta(found.state, found.effect, at=found.at, offset=found.offset, text=found.text)
    batch.add_ephemeral(cursor, number, event)


class Response(NamedTuple):
    """One message of a stream and the cursor of its last frame."""

    data: bytes
    last_cursor: str


class Sized(NamedTuple):
    """An item with what it will weigh in a response: its event and the contents that are inlined."""

    item: StreamItem
    refs: Sequence[ContentRef]
    size: int


def _groups(items: Sequence[StreamItem], *, full: bool) -> Iterator[list[Sized]]:
    """The items of one response each, within the bounds of a batch; contents are not loaded yet."""
    group: list[Sized] = []
    weight = 0
    for item in items:
        refs = shown_refs(item.event.data) if full and item.event else []
        size = FRAME_BYTES + (len(item.event.data) if item.event else 0)
        if isinstance(item.ephemeral, TextDelta):
            size += ENVELOPE_BYTES + len(item.ephemeral.text.encode())
        size += sum(REF_BYTES + (ref.size if ref.size <= INLINE_LIMIT_BYTES else 0) for ref in refs)
        if group and (len(group) == BATCH_FRAMES or weight + size > BATCH_BYTES):
            yield group
            group, weight = [], 0
        group.append(Sized(item, refs, size))
        weight += size
    if group:
        yield group
