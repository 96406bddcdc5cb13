"""The keys file: what an entry must be, and what it costs to ask about one."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path
from typing import IO, Any

import pytest
from msgspec import structs
from runwright.adapters import keys
from runwright.adapters.keys import (
    LOOK_EVERY_US,
    RETRY_US,
    KeyEntry,
    KeyFileAuthenticator,
    KeysFile,
    read_keys,
    write_keys,
)
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.principal import Role
from runwright.ports.access import Credentials
from runwright.testing import ManualClock

from tests.builders import ListLog
from tests.transport.known import add_key, authenticator


@pytest.mark.parametrize("credential", [{}, {"sha256": "0" * 64, "subject": "desk.example"}])
def test_an_entry_is_one_credential(tmp_path: Path, credential: dict[str, str]) -> None:
    file = tmp_path / "keys.json"
    file.write_text(json.dumps({"keys": [{"id": "k1", "name": "desk", "roles": ["caller"], **credential}]}))

    with pytest.raises(AgentError) as refused:
        read_keys(file)

    assert refused.value.reason is ErrorReason.INVALID_REQUEST
    assert "keys.0: " in refused.value.message
    assert "exactly one of sha256 and subject" in refused.value.message


def test_asking_whether_a_principal_still_stands_hashes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = add_key(tmp_path / "keys.json", "caller")
    add_key(tmp_path / "keys.json", "observer")
    known = authenticator(tmp_path / "keys.json")
    principal = known.authenticate(Credentials(key, ()))

    monkeypatch.delattr(KeyEntry, "principal")

    assert known.is_current(principal)


def test_a_changed_file_is_in_force_once_it_may_be_looked_at_again(tmp_path: Path) -> None:
    file, clock = tmp_path / "keys.json", ManualClock()
    key = add_key(file, "caller")
    known = KeyFileAuthenticator(file, clock, ListLog())
    principal = known.authenticate(Credentials(key, ()))
    write_keys(file, KeysFile())

    clock.advance(LOOK_EVERY_US - 1)
    assert known.is_current(principal)
    clock.advance(1)

    assert not known.is_current(principal)
    with pytest.raises(AgentError):
        known.authenticate(Credentials(key, ()))


def test_a_new_key_is_in_force_at_once(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    add_key(file, "caller")
    known = KeyFileAuthenticator(file, ManualClock(), ListLog())

    key = add_key(file, "observer")

    assert known.authenticate(Credentials(key, ())).name == "observer-default"


def test_a_clock_that_steps_back_hides_no_change(tmp_path: Path) -> None:
    file, clock = tmp_path / "keys.json", ManualClock()
    key = add_key(file, "caller")
    known = KeyFileAuthenticator(file, clock, ListLog())
    write_keys(file, KeysFile())

    clock.advance(-3_600_000_000)

    with pytest.raises(AgentError):
        known.authenticate(Credentials(key, ()))


def test_of_two_entries_with_one_key_the_one_in_force_counts(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    key = add_key(file, "caller", expires_at=1)
    gone = read_keys(file).keys[0]
    write_keys(file, KeysFile(keys=(gone, gone.model_copy(update={"id": "again", "expires_at": None}))))

    principal = authenticator(file).authenticate(Credentials(key, ()))

    assert principal.credential.startswith("again:")


def test_a_changed_file_keeps_owner_group_and_mode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "keys.json"
    add_key(file, "caller")
    file.chmod(0o640)
    value: list[tuple[int, int]] = []
    own = file.stat()
    monkeypatch.setattr(os, "fchown", lambda _, user, group: value.append((user, group)))
    theirs = os.stat_result((own.st_mode, 0, 0, 1, own.st_uid + 1, own.st_gid + 1, own.st_size, 0, 0, 0))
    monkeypatch.setattr(keys, "_stat", lambda _: theirs)

    write_keys(file, KeysFile())

    assert value == [(own.st_uid + 1, own.st_gid + 1)], "whoever revokes, the server's user goes on reading it"
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


def test_a_new_file_is_its_owners_alone(tmp_path: Path) -> None:
    write_keys(tmp_path / "keys.json", KeysFile())

    assert stat.S_IMODE((tmp_path / "keys.json").stat().st_mode) == 0o600


def test_a_file_whose_owner_cannot_be_kept_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "keys.json"
    add_key(file, "caller")
    before, own = file.read_bytes(), file.stat()
    theirs = os.stat_result((own.st_mode, 0, 0, 1, own.st_uid + 1, own.st_gid, own.st_size, 0, 0, 0))
    monkeypatch.setattr(keys, "_stat", lambda _: theirs)

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "fchown", refuse)

    with pytest.raises(AgentError) as refused:
        write_keys(file, KeysFile())

    assert refused.value.remedy == "Run this as its owner."
    assert file.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["keys.json"], "nothing is left lying about"


class Unreadable:
    """A file that cannot be read while `is_closed`, though nothing else of it changes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_closed = True
        opened = Path.open

        def open_(path: Path, mode: str = "r") -> IO[Any]:
            if self.is_closed and path.name == "keys.json":
                raise PermissionError(errno.EACCES, "Permission denied")
            return opened(path, mode)

        monkeypatch.setattr(Path, "open", open_)


