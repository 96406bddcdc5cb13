"""`python -m tests.e2e.server_main`: the real server, with a provider of the tests' own beside the built-in ones."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from runwright import bootstrap
from runwright.adapters.log import configure_logging
from runwright.settings import Settings, parse_executors

from tests.e2e.killing_provider import KillingProvider


def announce(address: str) -> None:
    print(f"runwright serving on {address}", flush=True)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--package", type=Path, action="append", required=True)
    parser.add_argument("--listen", required=True)
    parser.add_argument("--executor", action="append", default=[])
    parser.add_argument("--model-calls", type=Path, required=True, help="directory the killing provider writes to")
    options = parser.parse_args(arguments)
    settings = Settings(
        data=options.data,
        listen=options.listen,
        packages=tuple(options.package),
        executors=parse_executors(options.executor),
    )
    configure_logging()
    asyncio.run(bootstrap.serve(settings, announce, {"killing": KillingProvider(options.model_calls)}))


if __name__ == "__main__":
    main(sys.argv[1:])
