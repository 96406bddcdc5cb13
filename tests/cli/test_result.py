"""The answer of a run, whole, whatever its size: to a file, to standard output, and by each command that prints it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from runwright._gen.runwright.v1 import content_pb2, run_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb

from tests.cli.conftest import Program
from tests.cli.fake_runtime import FakeRuntime, serving
from tests.cli.story import RUN, one_tool, ref

ANSWER = "A long answer, grün.\n" * 5_000
DATA = ANSWER.encode()
PART = 50_000


class LargeAnswer(FakeRuntime):
    """A run whose answer no snapshot holds."""

    def __init__(self) -> None:
        story = one_tool(ANSWER)
        for frame in story.frames:
            for content in frame.contents:
                if content.ref.size == len(DATA):
                    content.CopyFrom(content_pb2.InlineContent(ref=content.ref, omitted=True))
        result = content_pb2.InlineContent(ref=ref(ANSWER), omitted=True)
        super().__init__(story, run_pb2.RunSnapshot(run_id=RUN, status=run_pb2.RUN_STATUS_COMPLETED, result=result))

    def ExportRun(self, request: pb.ExportRunRequest, context: Any) -> Iterator[pb.ExportRunResponse]:
        """Contents in parts."""
        yield pb.ExportRunResponse(header=pb.ExportHeader(format=1, run_id=RUN))
        for digest, data in ((ref("other").digest, b"other"), (ref(ANSWER).digest, DATA)):
            for at in range(0, len(data), PART):
                last = at + PART >= len(data)
                part = pb.ExportedContent(digest=digest, offset=at, data=data[at : at + PART], last=last)
                yield pb.ExportRunResponse(content=part)


def test_a_large_answer_is_written_whole_to_a_file_of_ones_own(program: Program, tmp_path: Path) -> None:
    file = tmp_path / "answer.txt"
    with serving(LargeAnswer()) as server:
        ended = program("--server", server, "get", RUN, "--result", str(file))
        again = program("--server", server, "get", RUN, "--result", str(file))

    assert ended == (0, "", "")
    assert file.read_bytes() == DATA
    assert file.stat().st_mode & 0o777 == 0o600
    assert again[0] == 2
    assert "is there already" in " ".join(again[2].split())


def test_a_large_answer_is_written_whole_to_standard_output(program: Program) -> None:
    with serving(LargeAnswer()) as server:
        assert program("--server", server, "get", RUN, "--result", "-") == (0, ANSWER, "")


@pytest.mark.parametrize("words", [["run", "Where?"], ["wait", RUN]])
def test_commands_that_print_the_answer_print_a_large_one(program: Program, words: list[str]) -> None:
    with serving(LargeAnswer()) as server:
        code, out, _ = program("--server", server, *words)

    assert (code, out) == (0, ANSWER)


@pytest.mark.parametrize(
    ("status", "removed", "code", "message"),
    [
        (run_pb2.RUN_STATUS_RUNNING, False, 6, "it is RUNNING"),
        (run_pb2.RUN_STATUS_FAILED, False, 1, "it is FAILED"),
        (run_pb2.RUN_STATUS_COMPLETED, True, 1, "it was removed at 2023-11-14 22:13:20Z"),
    ],
)
def test_a_run_without_an_answer_says_why(
    program: Program, tmp_path: Path, status: run_pb2.RunStatus.ValueType, removed: bool, code: int, message: str
) -> None:
    run = run_pb2.RunSnapshot(run_id=RUN, status=status)
    if removed:
        run.removed_at.FromSeconds(1_700_000_000)
    with serving(FakeRuntime(one_tool(), run=run)) as server:
        ended = program("--server", server, "get", RUN, "--result", str(tmp_path / "answer"))

    assert ended[:2] == (code, "")
    assert f"run {RUN} has no answer: {message}" in ended[2]
    assert not (tmp_path / "answer").exists()
