"""Plays a case: step after step, with the names it saves, until one step does not come out as expected."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from tests.conformance.case_files import Case, Step
from tests.conformance.hands import ABLE
from tests.conformance.matchers import differences
from tests.conformance.programs import Program, ProgramError, RefusedError
from tests.conformance.stage import Stage
from tests.conformance.values import filled, reach

UNTIL_SECONDS = 30.0
READ_SECONDS = 20.0
_PLAYS = count(1)


class UnexpectedError(AssertionError):
    """A step did not come out as its case says."""


@dataclass
class Play:
    """One case played by one program, with others at hand where the case needs them."""

    case: Case
    stage: Stage
    program: Program
    others: Mapping[str, Program] = field(default_factory=dict)
    mode: str = ""
    names: dict[str, Any] = field(default_factory=dict)
    _under_way: dict[str, asyncio.Task[Any]] = field(default_factory=dict)
    _open: list[tuple[Program, str, str]] = field(default_factory=list)
    _connected: set[str] = field(default_factory=set)

    async def run(self) -> dict[str, Any]:
        """Plays every step and tidies up; returns what was saved."""
        async with self.stage.turn:
            return await self._run()

    async def _run(self) -> dict[str, Any]:
        await self.stage.ready()
        language = self.program.language.name
        self.names |= {**self.stage.names, "id": f"{language}-{next(_PLAYS)}", "language": language}
        if self.case.connect:
            await self._connect(self.program)
        is_done = False
        try:
            for number, step in enumerate(self.case.steps, start=1):
                if step.when in ("", self.mode):
                    await self._play(step, f"{self.case.file}, {self.case.name}, step {number} ({step.title})")
            is_done = True
        finally:
            await self._tidy(is_strict=is_done)
        return self.names

    async def _connect(self, program: Program) -> None:
        if program.language.name not in self._connected:
            self._connected.add(program.language.name)
            await program.ask("connect", {"address": self.stage.proxy.address})

    async def _play(self, step: Step, where: str) -> None:
        try:
            args = filled(dict(step.args), self.names)
            if step.background:
                self._under_way[step.background] = asyncio.create_task(self._outcome(step, args))
                return
            if step.until is not None:
                came = await self._until(step, args)
            else:
                came = await (self._under_way.pop(step.join) if step.join else self._outcome(step, args))
            self._check(step, came)
        except Exception as error:
            raise UnexpectedError(f"{where}: {error}") from error

    async def _outcome(self, step: Step, args: dict[str, Any]) -> Any:
        """What came of an op or a deed; the refusal itself when a call was refused."""
        if step.do:
            return await ABLE[step.do](self.stage, args)
        program = self.others[step.by] if step.by else self.program
        if step.by and step.op != "connect":
            await self._connect(program)
        if step.op == "read":
            args = {"timeout_seconds": READ_SECONDS, **args}
        try:
            came = await program.ask(step.op, args)
            while step.op == "read" and step.expect_error is not None and came.get("frames"):
                came = await program.ask(step.op, args)  # what came before the error is answered first
        except RefusedError as refused:
            return refused
        self._note(program, step.op, args)
        return came

    def _note(self, program: Program, op: str, args: Mapping[str, Any]) -> None:
        """Remembers what is left to be ended: a client that is closed or replaced takes its subscriptions along."""
        match op:
            case "subscribe":
                self._open.append((program, "unsubscribe", args["name"]))
            case "serve_tools":
                self._open.append((program, "stop_tools", args["name"]))
            case "unsubscribe" | "stop_tools":
                self._open.remove((program, op, args["name"]))
            case "connect" | "close":
                self._open = [one for one in self._open if one[:2] != (program, "unsubscribe")]
                self._connected |= {program.language.name}
                self._connected -= {program.language.name} if op == "close" else set()

    async def _until(self, step: Step, args: dict[str, Any]) -> Any:
        wanted = filled(step.until, self.names)
        came: Any = None
        try:
            async with asyncio.timeout(UNTIL_SECONDS):
                while True:
                    came = await self._outcome(step, args)
                    seen = came.error if isinstance(came, RefusedError) else came
                    if not differences(wanted, seen):
                        return came
        except TimeoutError:
            raise UnexpectedError(f"not within {UNTIL_SECONDS:g} s: {wanted}; last: {came}") from None

    def _check(self, step: Step, came: Any) -> None:
        if step.expect_error is not None:
            assert isinstance(came, RefusedError), f"it was not refused but answered {_text(came)}"
            wanted = step.expect_error
            rules = {"$refusal": wanted} if isinstance(wanted, str) else dict(wanted)
            _compare(filled(rules, self.names), came.error)
            came = came.error
        elif isinstance(came, RefusedError):
            if step.until is None:
                raise came
            came = came.error
        if isinstance(came, Mapping) and came.get("timed_out") and step.expect is None:
            raise UnexpectedError(f"what it waits for did not come: {_text(came)}")
        if step.expect is not None:
            _compare(filled(step.expect, self.names), came)
        for name, path in step.save.items():
            self.names[name] = reach(came, path)

    async def _tidy(self, *, is_strict: bool) -> None:
        """Leaves programs without subscriptions, tools and connection; a failure counts unless one came before."""
        for task in self._under_way.values():
            task.cancel()
        if not self.stage.server.is_running:
            await self.stage.restart()
        self.stage.proxy.heal()
        programs = {self.program.language.name: self.program, **self.others}
        ends = [(program, op, {"name": name}) for program, op, name in self._open]
        ends += [(programs[name], "close", {}) for name in sorted(self._connected)]
        self._connected.clear()
        for program, op, args in ends:
            try:
                await program.ask(op, args, seconds=10)
            except (RefusedError, ProgramError):
                if is_strict:
                    raise


def _compare(expected: Any, actual: Any) -> None:
    found = differences(expected, actual)
    if found:
        raise UnexpectedError("\n  ".join(["", *found, f"in {_text(actual)}"]))


def _text(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 3000 else f"{text[:3000]}… ({len(text)} characters)"
