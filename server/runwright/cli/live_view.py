"""A run as a tree that is redrawn in place, on a terminal that can do so."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from runwright._gen.runwright.v1 import event_pb2
from runwright.cli import render
from runwright.cli.tree import RunTree
from runwright.cli.tree_update import update_tree

_MOST_DELTA_LINES = 5  # lines of a text that is coming


class LiveView:
    """A tree that is redrawn in place. When it ends, the whole tree stays on the screen."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.time) -> None:
        self.tree = RunTree()
        self._console = console
        self._clock = clock
        self._notice = ""
        # The tree is drawn by a thread of `Live`, so that elapsed times move while no event comes.
        self._lock = threading.Lock()

    def take(self, frame: event_pb2.EventFrame) -> None:
        """Lets the tree grow; the next drawing shows it."""
        with self._lock:
            update_tree(self.tree, frame)

    def notice(self, text: str) -> None:
        """Shows the text below the tree until the next one."""
        self._notice = f"-- {text}"

    def showing(self) -> AbstractContextManager[object]:
        """Draws four times a second until it ends, then once for good."""
        return _Showing(self)

    def drawing(self, height: int | None = None) -> Group:
        """The tree as it is now; with a height, its first line and the newest that fit below."""
        with self._lock:
            lines = render.rows(self.tree, self._clock())
            delta_text = render.delta_text(self.tree)
        width = self._console.width
        coming = list(Text(delta_text).wrap(self._console, width))[-_MOST_DELTA_LINES:] if delta_text else []
        height = None if height is None else max(2, height - len(coming))
        if height is not None and len(lines) > height:
            lines = [lines[0], render.Row("   ..."), *lines[len(lines) - height + 2 :]]
        texts = [render.text(row, width) for row in lines]
        return Group(*texts, *coming, *([render.text(render.Row(self._notice), width)] if self._notice else []))


class _Showing:
    def __init__(self, view: LiveView) -> None:
        self._view = view
        self._console = view._console
        self._live = Live(
            get_renderable=lambda: view.drawing(max(4, self._console.height - 2)),
            console=self._console,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def __enter__(self) -> None:
        self._live.start(refresh=True)

    def __exit__(self, *_: object) -> None:
        self._live.stop()
        self._console.print(self._view.drawing())
