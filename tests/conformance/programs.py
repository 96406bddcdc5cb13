"""The three conformance programs: how each is built and started, and the JSON lines one speaks with it."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import shutil
import sys
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tests.conformance.normal import normal

ROOT = Path(__file__).parents[2]
ANSWER_SECONDS = 60.0
_LINE_BYTES = 64 * 1024 * 1024


class ProgramError(AssertionError):
    """A program broke the protocol, or did something it did not expect itself."""


class RefusedError(Exception):
    """A call that the client library ended with its typed error."""

    def __init__(self, op: str, error: dict[str, Any]) -> None:
        super().__init__(f"{op}: {error}")
        self.error = error


@dataclass(frozen=True)
class Language:
    """One client: what must be there to run its program, how it is built, and the program."""

    name: str
    needs: tuple[str, ...]
    command: tuple[str, ...]
    folder: Path
    environment: tuple[tuple[str, str], ...] = ()
    modules: tuple[str, ...] = ()  # of this interpreter, which runs the program: nothing is built then

    @property
    def own_command(self) -> list[str]:
        """The command, or what RUNWRIGHT_CONFORMANCE_<LANGUAGE> gives in its place."""
        given = os.environ.get(f"RUNWRIGHT_CONFORMANCE_{self.name.upper()}")
        return shlex.split(given) if given else list(self.command)

    @property
    def is_overridden(self) -> bool:
        """True when the environment says what to run: then nothing is built."""
        return f"RUNWRIGHT_CONFORMANCE_{self.name.upper()}" in os.environ

    def missing(self) -> str:
        """Why the program cannot be built or run here; empty when it can."""
        if self.is_overridden:
            return ""
        if not (self.folder / "Makefile").exists():
            return f"{self.folder.relative_to(ROOT)} is not there"
        absent = [tool for tool in self.needs if shutil.which(tool) is None]
        if absent:
            return f"no {' and no '.join(absent)} on the path"
        absent = [module for module in self.modules if find_spec(module) is None]
        return f"no {' and no '.join(absent)} in {sys.prefix}" if absent else ""

    async def build(self) -> str:
        """Makes whatever the program needs; returns why that failed, or nothing."""
        if self.is_overridden or self.modules:
            return ""
        process = await asyncio.create_subprocess_exec(
            *("make", "-s", "-C", str(self.folder), "conformance"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        out, _ = await process.communicate()
        return "" if process.returncode == 0 else f"make conformance failed:\n{out.decode()[-4000:]}"


LANGUAGES = {
    language.name: language
    for language in (
        Language(
            "python",
            (),
            (sys.executable, str(ROOT / "clients/python/conformance/program.py")),
            ROOT / "clients/python",
            (("PYTHONPATH", str(ROOT / "clients/python/src")),),  # as it is in the checkout, whatever is installed
            ("betterproto2", "grpclib", "pydantic"),
        ),
        Language("go", ("make", "go"), (str(ROOT / ".cache/conformance/go"),), ROOT / "clients/go"),
        Language(
            "typescript",
            ("make", "node", "npm"),
            ("node", str(ROOT / "clients/typescript/.build/conformance/program.js")),
            ROOT / "clients/typescript",
        ),
    )
}


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
        self._process.stdin.write(json.dumps({"id": number, "op": op, "args": args}, ensure_ascii=False).encode() + b"\n")
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
            async with asyncio.timeout(10):
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
