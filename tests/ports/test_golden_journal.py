"""What is on disk stays what it is: the journal of an earlier build opens, decodes, re-encodes, exports and goes on.

The golden is never made anew (see golden/make.py). Where one of these tests is red, stored bytes have changed their
meaning; only what came later is named here, in LATER.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from msgspec import Struct, structs
from runwright._gen.runwright.v1 import event_pb2 as pb
from runwright.adapters.sqlite import SqliteJournal
from runwright.cli.export import verify
from runwright.core.apply import apply, fold
from runwright.core.audit import AuditKind
from runwright.core.errors import MEANINGS, ErrorReason
from runwright.core.ids import Namespace, RunId, RunKey
from runwright.core.kinds import KINDS, EventKind
from runwright.core.outcomes import RunStatus
from runwright.core.state import RunState
from runwright.ports.journal import LoadedRun, StoredEvent
from runwright.testing import ManualClock
from runwright.wire.records import decode_event, encode_events

from tests.ports.golden import make, played
from tests.ports.journal_builders import check_chain
from tests.runtime.watching import stood_still

NAME = "schema5"
# Fields and values that are younger than the golden: `Record.field`, `runwright.v1.Message.field`, `VALUE`.
LATER: frozenset[str] = frozenset(
    {
        "PolicyDecided.subject unset",
        *(f"PACKAGE_{what}" for what in ("PUT", "TAGGED", "REFUSED")),
        *(f"ERROR_REASON_{name}" for name in ("PACKAGE_TAG_MOVED", "PACKAGE_LIMIT", "REQUEST_ID_CONFLICT")),
        *(f"POLICY_STAGE_{name}" for name in ("RUN_START", "INPUT", "MODEL_REQUEST", "POST_TOOL", "OUTPUT")),
    }
)
# What no build has written so far: waits are whole seconds, deltas are never stored, and a cancelled run has no reason
# to stop in its event.
NEVER_WRITTEN = frozenset(
    {
        "runwright.v1.Event.ignorable",
        "runwright.v1.Event.model_stream_delta",
        "EVENT_KIND_MODEL_STREAM_DELTA",
        "google.protobuf.Duration.nanos",
        "STOP_REASON_CANCELLED",
    }
)
VERSION = """INSERT INTO "meta" VALUES('schema_version',5);"""
UNSET = (None, "", 0, False, (), {})


def golden(kind: str) -> str:
    """A file of the golden."""
    return make.HERE.joinpath(f"{NAME}.{kind}").read_text()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A data directory with a copy of the golden journal."""
    db = sqlite3.connect(tmp_path / "journal.db")
    db.executescript(golden("sql"))
    db.close()
    return tmp_path


@pytest.fixture
async def journal(directory: Path) -> AsyncIterator[SqliteJournal]:
    """The copy, open."""
    journal = SqliteJournal.open(directory)
    yield journal
    await journal.close()


def runs() -> list[RunKey]:
    """Every run that was not removed."""
    names = (line.split()[1].partition("/") for line in golden("exports.sha256").splitlines())
    return [RunKey(Namespace(namespace), RunId(run_id)) for namespace, _, run_id in names]


async def stored(journal: SqliteJournal) -> dict[RunKey, list[StoredEvent]]:
    """Their events."""
    return {run: await journal.read(run, after=0, limit=10_000) for run in runs()}


def rows(directory: Path) -> list[str]:
    """The closed file, without what every opening writes."""
    return [line for line in make.dump(directory).splitlines() if not line.startswith('INSERT INTO "epochs"')]


def but_snapshot(line: str) -> list[str]:
    """The values of a line of `runs` but for the row's own bytes, which are the longest."""
    values = line.split(",")
    return [value for value in values if value != max(values, key=len)]


