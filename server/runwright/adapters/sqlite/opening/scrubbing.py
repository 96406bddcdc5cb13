"""Once, after an upgrade: what earlier versions removed is taken out of the free room of the file.

They left it where it stood until something else was written there. Since
version 5 SQLite overwrites what is deleted.
"""

from __future__ import annotations

import apsw

from runwright.adapters.sqlite.opening.transactions import Transactions
from runwright.adapters.sqlite.tables import fetch
from runwright.core.errors import AgentError

REMEDY = "Make room for a second journal.db and start again, or move to a clean copy: runwright backup, then restore."
_WANTED = "scrub_wanted"


def want(db: apsw.Connection) -> None:
    """Asks for it if anything was ever removed; inside the transaction of the upgrade.

    Registrations come and go often and are few: their table is written anew here.
    """
    columns = [(name, kind == "TEXT") for _, name, kind, *_ in fetch(db, "PRAGMA table_info(callbacks)")]
    # Texts by their bytes: one that is damaged is written as it stands.
    read = ", ".join(f"CAST({name} AS BLOB)" if is_text else name for name, is_text in columns)
    write = ", ".join("CAST(? AS TEXT)" if is_text else "?" for _, is_text in columns)
    callbacks = fetch(db, f"SELECT {read} FROM callbacks")
    db.execute("DELETE FROM callbacks")
    for row in callbacks:
        db.execute(f"INSERT INTO callbacks VALUES ({write})", row)
    ((unused,),) = fetch(db, "PRAGMA freelist_count")
    if unused or fetch(db, "SELECT 1 FROM runs WHERE removed_at > 0 LIMIT 1"):
        db.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, 1)", (_WANTED,))


def is_wanted(db: apsw.Connection) -> bool:
    """True while removed contents may stand in the file."""
    return bool(fetch(db, "SELECT 1 FROM meta WHERE key = ?", _WANTED))


def scrub(transactions: Transactions) -> None:
    """Writes the whole file anew if that is wanted; it takes as much room again for a while.

    Where there is no room for that, it stays wanted. Raises what leaves it in doubt whether the file is whole.
    """
    if not is_wanted(transactions.db):
        return
    try:
        transactions.single(lambda db: db.execute("VACUUM"))
        transactions.run(lambda db: db.execute("DELETE FROM meta WHERE key = ?", (_WANTED,)))
    except AgentError:
        if transactions.in_doubt:
            raise  # nobody else would hear of it: who writes next has transactions of his own
