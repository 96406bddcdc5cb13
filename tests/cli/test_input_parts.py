"""What a run is asked: words, a file of text or standard input, images; what cannot go along says why."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from runwright.core.images import MAX_IMAGE_BYTES
from runwright.core.request import MAX_INPUT_BYTES

from tests.builders import PIXEL
from tests.cli.conftest import Program
from tests.cli.fake_runtime import FakeRuntime, serving
from tests.cli.story import one_tool


class _Stdin:
    """Standard input with bytes in it."""

    def __init__(self, data: bytes) -> None:
        self.buffer = io.BytesIO(data)


def test_images_go_along_as_what_their_first_bytes_say(program: Program, tmp_path: Path) -> None:
    pixel, photo = tmp_path / "pixel.dat", tmp_path / "photo.png"
    pixel.write_bytes(PIXEL)
    photo.write_bytes(b"\xff\xd8\xff\xe0 a JPEG by another name")
    runtime = FakeRuntime(one_tool())
    with serving(runtime) as server:
        program("--server", server, "run", "--no-watch", "What?", "--image", str(pixel), "--image", str(photo))

    text, first, second = runtime.requests[0].run.input
    assert text.text == "What?"
    assert (first.data.media_type, first.data.data) == ("image/png", PIXEL)
    assert (second.data.media_type, second.data.data) == ("image/jpeg", photo.read_bytes())


@pytest.mark.parametrize(
    ("data", "message"), [(b"hello", "image/webp"), (b"", "image/webp"), (PIXEL + bytes(MAX_IMAGE_BYTES), "10 MiB")]
)
def test_a_file_that_cannot_go_along_is_wrong_usage(
    program: Program, tmp_path: Path, data: bytes, message: str
) -> None:
    file = tmp_path / "file"
    file.write_bytes(data)

    code, out, err = program("run", "What?", "--image", str(file))

    assert (code, out) == (2, "")
    assert message in err.replace("\n", " ")


def test_a_photo_of_several_megabytes_goes_along(program: Program, tmp_path: Path) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(b"\xff\xd8\xff\xe0" + bytes(5 * 1024 * 1024))
    runtime = FakeRuntime(one_tool())
    with serving(runtime) as server:
        code, _, _ = program("--server", server, "run", "--no-watch", "--image", str(photo))

    assert code == 0
    [shown] = runtime.requests[0].run.input
    assert shown.data.data == photo.read_bytes()


def test_images_that_are_too_much_together_are_wrong_usage(program: Program, tmp_path: Path) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(b"\xff\xd8\xff\xe0" + bytes(6 * 1024 * 1024))

    code, out, err = program("run", "What?", *["--image", str(photo)] * 4)

    assert (code, out) == (2, "")
    assert "20 MiB together" in err.replace("\n", " ")


@pytest.mark.parametrize("requested", [["What is it?"], []], ids=["with words", "alone"])
@pytest.mark.parametrize("piped", [False, True], ids=["file", "stdin"])
def test_a_text_comes_from_a_file_or_from_standard_input(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, requested: list[str], piped: bool
) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("Some notes, grün.\n")
    if piped:
        monkeypatch.setattr("sys.stdin", _Stdin(file.read_bytes()))
    runtime = FakeRuntime(one_tool())
    with serving(runtime) as server:
        program("--server", server, "run", "--no-watch", *requested, "--input", "-" if piped else str(file))

    assert [part.text for part in runtime.requests[0].run.input] == [*requested, "Some notes, grün.\n"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"x" * (MAX_INPUT_BYTES + 1), f"more than {MAX_INPUT_BYTES} bytes"),
        (PIXEL, "no UTF-8 text (at byte 0): an image goes with --image"),
        (b" \n", "is blank"),
    ],
)
def test_an_input_that_is_none_is_wrong_usage(
    program: Program, monkeypatch: pytest.MonkeyPatch, data: bytes, message: str
) -> None:
    monkeypatch.setattr("sys.stdin", _Stdin(data))

    code, out, err = program("run", "--input", "-")

    assert (code, out) == (2, "")
    assert message in " ".join(err.replace("\u2502", " ").split())


def test_a_run_that_asks_nothing_is_wrong_usage(program: Program) -> None:
    code, out, err = program("run")

    assert (code, out) == (2, "")
    assert "--input" in err
