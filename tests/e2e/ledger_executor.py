"""A tool executor as a process of its own, which can be killed: what it has written is in a file, and only there.

Run as a program it serves; `ExecutorProcess` starts and kills it from a test. `--then` says what follows the effect
of a call: `answer`, `hang`, or `die`, by SIGKILL; `--performs no` leaves the effect out. `--says` is what it does when
it is asked about a call: `ledger` looks into the file, `nothing` cannot say, `hang` and `die` do not answer.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import grpc
from runwright._gen.runwright.callback.v1 import tool_executor_service_pb2 as pb
from runwright._gen.runwright.callback.v1.tool_executor_service_pb2_grpc import (
    ToolExecutorServiceServicer,
    add_ToolExecutorServiceServicer_to_server,
)

from tests.e2e.notice import Notice
from tests.e2e.server_process import ROOT, START_SECONDS


class Ledger:
    """Lines of JSON, each on disk before it counts: what was written, and what may be written no more."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, what: str, key: str, attempt: int) -> None:
        """One more line."""
        with self._path.open("a") as file:
            file.write(json.dumps({"what": what, "key": key, "attempt": attempt}) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def lines(self, what: str) -> list[dict[str, Any]]:
        """Those of a sort."""
        if not self._path.exists():
            return []
        read = [json.loads(line) for line in self._path.read_text().splitlines()]
        return [line for line in read if line["what"] == what]


class LedgerExecutor(ToolExecutorServiceServicer):
    """See the module. It performs whatever it is asked, unless it has said that it never will."""

    def __init__(self, ledger: Ledger, options: argparse.Namespace) -> None:
        self._ledger = ledger
        self._options = options

    async def ExecuteTool(self, request: pb.ExecuteToolRequest, context: Any) -> pb.ExecuteToolResponse:
        """One attempt."""
        _tell("call", request.attempt)
        key, attempt = request.idempotency_key, request.attempt
        fenced = [line["attempt"] for line in self._ledger.lines("fence") if line["key"] == key]
        if attempt <= max(fenced, default=0):
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "this attempt was given up")
        if self._options.performs == "yes":
            self._ledger.add("write", key, attempt)
            _tell("written", attempt)
        await self._then(self._options.then)
        return pb.ExecuteToolResponse(result=pb.ToolResult(data=b'"answered"'))

    async def ReconcileTool(self, request: pb.ReconcileToolRequest, context: Any) -> pb.ReconcileToolResponse:
        """What became of one."""
        _tell("ask", request.ask)
        about = {
            "idempotency_key": request.idempotency_key,
            "attempt": request.attempt,
            "arguments_digest": request.arguments_digest,
        }
        await self._then(self._options.says)
        if self._options.says == "nothing":
            return pb.ReconcileToolResponse(**about, unknown=pb.ToolOutcomeUnknown(message="the ledger is away"))
        found = [line for line in self._ledger.lines("write") if line["key"] == request.idempotency_key]
        if found:
            return pb.ReconcileToolResponse(**about, performed=pb.ToolResult(data=b'"found in the ledger"'))
        self._ledger.add("fence", request.idempotency_key, request.attempt)
        return pb.ReconcileToolResponse(**about, not_performed=pb.ToolNotPerformed())

    async def _then(self, what: str) -> None:
        if what == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if what == "hang":
            await asyncio.Event().wait()


class ExecutorProcess:
    """One ledger and the process that serves it, life after life, at one address. `happened` is what it told."""

    def __init__(self, directory: Path) -> None:
        self.ledger = Ledger(directory / "ledger.jsonl")
        self.happened: list[tuple[str, int]] = []
        self.news = Notice()
        self.address = ""
        self._path = directory / "ledger.jsonl"
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None

    async def start(self, **options: str) -> None:
        """Starts a life; returns once it serves."""
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        port = self.address.rpartition(":")[2] or "0"
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.e2e.ledger_executor", str(self._path), "--port", port, *words),
            stdout=asyncio.subprocess.PIPE,
            cwd=ROOT,
        )
        assert self._process.stdout is not None
        async with asyncio.timeout(START_SECONDS):
            what, port = (await self._process.stdout.readline()).decode().split()
        assert what == "serving"
        self.address = f"127.0.0.1:{port}"
        self._reading = asyncio.create_task(self._read(self._process.stdout))

    async def until(self, what: str, times: int = 1) -> None:
        """Returns once that has happened so often, over all lives."""
        async with asyncio.timeout(START_SECONDS):
            await self.news.until(lambda: sum(each == what for each, _ in self.happened) >= times)

    async def kill(self) -> None:
        """SIGKILL; returns once it has ended. Harmless when it has."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
        await self.ended()

    async def ended(self) -> None:
        """Returns once the present life has ended."""
        assert self._process is not None
        async with asyncio.timeout(START_SECONDS):
            await self._process.wait()
            if self._reading is not None:
                await self._reading

    async def _read(self, output: asyncio.StreamReader) -> None:
        while line := await output.readline():
            what, number = line.decode().split()
            self.happened.append((what, int(number)))
            self.news.tell()


def _tell(what: str, number: int) -> None:
    print(what, number, flush=True)


async def _serve(options: argparse.Namespace) -> None:
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    add_ToolExecutorServiceServicer_to_server(LedgerExecutor(Ledger(options.ledger), options), server)
    _tell("serving", server.add_insecure_port(f"127.0.0.1:{options.port}"))
    await server.start()
    await server.wait_for_termination()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("ledger", type=Path)
    choices: Mapping[str, tuple[str, ...]] = {
        "performs": ("yes", "no"),
        "then": ("answer", "hang", "die"),
        "says": ("ledger", "nothing", "hang", "die"),
    }
    for name, words in choices.items():
        parser.add_argument(f"--{name}", choices=words, default=words[0])
    parser.add_argument("--port", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    asyncio.run(_serve(_options()))
