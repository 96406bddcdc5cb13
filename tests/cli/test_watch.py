"""Watching a run to its end, over a real connection to a made-up server."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
import typer
from rich.console import Console
from runwright._gen.runwright.v1 import event_pb2, run_pb2
from runwright.cli.client import Client
from runwright.cli.connection import Connection
from runwright.cli.errors import ExitCode, Problem
from runwright.cli.live_view import LiveView
from runwright.cli.view import PlainView
from runwright.cli.watch import watch_run
from runwright.wire.snapshots import inline_bytes

from tests.cli.fake_runtime import FakeRuntime, serving
from tests.cli.story import RUN, START, one_tool, stuck


def no_wait(_: float) -> None:
    """Stands in for the wait before a new connection."""


def repair_needed(cursor: str) -> run_pb2.RunSnapshot:
    effect = run_pb2.OpenEffect(effect_id="c1.1", tool="send", state=run_pb2.EFFECT_STATE_UNKNOWN)
    return run_pb2.RunSnapshot(
        run_id=RUN, status=run_pb2.RUN_STATUS_REPAIR_NEEDED, last_cursor=cursor, open_effects=[effect]
    )


def watched(runtime: FakeRuntime, cursor: str = "") -> tuple[run_pb2.RunSnapshot, list[str]]:
    printed: list[str] = []
    with serving(runtime) as server:
        run = watch_run(Client(Connection(server)), RUN, cursor, PlainView(printed.append), wait=no_wait)
    return run, printed


def test_a_run_is_watched_to_its_end() -> None:
    run, printed = watched(FakeRuntime(one_tool("Here it is.")))

    assert run.status == run_pb2.RUN_STATUS_COMPLETED
    assert inline_bytes(run.result) == b"Here it is."
    assert len(printed) == 12


def test_a_lost_connection_costs_no_event_and_shows_none_twice() -> None:
    runtime = FakeRuntime(one_tool(), cuts=(3, 0, 4))

    run, printed = watched(runtime)

    assert run.status == run_pb2.RUN_STATUS_COMPLETED
    assert runtime.after == ["", "cursor-3", "cursor-3", "cursor-7"]
    events = [line for line in printed if not line.startswith("--")]
    assert [line.split()[1] for line in events] == [f"#{seq}" for seq in range(1, 13)]
    assert "-- connection lost (DRAINING); reconnecting from the last cursor" in printed


def test_watching_after_the_last_event_still_says_how_the_run_ended() -> None:
    ended = run_pb2.RunSnapshot(run_id=RUN, status=run_pb2.RUN_STATUS_FAILED)

    run, printed = watched(FakeRuntime(one_tool(), run=ended), cursor="cursor-12")

    assert run.status == run_pb2.RUN_STATUS_FAILED
    assert printed == []


@pytest.mark.parametrize("cursor", ["", "cursor-7"], ids=["from the beginning", "after it happened"])
def test_a_run_that_needs_repair_is_left(cursor: str) -> None:
    story = stuck()
    runtime = FakeRuntime(story, run=repair_needed(story.frames[-1].cursor))
    runtime.ends = False

    run, _ = watched(runtime, cursor)

    assert run.status == run_pb2.RUN_STATUS_REPAIR_NEEDED
    assert run.open_effects[0].effect_id == "c1.1"


def test_repair_that_is_past_is_not_where_watching_ends() -> None:
    story = stuck().add(run_cancel_requested=event_pb2.RunCancelRequested())
    story.add(run_cancelled=event_pb2.RunCancelled(unknown_effects=["c1.1"]))
    ended = run_pb2.RunSnapshot(run_id=RUN, status=run_pb2.RUN_STATUS_CANCELLED, last_cursor="cursor-9")

    run, printed = watched(FakeRuntime(story, run=ended))

    assert run.status == run_pb2.RUN_STATUS_CANCELLED
    assert len(printed) == len(story.frames)


def test_ctrl_c_leaves_the_run_alone_and_says_how_to_come_back(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(line: str) -> None:
        if "#5" in line:
            raise KeyboardInterrupt

    runtime = FakeRuntime(one_tool())
    with serving(runtime) as server, pytest.raises(typer.Exit) as left:
        watch_run(Client(Connection(server)), RUN, "", PlainView(interrupt), wait=no_wait)

    assert left.value.exit_code == ExitCode.INTERRUPTED
    assert f"--server {server} watch {RUN} --from cursor-5" in capsys.readouterr().err
    assert runtime.requests == []  # no Cancel


def test_nobody_at_the_address_is_said_at_once() -> None:
    with serving(FakeRuntime(one_tool())) as server:
        pass

    with pytest.raises(Problem, match="UNAVAILABLE"):
        watch_run(Client(Connection(server)), RUN, "", PlainView(print), wait=pytest.fail)


def live(height: int, clock: Callable[[], float] = lambda: START) -> tuple[LiveView, io.StringIO]:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=80, height=height, no_color=True, legacy_windows=False)
    return LiveView(console, clock), screen


def test_a_live_view_leaves_the_whole_tree_on_the_screen() -> None:
    view, screen = live(height=24)
    with serving(FakeRuntime(one_tool())) as server:
        watch_run(Client(Connection(server)), RUN, "", view, wait=no_wait)

    last = [line.rstrip() for line in screen.getvalue().splitlines()[-5:]]
    assert last[0].endswith("run run-1 (analyst, demo-1)                 done       1.1s")
    assert last[3:] == [
        "   |- c1.1 list_files {}                    done       100ms   attempt 1",
        "|- round 2: model: It is in a.txt.          done       100ms   12+8 tokens",
    ]


def test_a_live_view_that_is_too_high_shows_its_head_and_its_end() -> None:
    view, screen = live(height=24)
    for frame in one_tool().frames:
        view.take(frame)

    view._console.print(view.drawing(height=4))

    shown = [line.rstrip() for line in screen.getvalue().splitlines()]
    assert [line.split(":")[0].split()[0] for line in shown] == ["run", "...", "|-", "|-"]
