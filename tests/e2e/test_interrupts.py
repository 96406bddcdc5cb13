"""Ctrl-C: what it ends, what it leaves alone, and that tests which send it may be started in the background."""

from __future__ import annotations

import signal
import subprocess
import sys

from tests.e2e.conftest import MakeServer
from tests.e2e.packages import package, says
from tests.e2e.server_process import ROOT


def test_what_the_tests_start_can_be_interrupted() -> None:
    assert signal.getsignal(signal.SIGINT) is not signal.SIG_IGN


def test_what_the_tests_start_can_be_interrupted_also_in_the_background() -> None:
    """As `pytest &` in a script: the shell has its background jobs ignore SIGINT."""
    this = f"{__file__}::test_what_the_tests_start_can_be_interrupted"
    words = ["sh", "-c", 'trap "" INT; exec "$@"', "sh", sys.executable, "-m", "pytest", this]

    ended = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, timeout=100)

    assert ended.returncode == 0, ended.stdout


async def test_ctrl_c_drains_a_server(make_server: MakeServer) -> None:
    server = make_server(package("plain", [says("hi")]))
    await server.start()

    server.signal(signal.SIGINT)

    assert await server.ended() == 0


async def test_ctrl_c_is_not_for_a_server_that_a_shell_put_into_the_background(
    make_server: MakeServer,
) -> None:
    server = make_server(package("plain", [says("hi")]))
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # which children inherit
    try:
        await server.start()
    finally:
        signal.signal(signal.SIGINT, before)

    server.signal(signal.SIGINT)
    await server.call.start("run-1")
    await server.call.settled("run-1")
    server.terminate()

    assert await server.ended() == 0
