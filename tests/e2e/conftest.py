"""Executors and servers for one test, ended with it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import pytest

from tests.e2e.executor import EXECUTOR, Executor, running_executor
from tests.e2e.packages import Spec, write
from tests.e2e.server_process import Server

SOAK = os.environ.get("RUNWRIGHT_SOAK") == "1"  # more cycles and more seeds
MakeServer = Callable[..., Server]


@pytest.fixture
async def executor() -> AsyncIterator[Executor]:
    """An executor, which must never be asked with an attempt that is not a new one."""
    async with running_executor() as running:
        yield running
    assert running.refused == []


@pytest.fixture
async def make_server(tmp_path: Path, executor: Executor) -> AsyncIterator[MakeServer]:
    """Makes servers, not yet started, from packages and command-line options; every one is ended afterwards."""
    servers: list[Server] = []

    def make(*specs: Spec, options: tuple[str, ...] = (), executors: Mapping[str, str] | None = None) -> Server:
        packages = [write(tmp_path, spec) for spec in specs]
        known = {EXECUTOR: executor.address} if executors is None else executors
        server = Server(tmp_path / "data", packages, known, *options)
        servers.append(server)
        return server

    yield make
    for server in servers:
        await server.close()
    assert [line for server in servers for line in server.foreign_output()] == []
