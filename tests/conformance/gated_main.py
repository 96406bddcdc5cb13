"""`python -m tests.conformance.gated_main`: the real server, with a model that stops in the middle of an answer."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path
from typing import Any

from runwright import bootstrap
from runwright.adapters.log import configure_logging
from runwright.core.outcomes import FinishReason
from runwright.ports.provider import EmitText, ModelReply, ModelRequest
from runwright.settings import Settings

BEGINNING = "Half of the "


class GatedProvider:
    """Says the beginning of its answer, and the rest at once when somebody connects to the socket of the run."""

    def __init__(self, gates: Path) -> None:
        self._gates = gates

    async def complete(self, request: ModelRequest, emit: EmitText) -> ModelReply:
        """The answer: `parameters.rest` so many times."""
        opened = asyncio.Event()

        async def come(_: Any, writer: asyncio.StreamWriter) -> None:
            writer.close()
            opened.set()

        path = self._gates / request.run_id
        path.unlink(missing_ok=True)
        gate = await asyncio.start_unix_server(come, path)
        rest = str(request.parameters["rest"]) * int(str(request.parameters["times"]))
        emit(BEGINNING)
        async with gate:
            await opened.wait()
        emit(rest)
        return ModelReply(text=BEGINNING + rest, calls=(), finish=FinishReason.STOP, input_tokens=0, output_tokens=0)


def announce(address: str) -> None:
    """Says where it serves, as `runwright serve` does."""
    print(f"runwright serving on {address}", flush=True)


def main(arguments: list[str]) -> None:
    """Serves until it is told to stop. There are no settings beside these; `--config` is for the real command."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--package", type=Path, action="append", required=True)
    parser.add_argument("--listen", required=True)
    parser.add_argument("--config", type=Path, required=True)
    options = parser.parse_args(arguments)
    gates = options.config.parent / "gates"
    gates.mkdir(exist_ok=True)
    settings = Settings(data=options.data, listen=options.listen, packages=tuple(options.package))
    configure_logging()
    asyncio.run(bootstrap.serve(settings, announce, {"gated": GatedProvider(gates)}))


if __name__ == "__main__":
    main(sys.argv[1:])
