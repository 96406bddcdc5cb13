"""Many rows in one statement.

The binding gives the interpreter's lock away at every step of a statement and must win it back from the event loop:
that costs more than a row does. So a commit of many rows takes few steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import apsw

from runwright.adapters.sqlite.tables import fetch

# Few lengths, so that the statements are found prepared.
_LENGTHS = (64, 32, 16, 8, 7, 6, 5, 4, 3, 2, 1)


def put_rows(db: apsw.Connection, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Runs `statement`, whose `{values}` are all rows: `VALUES (?, ?), (?, ?)`. Does nothing without rows."""
    for part in _parts(rows):
        db.execute(_filled(statement, len(part), len(part[0])), [value for row in part for value in row])


def get_rows(db: apsw.Connection, statement: str, wanted: Sequence[tuple[Any, ...]]) -> list[Any]:
    """The rows that `statement` finds for all that is `wanted`, which are its `{values}`."""
    found: list[Any] = []
    for part in _parts(wanted):
        found += fetch(db, _filled(statement, len(part), len(part[0])), *[value for row in part for value in row])
    return found


def _parts(rows: Sequence[tuple[Any, ...]]) -> Iterator[Sequence[tuple[Any, ...]]]:
    start = 0
    while start < len(rows):
        length = next(length for length in _LENGTHS if length <= len(rows) - start)
        yield rows[start : start + length]
        start += length


@cache
def _filled(statement: str, rows: int, columns: int) -> str:
    one = f"({', '.join('?' * columns)})"
    return statement.format(values=f"VALUES {', '.join([one] * rows)}")
