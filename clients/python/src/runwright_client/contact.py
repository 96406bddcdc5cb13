"""How something that goes on for as long as it takes stands with its server."""

from __future__ import annotations

import asyncio

from .backoff import Backoff
from .errors import RunwrightError


class Contact:
    """Says how long to wait after a failure. A server that has never answered is given up after `seconds`."""

    def __init__(self, seconds: float, first_pause: float = 0.1) -> None:
        self._backoff = Backoff(first_pause)
        self._give_up_at: float | None = asyncio.get_running_loop().time() + seconds

    @property
    def is_made(self) -> bool:
        """True once the server has answered."""
        return self._give_up_at is None

    def made(self) -> None:
        """The server answered: it is there, and will be again."""
        self._backoff.reset()
        self._give_up_at = None

    def lost(self, error: RunwrightError, *, passes: bool) -> float:
        """Seconds until the next try. Raises the error if that would be in vain: an address that is wrong stays so."""
        is_late = self._give_up_at is not None and asyncio.get_running_loop().time() >= self._give_up_at
        if is_late or not passes:
            raise error
        return self._backoff.seconds(error.retry_after)
