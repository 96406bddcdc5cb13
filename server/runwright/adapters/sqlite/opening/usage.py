"""What a server writes when it opens a journal and when it closes it: a new epoch, and that the journal is in use.

The mark of use is copied from `-wal` into `journal.db` before anything else is
written. So a `journal.db` that is in use and has no `-wal` beside it was
separated from its last commits: nothing else takes that file away from a
journal that was not closed.
"""

from __future__ import annotations

import secrets

import apsw

from runwright.adapters.sqlite.opening.transactions import Transactions
from runwright.adapters.sqlite.tables import fetch
from runwright.core.epochs import MARK_BYTES, Epoch, Epochs
from runwright.core.errors import AgentError

IN_USE = "in_use"  # the key in `meta`; its value counts what was written there, and means nothing
_SET = "INSERT INTO meta (key, value) VALUES (?, 1) ON CONFLICT (key) DO UPDATE SET value = value + 1"


def is_in_use(db: apsw.Connection) -> bool:
    """True when the last server that opened the journal has not closed it."""
    return bool(fetch(db, "SELECT 1 FROM meta WHERE key = ?", IN_USE))


def begin(transactions: Transactions, head: int) -> Epochs:
    """Notes that the journal, which ends at `head`, is in use from now on. Its epochs, the new one included.

    Only once that has been copied into `journal.db` is it of use. Raises AgentError.
    """

    def act(db: apsw.Connection) -> Epochs:
        db.execute("DELETE FROM epochs WHERE after >= ?", (head,))  # no event that is left was written in them
        db.execute("INSERT INTO epochs (after, mark) VALUES (?, ?)", (head, secrets.token_bytes(MARK_BYTES)))
        touch(db)
        return Epochs([Epoch(*row) for row in fetch(db, "SELECT after, mark FROM epochs ORDER BY after")])

    return transactions.run(act)


def touch(db: apsw.Connection) -> None:
    """A change that means nothing, inside the open transaction."""
    db.execute(_SET, (IN_USE,))


def forget(db: apsw.Connection) -> None:
    """Of a copy: nobody has it open."""
    db.execute("DELETE FROM meta WHERE key = ?", (IN_USE,))


def close(transactions: Transactions) -> None:
    """Notes that the journal is not in use any more, and closes the connection.

    A journal for which that cannot be noted keeps its `-wal`, and so does one in
    doubt: whoever examines it should find it as the failure left it.
    """
    db = transactions.db
    try:
        transactions.run(forget)
    except AgentError:
        db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    db.close()
