"""The operator's log: JSON lines for programs, a readable line on a terminal."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from runwright.adapters.log import StandardLog, configure_logging


class Terminal(io.StringIO):
    """A stream somebody looks at."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_every_line_has_time_level_and_message_whoever_writes_it() -> None:
    stream = io.StringIO()
    configure_logging(stream)

    StandardLog().info("recovered", open_runs=3)
    StandardLog().warning("mind the gap")
    logging.getLogger("asyncio").error("Task %s was lost", "t1")
    warnings.warn("old ways", DeprecationWarning, stacklevel=1)

    message = lines(stream)
    assert [(line["level"], line["message"]) for line in message[:3]] == [
        ("info", "recovered"),
        ("warning", "mind the gap"),
        ("error", "Task t1 was lost"),
    ]
    assert "old ways" in message[3]["message"]
    assert all(line["time"][4] == "-" and line["time"][19] == "." for line in message)
    assert message[0]["open_runs"] == 3
    assert [line.get("logger") for line in message] == [None, None, "asyncio", "py.warnings"]


def test_an_error_is_one_line_with_its_traceback() -> None:
    stream = io.StringIO()
    configure_logging(stream)
    try:
        raise ValueError("broken\nin two")
    except ValueError as error:
        StandardLog().error("call failed", error, run_id="run-1", trace_id="")

    [line] = lines(stream)
    assert line["run_id"] == "run-1"
    assert "trace_id" not in line, "what says nothing is left out"
    assert line["traceback"].splitlines()[-2:] == ["ValueError: broken", "in two"]


def test_a_field_does_not_hide_what_every_line_says() -> None:
    stream = io.StringIO()
    configure_logging(stream)

    StandardLog().info("told", message="other", level="other")  # type: ignore[arg-type]

    [line] = lines(stream)
    assert (line["message"], line["level"]) == ("told", "info")


def test_a_terminal_gets_lines_to_read_and_nothing_that_steers_it() -> None:
    stream = Terminal()
    configure_logging(stream)

    StandardLog().info("recovered", open_runs=3, said="two words", odd="\x1b[2J")

    line = stream.getvalue()
    assert line.endswith(' info    recovered open_runs=3 said="two words" odd="\\u001b[2J"\n')


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_what_an_error_of_a_peer_says_steers_no_terminal_and_is_not_lost(stream: type[io.StringIO]) -> None:
    """A log is read on a terminal sooner or later, also one that was written to a file."""
    evil = "a\x1b[2J\x07\x7f\x9b31m\u202e\u2028b"
    written = stream()
    configure_logging(written)
    try:
        raise ValueError(evil)
    except ValueError as error:
        StandardLog().error("call failed", error, said=evil)
    logging.getLogger("library").error("it said %s", evil)

    message = written.getvalue()
    assert not [sign for sign in message if not sign.isprintable() and sign != "\n"]
    assert message.count("\\u001b[2J") == 3
    if stream is io.StringIO:
        first, second = lines(written)
        assert (first["said"], second["message"]) == (evil, f"it said {evil}")
        assert evil in first["traceback"]
