"""How long to wait before the next try."""

from __future__ import annotations

import random

LONGEST_SECONDS = 5.0


class Backoff:
    """Waits that double from `first` to 5 s, each with jitter, and begin anew after a success."""

    def __init__(self, first: float = 0.1) -> None:
        self._first = first
        self._next = first

    def reset(self) -> None:
        """It worked: the next wait is the first one again."""
        self._next = self._first

    def seconds(self, at_least: float = 0.0) -> float:
        """The next wait; not shorter than what the server asked for, as far as that is within the longest."""
        wait = self._next * random.uniform(0.75, 1.25)
        self._next = min(2 * self._next, LONGEST_SECONDS)
        return min(max(wait, at_least), LONGEST_SECONDS)
