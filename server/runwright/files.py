"""Files that people name: read whole and bounded, and when that fails said in words with what to do about it."""

from __future__ import annotations

import errno
import os
import stat
from itertools import islice
from pathlib import Path

from runwright.core.near import did_you_mean

MOST_NEIGHBOURS = 500  # names of a directory that are looked at for one that was meant


class UnreadableFileError(Exception):
    """A file that cannot be used: what is the matter with it, without its name and without a full stop, and what to do.

    `told` names the file; neither part shows anything of its contents.
    """

    def __init__(self, path: Path, cause: str, remedy: str) -> None:
        super().__init__(f"{path} {cause}")
        self.message = f"{path} {cause}"
        self.cause = cause
        self.remedy = remedy


def read_file(path: Path, most_bytes: int) -> bytes:
    """All of a file, of a pipe too. Raises UnreadableFileError, also above `most_bytes`."""
    try:
        with path.open("rb") as file:
            data = file.read(most_bytes + 1)  # devices have no end
    except OSError as error:
        raise unreadable(path, error) from None
    except ValueError:  # a null byte in the name
        raise UnreadableFileError(path, "is no name that a file can have", "Name a file.") from None
    if len(data) > most_bytes:
        raise UnreadableFileError(path, f"has more than {most_bytes} bytes", "Check that it is the file that is meant.")
    return data


def read_text(path: Path, most_bytes: int) -> str:
    """All of a text file, without a byte order mark. Raises UnreadableFileError, also for what is not UTF-8."""
    data = read_file(path, most_bytes)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        cause = f"is not UTF-8 text: line {line} has byte 0x{data[error.start]:02x}"
        raise UnreadableFileError(path, cause, "Save it as UTF-8, or name the text file that is meant.") from None


def unreadable(path: Path, error: OSError) -> UnreadableFileError:
    """What a failure of the system to open or read a file means."""
    match error.errno:
        case errno.ENOENT | errno.ENOTDIR:
            return UnreadableFileError(path, "does not exist", _where(path))
        case errno.EISDIR:
            return UnreadableFileError(path, "is a directory", f"Name a file in it{_only_one_of(path)}.")
        case errno.EACCES | errno.EPERM:
            who = f"user {os.geteuid()}"
            remedy = f"Let {who} read it and enter its directories, or run this as its owner{_owner(path)}."
            return UnreadableFileError(path, f"may not be read by {who}", remedy)
        case _:
            cause = f"cannot be read: {error.strerror or 'the system refuses'}"
            return UnreadableFileError(path, cause, "Check its disk and its path.")


def _where(path: Path) -> str:
    """Where one was looked for that is not there, and what is there instead."""
    meant = did_you_mean(path.name, _names(path.parent))
    if path.is_absolute():
        return f"{meant}Check the path."
    return f"{meant}Relative paths begin at {_here()}: call this from another directory, or give the whole path."


def _here() -> str:
    try:
        return os.getcwd()  # noqa: PTH109 - a text
    except OSError:
        return "a directory that was removed"


def _names(directory: Path) -> list[str]:
    try:
        with os.scandir(directory) as entries:
            return [entry.name for entry in islice(entries, MOST_NEIGHBOURS)]
    except (OSError, ValueError):
        return []


def _only_one_of(directory: Path) -> str:
    """The one file in it; which of several is meant, nobody knows here."""
    files = [name for name in _names(directory) if not name.startswith(".") and (directory / name).is_file()]
    return f", such as {directory / files[0]}" if len(files) == 1 else ""


def _owner(path: Path) -> str:
    try:
        return f", user {path.stat().st_uid}"
    except OSError:
        return ""


def unusable_directory(path: Path, error: OSError | None = None) -> str:
    """Why a directory cannot be made or written at `path`: what `error` means, or what looking tells.

    Empty when nothing speaks against it. Nothing is made.
    """
    for place in (path, *path.absolute().parents):
        try:
            mode = place.stat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            continue  # what is above it tells more
        except OSError as found:
            return f"{place} cannot be looked at: {found.strerror}"
        if not stat.S_ISDIR(mode):
            return f"{place} is a file"
        if not os.access(place, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
            return f"user {os.geteuid()} may not write to {place}"
        return _failed(place, error) if error is not None else ""
    return ""


def _failed(place: Path, error: OSError) -> str:
    if error.errno == errno.ENOENT:  # of file systems that only the kernel writes
        return f"nothing can be made in {place}"
    return f"{place} refuses it: {error.strerror or error}"
