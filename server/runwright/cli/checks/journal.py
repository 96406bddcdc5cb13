"""The journal: who has it open, and whether it is what was written. Reads beside a running server."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import apsw

from runwright.adapters.sqlite import audit
from runwright.adapters.sqlite.failures import unusable
from runwright.adapters.sqlite.inspecting import inspection, verification
from runwright.adapters.sqlite.opening import anchor, scrubbing, usage
from runwright.adapters.sqlite.opening.past import has_wal
from runwright.adapters.sqlite.tables import SCHEMA_VERSION
from runwright.cli.checks.check import Check, fail, ok, warn
from runwright.core.space import LeastSpace, Space

BUSY_TIMEOUT_MS = 2_000
MOST_FAULTS = 20  # lines; a lost disk need not print every run
_RESTORE = "Restore the data directory from a backup; keep this one for the diagnosis."


def check_holder(data: Path) -> Check:
    """Who says it has the directory open. The lock itself is not tried: that could turn away a server."""
    try:
        pid, _, host = (data / "LOCK").read_text(encoding="utf-8", errors="replace").strip().partition(" ")
    except FileNotFoundError:
        return ok("lock", "no server has used this directory")
    except OSError as error:
        return fail("lock", f"LOCK cannot be read: {error.strerror}", "Run as the user of the server.")
    if not pid:
        return ok("lock", "no server has the directory open")
    if not (pid.isascii() and pid.isdigit()):
        remedy = "Harmless while no server runs: the next one overwrites it. Find out who wrote there."
        return warn("lock", "LOCK does not name a process", remedy)
    if host != socket.gethostname():
        remedy = "Make sure that it is the only one: locks on network disks cannot be relied on."
        return warn("lock", f"held by process {pid} on another host, {host}", remedy)
    if _is_alive(int(pid)):
        return ok("lock", f"process {pid} on this host has the directory open")
    remedy = "Nothing: a server was killed, its lock ended with it, and the next start recovers its runs."
    return warn("lock", f"LOCK names process {pid}, which is no longer alive", remedy)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def check_journal(data: Path, max_bytes: int | None, least: LeastSpace) -> Iterator[Check]:
    """The file, its version, SQLite's own check, the anchor, every chain, row and state, and the room it has left."""
    path = data / "journal.db"
    if not path.exists():
        if (data / anchor.FILE).exists():
            yield fail("journal", "journal.db is missing, though journal.head says there was one", _RESTORE)
        else:
            yield ok("journal", "there is none yet")
        return
    known, torn = _anchor(data)  # before the journal, which may go on meanwhile: an anchor never leads
    try:
        with inspection.opened(path, busy_timeout_ms=BUSY_TIMEOUT_MS) as db:
            version = _version(inspection.schema_version(db))
            yield version
            if version.remedy:
                return
            yield _damages(inspection.damages(db))
            if known is None and usage.is_in_use(db) and not has_wal(data):
                what = "the journal was not closed, and neither its -wal file nor a whole journal.head is there"
                yield fail("head anchor", what, _RESTORE)
            else:
                yield torn or _anchored(data, known, db)
            verified = verification.verify(db)
            yield from _chains(verified)
            if not verified.faults:
                yield from _states(verified.runs, list(verification.misstated(db)))
            yield _entries(verification.unreadable(db))
            yield _audit(*audit.fault(db))
            yield _size(inspection.space(db, data, max_bytes), least)
            if scrubbing.is_wanted(db):
                yield warn("removed contents", "some may stand in free room of journal.db", scrubbing.REMEDY)
    except UnicodeDecodeError:
        yield fail("journal", "the file holds texts that are none", _RESTORE)
    except apsw.Error as error:
        yield fail("journal", unusable(error).message, _RESTORE)


def _version(found: object) -> Check:
    if found == SCHEMA_VERSION:
        return ok("journal", f"schema version {found}")
    if isinstance(found, int) and 0 < found < SCHEMA_VERSION:
        return warn("journal", f"schema version {found} is older", "The next start of a server brings it up to date.")
    if isinstance(found, int) and found > SCHEMA_VERSION:
        text = f"schema version {found} is newer than {SCHEMA_VERSION}, which this program knows"
        return fail("journal", text, "Install the version of Runwright that wrote it, or a later one.")
    if found is None:
        return fail("journal", "journal.db is a database, but no journal", "Check the path of the data directory.")
    return fail("journal", f"schema version {found} is not one this program knows", _RESTORE)


def _anchor(data: Path) -> tuple[anchor.Anchor | None, Check | None]:
    try:
        return anchor.read(data), None
    except (anchor.TornAnchor, OSError):
        remedy = "The next start of a server makes it anew; check the disk."
        return None, warn("head anchor", "journal.head cannot be read or is not whole", remedy)


def _anchored(data: Path, known: anchor.Anchor | None, db: apsw.Connection) -> Check:
    if known is None:
        return warn("head anchor", "there is no journal.head", "The next start of a server makes it.")
    what = known.fault(db)
    if what:
        newer, torn = _anchor(data)
        if newer not in (None, known) and torn is None:
            return _anchored(data, newer, db)  # a server went on, and may have removed what the first one stood at
        return fail("head anchor", f"the journal has lost events: {what}", _RESTORE)
    return ok("head anchor", f"the journal reaches position {known.position} and beyond as it was written")


def _damages(found: list[str]) -> Check:
    if found:
        return fail("integrity_check", f"{len(found)} or more faults, the first: {found[0]}", _RESTORE)
    return ok("integrity_check", "SQLite finds the file whole")


def _states(runs: int, faults: list[verification.Fault]) -> Iterator[Check]:
    if not faults:
        yield ok("run states", f"the rows of {runs} runs say what their events say")
    for fault in faults[:MOST_FAULTS]:
        yield fail("run states", f"{fault.subject}: {fault.what}", _RESTORE)


def _entries(found: list[str]) -> Check:
    if found:
        return fail("other entries", "; ".join(found[:MOST_FAULTS]), _RESTORE)
    return ok("other entries", "registrations and what the journal says of itself can be read")


def _audit(entries: int, what: str) -> Check:
    if what:
        return fail("audit chain", what, _RESTORE)
    return ok("audit chain", f"{entries} entries are as written")


def _size(space: Space, least: LeastSpace) -> Check:
    text = f"{space.used / 1024**2:.1f} MiB used, {space.reusable / 1024**2:.1f} MiB free inside"
    if space.max_bytes is None:
        return ok("journal size", text)
    text += f", bounded at {space.max_bytes / 1024**2:.1f} MiB"
    if least.of_journal(space):
        return warn("journal size", text, "Raise journal_max_bytes or set retention_days: full, it stops every run.")
    return ok("journal size", text)


def _chains(verified: verification.Verified) -> Iterator[Check]:
    if not verified.faults:
        what = f"{verified.runs} runs, {verified.events} events and {verified.contents} contents are as written"
        yield ok("hash chains", what)
    for fault in verified.faults[:MOST_FAULTS]:
        yield fail("hash chains", f"{fault.subject}: {fault.what}", _RESTORE)
    if len(verified.faults) > MOST_FAULTS:
        yield fail("hash chains", f"{len(verified.faults) - MOST_FAULTS} more faults", _RESTORE)
