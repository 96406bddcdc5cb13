"""Batch: one append on its way to disk; and what a group of them is as rows."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from msgspec import Struct
from msgspec.json import encode as encode_labels

from runwright.adapters import journal_rules as rules
from runwright.adapters.side_row_rules import SideRowState
from runwright.adapters.sqlite import side_rows
from runwright.adapters.sqlite.failures import of_run
from runwright.adapters.sqlite.opening.appended import Row, What
from runwright.adapters.sqlite.writing.run_heads import RunHead
from runwright.core.content import Content
from runwright.core.errors import AgentError
from runwright.core.ids import RunKey
from runwright.core.side_rows import SideRow
from runwright.ports.journal import Appended, AppendOutcome, StoredEvent
from runwright.wire.checked_row import RowEnd, SnapshotRow

Outcome: TypeAlias = AppendOutcome | AgentError
Digest: TypeAlias = tuple[str, str]  # of a content, behind its namespace


class Batch(Struct, frozen=True, eq=False):
    """What one caller handed over, encoded, and the future that tells it the outcome."""

    run: RunKey
    events: rules.Encoded
    after: int
    contents: tuple[Content, ...]
    snapshot: SnapshotRow
    answer: asyncio.Future[AppendOutcome]
    side_rows: tuple[SideRow, ...] = ()


class Group(Struct, frozen=True):
    """A group as rows, where its runs stand once these are written, and what became of each batch."""

    rows: list[Row]
    moved: dict[RunKey, RunHead]
    outcomes: list[Outcome]


class _Moved(Struct):
    """A run that the group moves: where it stood, where it stands, and the batch that said so last."""

    before: RunHead
    after: RunHead
    position: int
    latest: Batch
    ends: bool


def as_rows(
    group: Sequence[Batch],
    position: int,
    last_run: int,
    run_heads: Mapping[RunKey, RunHead | AgentError],
    beside: SideRowState[int],
) -> Group:
    """What there is to write behind `position`, with its runs where they stand and `last_run` the last one's number.

    A batch whose caller did not know the run's last event is a JOURNAL_CONFLICT,
    one with a condition that does not hold its answer, one of a run that nothing
    can follow the error that says so; all of these leave nothing.
    """
    moved: dict[RunKey, _Moved] = {}
    outcomes: list[Outcome] = []
    events: list[Row] = []
    written: list[Batch] = []
    for batch in group:
        run = moved.get(batch.run)
        head = run.after if run else run_heads[batch.run]
        if isinstance(head, AgentError):
            outcomes.append(head)
            continue
        run_no = head.run_no or last_run + 1
        refused = _refused(batch, head, run_no, beside)
        if refused is not None:
            outcomes.append(refused)
            continue
        stored = rules.link(batch.events, after=head.seq, position=position, previous_hash=head.hash)
        last = stored[-1]
        position = last.position
        last_run = max(last_run, run_no)
        after = RunHead(run_no, last.seq, last.hash)
        before = run.before if run else head
        moved[batch.run] = _Moved(before, after, position, batch, not rules.ends_open(stored))
        events += [_event_row(after.run_no, event) for event in stored]
        outcomes.append(Appended(stored))
        written.append(batch)
    rows = [row for key, run in moved.items() for row in _run_rows(key, run)]
    rows += events + _content_rows(written) + side_rows.rows_of(beside.changes)
    return Group(rows, {key: run.after for key, run in moved.items()}, outcomes)


def _refused(batch: Batch, head: RunHead, run_no: int, beside: SideRowState[int]) -> Outcome | None:
    """Why nothing of the batch is written; None, and its side rows are taken, when all of it is."""
    if head.seq != batch.after:
        return rules.conflict(batch.run)
    if not batch.side_rows:
        return None
    try:
        return beside.take(batch.run.namespace, run_no, batch.side_rows)
    except AgentError as error:  # a row that one of its conditions is about is not as it was written
        return of_run(batch.run.run_id, error)


def _run_rows(key: RunKey, run: _Moved) -> list[Row]:
    """However often it moved. What a run is found by stands from its first row on."""
    own, after = run.latest.events, run.after
    snapshot = run.latest.snapshot.checked(RowEnd(run.position, after.hash, not run.ends))
    head = (after.run_no, after.seq, after.hash, run.position, snapshot, own.status.value)
    if not run.before.run_no:
        labels = encode_labels(own.labels, order="sorted").decode()
        return [(What.NEW_RUN, *head, not run.ends, key.namespace, key.run_id, own.session_id, own.agent_id, labels)]
    moved: Row = (What.MOVED_RUN, *head, run.before.seq)
    return [moved, (What.ENDED_RUN, after.run_no)] if run.ends else [moved]


def _event_row(run_no: int, event: StoredEvent) -> Row:
    what = (event.position, run_no, event.seq, event.kind.value, event.data, event.previous_hash, event.hash)
    return (What.EVENT, *what, event.run.namespace, event.session_id, event.agent_id)


def _content_rows(batches: Sequence[Batch]) -> list[Row]:
    """One row a content that came along, and one a content that is only referred to once more."""
    offered: dict[Digest, Content] = {
        (batch.run.namespace, c.ref.digest): c for batch in batches for c in batch.contents
    }
    uses: dict[Digest, int] = dict.fromkeys(offered, 0)
    for batch in batches:
        for digest, count in batch.events.uses.items():
            place = (batch.run.namespace, digest)
            uses[place] = uses.get(place, 0) + count
    return [_content_row(place, count, offered.get(place)) for place, count in uses.items()]


def _content_row(place: Digest, uses: int, content: Content | None) -> Row:
    if content is None:
        return (What.USE, *place, uses)
    return (What.CONTENT, *place, uses, content.ref.media_type, content.ref.size, content.data)
