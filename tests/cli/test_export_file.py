"""`export -o` makes a file for its owner alone, where nothing was before."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from runwright._gen.runwright.v1 import error_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb

from tests.cli.conftest import Program
from tests.cli.fake_runtime import FakeRuntime, fail, serving
from tests.cli.story import RUN, one_tool


class Exporting(FakeRuntime):
    """Exports a header and some contents; `cut` after so many of them."""

    def __init__(self, cut: int | None = None) -> None:
        super().__init__(one_tool())
        self.exports = 0
        self._cut = cut

    def ExportRun(self, request: pb.ExportRunRequest, context: Any) -> Iterator[pb.ExportRunResponse]:
        """The elements, or a lost connection."""
        self.exports += 1
        if request.run_id != RUN:
            reason = error_pb2.ERROR_REASON_RUN_NOT_FOUND
            fail(context, grpc.StatusCode.NOT_FOUND, reason, "There is no such run.", "Check.")
        yield pb.ExportRunResponse(header=pb.ExportHeader(format=1, run_id=RUN))
        for number in range(3):
            if number == self._cut:
                context.abort(grpc.StatusCode.UNAVAILABLE, "gone")
            yield pb.ExportRunResponse(content=pb.ExportedContent(digest=f"sha256:{number}", data=b"x"))


@pytest.fixture(autouse=True)
def _open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def test_an_export_is_for_its_owner_alone(program: Program, tmp_path: Path) -> None:
    with serving(Exporting()) as server:
        code, out, err = program("--server", server, "export", RUN, "-o", str(tmp_path / "r.jsonl"))
        shown = program("--server", server, "export", RUN)

    assert (code, out, err) == (0, "", "")
    assert (tmp_path / "r.jsonl").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "r.jsonl").read_text() == shown[1]


@pytest.mark.parametrize("there", ["file", "link", "dangling link"])
def test_what_is_there_is_left_and_the_server_is_not_asked(program: Program, tmp_path: Path, there: str) -> None:
    path, target = tmp_path / "r.jsonl", tmp_path / "target"
    if there == "file":
        path.write_text("mine")
    else:
        path.symlink_to(target)
        if there == "link":
            target.write_text("mine")
    runtime = Exporting()
    with serving(runtime) as server:
        code, out, err = program("--server", server, "export", RUN, "-o", str(path))

    assert (code, out, runtime.exports) == (2, "", 0)
    assert "is there already" in err.replace("\n", " ")
    assert there == "dangling link" or path.read_text() == "mine"
    assert there != "dangling link" or not target.exists()


@pytest.mark.parametrize(("run", "cut"), [("nobody", None), (RUN, 0), (RUN, 2)])
def test_an_export_that_fails_leaves_no_file(program: Program, tmp_path: Path, run: str, cut: int | None) -> None:
    with serving(Exporting(cut)) as server:
        code, _, err = program("--server", server, "export", run, "-o", str(tmp_path / "r.jsonl"))

    assert (code, err.startswith("error: ")) == (5, True)
    assert list(tmp_path.iterdir()) == []
