"""The text of models while they answer: kept as long as an attempt, told to whoever asked for it, never stored."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Protocol

from msgspec import Struct

from runwright.core.effects import CallModel
from runwright.core.ids import RunKey
from runwright.core.state import RunState
from runwright.ports.clock import Clock
from runwright.ports.provider import MAX_TEXT_BYTES
from runwright.runtime.conversations.model_reply import invalid_reply

# Readers are told of a text when so much has come since they last were, or after so long.
SHOWN_EVERY_US = 20_000
SHOWN_EVERY_BYTES = 1024
# The longest piece that is sent; also what is kept of an answer that is complete, for readers a little behind.
PIECE_BYTES = 32 * 1024
_CONTINUES = 0x80  # the high bits of a byte of UTF-8 that does not begin a character
_HIGH_BITS = 0xC0


class TextDelta(Struct, frozen=True):
    """A piece of an answer; `offset` counts bytes of UTF-8. `state` is that of the run when the model was asked."""

    state: RunState
    effect: CallModel
    at: int
    offset: int
    text: str


class TextGap(Struct, frozen=True):
    """A stretch of an answer's bytes that a reader was too slow for."""

    state: RunState
    effect: CallModel
    start: int
    end: int


class TextReader(Protocol):
    """Somebody who is told that there is more of a text, or that it has ended."""

    def tell(self, text: LiveText) -> None:
        """Takes note; never waits."""

    def wants(self, state: RunState) -> bool:
        """True when the run is one of those that are followed."""


class LiveText:
    """The text of one model attempt so far. `add` is what its provider emits to."""

    def __init__(
        self, texts: LiveTexts, state: RunState, effect: CallModel, opened_at: int, *, is_held: bool = False
    ) -> None:
        self.state = state
        self.effect = effect
        self.opened_at = opened_at  # position of the run's last event when it began
        self.is_held = is_held  # nobody is told of it
        self.shown = 0  # up to where readers may read
        self.shown_at = 0
        self.ended = False
        self.is_whole = False  # ended, and the attempt succeeded
        self._texts = texts
        self._data = bytearray()
        self._begin = 0  # offset of the first byte that is still kept
        self._timer: asyncio.Task[None] | None = None

    @property
    def size(self) -> int:
        """Bytes so far."""
        return self._begin + len(self._data)

    def add(self, piece: str) -> None:
        """Takes the next piece. Raises MODEL_OUTPUT_INVALID for text that no reply may hold."""
        if self.ended:
            return
        try:
            data = piece.encode()
        except UnicodeEncodeError:
            raise invalid_reply(self.state.provider, "text that is not Unicode") from None
        if len(self._data) + len(data) > MAX_TEXT_BYTES:
            raise invalid_reply(self.state.provider, f"text above {MAX_TEXT_BYTES} bytes")
        self._data += data
        if self.size == self.shown:
            return
        due = self.shown_at + SHOWN_EVERY_US
        if self.size - self.shown >= SHOWN_EVERY_BYTES or not self.shown_at <= self._texts.clock.now() < due:
            self._show()
        elif self._timer is None:
            self._timer = asyncio.create_task(self._show_later(due), name=f"{self.state.key.run_id} text")

    def read(self, offset: int) -> str:
        """What readers may read after `offset`, which ends a character, up to the longest piece."""
        end = min(offset + PIECE_BYTES, self.shown) - self._begin
        while end + self._begin < self.shown and self._data[end] & _HIGH_BITS == _CONTINUES:
            end -= 1
        return self._data[offset - self._begin : end].decode()

    def begins(self, answer: str) -> bool:
        """True when the answer begins with what was emitted."""
        return not self._data or answer.encode().startswith(self._data)

    def end(self, *, is_whole: bool) -> None:
        """Takes no more; of a whole answer the last piece is kept. Repeating it changes nothing."""
        if self.ended:
            return
        self.ended, self.is_whole = True, is_whole
        if self._timer is not None:
            self._timer.cancel()
        size = self.size
        self._data = self._data[-PIECE_BYTES:] if is_whole else bytearray()
        self._begin = size - len(self._data)
        self.shown = size
        self._texts.tell(self)

    async def _show_later(self, due: int) -> None:
        await self._texts.clock.sleep_until(due)
        self._show()

    def _show(self) -> None:
        if self._timer is not None and self._timer is not asyncio.current_task():
            self._timer.cancel()
        self._timer = None
        self.shown, self.shown_at = self.size, self._texts.clock.now()
        self._texts.tell(self)


class LiveTexts:
    """The texts that are coming now, at most one a run, and who follows them."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._live: dict[RunKey, LiveText] = {}
        self._of_run: dict[RunKey, set[TextReader]] = {}
        self._of_many: set[TextReader] = set()

    def __len__(self) -> int:
        return len(self._live)

    def open(self, state: RunState, effect: CallModel, position: int, *, is_held: bool = False) -> LiveText:
        """The text of an attempt that begins after the event at `position`. It is kept from its first piece on.

        Of one that is held, as an answer may be that somebody is to approve, nobody is told.
        """
        return LiveText(self, state, effect, position, is_held=is_held)

    def tell(self, text: LiveText) -> None:
        """Tells the readers of the text's run that it has changed."""
        run = text.state.key
        if text.is_held:
            return
        if not text.ended:
            self._live[run] = text
        elif self._live.get(run) is text:
            del self._live[run]
        for reader in (*self._of_run.get(run, ()), *self._of_many):
            if reader.wants(text.state):
                reader.tell(text)

    def follow(self, reader: TextReader, run: RunKey | None) -> None:
        """Tells the reader of every text of the run, or of all runs it wants; of those that are coming at once."""
        (self._of_many if run is None else self._of_run.setdefault(run, set())).add(reader)
        for text in self._of(run):
            if reader.wants(text.state):
                reader.tell(text)

    def leave(self, reader: TextReader, run: RunKey | None) -> None:
        """Ends `follow`."""
        if run is None:
            self._of_many.discard(reader)
            return
        readers = self._of_run.get(run, set())
        readers.discard(reader)
        if not readers:
            self._of_run.pop(run, None)

    def _of(self, run: RunKey | None) -> Iterator[LiveText]:
        if run is None:
            yield from list(self._live.values())
        elif run in self._live:
            yield self._live[run]
