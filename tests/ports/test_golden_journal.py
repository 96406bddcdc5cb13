"""What is on disk stays what it is: the journals of earlier builds open, decode, re-encode, export and go on.

A golden is never made anew (see golden/make.py). Where one of these tests is red, stored bytes have changed their
meaning; only what came later is named here, in LATER.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
from msgspec import structs
from runwright._gen.runwright.v1 import approval_pb2, grant_pb2
from runwright._gen.runwright.v1 import event_pb2 as pb
from runwright.adapters.sqlite import SqliteJournal
from runwright.adapters.sqlite.inspecting import inspection, verification
from runwright.adapters.sqlite.reading import run_rows
from runwright.adapters.sqlite.tables import SCHEMA_VERSION
from runwright.cli.export import verify
from runwright.core.apply import apply, fold
from runwright.core.audit import AuditKind
from runwright.core.callback_kinds import CallbackKind
from runwright.core.errors import MEANINGS, ErrorReason
from runwright.core.ids import Namespace, RunId, RunKey
from runwright.core.kinds import KINDS, ROWS, EventKind
from runwright.core.machine import status
from runwright.core.outcomes import ReconcileAnswer, Resolution, ResultRelease, RunPhase, RunStatus
from runwright.core.side_rows import FailedCondition, Spend
from runwright.core.state import RunState
from runwright.ports.journal import LoadedRun, StoredEvent
from runwright.testing import ManualClock
from runwright.wire.records import decode_event, encode_events
from runwright.wire.state_row import VERSION as ROW_VERSION

from tests.ports.golden import make, old_rows, played, side_rows
from tests.ports.golden.coverage import NEVER_WRITTEN, Seen, fields_of, written
from tests.ports.journal_builders import check_chain
from tests.ports.test_side_rows_contract import append
from tests.runtime.watching import stood_still

RESOLVED = pb.EffectResolved.DESCRIPTOR
REPAIR_REASONS = ("EFFECT_NOT_UNKNOWN", "EFFECT_ATTEMPT_STALE", "EFFECT_ALREADY_RESOLVED", "EFFECT_UNKNOWN")
DECIDED = ("rule", "decider", "subject_digest", "operator_digest", "shadow")
OPINION = ("verdict", "policy_ref", "rule", "code", "decider", "message")
RELEASED = pb.ToolResultReleased.DESCRIPTOR
UNRELEASED = ("ToolCompleted.awaits_release", "ToolFailed.awaits_release", "RunFailed.unknown_effects")
YOUNG = ("ToolRequested.untrusted", "ToolDenied.message", "RunStarted.principal_roles")
_PREFIXES = ("", "EVENT_KIND_")
# What came with policies beyond the two built-in ones.
POLICIES = frozenset(
    {
        *(f"POLICY_VERDICT_{name}" for name in ("ASK", "INTERRUPT")),
        *(f"PolicyDecided.{name}" for name in DECIDED),
        *(f"runwright.v1.PolicyDecided.{name}" for name in DECIDED),
        *(f"runwright.v1.PolicyOpinion.{name}" for name in OPINION),
        *(f"{owner}.tainted" for owner in ("ToolRequested", "RunCompleted", "SessionTurn")),
        *(f"runwright.v1.{owner}.tainted" for owner in ("ToolRequested", "RunCompleted", "SessionTurn")),
        *(f"{prefix}{name}" for name in YOUNG for prefix in ("", "runwright.v1.")),
        *(f"{prefix}POLICY_{name}" for name in ("DENIED", "INTERRUPT") for prefix in ("ERROR_REASON_", "STOP_REASON_")),
        *(f"RunState.{name}" for name in ("principal_roles", "tainted", "policy_failure")),
        "CallState.policy",
        # What comes of a call at POST_TOOL, and the calls that a run that fails leaves unknown.
        *("CallPolicy.outcome", "TOOL_RESULT_RELEASED", "EVENT_KIND_TOOL_RESULT_RELEASED", "ToolResultReleased"),
        *("runwright.v1.Event.tool_result_released", *(f"RESULT_RELEASE_{each.name}" for each in ResultRelease)),
        *(f"{RELEASED.full_name}.{name}" for name in RELEASED.fields_by_name),
        *(f"{prefix}{name}" for name in UNRELEASED for prefix in ("", "runwright.v1.")),
    }
)
# What came with approvals.
APPROVALS = frozenset(
    {
        *(row.kind.name for row in ROWS if row.kind.name.startswith("APPROVAL_")),
        *(row.record.__name__ for row in ROWS if row.kind.name.startswith("APPROVAL_")),
        *(
            field
            for name, event in pb.Event.DESCRIPTOR.fields_by_name.items()
            if name.startswith("approval_")
            for field in (event.full_name, *fields_of(event.message_type, {}))
        ),
        *(
            f"EVENT_KIND_APPROVAL_{name}"
            for name in (
                "REQUESTED",
                "DECIDED",
                "EXPIRED",
                "WITHDRAWN",
                "SUPERSEDED",
                "ESCALATED",
                "DELEGATED",
                "DISPATCHED",
            )
        ),
        *(value.name for enum in approval_pb2.DESCRIPTOR.enum_types_by_name.values() for value in enum.values),
        *(
            f"{prefix}{reason.name}"
            for reason in ErrorReason
            if reason.name.startswith("APPROV")
            for prefix in ("", "ERROR_REASON_")
        ),
        *(f"STOP_REASON_APPROVAL_{name}" for name in ("ABORTED", "EXPIRED", "DENIED")),
        *("AGENT_ERROR_KIND_APPROVAL_FAILURE", "APPROVAL_REFUSED", "CallState.approval"),
        *("EVENT_KIND_APPROVAL_DISPATCH_STARTED", "RunState.dispatches", "DispatchedDecision"),
        *(f"{prefix}APPROVAL_DISPATCHER" for prefix in ("", "CALLBACK_KIND_")),
        # … of a start and of an answer, which is held until then.
        *("RunState.approval", "ModelMessageCompleted.is_held", "runwright.v1.ModelMessageCompleted.is_held"),
        *(
            f"{prefix}{name}"
            for prefix in ("", "runwright.v1.")
            for name in (
                "ToolStarted.approval_id",
                "ToolStarted.approved_by",
                "ToolStarted.approval_digest",
                "PolicyDecided.approval",
                "PolicyOpinion.approval",
            )
        ),
    }
)
# What came with grants.
GRANTS = frozenset(
    {
        *(row.kind.name for row in ROWS if row.kind.name.startswith("GRANT_")),
        *(f"EVENT_KIND_{row.kind.name}" for row in ROWS if row.kind.name.startswith("GRANT_")),
        *(row.record.__name__ for row in ROWS if row.kind.name.startswith("GRANT_")),
        *(
            field
            for name, event in pb.Event.DESCRIPTOR.fields_by_name.items()
            if name.startswith("grant_")
            for field in (event.full_name, *fields_of(event.message_type, {}))
        ),
        *(field.full_name for field in grant_pb2.GrantOffer.DESCRIPTOR.fields),
        *(value.name for enum in grant_pb2.DESCRIPTOR.enum_types_by_name.values() for value in enum.values),
        *(
            f"{prefix}{reason.name}"
            for reason in ErrorReason
            if reason.name.startswith("GRANT_")
            for prefix in ("", "ERROR_REASON_")
        ),
        *("GRANT_REVOKED", "GRANT_REVOCATION_REFUSED", "ToolStarted.grant_id", "runwright.v1.ToolStarted.grant_id"),
    }
)
# What came with policies that are asked over the network.
_REMOTE = ("PolicyAsked", "PolicyAnswered", "PolicyResumed", "SubjectReplaced", "RemotePolicy", "PolicyAnswer")
_REMOTE_KINDS = ("policy_asked", "policy_answered", "policy_resumed", "subject_replaced")
REMOTE_POLICIES = frozenset(
    {
        *(f"{prefix}{kind.upper()}" for kind in _REMOTE_KINDS for prefix in _PREFIXES),
        *(f"runwright.v1.Event.{kind}" for kind in _REMOTE_KINDS),
        *(name for name in _REMOTE),
        *(
            f"runwright.v1.{name}.{field}"
            for name in _REMOTE
            for field in pb.DESCRIPTOR.message_types_by_name[name].fields_by_name
        ),
        *(
            "POLICY",
            "MODIFY",
            "POLICY_VERDICT_MODIFY",
            "DEFER",
            "POLICY_VERDICT_DEFER",
            "RunCompleted.input",
            "runwright.v1.RunCompleted.input",
        ),
        *(f"RunState.{name}" for name in ("walk", "cached_answers", "input")),
        *(f"ERROR_REASON_POLICY_{name}" for name in ("UNAVAILABLE", "TIMED_OUT", "LOST", "ANSWER_INVALID")),
    }
)
# Nobody said by which calls a run is tainted.
_TAINTED_BY = ("RunCompleted.tainted_by", "ContextAssembled.tainted_by")
TAINT = frozenset(
    {
        "RunState.taint",
        "Context.tainted_by",
        "RunCompleted.tainted_by",
        *(f"runwright.v1.{name}" for name in _TAINTED_BY),
    }
)
# No executor could be asked what became of a call.
RECONCILING = frozenset(
    {
        "CallState.reconciling",
        *(f"RECONCILE_{what}" for what in ("STARTED", "ENDED")),
        *(f"EVENT_KIND_RECONCILE_{what}" for what in ("STARTED", "ENDED")),
        *(f"RECONCILE_ANSWER_{each.name}" for each in ReconcileAnswer),
        *("ReconcileStarted", "ReconcileEnded"),
        *(f"runwright.v1.Event.reconcile_{what}" for what in ("started", "ended")),
        *(
            f"{message.DESCRIPTOR.full_name}.{name}"
            for message in (pb.ReconcileStarted, pb.ReconcileEnded)
            for name in message.DESCRIPTOR.fields_by_name
        ),
    }
)
# By golden, the oldest first: fields and values that are younger than it and not younger than the next, as
# `Struct.field`, `runwright.v1.Message.field`, `VALUE`; ` unset` behind what is there, but never without a value.
LATER: Mapping[str, frozenset[str]] = {
    # No younger than it, but none of its open runs has lost an attempt.
    "schema5": frozenset({"CallState.losses", "ModelState.losses"}),
    "schema6": frozenset(
        {
            # Stages without a gate are not walked, so no build with this golden's schema decides anything at them; and
            # a decision without a call belongs to one of them.
            "PolicyDecided.subject unset",
            *(f"PACKAGE_{what}" for what in ("PUT", "TAGGED", "REFUSED")),
            *(f"ERROR_REASON_{name}" for name in ("PACKAGE_TAG_MOVED", "PACKAGE_LIMIT", "REQUEST_ID_CONFLICT")),
            *(f"POLICY_STAGE_{name}" for name in ("RUN_START", "INPUT", "MODEL_REQUEST", "POST_TOOL", "OUTPUT")),
            # No call of unknown outcome could be resolved.
            *("EFFECT_RESOLVED", "EffectResolved", "RESOLUTION_REFUSED", "runwright.v1.Event.effect_resolved"),
            *("EVENT_KIND_EFFECT_RESOLVED", *(f"RESOLUTION_{each.name}" for each in Resolution)),
            *(f"{RESOLVED.full_name}.{name}" for name in RESOLVED.fields_by_name),
            *("STOP_REASON_EFFECT_UNKNOWN", *(f"ERROR_REASON_{name}" for name in REPAIR_REASONS), *REPAIR_REASONS),
            *POLICIES,
            *APPROVALS,
            *GRANTS,
            *REMOTE_POLICIES,
            *RECONCILING,
            *TAINT,
        }
    ),
}
# The versions of its run rows: the newest, and those before it that nobody has read since.
ROWS = {"schema5": {1}, "schema6": {1, 2}}
# How each open run stands, and how it ends; that of schema 5 has not got all of them.
STATUS = {
    "lost": RunStatus.RUNNING,
    "repair": RunStatus.REPAIR_NEEDED,
    "waits": RunStatus.WAITING,
    "silent": RunStatus.RUNNING,
    "stuck": RunStatus.RUNNING,
    "again": RunStatus.WAITING,
    "late": RunStatus.WAITING,
}
ENDS = {
    "lost": (RunStatus.COMPLETED, "At last."),
    "repair": (RunStatus.REPAIR_NEEDED, None),
    "waits": (RunStatus.COMPLETED, 'Far: "here"'),
    "silent": (RunStatus.COMPLETED, "At last."),
    "stuck": (RunStatus.COMPLETED, 'It is "unstuck"'),
    "again": (RunStatus.COMPLETED, "Again."),
    "late": (RunStatus.COMPLETED, 'Late: "after all"'),
}


def younger(name: str) -> frozenset[str]:
    """Everything that a golden cannot have."""
    names = [*LATER]
    return frozenset().union(*(LATER[each] for each in names[names.index(name) :]))


def schema_of(name: str) -> int:
    """The schema version that a golden's file says it has."""
    [line] = [line for line in golden(name, "sql").splitlines() if "'schema_version'" in line]
    return int(line.rpartition(",")[2].rstrip(");"))


