"""`python -m bench.product_server`: the product's own parts, and beside them on the same loop a raw server.

The raw server's Echo is what a call costs this very process without the product; Commits counts the journal's.
The provider `patient` answers once Settle is called: until then a started run stays where StartRun left it.
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path
from typing import Any

import grpc
from runwright.adapters.clock import SystemClock
from runwright.adapters.keys import KeyFileAuthenticator
from runwright.adapters.log import StandardLog, configure_logging
from runwright.adapters.sqlite import SqliteJournal
from runwright.bootstrap import build_runtime, settle_interpreter
from runwright.core.outcomes import FinishReason
from runwright.ports.provider import EmitText, ModelReply, ModelRequest
from runwright.runtime import AgentRuntime
from runwright.settings import Settings, parse_executors
from runwright.transport.server import RuntimeServer

from bench.raw_server import raw_server


class Patient:
    """A model that thinks until it is told to answer."""

    def __init__(self) -> None:
        self._answer = asyncio.Event()

    def settle(self) -> None:
        """Answers whoever waits."""
        self._answer.set()
        self._answer = asyncio.Event()

    async def complete(self, request: ModelRequest, emit: EmitText) -> ModelReply:
        """Returns after `settle`."""
        await self._answer.wait()
        return ModelReply(text="Done.", calls=(), finish=FinishReason.STOP, input_tokens=1, output_tokens=1)


async def _serve(settings: Settings) -> None:
    patient = Patient()
    async with build_runtime(settings, {"patient": patient}) as (runtime, _):
        await _serve_runtime(runtime, settings, patient)


async def _serve_runtime(runtime: AgentRuntime, settings: Settings, patient: Patient) -> None:
    assert settings.keys is not None
    keys = KeyFileAuthenticator(settings.keys, SystemClock(), StandardLog())
    server = RuntimeServer(runtime, authenticator=keys)
    port = server.bind(settings.listen)
    await runtime.recover()
    await server.start()
    journal = runtime.ports.journal
    assert isinstance(journal, SqliteJournal)

    async def commits(request: bytes, context: Any) -> bytes:
        return journal.commits.to_bytes(8, "big")

    async def settle(request: bytes, context: Any) -> bytes:
        while runtime.registered_run_count():
            patient.settle()
            await asyncio.sleep(0.01)
        return b""

    raw = raw_server()
    handlers: dict[str, Any] = {
        "Commits": grpc.unary_unary_rpc_method_handler(commits),
        "Settle": grpc.unary_unary_rpc_method_handler(settle),
    }
    raw.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench.Product", handlers),))
    raw_port = raw.add_insecure_port("127.0.0.1:0")
    await raw.start()
    settle_interpreter()
    print(f"runwright serving on 127.0.0.1:{port}\nraw serving on 127.0.0.1:{raw_port}", flush=True)
    await raw.wait_for_termination()


def _main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--package", type=Path, action="append", required=True)
    parser.add_argument("--keys", type=Path, required=True)
    parser.add_argument("--listen", required=True)
    parser.add_argument("--executor", action="append", default=[])
    options = parser.parse_args()
    configure_logging()
    settings = Settings(
        data=options.data,
        listen=options.listen,
        packages=tuple(options.package),
        executors=parse_executors(options.executor),
        keys=options.keys,
    )
    asyncio.run(_serve(settings))


if __name__ == "__main__":
    _main()
