"""The text of a model while it answers, put together from deltas. Pure."""

from __future__ import annotations

from msgspec import Struct

from runwright._gen.runwright.v1 import event_pb2
from runwright.cli import names, sanitize

_TAIL_CHARACTERS = 4_000  # characters: more than a terminal shows
PIPE_WIDTH = 80  # where the text of a model is broken into lines that no terminal shows


class DeltaText(Struct):
    """What was heard of one attempt. After a lost connection it comes again from the beginning, and is not new."""

    attempt: int = 0
    heard: int = 0  # bytes
    tail: str = ""
    new: str = ""  # what the last delta added

    def take(self, event: event_pb2.Event) -> None:
        """Takes a delta in."""
        delta = event.model_stream_delta
        if event.attempt != self.attempt:
            self.attempt, self.heard, self.tail = event.attempt, 0, ""
        data = delta.text.encode()
        known = max(0, self.heard - delta.offset)
        self.new = data[known:].decode("utf-8", "replace")
        self.heard = max(self.heard, delta.offset + len(data))
        self.tail = (self.tail + self.new)[-_TAIL_CHARACTERS:]


class DeltaLines:
    """Cuts what is new into lines for a plain view: at its own line ends, else at a space before the width."""

    def __init__(self, width: int = PIPE_WIDTH) -> None:
        self._width = width
        self._rest = ""
        self._head = ""

    def take(self, event: event_pb2.Event, new: str) -> list[str]:
        """The lines that are complete now."""
        head = f"{names.time_of_day(event.time)} {'~':<4} round {event.round}: "  # a line has the time of its beginning
        self._head = self._head if self._rest else head
        self._rest += sanitize.block(new)
        lines: list[str] = []
        room = max(1, self._width - len(self._head))
        while "\n" in self._rest or len(self._rest) > room:
            line, end, rest = self._rest.partition("\n")
            if not end or len(line) > room:
                cut = line.rfind(" ", 1, room + 1)
                line, rest = (line[:cut], self._rest[cut + 1 :]) if cut > 0 else (line[:room], self._rest[room:])
            lines += self._made(line)
            self._rest, self._head = rest, head
        return lines

    def end(self) -> list[str]:
        """The last line, if there is one."""
        last, self._rest = self._rest, ""
        return self._made(last)

    def _made(self, line: str) -> list[str]:
        text = sanitize.line(line)
        return [self._head + text] if text else []  # a terminal breaks wide characters by itself; none is cut
