"""Work beside the thread that waits for it: its outcome, its failure, and a Ctrl-C meanwhile."""

from __future__ import annotations

import signal
import threading

import pytest
from runwright.cli.beside import Beside


def test_what_came_of_it_is_there_as_often_as_it_is_asked_for() -> None:
    made = Beside(threading.current_thread)

    assert made.result() is made.result()
    assert made.result() is not threading.main_thread()


def test_a_failure_is_raised_where_it_is_waited_for() -> None:
    def fails() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        Beside(fails).result()


def test_ctrl_c_leaves_the_work_alone_and_it_can_be_waited_for_again() -> None:
    waits, let_go = threading.Event(), threading.Event()

    def work() -> str:
        waits.wait()
        signal.raise_signal(signal.SIGINT)
        let_go.wait()
        return "done"

    beside = Beside(work)
    with pytest.raises(KeyboardInterrupt):
        waits.set()
        beside.result()
    let_go.set()

    assert beside.result() == "done"
