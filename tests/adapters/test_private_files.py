"""Files with secrets: made for their owner alone, never through a link, and found out when others may use them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from runwright.adapters.private_files import created, exposure


@pytest.fixture
def _any_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.parametrize(
    ("mode", "what"),
    [
        (0o600, ""),
        (0o400, ""),
        (0o700, ""),
        (0o640, "read"),
        (0o604, "read"),
        (0o644, "read"),
        (0o660, "change"),
        (0o602, "change"),
        (0o666, "change"),
    ],
)
def test_who_else_may_use_a_file_is_said_with_its_mode(tmp_path: Path, mode: int, what: str) -> None:
    file = tmp_path / "keys.json"
    file.touch()
    file.chmod(mode)

    message = exposure(file)

    assert message == (f"others may {what} {file} ({mode:04o})" if what else "")


def test_the_group_may_read_what_root_hands_to_a_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can make a file of root's")
    file = tmp_path / "keys.json"
    file.touch()
    monkeypatch.setattr(os, "geteuid", lambda: 10_001)

    message = {}
    for mode in (0o640, 0o660, 0o644):
        file.chmod(mode)
        message[mode] = bool(exposure(file))

    assert message == {0o640: False, 0o660: True, 0o644: True}


def test_a_file_that_is_not_there_is_nobodys(tmp_path: Path) -> None:
    assert exposure(tmp_path / "nothing") == ""


@pytest.mark.usefixtures("_any_umask")
def test_a_new_file_is_for_its_owner_alone_whatever_the_umask(tmp_path: Path) -> None:
    with created(tmp_path / "new") as file:
        modes = [stat.S_IMODE(os.fstat(file.fileno()).st_mode)]
        file.write("ünïcode")

    modes.append(stat.S_IMODE((tmp_path / "new").stat().st_mode))
    assert modes == [0o600, 0o600]
    assert (tmp_path / "new").read_text(encoding="utf-8") == "ünïcode"


@pytest.mark.parametrize("there", ["a file", "a link to a file", "a link that leads nowhere", "a directory", "a pipe"])
def test_what_is_there_is_neither_overwritten_nor_followed(tmp_path: Path, there: str) -> None:
    target, path = tmp_path / "target", tmp_path / "path"
    match there:
        case "a file":
            path.write_text("mine")
        case "a link to a file":
            target.write_text("mine")
            path.symlink_to(target)
        case "a link that leads nowhere":
            path.symlink_to(target)
        case "a directory":
            path.mkdir()
        case "a pipe":
            os.mkfifo(path)

    with pytest.raises(FileExistsError), created(path) as file:
        file.write("a secret")

    assert os.path.lexists(path)
    assert not target.exists() or target.read_text() == "mine"
    assert there != "a file" or path.read_text() == "mine"


def test_a_file_whose_writing_fails_is_not_left_behind(tmp_path: Path) -> None:
    with pytest.raises(KeyError), created(tmp_path / "new") as file:
        file.write("half")
        raise KeyError

    assert list(tmp_path.iterdir()) == []