def golden(name: str, kind: str) -> str:
    """A file of a golden."""
    return make.HERE.joinpath(f"{name}.{kind}").read_text()


@pytest.fixture(params=sorted(file.stem for file in make.HERE.glob("*.sql")))
def name(request: pytest.FixtureRequest) -> str:
    """Every golden that there is."""
    return str(request.param)


@pytest.fixture
def directory(tmp_path: Path, name: str) -> Path:
    """A data directory with a copy of the golden journal."""
    db = sqlite3.connect(tmp_path / "journal.db")
    db.executescript(golden(name, "sql"))
    db.close()
    return tmp_path


@pytest.fixture
async def journal(directory: Path) -> AsyncIterator[SqliteJournal]:
    """The copy, open."""
    journal = SqliteJournal.open(directory)
    yield journal
    await journal.close()


def runs(name: str) -> list[RunKey]:
    """Every run of a golden that was not removed."""
    names = (line.split()[1].partition("/") for line in golden(name, "exports.sha256").splitlines())
    return [RunKey(Namespace(namespace), RunId(run_id)) for namespace, _, run_id in names]


def open_runs(name: str) -> dict[str, RunKey]:
    """Those of them that have not ended, by id."""
    return {run_id: run for run_id, run in played.OPEN.items() if run in runs(name)}


