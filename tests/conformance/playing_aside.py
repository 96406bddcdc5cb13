"""Cases that mostly wait are played beside the others, so that nobody waits for them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from itertools import groupby

Key = tuple[str, str]  # a language and a case
PlayOne = Callable[[str, str], Awaitable[None]]


class Aside:
    """Plays what it is given in the background: the cases of one language in turn, the languages side by side."""

    def __init__(self, keys: Iterable[Key], play: PlayOne) -> None:
        loop = asyncio.get_running_loop()
        self._outcomes: dict[Key, asyncio.Future[None]] = {key: loop.create_future() for key in sorted(set(keys))}
        self._play = play
        languages = groupby(self._outcomes, lambda key: key[0])
        self._tasks = [asyncio.create_task(self._in_turn(list(own), n)) for n, (_, own) in enumerate(languages)]

    async def outcome(self, language: str, case: str) -> None:
        """Returns or raises what came of the play."""
        await self._outcomes[(language, case)]

    async def close(self) -> None:
        """Gives up what is still under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for outcome in self._outcomes.values():
            if not outcome.cancel():
                outcome.exception()  # perhaps of a test that was never run

    async def _in_turn(self, keys: list[Key], number: int) -> None:
        # Each language begins elsewhere: two of them cannot play on one server at once.
        first = number * len(keys) // 3
        for key in keys[first:] + keys[:first]:
            try:
                await self._play(*key)
            except asyncio.CancelledError:
                raise
            except BaseException as error:  # noqa: BLE001 - a skip is one, and is its test's
                self._outcomes[key].set_exception(error)
            else:
                self._outcomes[key].set_result(None)
