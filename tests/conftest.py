"""Loaded before every other module of the tests."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator

import pytest

# A shell that starts something in the background has it ignore Ctrl-C, and so would every program the tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Their assertions are the tests' own and should say as much when they fail.
pytest.register_assert_rewrite(
    "tests.clients.cpp_build",
    "tests.clients.java_build",
    "tests.clients.program",
    "tests.e2e.client",
    "tests.e2e.kills",
    "tests.e2e.reader",
    "tests.e2e.server_process",
)


@pytest.fixture(autouse=True)
def _warnings_go_where_they_did() -> Iterator[None]:
    """A test that runs `serve` in this process has warnings go to its log; the next one would not have them go to its.

    pytest puts the function back that shows warnings, and logging does not hear of it.
    """
    yield
    logging.captureWarnings(False)
