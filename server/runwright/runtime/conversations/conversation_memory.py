"""How much of their conversations all runs together hold in memory, and who has to wait or to let go for that."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from typing import Protocol

from runwright.core.errors import AgentError, ErrorReason
from runwright.core.images import MAX_IMAGES_BYTES

DEFAULT_MEMORY_BYTES = 256 * 1024 * 1024
# What one run keeps between its requests; of more it keeps nothing and reads the journal when a model is asked.
RUN_BYTES = 4 * 1024 * 1024
# What one request to a model may tell it, without its images. A million tokens are some 4 MiB of text. The vendors'
# libraries write it as JSON in one step, on the loop: of this in some 50 ms. Images are put in as the request is sent.
REQUEST_BYTES = 12 * 1024 * 1024
# A request in flight: its contents, the text made of them, and what the vendor's library makes of that. Of an image
# there is one copy.
COPIES = 3
RETRY_AFTER = "2s"


class Cached(Protocol):
    """What can be let go of, because the journal has it."""

    def let_go(self) -> None:
        """Holds nothing from now on."""


class ConversationMemory:
    """Counts bytes of conversations, on one loop.

    What runs hold between requests is a cache over the journal: the one that was
    not used for longest goes first. What a request holds while a model answers
    cannot go: a request for which there is no room waits, in order, and while
    one waits no new run is taken.
    """

    def __init__(self, limit: int = DEFAULT_MEMORY_BYTES) -> None:
        self.limit = limit
        self.request_limit = min(REQUEST_BYTES, limit // (COPIES + 1))
        self.image_limit = min(MAX_IMAGES_BYTES, limit // (COPIES + 1))  # the two together always find room
        self.run_limit = min(RUN_BYTES, limit)
        self._cached: OrderedDict[Cached, int] = OrderedDict()
        self._cached_bytes = 0
        self._in_requests = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def used(self) -> int:
        """Bytes that are held now; never more than the limit."""
        return self._cached_bytes + self._in_requests

    def cache(self, holder: Cached, size: int) -> None:
        """Says that a holder has so many bytes from now on, and was used. It may be told to let go at once."""
        before = self._cached.pop(holder, 0)
        if size:
            self._cached[holder] = size
        self._cached_bytes += size - before
        if self.used > self.limit:
            self._make_room()

    def drop(self, holder: Cached) -> None:
        """Says that a holder has nothing any more."""
        self._cached_bytes -= self._cached.pop(holder, 0)

    async def enter(self, size: int, images: int = 0) -> int:
        """Waits for room for a request that tells a model so many bytes and shows it images of so many.

        Returns what it takes, for `leave`. Raises CONVERSATION_TOO_LARGE above `request_limit` or `image_limit`.
        """
        if size > self.request_limit:
            raise _too_large("has come to", size, self.request_limit)
        if images > self.image_limit:
            raise _too_large("shows images of", images, self.image_limit)
        taken = size * COPIES + images
        await self._take(taken)
        return taken

    def leave(self, taken: int) -> None:
        """Says that a request is over."""
        self._in_requests -= taken
        self._let_in()

    def refuse_when_full(self) -> None:
        """Raises OVERLOADED while requests wait for room."""
        if self._waiting:
            message = f"The server holds {self.limit} bytes of conversations, which is all it may."
            metadata = {"limit": str(self.limit), "retry_after": RETRY_AFTER}
            raise AgentError(ErrorReason.OVERLOADED, message, metadata=metadata)

    async def _take(self, size: int) -> None:
        if not self._waiting and self._fits(size):
            self._in_requests += size
            if self.used > self.limit:
                self._make_room()
            return
        admitted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((size, admitted))
        try:
            await admitted
        except asyncio.CancelledError:
            if not admitted.cancelled():
                self._in_requests -= size  # it was let in at the very moment in which it was given up
            self._let_in()
            raise

    def _let_in(self) -> None:
        while self._waiting:
            size, admitted = self._waiting[0]
            if not admitted.cancelled():
                if not self._fits(size):
                    return
                self._in_requests += size
                self._make_room()
                admitted.set_result(None)
            self._waiting.popleft()

    def _fits(self, size: int) -> bool:
        """True when there is room once every cache has let go."""
        return self._in_requests + size <= self.limit

    def _make_room(self) -> None:
        while self._cached and self.used > self.limit:
            holder = next(iter(self._cached))
            self.drop(holder)
            holder.let_go()


def _too_large(what: str, size: int, limit: int) -> AgentError:
    return AgentError(
        ErrorReason.CONVERSATION_TOO_LARGE,
        f"The conversation {what} {size} bytes; one request to a model may hold {limit}.",
        metadata={"bytes": str(size), "limit": str(limit)},
    )
