"""A group of appends as one statement, against one multi-row INSERT a table.

Not part of `make bench`: a decision stands on it (docs/adr/0004). Run it as `.venv/bin/python -m bench.statements`
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import apsw
from runwright.adapters.sqlite.opening import appended
from runwright.adapters.sqlite.opening.schema import open_writer

STARTS, COMMITS, ROUNDS = 10, 60, 7
EVENTS = 3  # of a start: the run, its turn, the intent of the model request
_DATA = bytes(220)
Write = Callable[[apsw.Connection, int], None]


def one_statement(db: apsw.Connection, first: int) -> None:
    """As the journal writes: all rows into the view, one step."""
    rows: list[appended.Row] = []
    for n in range(first, first + STARTS):
        rows.append(
            (
                appended.What.NEW_RUN,
                n,
                EVENTS,
                _DATA[:32],
                n * EVENTS,
                _DATA,
                2,
                1,
                "default",
                f"r{n}",
                "",
                "agent",
                "{}",
            )
        )
    for n in range(first, first + STARTS):
        rows += [(appended.What.EVENT, *_event(n, seq)) for seq in range(1, EVENTS + 1)]
        rows += [(appended.What.CONTENT, *_content(n, part), "text/plain", len(_DATA), _DATA) for part in range(2)]
    appended.put(db, rows)


def a_table_each(db: apsw.Connection, first: int) -> None:
    """BEGIN, which contents are there, one multi-row INSERT a table, COMMIT: six steps."""
    numbers = range(first, first + STARTS)
    contents = [_content(n, part) for n in numbers for part in range(2)]
    db.execute("BEGIN IMMEDIATE")
    wanted = ", ".join(["(?, ?)"] * len(contents))
    known = f"SELECT digest FROM contents WHERE (namespace, digest) IN (VALUES {wanted})"
    there = {row[0] for row in db.execute(known, [value for content in contents for value in content[:2]])}
    _insert(
        db,
        "runs (run_no, seq, hash, last_position, snapshot, status, open, namespace, run_id, session_id, agent_id,"
        " labels)",
        [(n, EVENTS, _DATA[:32], n * EVENTS, _DATA, 2, 1, "default", f"r{n}", "", "agent", "{}") for n in numbers],
    )
    _insert(
        db,
        "events (position, run_no, seq, kind, data, previous_hash, hash, namespace, session_id, agent_id)",
        [_event(n, seq) for n in numbers for seq in range(1, EVENTS + 1)],
    )
    _insert(
        db,
        "contents (namespace, digest, media_type, size, data)",
        [(*c[:2], "text/plain", len(_DATA), _DATA) for c in contents if c[1] not in there],
    )
    db.execute("COMMIT")


def _event(n: int, seq: int) -> tuple[appended.Value, ...]:
    return (n * EVENTS + seq, n, seq, seq, _DATA, _DATA[:32], _DATA[:32], "default", "", "agent")


def _content(n: int, part: int) -> tuple[appended.Value, ...]:
    return ("default", f"{n:032x}{part:032x}", 1)


def _insert(db: apsw.Connection, into: str, rows: Sequence[Sequence[appended.Value]]) -> None:
    one = f"({', '.join('?' * len(rows[0]))})"
    db.execute(f"INSERT INTO {into} VALUES {', '.join([one] * len(rows))}", [value for row in rows for value in row])


def milliseconds(directory: Path, write: Write, *, is_busy: bool) -> float:
    """A commit's median, on a thread of its own, beside an interpreter that is busy or idle."""
    db = open_writer(directory / f"{write.__name__}-{is_busy}-{time.monotonic_ns()}.db", busy_timeout_ms=1000)
    took: list[float] = []
    ended = threading.Event()

    def commits() -> None:
        for number in range(COMMITS):
            began = time.perf_counter()
            write(db, 1 + number * STARTS)
            took.append(time.perf_counter() - began)
        ended.set()

    thread = threading.Thread(target=commits)
    thread.start()
    while is_busy and not ended.is_set():
        sum(range(300))
    thread.join()
    db.close()
    return median(took) * 1000


def main() -> None:
    """Prints the medians over rounds in turn."""
    sys.setswitchinterval(0.001)  # as the server's
    ways: tuple[Write, ...] = (one_statement, a_table_each)
    sides = [(write, busy) for write in ways for busy in (False, True)]
    found: dict[tuple[Write, bool], list[float]] = {side: [] for side in sides}
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as directory:
        for number in range(ROUNDS):
            for write, busy in sides if number % 2 else sides[::-1]:
                found[write, busy].append(milliseconds(Path(directory), write, is_busy=busy))
    for (write, busy), values in found.items():
        beside = "beside a busy loop" if busy else "alone"
        print(f"{write.__name__:14} {beside:18} {median(values):6.2f} ms ({min(values):.2f} - {max(values):.2f})")


if __name__ == "__main__":
    main()
