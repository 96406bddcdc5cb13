"""The journal's tables and indexes, and the one way to ask them."""

from __future__ import annotations

from typing import Any

import apsw

from runwright.core.kinds import TERMINAL

SCHEMA_VERSION = 7

# Queries repeat these very words: only then does SQLite use the partial index.
ENDS_RUN = f"kind IN ({', '.join(str(number) for number in sorted(kind.value for kind in TERMINAL))})"
IN_SESSION = "session_id <> ''"
IS_OPEN = "open = 1"
NOT_REMOVED = "removed_at = 0"

# What SQLite calls the index of the first UNIQUE of a table: it finds a run's events by their number, in their order.
EVENTS_OF_RUN = "sqlite_autoindex_events_1"
# Each index of `events` is another page that most appends must write, so there is none for what another one answers.
# An index ends in the rowid, which is the position: one on a namespace serves "of this namespace, above this position".
# The same holds for runs: the rowid is run_no, which counts runs in the order in which they began.
TABLES = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value ANY NOT NULL) STRICT",
    """CREATE TABLE runs (
        run_no INTEGER PRIMARY KEY, namespace TEXT NOT NULL, run_id TEXT NOT NULL, seq INTEGER NOT NULL,
        hash BLOB NOT NULL, last_position INTEGER NOT NULL, open INTEGER NOT NULL, snapshot BLOB NOT NULL,
        session_id TEXT NOT NULL DEFAULT '', agent_id TEXT NOT NULL DEFAULT '', status INTEGER NOT NULL DEFAULT 0,
        labels TEXT NOT NULL DEFAULT '{}', removed_at INTEGER NOT NULL DEFAULT 0, UNIQUE (namespace, run_id)) STRICT""",
    "CREATE INDEX runs_open ON runs (run_no) WHERE open = 1",
    """CREATE TABLE events (
        position INTEGER PRIMARY KEY, run_no INTEGER NOT NULL, seq INTEGER NOT NULL, kind INTEGER NOT NULL,
        data BLOB NOT NULL, previous_hash BLOB NOT NULL, hash BLOB NOT NULL,
        namespace TEXT NOT NULL DEFAULT '', session_id TEXT NOT NULL DEFAULT '', agent_id TEXT NOT NULL DEFAULT '',
        UNIQUE (run_no, seq)) STRICT""",
    """CREATE TABLE contents (
        namespace TEXT NOT NULL, digest TEXT NOT NULL, media_type TEXT NOT NULL, size INTEGER NOT NULL,
        data BLOB NOT NULL, UNIQUE (namespace, digest)) STRICT""",
)
# Of version 2: what streams of many runs are read by.
SELECTING = (
    "CREATE INDEX events_of_namespace ON events (namespace)",
    f"CREATE INDEX events_of_session ON events (namespace, session_id) WHERE {IN_SESSION}",
    "CREATE INDEX events_of_agent ON events (namespace, agent_id)",
    f"CREATE INDEX events_ending_runs ON events (namespace) WHERE {ENDS_RUN}",
)
# Of version 3: what a new run finds its session by.
SESSIONS = (
    f"CREATE INDEX runs_of_session ON runs (namespace, session_id) WHERE {IN_SESSION}",
    f"CREATE INDEX runs_open_in_session ON runs (namespace, session_id, agent_id) WHERE {IS_OPEN} AND {IN_SESSION}",
)
# Of version 3: what hosts have registered. `ca_pem` is NULL without TLS; times are microseconds.
CALLBACKS = (
    """CREATE TABLE callbacks (
        namespace TEXT NOT NULL, callback_id TEXT NOT NULL, owner TEXT NOT NULL, executor TEXT NOT NULL,
        address TEXT NOT NULL, tools TEXT NOT NULL, ca_pem BLOB, server_name TEXT NOT NULL,
        credential TEXT NOT NULL, lease INTEGER NOT NULL, expires_at INTEGER NOT NULL,
        PRIMARY KEY (namespace, callback_id)) STRICT, WITHOUT ROWID""",
)