async def stored(journal: SqliteJournal, name: str) -> dict[RunKey, list[StoredEvent]]:
    """Their events."""
    return {run: await journal.read(run, after=0, limit=10_000) for run in runs(name)}


def versions(directory: Path) -> dict[RunKey, int]:
    """Of the rows of runs that were not removed, in the closed file."""
    db = sqlite3.connect(directory / "journal.db")
    found = db.execute("SELECT namespace, run_id, snapshot FROM runs WHERE removed_at = 0 ORDER BY run_no").fetchall()
    db.close()
    return {RunKey(Namespace(namespace), RunId(run_id)): row[0] for namespace, run_id, row in found}


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


async def test_it_is_brought_up_to_date_once_and_nothing_else_in_it_is_rewritten(directory: Path, name: str) -> None:
    before, dumps = rows(directory), list[list[str]]()
    old = [run for run, version in versions(directory).items() if version < ROW_VERSION]

    for _ in range(2):
        journal = SqliteJournal.open(directory)
        for run in runs(name):
            assert await journal.load(run) is not None
            await journal.messages(run)
        await journal.close()
        dumps.append(rows(directory))

    once, twice = dumps
    run_rows = [line for line in before if line.startswith('INSERT INTO "runs"')]
    changed = [line for line in before if line not in once]
    upgrade = [line for line in changed if not line.startswith('INSERT INTO "runs"')]
    assert name == f"schema{schema_of(name)}"
    assert len(upgrade) == (schema_of(name) < SCHEMA_VERSION), "nothing but the version's number"
    assert all("'schema_version'" in line for line in upgrade)
    assert upgrade or len(once) == len(before)
    assert len(changed) - len(upgrade) == len(old)
    assert [but_snapshot(line) for line in once if line.startswith('INSERT INTO "runs"')] == [
        but_snapshot(line) for line in run_rows
    ]
    assert set(versions(directory).values()) == {ROW_VERSION}
    assert once == twice
    assert len(before) > 300


