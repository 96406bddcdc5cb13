"""The head anchor: a small file beside the journal that knows how far the journal had come.

`journal.head` is one line: `runwright-head-v1`, the journal's incarnation, the
position of its last event, that event's hash, and SHA-256 of the line up to
there. It is replaced as a whole, and written only after the commit it tells of:
it may lag behind the journal and never leads. A journal that ends before its
anchor has lost events that were acknowledged.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from pathlib import Path

import apsw
from msgspec import Struct

from runwright.adapters.sqlite.failures import NO_SPACE, corrupt
from runwright.adapters.sqlite.schema import NO_HASH
from runwright.adapters.sqlite.tables import fetch
from runwright.core.errors import AgentError
from runwright.ports.log import OperatorLog

FILE = "journal.head"
JOURNAL = "journal.db"
_TAG = "runwright-head-v1"


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
    told = (
        f"The journal in {directory} has lost events that were acknowledged: {what}. Put the newer journal.db back, "
        "with its -wal file, or make a journal of what is left: runwright restore OLD/journal.db --data NEW."
    )
    return corrupt(told)


def read(directory: Path) -> Anchor | None:
    """The anchor of a data directory; None when there is none. Raises TornAnchor, and OSError."""
    try:
        line = (directory / FILE).read_bytes()
    except FileNotFoundError:
        return None
    try:
        tag, incarnation, position, head_hash, own = line.decode("ascii").split()
        if tag != _TAG or own != _digest(f"{tag} {incarnation} {position} {head_hash}"):
            raise ValueError(tag)
        return Anchor(incarnation, int(position), bytes.fromhex(head_hash))
    except ValueError:
        raise TornAnchor(f"{directory / FILE} is not whole") from None


def write(directory: Path, anchor: Anchor) -> None:
    """Replaces the anchor; a reader, or a crash, finds the old one or the new one. Raises OSError."""
    body = f"{_TAG} {anchor.incarnation} {anchor.position} {anchor.hash.hex()}"
    temporary = directory / f".{FILE}.new"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(f"{body} {_digest(body)}\n".encode("ascii"))
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(directory / FILE)
    own = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(own)
    finally:
        os.close(own)


def _digest(body: str) -> str:
    return hashlib.sha256(body.encode("ascii")).hexdigest()


def _left(directory: Path) -> tuple[int, bytes]:
    with contextlib.suppress(TornAnchor, OSError):
        left = read(directory)
        if left is not None:
            return left.position, left.hash
    return 0, b""


class AnchorKeeper:
    """Writes the anchor after the journal has moved on, not more often than it is asked to.

    `note` is called by the thread that commits, `catch_up` mostly by another one.
    """

    def __init__(self, directory: Path, anchor: Anchor, log: OperatorLog | None) -> None:
        """Writes `anchor` at once, or, on a disk that is full, once it is not. Raises OSError."""
        self._directory = directory
        self._incarnation = anchor.incarnation
        self._written = self._writing = self._latest = (anchor.position, anchor.hash)
        self._log = log
        self._failed = False
        try:
            write(directory, anchor)
        except OSError as error:
            if error.errno not in NO_SPACE:
                raise
            self._failed = True
            self._written = self._writing = _left(directory)  # what the next start would find
            if log:
                log.error("journal.head cannot be written; it lags until it can", error)
        self._lock, self._one_writes = threading.Lock(), threading.Lock()

    @property
    def held(self) -> frozenset[int]:
        """Positions the anchor may stand at: their events must stay where they are."""
        with self._lock:
            return frozenset(position for position, _ in (self._written, self._writing, self._latest))

    def note(self, position: int, own_hash: bytes) -> None:
        """Says how far the journal has come. Costs nothing."""
        with self._lock:
            self._latest = (position, own_hash)

    def catch_up(self, last: bool = False) -> bool:
        """Writes the anchor if the journal has moved on. True when the disk did not take it: try again."""
        with self._one_writes:
            return self._catch_up()

    def _catch_up(self) -> bool:
        with self._lock:
            if self._latest == self._written:
                return False
            self._writing = self._latest
        try:
            write(self._directory, Anchor(self._incarnation, *self._writing))
        except OSError as error:
            if self._log and not self._failed:
                self._log.error("journal.head cannot be written; it lags until it can", error)
            self._failed = True
            return True
        self._failed = False
        with self._lock:
            self._written = self._writing
        return False
