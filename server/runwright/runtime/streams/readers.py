"""Open streams and how far each has got."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runwright.runtime.streams.subscriptions import StreamItem


class StreamReader:
    """One open stream: what it took last, and whether more is being handed to it."""

    __slots__ = ("is_behind", "position")

    def __init__(self, position: int) -> None:
        self.position = position
        self.is_behind = False


class StreamReaders:
    """The open streams."""

    def __init__(self) -> None:
        self._open: set[StreamReader] = set()

    def __len__(self) -> int:
        return len(self._open)

    async def follow(
        self, stream: AsyncGenerator[list[StreamItem], None], position: int, full: int
    ) -> AsyncGenerator[list[StreamItem], None]:
        """The stream, watched. A batch of `full` items means that there may be more."""
        reader = StreamReader(position)
        self._open.add(reader)
        try:
            async for batch in stream:
                reader.is_behind = True
                yield batch  # comes back when the batch has been sent
                last = next((item.position for item in reversed(batch) if item.event is not None), 0)
                reader.position = max(reader.position, last)
                reader.is_behind = len(batch) >= full
        finally:
            self._open.discard(reader)
            await stream.aclose()

    def lag(self, head: int) -> int:
        """Positions between the head and the reader that is furthest behind; callable on any thread."""
        return furthest(self._open.copy(), head)


def furthest(readers: Collection[StreamReader], head: int) -> int:
    """The greatest distance of a reader that has not been sent all there is."""
    return max((head - reader.position for reader in readers if reader.is_behind), default=0)
