"""Servers that end with their test."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeAlias

import pytest

from tests.builders import Bench
from tests.transport import serving

Serve: TypeAlias = Callable[..., Awaitable[serving.Served]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Serves benches; `serving.serve` says how."""
    started: list[serving.Served] = []

    async def start(bench: Bench | None = None, **options: object) -> serving.Served:
        started.append(await serving.serve(bench or Bench(), **options))  # type: ignore[arg-type]
        return started[-1]

    yield start
    for served in started:
        await served.close()


@pytest.fixture
async def served(serve: Serve) -> serving.Served:
    """A server of a package whose runs make one call."""
    return await serve()


@pytest.fixture
def free_to_bind() -> Callable[[int], bool]:
    """Says whether nobody listens at a port of 127.0.0.1."""

    def is_free(port: int) -> bool:
        with socket.socket() as trying:
            trying.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                trying.bind(("127.0.0.1", port))
            except OSError:
                return False
            return True

    return is_free
