"""Showing a run while it goes on: a live tree on a terminal, plain lines everywhere else."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, TextIO

from runwright._gen.runwright.v1 import event_pb2
from runwright.cli.delta_text import PIPE_WIDTH, DeltaLines
from runwright.cli.output import json_line
from runwright.cli.plain import event_line
from runwright.cli.standard_streams import raw, terminal_width
from runwright.cli.tree import RunTree
from runwright.cli.tree_update import update_tree


class View(Protocol):
    """Takes frames in and shows them. `notice` is for what is not an event."""

    tree: RunTree

    def take(self, frame: event_pb2.EventFrame) -> None:
        """Shows one frame."""

    def notice(self, text: str) -> None:
        """Says something about the connection."""

    def showing(self) -> AbstractContextManager[object]:
        """The time during which the view may draw."""


class PlainView:
    """One line for each event, and lines of the text that a model is giving.

    On a terminal they are as wide as it is; without a `width`, in pipes and files, no event's line is cut.
    """

    def __init__(self, write: Callable[[str], None], width: int | None = None) -> None:
        self.tree = RunTree()
        self._write = write
        self._width = width
        self._delta_lines = DeltaLines(width or PIPE_WIDTH)

    def take(self, frame: event_pb2.EventFrame) -> None:
        """Writes the event's line, or those of a text that are complete; bookmarks show nothing."""
        update_tree(self.tree, frame)
        lines: list[str] = []
        if frame.event.HasField("model_stream_delta"):
            lines = self._delta_lines.take(frame.event, self.tree.round(frame.event).delta_text.new)
        elif frame.HasField("event"):
            lines = [*self._delta_lines.end(), event_line(frame, self.tree, self._width)]
        for line in lines:
            self._write(line)

    def notice(self, text: str) -> None:
        """Writes a line of its own."""
        self._write(f"-- {text}")

    def showing(self) -> AbstractContextManager[object]:
        """Lines need no beginning and no end."""
        return nullcontext()


class QuietView(PlainView):
    """Shows nothing; the tree still grows."""

    def __init__(self) -> None:
        super().__init__(lambda _: None)


class JsonView(QuietView):
    """One JSON object a line for each frame that holds something; what is to be said goes elsewhere."""

    def __init__(self, write: Callable[[str], None], tell: Callable[[str], None]) -> None:
        super().__init__()
        self._print = write
        self._tell = tell

    def take(self, frame: event_pb2.EventFrame) -> None:
        """Writes the frame; bookmarks are left out."""
        update_tree(self.tree, frame)
        if not frame.HasField("bookmark"):
            self._print(json_line(frame))

    def notice(self, text: str) -> None:
        """Says it."""
        self._tell(f"-- {text}")


def view_for(stream: TextIO) -> View:
    """A live tree when `stream` is a terminal that can redraw, lines otherwise."""
    # Not for every command: the library that draws takes as long to load as a small server.
    from rich.console import Console  # noqa: PLC0415

    from runwright.cli.live_view import LiveView  # noqa: PLC0415

    console = Console(file=raw(stream), highlight=False, markup=False, emoji=False)
    if console.is_terminal and not console.is_dumb_terminal:
        return LiveView(console)
    return PlainView(lambda text: print(text, file=stream, flush=True), terminal_width(stream))
