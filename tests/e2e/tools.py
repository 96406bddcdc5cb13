"""grpcurl and buf, as programs: what they are called with and how they end."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.server_process import ROOT

GRPCURL = ROOT / ".cache/bin/grpcurl"
BUF = ROOT / "node_modules/.bin/buf"


@dataclass(frozen=True, slots=True)
class Ran:
    """How a tool ended and what it said."""

    code: int
    out: str
    message: str

    def messages(self) -> list[dict[str, Any]]:
        """The messages on its standard output."""
        assert self.code == 0, self
        found, rest, decoder = [], self.out.strip(), json.JSONDecoder()
        while rest:
            message, end = decoder.raw_decode(rest)
            found.append(message)
            rest = rest[end:].strip()
        return found


def require(tool: Path) -> None:
    """Skips the test when the tool is missing; CI must have it, and fails."""
    if not tool.exists() and not os.environ.get("RUNWRIGHT_CI"):
        pytest.skip(f"{tool.relative_to(ROOT)} is missing; `make test` installs it when Go and Node.js are there")


async def ran(tool: Path, *words: str) -> Ran:
    """Runs a tool to its end."""
    require(tool)
    process = await asyncio.create_subprocess_exec(
        tool, *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(30):
            out, message = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return Ran(process.returncode, out.decode(), message.decode())
