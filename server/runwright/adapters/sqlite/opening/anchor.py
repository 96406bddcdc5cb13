"""The head anchor: a small file beside the journal that knows how far the journal had come.

`journal.head` is one line of 256 bytes: `runwright-head-v1`, the journal's
incarnation, the position of its last event, that event's hash, SHA-256 of the
line up to there, and blanks. It is written after the commit that it tells of,
and before anybody hears of that commit: it may lag behind the journal and never
leads. A journal that ends before its anchor has lost events that were
acknowledged.

The line is overwritten in place, so that it costs no commit anything, and a
disk takes it as a whole, as it is half a sector. It survives the end of the
process at once and a loss of power once it is synced, a second later.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import apsw
from msgspec import Struct

from runwright.adapters.sqlite.failures import corrupt
from runwright.adapters.sqlite.opening.schema import NO_HASH
from runwright.adapters.sqlite.tables import fetch
from runwright.core.errors import AgentError
from runwright.ports.log import OperatorLog

FILE = "journal.head"
JOURNAL = "journal.db"
_TAG = "runwright-head-v1"
LINE_BYTES = 256
_ATTEMPTS = 3  # to read it whole beside a server that overwrites it


class TornAnchor(ValueError):
    """The file is no anchor, or not a whole one."""


class Anchor(Struct, frozen=True):
    """How far a journal had come: its identity, the position of its last event, and that event's hash."""

    incarnation: str
    position: int
    hash: bytes

    def fault(self, db: apsw.Connection) -> str:
        """What is wrong with a journal that should hold all of this; empty when it does."""
        if not db.table_exists("main", "meta"):
            return "journal.db is empty"
        rows = fetch(db, "SELECT value FROM meta WHERE key = 'incarnation'")
        if not rows or rows[0][0] != self.incarnation:
            return "it is another journal than the one that was here"
        ((head,),) = fetch(db, "SELECT COALESCE(MAX(position), 0) FROM events")
        if head < self.position:
            return f"it ends at position {head}, and {self.position} had been reached"
        rows = fetch(db, "SELECT hash FROM events WHERE position = ?", self.position) if self.position else []
        if (rows[0][0] if rows else NO_HASH) != self.hash:
            return f"its event at position {self.position} is not the one that was there"
        return ""


def known(directory: Path, log: OperatorLog | None) -> Anchor | None:
    """The anchor that a journal is to be held against; None when there is none to rely on.

    One that is missing or torn proves nothing against the journal; whoever
    opens the journal makes a new one. A torn one is logged.
    """
    try:
        found = read(directory)
    except TornAnchor as error:
        if log:
            log.error("journal.head is not whole and is made anew; check the disk", error)
        return None
    if found is not None and not (directory / JOURNAL).exists():
        raise lost(directory, "journal.db is missing")
    return found


def lost(directory: Path, what: str) -> AgentError:
    """The journal does not hold what its anchor says it held."""
    message = (
        f"The journal in {directory} has lost events that were acknowledged: {what}. Put the newer journal.db back, "
        "with its -wal file, or make a journal of what is left: runwright restore OLD/journal.db --data NEW."
    )
    return corrupt(message)


def read(directory: Path) -> Anchor | None:
    """The anchor of a data directory; None when there is none. Raises TornAnchor, and OSError."""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return _parsed((directory / FILE).read_bytes())
        except FileNotFoundError:
            return None
        except TornAnchor:
            if attempt == _ATTEMPTS:
                raise
    raise AssertionError("the last attempt returns or raises")


def _parsed(line: bytes) -> Anchor:
    try:
        tag, incarnation, position, head_hash, own = line.decode("ascii").split()
        if tag != _TAG or own != _digest(f"{tag} {incarnation} {position} {head_hash}"):
            raise ValueError(tag)
        return Anchor(incarnation, int(position), bytes.fromhex(head_hash))
    except ValueError:
        raise TornAnchor(f"{FILE} is not whole") from None


def write(directory: Path, anchor: Anchor) -> None:
    """Replaces the file; a reader, or a crash, finds the old one or the new one. Raises OSError."""
    temporary = directory / f".{FILE}.new"
    temporary.unlink(missing_ok=True)  # of a process that died here; only the holder of the directory's lock writes
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(line_of(anchor))
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(directory / FILE)
    sync_directory(directory)


def sync_directory(directory: Path) -> None:
    """Makes names that were given or taken away there last. Raises OSError."""
    own = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(own)
    finally:
        os.close(own)


def line_of(anchor: Anchor) -> bytes:
    """What the file holds: LINE_BYTES bytes."""
    body = f"{_TAG} {anchor.incarnation} {anchor.position} {anchor.hash.hex()}"
    return f"{body} {_digest(body)}".ljust(LINE_BYTES - 1).encode("ascii") + b"\n"


def _digest(body: str) -> str:
    return hashlib.sha256(body.encode("ascii")).hexdigest()
