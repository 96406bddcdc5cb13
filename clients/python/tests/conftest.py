"""Servers and executors as the server's own end-to-end tests have them, and a relay with one address for all lives."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator

import pytest
from relay import Relay
from tests.e2e.conftest import executor, make_server

from runwright_client import Client

# A shell that starts something in the background has it ignore Ctrl-C, and so would every program the tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

__all__ = ["client", "executor", "make_server", "relay"]


@pytest.fixture
async def relay() -> AsyncIterator[Relay]:
    """An address that stays when the server behind it gets another one."""
    relay = Relay()
    await relay.start()
    yield relay
    await relay.close()


@pytest.fixture
async def client(relay: Relay) -> AsyncIterator[Client]:
    """A client of whatever is behind the relay."""
    async with Client.connect(relay.address) as client:
        yield client