def test_a_file_that_could_not_be_read_is_read_once_it_can_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, clock, log = tmp_path / "keys.json", ManualClock(), ListLog()
    key = add_key(file, "caller")
    failures: list[AgentError] = []
    known = KeyFileAuthenticator(file, clock, log, failures.append)
    principal = known.authenticate(Credentials(key, ()))
    write_keys(file, KeysFile())
    closed = Unreadable(monkeypatch)

    clock.advance(LOOK_EVERY_US)
    in_force = known.is_current(principal)
    clock.advance(RETRY_US)
    again = known.is_current(principal)
    closed.is_closed = False
    clock.advance(RETRY_US)

    assert in_force and again, "the last good file stays in force"
    assert not known.is_current(principal), "nothing of the file has changed, but that it can be read"
    assert len(failures) == 2, "each time it is tried, the audit hears of it"
    assert len([line for line in log.lines if "cannot be used" in line.event]) == 1


def test_a_reload_does_not_wait_for_the_next_look(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    key = add_key(file, "caller")
    known = KeyFileAuthenticator(file, ManualClock(), ListLog())
    principal = known.authenticate(Credentials(key, ()))
    write_keys(file, KeysFile())

    known.reload()

    assert not known.is_current(principal)


def changed(file: Path, **fields: object) -> None:
    """Changes the only entry of the file."""
    [entry] = read_keys(file).keys
    write_keys(file, KeysFile(keys=(entry.model_copy(update=fields),)))


NOT_REMOVED: dict[str, dict[str, object]] = {
    "nothing": {},
    "another expiry": {"expires_at": 4_102_444_800_000_000},
    "one role more": {"roles": frozenset({Role.EXECUTOR, Role.OBSERVER})},
    "every role": {"roles": frozenset({Role.ADMIN})},
}
LOST: dict[str, dict[str, object]] = {
    "another role": {"roles": frozenset({Role.CALLER})},
    "another secret": {"sha256": "0" * 64},
    "a subject": {"sha256": None, "subject": "desk.internal"},
    "another id": {"id": "another"},
    "another name": {"name": "another"},
    "another namespace": {"namespace": "team-b"},
    "an expiry that has come": {"expires_at": 1},
}


@pytest.mark.parametrize(("change", "holds"), [*((one, True) for one in NOT_REMOVED), *((one, False) for one in LOST)])
def test_a_credential_gives_a_role_for_as_long_as_its_key_does(tmp_path: Path, change: str, holds: bool) -> None:
    file = tmp_path / "keys.json"
    key = add_key(file, "executor")
    known = authenticator(file)
    principal = known.authenticate(Credentials(key, ()))

    changed(file, **(NOT_REMOVED | LOST)[change])

    assert known.still_has(principal, Role.EXECUTOR) is holds


@pytest.mark.parametrize("credential", ["", "nobody", "nobody:0:1"])
def test_what_is_no_credential_gives_nothing(tmp_path: Path, credential: str) -> None:
    file = tmp_path / "keys.json"
    key = add_key(file, "executor")
    known = authenticator(file)
    principal = known.authenticate(Credentials(key, ()))

    assert not known.still_has(structs.replace(principal, credential=credential), Role.EXECUTOR)


def test_a_keys_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    write_keys(file, KeysFile())
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())

    assert read_keys(file) == KeysFile()


def test_a_keys_file_is_never_written_through_a_link_that_somebody_laid(tmp_path: Path) -> None:
    """The name of the temporary file was the process's number, which anybody can see."""
    theirs = tmp_path / "theirs"
    theirs.write_text("untouched")
    for number in (os.getpid(), os.getpid() + 1):
        (tmp_path / f".keys.json.{number}").symlink_to(theirs)

    write_keys(tmp_path / "keys.json", KeysFile())

    assert theirs.read_text() == "untouched"
    assert read_keys(tmp_path / "keys.json") == KeysFile()


def test_what_stands_in_the_file_as_before_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read on the event loop: of many keys a change of one must not take as long as all of them."""
    file = tmp_path / "keys.json"
    entries = [
        KeyEntry(id=f"k{n}", name=f"team-{n}", roles=frozenset({Role.CALLER}), sha256=f"{n:064x}") for n in range(50)
    ]
    write_keys(file, KeysFile(keys=tuple(entries)))
    known = KeyFileAuthenticator(file, ManualClock(), ListLog())
    made: list[str] = []
    principal = KeyEntry.principal
    monkeypatch.setattr(KeyEntry, "principal", lambda entry: made.append(entry.id) or principal(entry))

    known.reload()
    unchanged = list(made)
    changed_one = entries[7].model_copy(update={"name": "another"})
    write_keys(file, KeysFile(keys=(*entries[:7], changed_one, *entries[9:])))
    known.reload()

    assert (unchanged, made) == ([], ["k7"])
    assert [known.is_current(principal(entry)) for entry in (entries[6], entries[7], entries[8], changed_one)] == [
        *(True, False, False, True)
    ]


@pytest.mark.parametrize("text", ['{"keys": [], "key": []}', '{"keys": [{"id": "a"}]}', "[]", "{", '{"keys": {}}', ""])
def test_a_file_that_turns_bad_is_told_as_at_the_start(tmp_path: Path, text: str) -> None:
    file = tmp_path / "keys.json"
    write_keys(file, KeysFile())
    failures: list[AgentError] = []
    known = KeyFileAuthenticator(file, ManualClock(), ListLog(), failures.append)
    file.write_text(text)

    known.reload()
    with pytest.raises(AgentError) as at_start:
        read_keys(file)

    assert [failure.message for failure in failures] == [at_start.value.message]
