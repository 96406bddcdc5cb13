"""The system's name resolution, each name on a thread of its own: a slow one holds up nobody but itself."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TypeAlias

# Names that may wait for an answer at once: of one principal, and of all. A thread that waits costs some 50 KiB.
MOST_OF_ONE = 32
MOST_OF_ALL = 256

Ask: TypeAlias = Callable[[str], Sequence[str]]


class TooManyNamesError(Exception):
    """So many names of the principal, or of all, wait for an answer that no other is looked up now."""


class Resolver:
    """Asks for names. Whoever asks for a name that is being looked up waits for the same answer.

    A thread cannot be stopped: a name that is given up keeps its thread, and its
    place in the bounds, until the system has answered.
    """

    def __init__(self, ask: Ask | None = None) -> None:
        self._ask = ask or _ask_system
        self._asking: dict[str, asyncio.Future[Sequence[str]]] = {}
        self._of_one: Counter[str] = Counter()

    def look_up(self, principal: str, host: str) -> Awaitable[Sequence[str]]:
        """The addresses of a name. Raises TooManyNamesError at once; OSError and UnicodeError with the answer."""
        name = host.lower()
        if name not in self._asking:
            if self._of_one[principal] >= MOST_OF_ONE or len(self._asking) >= MOST_OF_ALL:
                raise TooManyNamesError
            self._begin(principal, name)
        return asyncio.shield(self._asking[name])  # shared: nobody gives it up for the others

    def _begin(self, principal: str, name: str) -> None:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Sequence[str]] = loop.create_future()

        def done(found: Sequence[str] | Exception) -> None:
            del self._asking[name]
            self._of_one.subtract({principal: 1})
            self._of_one += Counter()  # keeps those above nought
            if isinstance(found, Exception):
                answer.set_exception(found)
                answer.exception()  # perhaps everybody has given up: nothing is to be said of that
            else:
                answer.set_result(found)

        def run() -> None:
            found: Sequence[str] | Exception
            try:
                found = self._ask(name)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer
                found = error
            with suppress(RuntimeError):  # the loop has been closed: nobody waits any more
                loop.call_soon_threadsafe(done, found)

        try:
            # A daemon: a system that never answers must not keep the server from ending.
            threading.Thread(target=run, name="runwright-resolver", daemon=True).start()
        except RuntimeError:
            raise TooManyNamesError from None  # the system gives no more threads
        self._asking[name] = answer
        self._of_one[principal] += 1


def _ask_system(host: str) -> Sequence[str]:
    return [str(address[0]) for *_, address in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]
