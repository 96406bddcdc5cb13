"""A turn of a chat while it goes on: what the agent says as it comes, and what it does, a line each."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from runwright._gen.runwright.v1 import event_pb2
from runwright.cli import sanitize
from runwright.cli.plain import event_line
from runwright.cli.tree import RunTree
from runwright.cli.tree_update import contents_of, update_tree
from runwright.wire.snapshots import inline_bytes

Write = Callable[[str], None]
# What every turn has, and what the text itself shows.
_UNSAID = frozenset(
    {
        event_pb2.EVENT_KIND_RUN_STARTED,
        event_pb2.EVENT_KIND_TURN_STARTED,
        event_pb2.EVENT_KIND_TURN_COMPLETED,
        event_pb2.EVENT_KIND_MODEL_ATTEMPT_STARTED,
        event_pb2.EVENT_KIND_MODEL_MESSAGE_COMPLETED,
        event_pb2.EVENT_KIND_POLICY_DECIDED,
        event_pb2.EVENT_KIND_TOOL_STARTED,
        event_pb2.EVENT_KIND_RUN_COMPLETED,
        event_pb2.EVENT_KIND_RUN_FAILED,
        event_pb2.EVENT_KIND_RUN_CANCELLED,
    }
)


class TalkView:
    """Says each text once: piece by piece where it is read by a person, else only the answer, at the end."""

    def __init__(self, say: Write, note: Write, *, streams: bool) -> None:
        """`say` takes text without an end of line, `note` takes a line. With `streams` text is said as it comes."""
        self.tree = RunTree()
        self._say = say
        self._note = note
        self._streams = streams
        self._said = ""  # of the present attempt
        self._attempt = (0, 0)
        self._in_a_line = False

    def take(self, frame: event_pb2.EventFrame) -> None:
        """Says what a piece of text adds, or notes what happened."""
        update_tree(self.tree, frame)
        event = frame.event
        if event.HasField("model_stream_delta"):
            self._take_text(event, self.tree.round(event).delta_text.new)
        elif frame.HasField("event"):
            if event.HasField("model_message_completed"):
                self._complete(frame)
            if event.kind not in _UNSAID:
                self.note(event_line(frame, self.tree))

    def notice(self, text: str) -> None:
        """Notes something about the connection."""
        self.note(f"-- {text}")

    def note(self, text: str) -> None:
        """Notes something on a line of its own."""
        self._end_line()
        self._note(text)

    def showing(self) -> AbstractContextManager[object]:
        """Text needs no beginning and no end."""
        return nullcontext()

    def answer(self, text: str) -> None:
        """Says the answer of the turn, as far as it was not said."""
        if self._said.rstrip() == text.rstrip() and self._in_a_line:
            self._end_line()
            return
        self._end_line()
        self._say(f"{text}\n")

    def _take_text(self, event: event_pb2.Event, new: str) -> None:
        if not self._streams:
            return
        attempt = (event.round, event.attempt)
        if attempt != self._attempt:
            self._end_line()
            self._attempt, self._said = attempt, ""
        text = sanitize.block(new)
        self._say(text)
        self._said += text
        self._in_a_line = self._in_a_line or bool(text)

    def _complete(self, frame: event_pb2.EventFrame) -> None:
        """What a model says before it calls tools, where it was not heard as it came."""
        said, event = frame.event.model_message_completed, frame.event
        if not (self._streams and said.tool_calls and said.HasField("text")):
            return
        if self._attempt != (event.round, event.attempt) and (content := contents_of(frame).get(said.text.digest)):
            self._take_text(event, sanitize.decoded(inline_bytes(content)))
        self._end_line()

    def _end_line(self) -> None:
        if self._in_a_line:
            self._say("\n")
            self._in_a_line = False
