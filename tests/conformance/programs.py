"""A conformance program that runs, and the JSON lines one speaks with it."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.conformance.languages import ROOT, Language
from tests.conformance.normal import normal

ANSWER_SECONDS = 60.0
_LINE_BYTES = 64 * 1024 * 1024


class ProgramError(AssertionError):
    """A program broke the protocol, or did something it did not expect itself."""


class RefusedError(Exception):
    """A call that the client library ended with its typed error."""

    def __init__(self, op: str, error: dict[str, Any]) -> None:
        super().__init__(f"{op}: {error}")
        self.error = error


@dataclass
class Program:
    """One running program. Requests may overlap; each answer finds its own."""

    language: Language
    log: Path
    _process: asyncio.subprocess.Process | None = None
    _reading: asyncio.Task[None] | None = None
    _waiting: dict[int, asyncio.Future[dict[str, Any]]] = field(default_factory=dict)
    _last: int = 0

    @property
    def is_running(self) -> bool:
        """True until it is seen to have ended."""
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Starts the process; it says nothing before it is asked."""
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self.language.own_command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                limit=_LINE_BYTES,
                cwd=ROOT,
                env={**os.environ, **dict(self.language.environment)},
            )
        self._reading = asyncio.create_task(self._read())

    async def ask(self, op: str, args: dict[str, Any], seconds: float = ANSWER_SECONDS) -> Any:
        """The answer of one op in the one form. Raises RefusedError with the typed error of a failed call."""
        if not self.is_running:
            await self.start()
        assert self._process is not None and self._process.stdin is not None
        self._last += 1
        number = self._last
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        self._process.stdin.write(
            json.dumps({"id": number, "op": op, "args": args}, ensure_ascii=False).encode() + b"\n"
        )
        try:
            async with asyncio.timeout(seconds):
                await self._process.stdin.drain()
                said = await answer
        except TimeoutError:
            raise ProgramError(f"{self.language.name} did not answer {op} within {seconds:g} s{self._tail()}") from None
        except ConnectionError:
            raise ProgramError(f"{self.language.name} has ended{self._tail()}") from None
        finally:
            self._waiting.pop(number, None)
        if "error" in said:
            if said["error"].get("reason") == "PROGRAM":
                raise ProgramError(f"{self.language.name} {op}: {said['error'].get('message')}{self._tail()}")
            raise RefusedError(op, normal(said["error"]))
        return normal(said.get("ok", {}))

    async def close(self) -> int | None:
        """Closes its standard input, which ends it; kills it when that does not. Returns its exit code."""
        if self._process is None:
            return None
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(60):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        if self._reading is not None:
            await self._reading
        return self._process.returncode

    async def _read(self) -> None:
        assert self._process is not None and self._process.stdout is not None
        while line := await self._process.stdout.readline():
            try:
                said = json.loads(line)
                waiting = self._waiting.get(said["id"])
            except (ValueError, KeyError, TypeError):
                self._fail(ProgramError(f"{self.language.name} said what is no answer: {line[:400]!r}"))
                continue
            if waiting is not None and not waiting.done():
                waiting.set_result(said)
        await self._process.wait()
        self._fail(ProgramError(f"{self.language.name} ended with {self._process.returncode}{self._tail()}"))

    def _fail(self, error: ProgramError) -> None:
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(error)

    def _tail(self) -> str:
        text = self.log.read_text(errors="replace")[-3000:] if self.log.exists() else ""
        return f"; its standard error:\n{text}" if text else ""
