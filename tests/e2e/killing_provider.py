"""A provider that plays its script and, when the user says so, kills its own process at one exact model call."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from pathlib import Path

from runwright.adapters.providers.scripted import ScriptedProvider
from runwright.ports.provider import EmitText, ModelReply, ModelRequest, UserMessage

_ORDER = re.compile(r"kill (before|after) model call (\d+)")
_EVERY = "kill before every model call"
_WHILE = "hold while told"
HOLD = "hold"  # the file in the directory that tells so
_HOLD = re.compile(r"hold in model calls up to (\d+)")
HALF = "Half of the "


class KillingProvider:
    """Obeys the words "kill before model call 2" or "kill after model call 2" in the run's input.

    "hold in model calls up to 2" says half of an answer, and then nothing for ever: somebody else kills.
    "hold while told" says nothing while there is a file `hold` in the directory when it is asked.
    "kill before every model call" is for runs that never get anywhere.

    Every call of a run is one line in `directory/RUN_ID`, written first: the
    count goes on after a restart, so that the same call never kills twice.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._script = ScriptedProvider()

    async def complete(self, request: ModelRequest, emit: EmitText) -> ModelReply:
        """The script's answer, if the process lives to give it."""
        path = self._directory / request.run_id
        with path.open("a") as calls:
            calls.write(f"{request.round}\n")
        number = len(rounds_asked(path))
        said = next(message.parts for message in reversed(request.messages) if isinstance(message, UserMessage))
        text = " ".join(part for part in said if isinstance(part, str))
        order, hold = _ORDER.search(text), _HOLD.search(text)
        moment = order.group(1) if order and int(order.group(2)) == number else ""
        if moment == "before" or _EVERY in text:
            os.kill(os.getpid(), signal.SIGKILL)
        if _WHILE in text and (self._directory / HOLD).exists():
            await asyncio.Event().wait()
        if hold and number <= int(hold.group(1)):
            emit(HALF)
            await asyncio.Event().wait()
        reply = await self._script.complete(request, emit)
        if moment == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return reply


def rounds_asked(path: Path) -> list[int]:
    """The round of every model call of a run so far, over all lives of the server."""
    return [int(line) for line in path.read_text().splitlines()] if path.exists() else []
