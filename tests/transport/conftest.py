"""Servers that end with their test."""

from __future__ import annotations

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
