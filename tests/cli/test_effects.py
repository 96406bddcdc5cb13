"""`runwright effects`: which calls nobody knows the outcome of, and how somebody says what became of them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from runwright._gen.runwright.v1 import run_pb2
from runwright.cli.main import main

from tests.cli.fake_runtime import FakeRuntime, serving
from tests.cli.story import RUN, one_tool

Program = Callable[..., tuple[int, str, str]]
RESOLVE = ("effects", "resolve", RUN, "c1.1", "--attempt", "2")


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Program:
    """Calls the program with words; gives its exit code, output and errors."""

    def call(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["runwright", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return call


def in_repair() -> FakeRuntime:
    run = run_pb2.RunSnapshot(run_id=RUN, status=run_pb2.RUN_STATUS_REPAIR_NEEDED, done=True)
    run.open_effects.add(effect_id="c1.2", tool="look", attempt=1, state=run_pb2.EFFECT_STATE_QUEUED)
    unknown = run.open_effects.add(effect_id="c1.1", tool="send\x1b[31m", attempt=2, state=run_pb2.EFFECT_STATE_UNKNOWN)
    unknown.idempotency_key = "j/default/run-1/c1.1"
    waits = run.waiting_on.add(kind=run_pb2.WAIT_KIND_REPAIR, effect_id="c1.1", subject="mailer")
    waits.since.FromSeconds(1_700_000_000)
    return FakeRuntime(one_tool(), run=run)


def test_unknown_calls_are_listed_with_what_it_takes_to_find_out(program: Program) -> None:
    runtime = in_repair()
    with serving(runtime) as server:
        code, out, _ = program("--server", server, "effects", "ls", "--limit", "1")

    assert code == 0
    assert out.splitlines() == [
        "run-1 c1.1 send[31m, attempt 2, unknown since 2023-11-14 22:13:20Z",
        "  executor mailer, idempotency key j/default/run-1/c1.1",
    ]
    assert list(runtime.requests[0].filter.statuses) == [run_pb2.RUN_STATUS_REPAIR_NEEDED]


def test_names_are_what_resolve_is_called_with(program: Program) -> None:
    with serving(in_repair()) as server:
        _, out, _ = program("--server", server, "effects", "ls", "--limit", "1", "-o", "name")

    assert out.splitlines() == ["run-1 c1.1 2"]


@pytest.mark.parametrize(
    ("tell", "media_type"), [('{"sent": true}', "application/json"), ("sent at noon", "text/plain; charset=utf-8")]
)
def test_a_call_that_happened_has_a_result_of_its_kind(program: Program, tell: str, media_type: str) -> None:
    runtime = in_repair()
    with serving(runtime) as server:
        code, out, _ = program("--server", server, *RESOLVE, "--as", "happened", "--tell", tell, "--reason", "seen")

    [request] = runtime.requests
    assert (code, request.attempt, request.reason) == (0, 2, "seen")
    assert request.resolution == run_pb2.RESOLUTION_HAPPENED
    assert (request.result.data.decode(), request.result.media_type) == (tell, media_type)
    assert "c1.1, attempt 2, is resolved as HAPPENED by ann" in out


def test_a_result_can_come_from_a_file(program: Program, tmp_path: Path) -> None:
    runtime, file = in_repair(), tmp_path / "result"
    file.write_text("[1]")
    with serving(runtime) as server:
        program("--server", server, *RESOLVE, "--as", "happened", "--tell", f"@{file}")

    assert runtime.requests[0].result.data == b"[1]"


def test_the_same_words_are_the_same_request_and_others_another(program: Program) -> None:
    runtime = in_repair()
    with serving(runtime) as server:
        for said in ("try-again", "try-again", "end-run"):
            program("--server", server, *RESOLVE, "--as", said)
        program("--server", server, *RESOLVE, "--as", "failed", "--tell", "the mailbox is full")

    first, again, other, failed = runtime.requests
    assert first.request_id == again.request_id
    assert len({first.request_id, other.request_id, failed.request_id}) == 3
    assert failed.message == "the mailbox is full"


@pytest.mark.parametrize("words", [("happened",), ("try-again", "--tell", "x"), ("end-run", "--tell", "x")])
def test_what_the_model_is_told_goes_with_what_is_said(program: Program, words: tuple[str, ...]) -> None:
    runtime = in_repair()
    with serving(runtime) as server:
        code, _, err = program("--server", server, *RESOLVE, "--as", *words)

    assert (code, runtime.requests) == (2, [])
    assert "--" in err


def test_explain_names_the_verbs(program: Program) -> None:
    with serving(in_repair()) as server:
        _, out, _ = program("--server", server, "explain", RUN)

    for said in ("happened --tell RESULT", "try-again", "failed"):
        assert f"effects resolve {RUN} c1.1 --attempt 2 --as {said}" in out
    assert f"cancel {RUN}" in out