async def test_every_event_is_encoded_to_the_bytes_it_was_decoded_from(journal: SqliteJournal, name: str) -> None:
    changed = []
    for run, events in (await stored(journal, name)).items():
        state = RunState(key=run)
        for event in events:
            record = decode_event(event.data)
            state = apply(state, record)
            if encode_events(state, event.seq - 1, [record]) != [reworded(event.data)]:
                changed.append(f"{run.run_id}/{event.seq} {type(record).__name__}")
        check_chain(run, events)

    assert changed == []


async def test_every_run_folds_to_the_state_that_its_row_holds(journal: SqliteJournal, name: str) -> None:
    for run, events in (await stored(journal, name)).items():
        folded = fold(RunState(key=run), [decode_event(event.data) for event in events])
        assert await journal.load(run) == LoadedRun(folded, events[-1].position)
    for run in played.REMOVED if schema_of(name) > 5 else played.REMOVED[:1]:
        gone = await journal.load(run)
        assert gone is not None
        assert gone.state.removed_at
        assert gone.state.stop is not None
    assert set(await journal.open_runs()) == set(open_runs(name).values())


async def test_how_an_open_run_stands_is_told_from_its_row(journal: SqliteJournal, name: str) -> None:
    loaded = {run_id: await journal.load(run) for run_id, run in open_runs(name).items()}
    states = {run_id: found.state for run_id, found in loaded.items() if found is not None}

    assert {run_id: status(state) for run_id, state in states.items()} == {each: STATUS[each] for each in loaded}
    assert {state.phase for state in states.values()} == {RunPhase.RUNNING}


