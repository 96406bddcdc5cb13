"""A whole group of appends in one statement.

The binding gives the interpreter's lock away at every step of a statement, and beside a busy event loop it takes up to
milliseconds to win it back: that costs more than the rows do. So all rows of a group go into one view, whose triggers
put them where they belong. Outside of a transaction the statement is one itself: one step writes and commits it all.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from functools import cache
from typing import TypeAlias

import apsw

Value: TypeAlias = str | bytes | int | None
Row: TypeAlias = tuple[Value, ...]  # a What, and what its trigger takes


class What(IntEnum):
    """Which trigger a row is for, and so what its values are."""

    NOTHING = 0
    # run_no, seq, hash, last_position, snapshot, status, open, namespace, run_id, session_id, agent_id, labels
    NEW_RUN = 1
    # run_no, seq, hash, last_position, snapshot, status, and the seq it had before
    MOVED_RUN = 2
    # run_no
    ENDED_RUN = 3
    # position, run_no, seq, kind, data, previous_hash, hash, namespace, session_id, agent_id
    EVENT = 4
    # namespace, digest, uses, media_type, size, data
    CONTENT = 5
    # namespace, digest, uses; of content that came before
    USE = 6
    # namespace, index, key, run_no, value, expires_at, check
    ENTRY = 7
    # namespace, index, key
    NO_ENTRY = 8
    # namespace, counter, run_no, remaining, check
    COUNTER = 9


_COLUMNS = "abcdefghijkl"
_NOTHING: Row = (What.NOTHING, *(None,) * len(_COLUMNS))
# More rows than that, and SQLite's binding would compile the statement each time.
MAX_ROWS = 512
# Measured, beside what is in the rows: a commit of a few changes up to 18 pages, one of many half a page for each.
_PAGE_BYTES, _PAGES = 4096, 18
# Few lengths, so that the statements are found compiled; what is missing is filled with rows for nobody.
_LENGTHS = (4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, MAX_ROWS)

# One use more than there are rows for: whoever has no row is used once.
_COUNT_USES = """INSERT INTO content_uses (namespace, digest, uses) SELECT NEW.a, NEW.b, 1 + {more} WHERE {more} <> 0
    ON CONFLICT (namespace, digest) DO UPDATE SET uses = uses - 1 + excluded.uses;"""
_IS_THERE = "EXISTS (SELECT 1 FROM contents WHERE namespace = NEW.a AND digest = NEW.b)"
_TRIGGERS = {
    What.NEW_RUN: """
        INSERT INTO runs (run_no, seq, hash, last_position, snapshot, status, open,
            namespace, run_id, session_id, agent_id, labels)
        VALUES (NEW.a, NEW.b, NEW.c, NEW.d, NEW.e, NEW.f, NEW.g, NEW.h, NEW.i, NEW.j, NEW.k, NEW.l);""",
    # Only what changes: SQLite writes every index of a column that is named, whether its value is another one or not.
    What.MOVED_RUN: """
        SELECT RAISE(ABORT, 'the run stands elsewhere')
        WHERE NOT EXISTS (SELECT 1 FROM runs WHERE run_no = NEW.a AND seq = NEW.g);
        UPDATE runs SET seq = NEW.b, hash = NEW.c, last_position = NEW.d, snapshot = NEW.e, status = NEW.f
        WHERE run_no = NEW.a;""",
    What.ENDED_RUN: "UPDATE runs SET open = 0 WHERE run_no = NEW.a;",
    What.EVENT: """
        INSERT INTO events (position, run_no, seq, kind, data, previous_hash, hash, namespace, session_id, agent_id)
        VALUES (NEW.a, NEW.b, NEW.c, NEW.d, NEW.e, NEW.f, NEW.g, NEW.h, NEW.i, NEW.j);""",
    What.CONTENT: f"""
        {_COUNT_USES.format(more=f"(NEW.c - NOT {_IS_THERE})")}
        INSERT INTO contents (namespace, digest, media_type, size, data)
        SELECT NEW.a, NEW.b, NEW.d, NEW.e, NEW.f WHERE NOT {_IS_THERE};""",
    What.USE: _COUNT_USES.format(more="NEW.c"),
    What.ENTRY: """
        INSERT INTO entries (namespace, index_name, key, run_no, value, expires_at, row_check)
        VALUES (NEW.a, NEW.b, NEW.c, NEW.d, NEW.e, NEW.f, NEW.g) ON CONFLICT (namespace, index_name, key) DO UPDATE
        SET run_no = excluded.run_no, value = excluded.value, expires_at = excluded.expires_at,
            row_check = excluded.row_check;""",
    What.NO_ENTRY: "DELETE FROM entries WHERE namespace = NEW.a AND index_name = NEW.b AND key = NEW.c;",
    What.COUNTER: """
        INSERT INTO counters (namespace, counter, run_no, remaining, row_check)
        VALUES (NEW.a, NEW.b, NEW.c, NEW.d, NEW.e) ON CONFLICT (namespace, counter) DO UPDATE
        SET run_no = excluded.run_no, remaining = excluded.remaining, row_check = excluded.row_check;""",
}


def prepare(db: apsw.Connection) -> None:
    """Gives a connection the view and its triggers: its own, nothing of them is in the file."""
    db.pragma("temp_store", 2)  # memory
    db.execute(f"CREATE TEMP VIEW appended (what, {', '.join(_COLUMNS)}) AS SELECT {', '.join('1' * 13)}")
    for what, body in _TRIGGERS.items():
        db.execute(
            f"CREATE TEMP TRIGGER {what.name.lower()} INSTEAD OF INSERT ON appended WHEN NEW.what = {what.value}"
            f" BEGIN {body} END"
        )


def put(db: apsw.Connection, rows: Sequence[Row]) -> None:
    """Writes at most MAX_ROWS rows, all or none."""
    length = next(length for length in _LENGTHS if length >= len(rows))
    db.execute(_statement(length), _filled(rows, length))


def put_all(db: apsw.Connection, rows: Sequence[Row]) -> None:
    """Writes any number of rows, inside the open transaction."""
    for first in range(0, len(rows), MAX_ROWS):
        put(db, rows[first : first + MAX_ROWS])


def needed_by(rows: Sequence[Row]) -> int:
    """About how many bytes of pages the rows change, rather more than less: what is in them, and in which indexes."""
    inside = sum(len(value) for row in rows for value in row if isinstance(value, (bytes, str)))
    return inside + (inside >> 3) + _PAGE_BYTES * (_PAGES + len(rows))


@cache
def _statement(rows: int) -> str:
    one = f"({', '.join('?' * (1 + len(_COLUMNS)))})"
    return f"INSERT INTO appended VALUES {', '.join([one] * rows)}"


def _filled(rows: Sequence[Row], length: int) -> list[Value]:
    filled: list[Value] = []
    for row in rows:
        filled += row
        filled += _NOTHING[len(row) :]
    filled += _NOTHING * (length - len(rows))
    return filled