def reworded(data: bytes) -> bytes:
    """The event with the remedy of today: it is written with an error, but is the reason's, whose words may improve.

    An event without an error is not touched.
    """
    event = pb.Event.FromString(data)
    body = getattr(event, event.WhichOneof("body") or "")
    if "error" not in body.DESCRIPTOR.fields_by_name:
        return data
    body.error.remedy = MEANINGS[ErrorReason(body.error.reason)].remedy
    return event.SerializeToString(deterministic=True)


async def test_it_is_brought_up_to_date_once_and_nothing_else_in_it_is_rewritten(directory: Path) -> None:
    before, dumps = rows(directory), list[list[str]]()

    for _ in range(2):
        journal = SqliteJournal.open(directory)
        for run in runs():
            assert await journal.load(run) is not None
            await journal.messages(run)
        await journal.close()
        dumps.append(rows(directory))

    once, twice = dumps
    run_rows = [line for line in before if line.startswith('INSERT INTO "runs"')]
    changed = [line for line in before if line not in once]
    assert changed[0] == VERSION
    assert len(changed[1:]) == len(runs()) == len(run_rows) - 1, "not what is left of the removed one"
    assert [but_snapshot(line) for line in once if line.startswith('INSERT INTO "runs"')] == [
        but_snapshot(line) for line in run_rows
    ]
    assert once == twice
    assert len(before) > 300


async def test_every_event_is_encoded_to_the_bytes_it_was_decoded_from(journal: SqliteJournal) -> None:
    changed = []
    for run, events in (await stored(journal)).items():
        state = RunState(key=run)
        for event in events:
            record = decode_event(event.data)
            state = apply(state, record)
            if encode_events(state, event.seq - 1, [record]) != [reworded(event.data)]:
                changed.append(f"{run.run_id}/{event.seq} {type(record).__name__}")
        check_chain(run, events)

    assert changed == []


async def test_every_run_folds_to_the_state_that_its_row_holds(journal: SqliteJournal) -> None:
    for run, events in (await stored(journal)).items():
        folded = fold(RunState(key=run), [decode_event(event.data) for event in events])
        assert await journal.load(run) == LoadedRun(folded, events[-1].position)
    gone = await journal.load(RunKey(played.OPEN["waits"].namespace, RunId("removed")))
    assert gone is not None
    assert gone.state.removed_at
    assert set(await journal.open_runs()) == set(played.OPEN.values())