async def test_no_row_is_explained_by_events(
    journal: SqliteJournal, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_rows.checked_events, "page", lambda *_: pytest.fail("the events were read"))

    assert [run for run in (*runs(name), *played.REMOVED[:1]) if await journal.load(run) is None] == []


def test_its_rows_are_of_the_versions_that_there_were(directory: Path, name: str) -> None:
    found = versions(directory)

    assert set(found.values()) == ROWS[name]
    assert found[old_rows.UNREAD] == 1
    assert found[old_rows.REWRITTEN] == max(ROWS[name])


async def test_every_export_has_the_bytes_it_had_and_is_whole(
    directory: Path, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = await make.exports(directory)

    assert found[make.WHOLE] == golden(name, "export.jsonl")
    assert make.digests(found) == golden(name, "exports.sha256")
    for text in found.values():
        (tmp_path / "export.jsonl").write_text(text)
        verify(tmp_path / "export.jsonl")
    assert capsys.readouterr().out.count("whole: the chain holds") == len(found)


async def test_registrations_and_audit_are_read_as_they_were_written(journal: SqliteJournal, name: str) -> None:
    callbacks = {each.callback_id: each for each in await journal.callbacks().load()}
    page = await journal.audit(ManualClock()).page(["", played.THEIRS], before=None, limit=99)

    assert callbacks.keys() == {"desk-1", "bare"}
    registered = {each.kind for each in callbacks.values()}
    assert {kind.name for kind in CallbackKind if kind not in registered} - younger(name) == set()
    full = callbacks["desk-1"]
    assert {field.name for field in structs.fields(full) if not getattr(full, field.name)} - younger(name) == set()
    assert {kind.name for kind in AuditKind} - {entry.kind.name for entry in page.entries} - younger(name) == set()
    [entry] = [entry for entry in page.entries if entry.subjects == ("talk-1", "c1.1")]
    assert {field.name for field in structs.fields(entry) if not getattr(entry, field.name)} - younger(name) == set()


async def test_side_rows_are_read_as_they_were_written_and_spent_on(journal: SqliteJournal, name: str) -> None:
    has_them, namespace = schema_of(name) > 5, side_rows.FIRST.namespace
    run = RunKey(namespace, RunId("third"))
    indexes = {index: entries if has_them else [] for index, entries in side_rows.ENTRIES.items()}
    counters = {each: left if has_them else None for each, left in side_rows.COUNTERS.items()} | {"removed": None}

    assert {index: await journal.entries(namespace, index, limit=99) for index in indexes} == indexes
    assert {each: await journal.counter(namespace, each) for each in counters} == counters
    too_much = [await append(journal, run, Spend(each, 4)) for each in ("uses", "removed")]
    assert [type(outcome) for outcome in too_much] == [FailedCondition, FailedCondition]
    if has_them:
        await append(journal, run, Spend("uses", 3))
        assert await journal.counter(namespace, "uses") == 0


async def test_whoever_verifies_it_finds_no_fault(directory: Path) -> None:
    await SqliteJournal.open(directory).close()

    with inspection.opened(directory / "journal.db", busy_timeout_ms=0) as db:
        assert verification.verify(db).faults == ()


async def test_every_record_and_every_field_of_it_occurs_set_and_unset(journal: SqliteJournal, name: str) -> None:
    seen, kinds = Seen(), set[EventKind]()
    for events in (await stored(journal, name)).values():
        kinds |= {event.kind for event in events}
        for event in events:
            seen.look(decode_event(event.data))

    assert {kind.name for kind in EventKind if kind not in kinds} - younger(name) == set()
    assert {record.__name__ for record in KINDS if record not in seen.set} - younger(name) == set()
    assert set(seen.missing()) - younger(name) == set()


async def test_every_field_of_a_row_occurs(journal: SqliteJournal, name: str) -> None:
    seen = Seen()
    for run in runs(name):
        loaded = await journal.load(run)
        assert loaded is not None
        seen.look(loaded.state)

    never = {each for each in seen.missing() if not each.endswith(" unset")}
    assert never - {"RunState.removed_at"} - younger(name) == set(), "what is removed is left as an outline"


async def test_every_field_of_an_event_and_every_value_of_its_enums_is_on_disk(
    journal: SqliteJournal, name: str
) -> None:
    fields, values = set[str](), set[str]()
    for events in (await stored(journal, name)).values():
        for event in events:
            for field, value in written(pb.Event.FromString(event.data)):
                fields.add(field.full_name)
                if field.enum_type is not None:
                    values.add(field.enum_type.values_by_number[value].name)

    known = fields_of(pb.Event.DESCRIPTOR, {})
    enums = {field.enum_type.name: field.enum_type for field in known.values() if field.enum_type is not None}
    declared = {value.name for enum in enums.values() for value in enum.values if value.number}
    assert known.keys() - fields - younger(name) - NEVER_WRITTEN == set()
    assert declared - values - younger(name) - NEVER_WRITTEN == set()


async def test_its_open_runs_go_on_and_only_the_one_that_needs_repair_stays(journal: SqliteJournal, name: str) -> None:
    before = await stored(journal, name)
    clock = ManualClock(played.LATER)
    bench = played.bench(journal, clock, away=False)
    runtime = bench.runtime()

    taken_up = await runtime.recover()
    ended = {run_id: await stood_still(runtime, run_id) for run_id in open_runs(name)}
    after = await stored(journal, name)
    await runtime.drain(0)
    await runtime.close()

    assert taken_up == len(ended)
    assert {run_id: (run.status, run.text) for run_id, run in ended.items()} == {each: ENDS[each] for each in ended}
    for run, events in before.items():
        assert after[run][: len(events)] == events
        check_chain(run, after[run])
