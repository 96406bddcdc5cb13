"""The program as it is called: output, errors and exit codes."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from google.protobuf.json_format import Parse
from runwright._gen.runwright.v1 import event_pb2, run_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright.cli.main import app

from tests.cli.conftest import Program
from tests.cli.fake_runtime import FakeRuntime, serving
from tests.cli.story import RUN, Story, failure, one_tool, stuck


def test_a_run_prints_the_answer_on_standard_output_alone(program: Program) -> None:
    runtime = FakeRuntime(one_tool("First line.\n\x1b[31mSecond line."))
    with serving(runtime) as server:
        code, out, err = program(
            "--server", server, "run", "Where?", "--id", "r1", "--label", "a=b=c", "--rounds", "3", "--package", "w"
        )

    assert (code, out) == (0, "First line.\n[31mSecond line.\n")
    assert "#12" in err
    assert "completed: 2 rounds, 1 tool call, 24+16 tokens" in err
    (request,) = runtime.requests
    sent = pb.StartRunRequest(run=run_pb2.RunRequest(run_id="r1", labels={"a": "b=c"}))
    sent.run.input.add(text="Where?")
    sent.run.budget.rounds = 3
    sent.run.package.package_id = "w"
    assert request == sent


def test_a_run_without_an_id_gets_one_from_the_client(program: Program) -> None:
    runtime = FakeRuntime(one_tool())
    with serving(runtime) as server:
        code, out, err = program("--server", server, "run", "--no-watch", "Where?")

    assert (code, out) == (0, "run-1\n")
    assert f"--server {server} watch run-1" in err
    assert runtime.requests[0].run.run_id.startswith("run-")
    assert runtime.after == []


@pytest.mark.parametrize(
    ("ended", "code", "said"),
    [
        ({"run_failed": event_pb2.RunFailed(error=failure())}, 1, "failed: BUDGET_EXHAUSTED: The budget is used up."),
        ({"run_cancelled": event_pb2.RunCancelled(error=failure())}, 3, "was cancelled"),
    ],
)
def test_the_exit_code_says_how_the_run_ended(program: Program, ended: dict[str, Any], code: int, said: str) -> None:
    with serving(FakeRuntime(Story().begin().add(**ended))) as server:
        seen = program("--server", server, "run", "Where?")

    assert (seen[0], seen[1]) == (code, "")
    assert said in seen[2]


def test_a_run_that_needs_repair_says_what_is_unknown_and_what_to_do(program: Program) -> None:
    story = stuck()
    run = run_pb2.RunSnapshot(run_id=RUN, status=run_pb2.RUN_STATUS_REPAIR_NEEDED, last_cursor="cursor-8")
    run.last_cursor = story.frames[-1].cursor
    run.open_effects.add(
        effect_id="c1.1", tool="send", attempt=1, state=run_pb2.EFFECT_STATE_UNKNOWN, idempotency_key="key-c1.1"
    )
    run.waiting_on.add(kind=run_pb2.WAIT_KIND_REPAIR, effect_id="c1.1", subject="desk", unblocked_by="somebody")
    runtime = FakeRuntime(story, run=run)
    runtime.ends = False
    with serving(runtime) as server:
        code, out, _ = program("--server", server, "watch", RUN)
        shown = program("--server", server, "get", RUN)[1]

    assert code == 4
    assert "unknown: c1.1 send, attempt 1, idempotency key key-c1.1" in out
    assert "ask the owner of executor desk" in out
    assert f"--server {server} explain {RUN}" in out
    assert "waits     c1.1 REPAIR since" in shown
    assert "unblocked by somebody" in shown
    assert "  key     key-c1.1" in shown


def test_json_output_is_the_response_as_protobuf_writes_it(program: Program) -> None:
    story = one_tool("Done.")
    run = run_pb2.RunSnapshot(run_id=RUN, status=run_pb2.RUN_STATUS_COMPLETED, package_id="w\u202e", last_seq=12)
    with serving(FakeRuntime(story, run=run)) as server:
        got = program("--server", server, "get", RUN, "-o", "json")
        ran = program("--server", server, "run", "Where?", "-o", "json")
        started = program("--server", server, "run", "Where?", "--no-watch", "-o", "json")
        listed = program("--server", server, "events", RUN, "-o", "json")

    assert Parse(got[1], pb.SnapshotResponse()) == pb.SnapshotResponse(run=run)
    assert json.loads(got[1])["run"]["last_seq"] == "12"
    assert "\u202e" not in got[1]
    assert (ran[0], ran[1], ran[2]) == (0, got[1], "")
    assert json.loads(started[1])["created"] is True
    assert Parse(listed[1], pb.ListEventsResponse()) == pb.ListEventsResponse(frames=story.frames)


def test_get_prints_yaml_and_the_bare_name(program: Program) -> None:
    run = run_pb2.RunSnapshot(run_id=RUN, status=run_pb2.RUN_STATUS_COMPLETED, package_id="w\u202e", last_seq=12)
    with serving(FakeRuntime(one_tool(), run=run)) as server:
        got = program("--server", server, "get", RUN, "-o", "yaml")
        named = program("--server", server, "get", RUN, "-o", "name")
        as_json = program("--server", server, "get", RUN, "-o", "json")

    assert yaml.safe_load(got[1]) == json.loads(as_json[1])
    assert "\u202e" not in got[1]
    assert named == (0, f"{RUN}\n", "")


def test_completion_is_printed_for_a_shell(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    # The shell is the one that is named, not the one that some parent of the tests happens to be.
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")

    code, out, _ = program("--show-completion", "bash")

    assert code == 0
    assert "_COMPLETE=complete_bash" in out


def test_events_lists_every_page_and_goes_on_from_a_cursor(program: Program) -> None:
    with serving(FakeRuntime(one_tool())) as server:
        code, out, err = program("--server", server, "events", RUN)
        later = program("--server", server, "events", RUN, "--from", "cursor-10")

    assert code == 0
    assert [line.split()[1] for line in out.splitlines()] == [f"#{seq}" for seq in range(1, 13)]
    assert err == "cursor: cursor-12\n"
    assert len(later[1].splitlines()) == 2


def test_cancel_sends_its_reason_and_grace_and_names_the_barrier(program: Program) -> None:
    run = run_pb2.RunSnapshot(run_id=RUN, status=run_pb2.RUN_STATUS_CANCELLING)
    runtime = FakeRuntime(one_tool(), run=run)
    with serving(runtime) as server:
        code, out, _ = program("--server", server, "cancel", RUN, "--reason", "enough", "--grace", "1.5")

    assert (code, out) == (0, "run run-1 is CANCELLING; nothing new begins after event #7\n")
    (request,) = runtime.requests
    assert (request.reason, request.grace.seconds, request.grace.nanos) == ("enough", 1, 500_000_000)


def test_a_failed_call_is_one_line_with_reason_message_and_remedy(program: Program) -> None:
    with serving(FakeRuntime(one_tool())) as server:
        code, out, err = program("--server", server, "get", "nope")

    assert (code, out) == (5, "")
    assert err == "error: RUN_NOT_FOUND: There is no run nope. Check the run id.\n"


def test_a_server_that_is_not_there_is_one_line_with_what_to_do(program: Program) -> None:
    with serving(FakeRuntime(one_tool())) as server:
        pass

    code, out, err = program("--server", server, "run", "Where?")

    assert (code, out) == (5, "")
    assert err.startswith(f"error: UNAVAILABLE: No Runwright server answers at {server}: nothing listens there. Start")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    [
        ("run",),
        ("nothing",),
        ("run", "Where?", "--label", "novalue"),
        ("run", "Where?", "--label", "a=1", "--label", "a=2"),
        ("run", "Where?", "--rounds", "0"),
        ("run", "Where?", "--image", "/nowhere/at/all.png"),
        ("run", "\udcff"),
        ("cancel", RUN, "--grace", "-1"),
        ("--server", "nowhere", "get", RUN),
    ],
)
def test_wrong_usage_is_code_two_and_no_traceback(program: Program, words: tuple[str, ...]) -> None:
    code, out, err = program(*words)

    assert (code, out) == (2, "")
    assert err.startswith("error: USAGE: ")
    assert err.count("\n") == 1
    assert "Traceback" not in err


def commands() -> list[tuple[str, ...]]:
    """The words of every command, those of groups too."""
    grouped = [(group.typer_instance, (str(group.typer_instance.info.name),)) for group in app.registered_groups]
    return [
        (*words, command.name or command.callback.__name__)
        for typer, words in [(app, ()), *grouped]
        if typer is not None
        for command in typer.registered_commands
        if command.callback is not None
    ]


def test_every_command_shows_an_example(program: Program) -> None:
    for words in commands():
        code, out, _ = program(*words, "--help")

        assert code == 0
        assert "Example:" in out, words
        assert max(len(line) for line in out.splitlines()) <= 80


def test_a_word_too_many_is_put_into_quotes_only_where_a_text_is_wanted(program: Program) -> None:
    assert "Put a text of several words into quotes." in program("run", "what", "is")[2]
    assert program("serve", "data")[2].endswith("runwright serve --help` shows how it is called.\n")
