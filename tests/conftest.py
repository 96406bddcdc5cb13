"""Loaded before every other module of the tests."""

from __future__ import annotations

import signal

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
