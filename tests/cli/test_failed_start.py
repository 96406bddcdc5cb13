"""A server that does not come to serve leaves nothing behind that was not there before."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from runwright import bootstrap
from runwright.adapters.sqlite import SqliteJournal
from runwright.adapters.sqlite.opening.fresh import UnservedDirectory
from runwright.adapters.sqlite.opening.lock import DirectoryLock
from runwright.bootstrap import serving
from runwright.core.errors import AgentError
from runwright.settings import Settings

from tests import builders as b
from tests.e2e.server_process import ROOT

PACKAGES = (ROOT / "examples/workspace/package.yaml",)


@pytest.fixture
def taken() -> Iterator[str]:
    """An address at which somebody listens."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield f"127.0.0.1:{listening.getsockname()[1]}"


def starts(settings: Settings) -> AgentError:
    """How the start fails."""
    with pytest.raises(AgentError) as failed:
        asyncio.run(bootstrap.serve(settings, lambda _: pytest.fail("it must not serve")))
    return failed.value


@pytest.mark.parametrize("which", ["listen", "health_listen", "metrics"])
def test_an_address_that_is_taken_leaves_no_directory(tmp_path: Path, taken: str, which: str) -> None:
    settings = Settings(listen="127.0.0.1:0", data=tmp_path / "a" / "b", packages=PACKAGES)

    failed = starts(replace(settings, **{which: taken}))

    assert taken in failed.message
    assert list(tmp_path.iterdir()) == []


def test_a_fault_of_our_own_leaves_no_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while the journal is open still."""

    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("something nobody thought of")

    monkeypatch.setattr(serving, "RuntimeServer", fails)
    settings = Settings(listen="127.0.0.1:0", data=tmp_path / "data", packages=PACKAGES)

    with pytest.raises(RuntimeError, match="nobody thought of"):
        asyncio.run(bootstrap.serve(settings, lambda _: None))

    assert list(tmp_path.iterdir()) == []


def test_what_was_there_stays(tmp_path: Path, taken: str) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "notes").write_text("mine")

    starts(Settings(listen=taken, data=tmp_path / "data", packages=PACKAGES))

    assert (tmp_path / "data" / "notes").read_text() == "mine"
    assert (tmp_path / "data" / "journal.db").exists()


async def test_a_journal_with_an_event_stays(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with pytest.raises(RuntimeError), UnservedDirectory(data):
        journal = SqliteJournal.open(data)
        bench = b.Bench(packages=(b.package(b.says("hi")),))
        await bench.runtime(journal=journal).run_text(b.request())
        await journal.close()
        raise RuntimeError

    assert (data / "journal.db").exists()


def test_a_directory_that_somebody_else_uses_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "data"
    with pytest.raises(RuntimeError), UnservedDirectory(data):
        data.mkdir()
        lock = DirectoryLock.take(data)
        monkeypatch.setattr("os.getpid", lambda: 1)
        raise RuntimeError
    lock.release()

    assert (data / "LOCK").exists()


def test_a_lock_whose_file_was_removed_meanwhile_is_taken_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from runwright.adapters.sqlite.opening import lock as module  # noqa: PLC0415 - its flock is replaced

    locked = module.fcntl.flock

    def late(descriptor: int, how: int) -> None:
        monkeypatch.setattr(module.fcntl, "flock", locked)
        (tmp_path / "LOCK").unlink()
        locked(descriptor, how)

    monkeypatch.setattr(module.fcntl, "flock", late)

    with_new_file = DirectoryLock.take(tmp_path)

    with pytest.raises(AgentError, match="in use"):
        DirectoryLock.take(tmp_path)
    with_new_file.release()
