"""The journal: where runs are written down before anything happens.

One port a question: who appends, reads events, looks for runs, wants contents or removes takes the port for that alone.
`Journal` is all of them, as a store offers them and a runtime is built with.

What every store promises, whatever it writes to (tests/ports/test_journal_contract.py and its neighbours hold each of
them for every store):

- *Atomic.* Events, contents, snapshot row and side rows of an append are there together or not at all, also after a
  crash.
- *Conditions are answers.* An append whose condition does not hold is answered with it and leaves nothing; it is looked
  at in the append's turn, never found out by a constraint, and no other append is the worse for it.
- *Durable before it is answered.* An append is answered and announced once it will survive the process. (In memory
  nothing does: `MemoryJournal` keeps all promises but this one.)
- *Dense.* Positions count the events of the whole journal from 1 without a gap, sequence numbers those of a run.
  Nothing ever appears below a position that was visible before: "all above this position" is a complete question.
- *Announced in order.* Listeners hear of every event once, in the order of positions.
- *Chained.* Each event carries SHA-256 over the one before and its own bytes; the first of a run over CHAIN_TAG and the
  run's name. The bytes are public and never rewritten.
- *One writer a run.* An `after` that is not the run's last sequence number is refused: of two that drive one run only
  one goes on.
- *Checked.* What is handed out was checked against hash, digest or the check of its row. Damage is JOURNAL_CORRUPT
  naming the run and its first bad event, and is that run's alone: others are read and written on.
- *Bounded.* No question over many runs looks at more than a fixed number of rows, so that none keeps others waiting.
- *Outlines stay.* Of a removed run its outline is left and no side row, and the horizon of every scope it was in rises.

What is SQLite's own, and no promise to a caller: that appends of one moment share a commit, that one thread writes and
one reads, the anchor beside the file, that a row which does not fit is folded anew, `max_bytes`. Another store may
settle each append by itself, as long as the promises hold.

Failures are AgentError: JOURNAL_FULL, JOURNAL_BUSY (both may pass, nothing of the append stands), JOURNAL_CONFLICT,
JOURNAL_CORRUPT; DRAINING after `close`. Every method is called from the event loop's thread only.
"""

from __future__ import annotations

from typing import Protocol

from runwright.ports.journal.appends import Appended, Appender, Appending, AppendOutcome
from runwright.ports.journal.contents import Contents
from runwright.ports.journal.events import CHAIN_TAG, EventPage, EventReader, Listener, StoredEvent
from runwright.ports.journal.identity import JournalIdentity
from runwright.ports.journal.retention import Removed, Remover
from runwright.ports.journal.runs import NOTHING, ListedRun, LoadedRun, RunIndex, RunPage, SessionPage
from runwright.ports.journal.side_rows import Entry, SideRowReader

__all__ = [
    "CHAIN_TAG",
    "NOTHING",
    "AppendOutcome",
    "Appended",
    "Appender",
    "Appending",
    "Contents",
    "Entry",
    "EventPage",
    "EventReader",
    "Journal",
    "JournalIdentity",
    "ListedRun",
    "Listener",
    "LoadedRun",
    "Removed",
    "Remover",
    "RunIndex",
    "RunPage",
    "SessionPage",
    "SideRowReader",
    "StoredEvent",
]


class Journal(JournalIdentity, Appender, EventReader, RunIndex, Contents, SideRowReader, Remover, Protocol):
    """A whole store."""

    async def close(self) -> None:
        """Finishes what was handed over and releases the store."""