async def test_every_export_has_the_bytes_it_had_and_is_whole(
    directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = await make.exports(directory)

    assert found[make.WHOLE] == golden("export.jsonl")
    assert make.digests(found) == golden("exports.sha256")
    for text in found.values():
        (tmp_path / "export.jsonl").write_text(text)
        verify(tmp_path / "export.jsonl")
    assert capsys.readouterr().out.count("whole: the chain holds") == len(found)


async def test_registrations_and_audit_are_read_as_they_were_written(journal: SqliteJournal) -> None:
    callbacks = {each.callback_id: each for each in await journal.callbacks().load()}
    page = await journal.audit(ManualClock()).page(["", played.THEIRS], before=None, limit=99)

    assert callbacks.keys() == {"desk-1", "bare"}
    full = callbacks["desk-1"]
    assert {field.name for field in structs.fields(full) if not getattr(full, field.name)} - LATER == set()
    assert {kind.name for kind in AuditKind} - {entry.kind.name for entry in page.entries} - LATER == set()
    [entry] = [entry for entry in page.entries if entry.subjects == ("talk-1", "c1.1")]
    assert {field.name for field in structs.fields(entry) if not getattr(entry, field.name)} - LATER == set()


class Seen:
    """Which fields of structs were seen set, which unset."""

    def __init__(self) -> None:
        self.set: dict[type[Struct], set[str]] = defaultdict(set)
        self.unset: dict[type[Struct], set[str]] = defaultdict(set)

    def look(self, value: object) -> None:
        """Takes in a value and what is in it."""
        if isinstance(value, tuple):
            for each in value:
                self.look(each)
        elif isinstance(value, Struct):
            for field in structs.fields(value):
                inner = getattr(value, field.name)
                is_unset = any(inner is none or (inner == none and type(inner) is type(none)) for none in UNSET)
                (self.unset if is_unset else self.set)[type(value)].add(field.name)
                self.look(inner)

    def missing(self) -> Iterator[str]:
        """Every field that was never set, and every one that may be unset and never was."""
        for kind in [*self.set]:
            for field in structs.fields(kind):
                if field.name not in self.set[kind]:
                    yield f"{kind.__name__}.{field.name}"
                may_be_unset = not field.required or type(None) in get_args(field.type)
                # A nested value has fields of its own that may be unset.
                if may_be_unset and not _is_nested(field.type) and field.name not in self.unset[kind]:
                    yield f"{kind.__name__}.{field.name} unset"


def _is_nested(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Struct)


async def test_every_record_and_every_field_of_it_occurs_set_and_unset(journal: SqliteJournal) -> None:
    seen, kinds = Seen(), set[EventKind]()
    for events in (await stored(journal)).values():
        kinds |= {event.kind for event in events}
        for event in events:
            seen.look(decode_event(event.data))

    assert {kind.name for kind in EventKind if kind not in kinds} - LATER == set()
    assert {record.__name__ for record in KINDS if record not in seen.set} - LATER == set()
    assert set(seen.missing()) - LATER == set()


def fields_of(message: Descriptor, known: dict[str, FieldDescriptor]) -> Mapping[str, FieldDescriptor]:
    """Every field of the message and of the messages in it, by its full name."""
    for field in message.fields:
        if field.full_name not in known and field.full_name not in NEVER_WRITTEN:
            known[field.full_name] = field
            if field.message_type is not None:
                fields_of(field.message_type, known)
    return known


def written(message: Message) -> Iterator[tuple[FieldDescriptor, Any]]:
    """What is set in the message and in those in it, each with its value."""
    for field, value in message.ListFields():
        yield field, value
        if field.message_type is None:
            continue
        if field.message_type.GetOptions().map_entry:
            yield from ((inner, None) for inner in field.message_type.fields)
            continue
        for inner in value if field.is_repeated else (value,):
            yield from written(inner)


async def test_every_field_of_an_event_and_every_value_of_its_enums_is_on_disk(journal: SqliteJournal) -> None:
    fields, values = set[str](), set[str]()
    for events in (await stored(journal)).values():
        for event in events:
            for field, value in written(pb.Event.FromString(event.data)):
                fields.add(field.full_name)
                if field.enum_type is not None:
                    values.add(field.enum_type.values_by_number[value].name)

    known = fields_of(pb.Event.DESCRIPTOR, {})
    enums = {field.enum_type.name: field.enum_type for field in known.values() if field.enum_type is not None}
    declared = {value.name for enum in enums.values() for value in enum.values if value.number}
    assert known.keys() - fields - LATER - NEVER_WRITTEN == set()
    assert declared - values - LATER - NEVER_WRITTEN == set()


async def test_its_open_runs_go_on_and_only_the_one_that_needs_repair_stays(journal: SqliteJournal) -> None:
    before = await stored(journal)
    clock = ManualClock(played.LATER)
    bench = played.bench(journal, clock, away=False)
    runtime = bench.runtime()

    taken_up = await runtime.recover()
    ended = {name: await stood_still(runtime, name) for name in played.OPEN}
    after = await stored(journal)
    await runtime.drain(0)
    await runtime.close()

    assert taken_up == len(played.OPEN)
    assert {name: (run.status, run.text) for name, run in ended.items()} == {
        "repair": (RunStatus.REPAIR_NEEDED, None),
        "waits": (RunStatus.COMPLETED, 'Far: "here"'),
        "silent": (RunStatus.COMPLETED, "At last."),
        "stuck": (RunStatus.COMPLETED, 'It is "unstuck"'),
        "again": (RunStatus.COMPLETED, "Again."),
    }
    for run, events in before.items():
        assert after[run][: len(events)] == events
        check_chain(run, after[run])
