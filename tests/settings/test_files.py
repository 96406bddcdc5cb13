"""Files that people name: what is the matter with one that cannot be used, and what to do."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from runwright.files import MOST_NEIGHBOURS, UnreadableFileError, read_file, read_text, unusable_directory

NOBODY = 65534


@pytest.fixture
def as_nobody(tmp_path: Path) -> Iterator[None]:
    """The test acts as a user who owns nothing here."""
    if os.geteuid() != 0:
        pytest.skip("only root can act as somebody else")
    for directory in (tmp_path, *(parent for parent in tmp_path.parents if parent.name.startswith("pytest-"))):
        directory.chmod(directory.stat().st_mode | 0o011)
    os.seteuid(NOBODY)
    yield
    os.seteuid(0)


def refusal(path: Path, most: int = 100) -> UnreadableFileError:
    with pytest.raises(UnreadableFileError) as refused:
        read_text(path, most)
    return refused.value


def test_a_file_that_is_not_there_says_what_is(tmp_path: Path) -> None:
    (tmp_path / "package.yaml").write_text("")

    error = refusal(tmp_path / "pakage.yaml")

    assert error.message == f"{tmp_path}/pakage.yaml does not exist"
    assert error.remedy == "Did you mean package.yaml? Check the path."


def test_a_relative_path_says_where_it_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    assert f"Relative paths begin at {tmp_path}" in refusal(Path("there/package.yaml")).remedy


def test_below_a_file_there_is_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    assert refusal(tmp_path / "file" / "below").cause == "does not exist"


def test_a_directory_names_a_file_in_it(tmp_path: Path) -> None:
    (tmp_path / ".hidden").write_text("")
    (tmp_path / "b.pem").write_text("")

    error = refusal(tmp_path)

    assert (error.cause, error.remedy) == ("is a directory", f"Name a file in it, such as {tmp_path}/b.pem.")

    (tmp_path / "a.jsonl").write_text("")

    assert refusal(tmp_path).remedy == "Name a file in it."


@pytest.mark.usefixtures("as_nobody")
def test_a_file_of_somebody_else_names_both(tmp_path: Path) -> None:
    os.seteuid(0)
    (tmp_path / "secret").write_text("hunter2")
    (tmp_path / "secret").chmod(0o600)
    os.seteuid(NOBODY)

    error = refusal(tmp_path / "secret")

    assert error.cause == f"may not be read by user {NOBODY}"
    assert "as its owner, user 0" in error.remedy


def test_what_is_no_text_names_line_and_byte_and_shows_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(b"hunter2\n\x89PNG")

    error = refusal(tmp_path / "photo.png")

    assert error.cause == "is not UTF-8 text: line 2 has byte 0x89"
    assert "hunter2" not in str(error) + error.remedy


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/urandom"])
def test_a_device_without_an_end_is_too_large(path: str) -> None:
    assert refusal(Path(path)).cause == "has more than 100 bytes"


def test_a_pipe_is_read_as_a_shell_hands_it_over() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"piped")
    os.close(writing)

    assert read_file(Path(f"/dev/fd/{reading}"), 100) == b"piped"
    os.close(reading)


def test_a_name_that_no_file_can_have_is_said_to_be_none() -> None:
    assert refusal(Path("a\0b")).cause == "is no name that a file can have"
    assert "File name too long" in refusal(Path("x" * 5_000)).cause


def test_of_a_large_directory_only_so_many_names_are_looked_at(tmp_path: Path) -> None:
    for number in range(MOST_NEIGHBOURS + 10):
        (tmp_path / f"run-{number}").write_text("")

    assert "Did you mean run-" in refusal(tmp_path / "rum-1").remedy


def test_a_directory_that_can_be_made_has_nothing_against_it(tmp_path: Path) -> None:
    assert unusable_directory(tmp_path) == ""
    assert unusable_directory(tmp_path / "a" / "b") == ""
    assert list(tmp_path.iterdir()) == [], "nothing is made"


def test_a_directory_that_cannot_be_made_says_what_is_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    assert unusable_directory(tmp_path / "file") == f"{tmp_path}/file is a file"
    assert unusable_directory(tmp_path / "file" / "a" / "b") == f"{tmp_path}/file is a file"
    assert unusable_directory(Path("/proc/x"), OSError(2, "No such file")) == "nothing can be made in /proc"


@pytest.mark.usefixtures("as_nobody")
def test_a_directory_of_somebody_else_names_the_user(tmp_path: Path) -> None:
    assert unusable_directory(tmp_path / "data") == f"user {NOBODY} may not write to {tmp_path}"