# Of version 3: what removed runs leave behind. `runs.removed_at` is set, the row stays as a tombstone; `content_uses`
# counts the references that stored events make, so that content goes with the last event that refers to it. Most
# contents are referred to once, by the event they came with: these have no row, which saves each append a page.
REMOVING = (
    """CREATE TABLE content_uses (
        namespace TEXT NOT NULL, digest TEXT NOT NULL, uses INTEGER NOT NULL,
        PRIMARY KEY (namespace, digest)) STRICT, WITHOUT ROWID""",
    f"CREATE INDEX runs_of_namespace ON runs (namespace) WHERE {NOT_REMOVED}",
    f"CREATE INDEX runs_ended ON runs (last_position) WHERE open = 0 AND {NOT_REMOVED}",
    "CREATE INDEX removed_of_namespace ON runs (namespace, last_position) WHERE removed_at > 0",
    "CREATE INDEX removed_of_session ON runs (namespace, session_id, last_position) WHERE removed_at > 0",
    "CREATE INDEX removed_of_agent ON runs (namespace, agent_id, last_position) WHERE removed_at > 0",
)
# Of version 3, too: what happened outside of every run.
AUDIT = (
    """CREATE TABLE audit (
        number INTEGER PRIMARY KEY, namespace TEXT NOT NULL, data BLOB NOT NULL,
        previous_hash BLOB NOT NULL, hash BLOB NOT NULL) STRICT""",
    "CREATE INDEX audit_of_namespace ON audit (namespace)",
)
# Of version 5: the open runs that the present start has in hand, and what speaks against them (core/quarantine.py);
# and the runs that an operator removed whose events are not all deleted yet.
HOLDING = (
    """CREATE TABLE recovering (
        run_no INTEGER PRIMARY KEY, stage INTEGER NOT NULL, tries INTEGER NOT NULL, trials INTEGER NOT NULL,
        told INTEGER NOT NULL, alone INTEGER NOT NULL, quarantined_at INTEGER NOT NULL) STRICT""",
    "CREATE TABLE removals (run_no INTEGER PRIMARY KEY) STRICT",
)
# Of version 5: the key that each registration was made with; empty: none, or one that an older server did not keep.
# And SHA-256 over the other columns, so that no address or credential is used but the one that was registered.
CALLBACK_CHECKS = ("ALTER TABLE callbacks ADD COLUMN row_check BLOB NOT NULL DEFAULT x''",)
CALLBACK_KEYS = ("ALTER TABLE callbacks ADD COLUMN owner_key TEXT NOT NULL DEFAULT ''",)
# Of version 5: which process gave the positions above `after`; see core/epochs.py.
EPOCHS = ("CREATE TABLE epochs (after INTEGER PRIMARY KEY, mark BLOB NOT NULL) STRICT",)
# Of version 5: how many calls a registration gets at once; 0 is the default.
CALLS_IN_FLIGHT = ("ALTER TABLE callbacks ADD COLUMN max_calls_in_flight INTEGER NOT NULL DEFAULT 0",)
# Of version 6: what appends write beside their events (core/side_rows.py), each with SHA-256 over its other columns.
SIDE_ROWS = (
    """CREATE TABLE entries (
        namespace TEXT NOT NULL, index_name TEXT NOT NULL, key TEXT NOT NULL, run_no INTEGER NOT NULL,
        value BLOB NOT NULL, expires_at INTEGER NOT NULL, row_check BLOB NOT NULL,
        PRIMARY KEY (namespace, index_name, key)) STRICT, WITHOUT ROWID""",
    "CREATE INDEX entries_of_run ON entries (run_no)",
    """CREATE TABLE counters (
        namespace TEXT NOT NULL, counter TEXT NOT NULL, run_no INTEGER NOT NULL, remaining INTEGER NOT NULL,
        row_check BLOB NOT NULL, PRIMARY KEY (namespace, counter)) STRICT, WITHOUT ROWID""",
    "CREATE INDEX counters_of_run ON counters (run_no)",
)
# Of version 7: packages that were put, and the changes that say what ids and tags mean; the newest of each counts.
PACKAGES = (
    """CREATE TABLE packages (
        number INTEGER PRIMARY KEY, namespace TEXT NOT NULL, fingerprint TEXT NOT NULL, package_id TEXT NOT NULL,
        agent_id TEXT NOT NULL, put_by TEXT NOT NULL, put_at INTEGER NOT NULL, canonical BLOB NOT NULL,
        row_check BLOB NOT NULL, UNIQUE (namespace, fingerprint)) STRICT""",
    "CREATE INDEX packages_of_namespace ON packages (namespace)",
    "CREATE INDEX packages_of_id ON packages (namespace, package_id)",
    """CREATE TABLE package_changes (
        number INTEGER PRIMARY KEY, namespace TEXT NOT NULL, package_id TEXT NOT NULL, fingerprint TEXT NOT NULL,
        tag TEXT NOT NULL, previous TEXT NOT NULL, is_put INTEGER NOT NULL, created INTEGER NOT NULL,
        request_id TEXT NOT NULL, principal TEXT NOT NULL, at INTEGER NOT NULL, row_check BLOB NOT NULL) STRICT""",
    "CREATE INDEX changes_of_tag ON package_changes (namespace, tag) WHERE tag <> ''",
    "CREATE INDEX changes_of_id ON package_changes (namespace, package_id) WHERE is_put = 1",
    "CREATE UNIQUE INDEX changes_of_request ON package_changes (namespace, request_id) WHERE request_id <> ''",
)
# Until version 3 events had two more indexes of their runs.
GONE = ("DROP INDEX events_of_run", "DROP INDEX events_with_messages")


def fetch(db: apsw.Connection, query: str, *values: str | bytes | int) -> list[Any]:
    """All rows at once: a cursor left half-read would hold its snapshot and keep the `-wal` file growing."""
    return db.execute(query, values).fetchall()
