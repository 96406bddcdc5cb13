"""The text of a model is shown as it comes, once, and cannot harm a terminal."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console
from runwright._gen.runwright.v1 import event_pb2
from runwright.cli.live_view import LiveView
from runwright.cli.main import app
from runwright.cli.view import PlainView
from typer.testing import CliRunner

from tests.cli.fake_runtime import FakeRuntime, serving
from tests.cli.story import RUN, START, Story, one_tool

NASTY = "\x1b[2Jow\x07ned\u202e\r"


def plain(story: Story) -> list[str]:
    """What a plain view prints."""
    printed: list[str] = []
    view = PlainView(printed.append)
    for frame in story.frames:
        view.take(frame)
    return printed


def drawn(story: Story, height: int | None = None) -> list[str]:
    """What a terminal shows."""
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=60, height=24, no_color=True, legacy_windows=False)
    view = LiveView(console, lambda: START + 2.0)
    for frame in story.frames:
        view.take(frame)
    console.print(view.drawing(height))
    return [line.rstrip() for line in screen.getvalue().splitlines()]


def test_text_is_printed_by_whole_lines() -> None:
    story = Story().begin().delta("m1", "It is", 0).delta("m1", " here.\nAnd", 5).delta("m1", " there", 15)

    assert plain(story)[3:] == ["22:13:20.250 ~    round 1: It is here."]
    story.model_says("m1", "It is here.\nAnd there.")
    assert plain(story)[4:-1] == ["22:13:20.300 ~    round 1: And there"]


def test_a_long_line_is_broken_at_a_space() -> None:
    story = Story().begin().delta("m1", "word " * 30, 0).delta("m1", "x" * 120, 150).model_says("m1", "...")

    lines = plain(story)[3:-1]

    assert all(len(line) <= 80 for line in lines)
    assert "".join(line[27:].replace(" ", "") for line in lines) == "word" * 30 + "x" * 120
    assert lines[0].endswith("word word")


def test_text_that_comes_again_after_a_lost_connection_is_shown_once() -> None:
    story = Story().begin().delta("m1", "It is ĝ", 0).delta("m1", "It is ĝis here.\n", 0).delta("m1", "Now.\n", 17)

    assert [line[27:] for line in plain(story)[3:]] == ["It is ĝis here.", "Now."]


def test_the_text_of_a_new_attempt_begins_anew() -> None:
    story = Story().begin().delta("m1", "Half", 0)
    story.add("m1", 2, model_attempt_started=event_pb2.ModelAttemptStarted()).delta("m1", "All\n", 0, attempt=2)

    printed = [line[18:] for line in plain(story)[3:]]

    assert printed == ["round 1: Half", "round 1: model asked, attempt 2", "round 1: All"]
    assert drawn(story)[-1] == "All"


def test_a_terminal_shows_the_last_lines_of_a_text_that_is_coming() -> None:
    text = "".join(f"line {number}\n" for number in range(9))
    story = Story().begin().delta("m1", text, 0)

    assert drawn(story)[-5:] == [f"line {number}" for number in range(4, 9)]
    assert len(drawn(story, height=8)) <= 8
    story.model_says("m1", "line 0")
    assert not any(line.startswith("line") for line in drawn(story))


@pytest.mark.parametrize("show", [plain, drawn])
def test_control_characters_are_taken_out(show: Callable[[Story], list[str]]) -> None:
    story = Story().begin().delta("m1", f"so {NASTY}", 0).delta("m1", f"{NASTY}\n", 20)

    shown = "\n".join(show(story))

    assert "owned" in shown
    assert not any(character in shown for character in "\x1b\x07\u202e\r")


def watched(*options: str) -> tuple[list[dict[str, Any]], FakeRuntime]:
    """The frames that `watch -o json` prints, and what it asked for."""
    story = Story().begin().delta("m1", "It is in ", 0).delta("m1", "a.txt.", 9)
    runtime = FakeRuntime(story.model_says("m1", "It is in a.txt.").complete("It is in a.txt."))
    with serving(runtime) as server:
        result = CliRunner().invoke(app, ["--server", server, "watch", RUN, "-o", "json", *options])
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()], runtime


def test_json_holds_deltas_when_they_are_asked_for() -> None:
    frames, runtime = watched("--deltas")

    assert runtime.deltas == [True]
    assert [frame["event"]["model_stream_delta"]["text"] for frame in frames if "sub_sequence" in frame] == [
        "It is in ",
        "a.txt.",
    ]
    assert len(frames) == 8


def test_json_holds_none_otherwise() -> None:
    frames, runtime = watched()

    assert runtime.deltas == [False]
    assert [frame["position"] for frame in frames] == ["1", "2", "3", "4", "5", "6"]


@pytest.mark.parametrize(("options", "requested"), [((), True), (("--no-deltas",), False)])
def test_people_get_the_text_unless_they_do_not_want_it(options: tuple[str, ...], requested: bool) -> None:
    runtime = FakeRuntime(one_tool())
    with serving(runtime) as server:
        CliRunner().invoke(app, ["--server", server, "watch", RUN, *options])

    assert runtime.deltas == [requested]
