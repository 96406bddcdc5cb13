"""A run with an edit, a delegation, an expiry and a grant, over a kill -9 at each of its records.

Checked is what is left of it: its export, and the files of those who were notified and who performed the calls.
"""

from __future__ import annotations

import sys
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from runwright._gen.runwright.callback.v1 import approval_dispatcher_service_pb2 as dispatcher_pb
from runwright._gen.runwright.v1 import approval_pb2, event_pb2, grant_pb2, run_pb2
from runwright._gen.runwright.v1 import approval_service_pb2 as pb
from runwright._gen.runwright.v1 import runtime_service_pb2 as runtime_pb
from runwright._gen.runwright.v1.approval_service_pb2_grpc import ApprovalServiceStub
from runwright.cli.output import json_line

from tests.cli.test_verify import ours
from tests.e2e.approval_life import (
    DELEGATED,
    EDITED,
    EXPIRED,
    GRANTED,
    PERFORMED,
    USES,
    People,
    life,
    live,
    register,
)
from tests.e2e.client import SECONDS
from tests.e2e.conftest import SOAK, MakeServer
from tests.e2e.executor import EXECUTOR, Executor, StartCaller
from tests.e2e.ledger_dispatcher import DispatcherProcess
from tests.e2e.server_process import ROOT, Server
from tests.e2e.test_approval_edit_kills import Killed, numbered
from tests.e2e.test_keys_and_tls import ended, runwright
from tests.transport.known import add_key, bearer

Moment = Callable[[event_pb2.Event], bool]
Kind = event_pb2.EventKind
ASKED = {EDITED, DELEGATED, EXPIRED, GRANTED}
ACKNOWLEDGED = approval_pb2.APPROVAL_DISPATCH_RESULT_ACKNOWLEDGED
LAST_STATE = {
    EDITED: approval_pb2.APPROVAL_STATE_APPROVED,
    DELEGATED: approval_pb2.APPROVAL_STATE_APPROVED,
    EXPIRED: approval_pb2.APPROVAL_STATE_EXPIRED,
    GRANTED: approval_pb2.APPROVAL_STATE_APPROVED,
}
# Without SOAK: the records that each of the four brings. With it: all of them, by number.
SAMPLE = ("DISPATCH_STARTED", "DELEGATED", "DECIDED", "EXPIRED", "ISSUED", "USED")


def of_kind(name: str) -> Moment:
    """True of a record whose kind ends so."""
    return lambda event: Kind.Name(event.kind).endswith(name)


@pytest.fixture
async def dispatcher(tmp_path: Path) -> AsyncIterator[DispatcherProcess]:
    """A dispatcher that outlives every kill."""
    dispatcher = DispatcherProcess(tmp_path)
    await dispatcher.start()
    yield dispatcher
    await dispatcher.end()


@pytest.mark.timeout(1800 if SOAK else 120)
async def test_a_kill_at_every_record_asks_nobody_twice_and_does_nothing_twice(
    make_server: MakeServer, executor: Executor, dispatcher: DispatcherProcess, tmp_path: Path
) -> None:
    keys = tmp_path / "keys.json"
    key = {role: add_key(keys, role, name=role) for role in ("caller", "observer", "dispatcher")}
    ann, dan = (bearer(add_key(keys, "approver", name=name)) for name in ("ann", "dan"))
    people = People(bearer(key["caller"]), ann, dan, bearer(key["dispatcher"]))
    server = make_server(life(), options=("--keys", str(keys)))
    await server.start()
    await register(server.call, people, dispatcher.address)
    killed, began = Killed(server, bearer(key["observer"])), time.monotonic()

    undisturbed = await live(killed, people, "run-0")
    count = undisturbed.last_seq
    moments = [numbered(seq) for seq in range(1, count + 1)] if SOAK else [of_kind(name) for name in SAMPLE]
    runs = {"run-0": undisturbed}
    for number, moment in enumerate(moments, start=1):
        killing = killed.at(f"run-{number}", moment)
        runs[f"run-{number}"] = await live(killed, people, f"run-{number}")
        await killing
    took = time.monotonic() - began

    grants = await listed_grants(server, bearer(key["observer"]))
    for run_id, run in runs.items():
        assert run.status == run_pb2.RUN_STATUS_COMPLETED, (run_id, run)
        events = await exported(server, run_id, tmp_path, key["observer"])
        try:
            check_approvals(events)
            check_deadlines(events, dispatcher.notifications(run_id))
            check_notifications(events, dispatcher.notifications(run_id))
            check_effects(events, executor.calls_of(run_id))
            check_grant(events, grants[run_id])
        except AssertionError as error:
            error.add_note(f"in {run_id}: {[Kind.Name(event.kind) for event in events]}")
            raise
    assert server.life == len(moments) + 1
    await check_doctor(server, keys)
    print(f"{len(moments)} kills of a run of {count} records in {took:.0f} s")


def check_approvals(events: list[event_pb2.Event]) -> None:
    """Everybody was asked once, and everything was decided once."""
    kinds = Counter(Kind.Name(event.kind).removeprefix("EVENT_KIND_") for event in events)
    asked = Counter(event.approval_requested.approval_id for event in events if event.HasField("approval_requested"))
    decided = Counter(event.approval_decided.approval_id for event in events if event.HasField("approval_decided"))
    assert asked == Counter(ASKED)
    assert decided == Counter(ASKED - {EXPIRED})
    once = ("APPROVAL_DELEGATED", "SUBJECT_REPLACED", "APPROVAL_EXPIRED", "GRANT_ISSUED", "RUN_COMPLETED")
    assert [kinds[kind] for kind in once] == [1] * len(once)
    assert not kinds.keys() & {"APPROVAL_WITHDRAWN", "APPROVAL_SUPERSEDED", "GRANT_SUPERSEDED"}
    [expired] = [event for event in events if event.HasField("approval_expired")]
    assert expired.approval_expired.approval_id == EXPIRED


def check_deadlines(events: list[event_pb2.Event], notifications: list[dispatcher_pb.ApprovalNotification]) -> None:
    """Until when each may be decided is what it was when it was asked, byte for byte, whoever was told when."""
    on_record = {
        event.approval_requested.approval_id: deadlines(event.approval_requested)
        for event in events
        if event.HasField("approval_requested")
    }
    for each in notifications:
        assert deadlines(each.approval) == on_record[short(each)], each
    [over] = [event for event in events if event.HasField("approval_expired")]
    [asked] = [
        event.approval_requested
        for event in events
        if event.HasField("approval_requested") and event.approval_requested.approval_id == EXPIRED
    ]
    assert over.time.ToMicroseconds() >= asked.expires_at.ToMicroseconds()


def deadlines(asked: event_pb2.ApprovalRequested | approval_pb2.Approval) -> tuple[bytes, ...]:
    """Until when an approval may be decided, and until when it is each set's turn."""
    return tuple(each.SerializeToString() for each in (asked.expires_at, *(one.until for one in asked.sets)))


def check_notifications(events: list[event_pb2.Event], notifications: list[dispatcher_pb.ApprovalNotification]) -> None:
    """What was acknowledged was never told again, and what was told again had its key."""
    acknowledged = {}
    for event in events:
        if event.HasField("approval_dispatched") and event.approval_dispatched.result == ACKNOWLEDGED:
            which = (event.approval_dispatched.approval_id, event.approval_dispatched.revision)
            assert which not in acknowledged, which
            acknowledged[which] = event.attempt
    keys = defaultdict(set)
    times: Counter[tuple[str, int]] = Counter()
    for each in notifications:
        which = (short(each), each.revision)
        keys[each.idempotency_key].add(which)
        times[which] += 1
        assert each.attempt <= acknowledged.get(which, each.attempt), f"told after it was acknowledged: {each}"
    assert len(keys) == len(times), "one key for each thing that was told"
    assert all(len(told) == 1 for told in keys.values())
    assert max(times.values()) <= 2, "the kill can have cut off one attempt"
    assert {short(each) for each in notifications} == ASKED
    assert {short(each): each.approval.state for each in notifications} == LAST_STATE, "it was told of the end"


def short(notification: dispatcher_pb.ApprovalNotification) -> str:
    """The approval's id inside the run."""
    return notification.approval.approval_id.partition("/")[2]


def check_effects(events: list[event_pb2.Event], calls: list[StartCaller]) -> None:
    """What was approved ran, with one key, and has one result; what expired did not run."""
    keys = {call_id: {call.key for call in calls if call.call_id == call_id} for call_id in PERFORMED}
    assert {len(each) for each in keys.values()} == {1}, keys
    assert {(call.call_id, call.arguments) for call in calls} == set(PERFORMED.items())
    results = Counter(event.effect_id for event in events if event.HasField("tool_completed"))
    assert results == Counter(PERFORMED.keys())


def check_grant(events: list[event_pb2.Event], status: grant_pb2.GrantStatus) -> None:
    """Two of its uses are spent, one for each call that it answered for."""
    used = [event for event in events if event.HasField("grant_used")]
    assert [event.effect_id for event in used] == ["c2.1", "c2.2"]
    assert {event.grant_used.grant.grant_id for event in used} == {status.grant.grant_id}
    assert status.uses_left == USES - len(used)


async def listed_grants(server: Server, observer: tuple[tuple[str, str], ...]) -> dict[str, grant_pb2.GrantStatus]:
    """The grants of all runs."""
    found, request = {}, pb.ListGrantsRequest()
    while True:
        page = await ApprovalServiceStub(server.call.channel).ListGrants(request, timeout=SECONDS, metadata=observer)
        found |= {status.grant.run_id: status for status in page.grants}
        if not page.next_page_token:
            return found
        request.page_token = page.next_page_token


async def exported(server: Server, run_id: str, folder: Path, key: str) -> list[event_pb2.Event]:
    """The events of a run as its export has them; three programs have found it whole, and its effects allowed."""
    file, request = folder / f"{run_id}.jsonl", runtime_pb.ExportRunRequest(run_id=run_id)
    stream = server.call.stub.ExportRun(request, timeout=SECONDS, metadata=bearer(key))
    parts = [part async for part in stream]
    file.write_text("".join(json_line(part) + "\n" for part in parts))
    assert ours(file) == 0, run_id
    for name in ("verify_export.py", "verify_effects.py"):
        checked = await ended(sys.executable, str(ROOT / "examples" / name), str(file))
        assert checked[0] == 0, (run_id, checked)
    return [event_pb2.Event.FromString(part.event.data) for part in parts if part.HasField("event")]


async def check_doctor(server: Server, keys: Path) -> None:
    """Nothing is found at what all those kills have left."""
    executor = f"{EXECUTOR}={server.executors[EXECUTOR]}"
    words = ("--package", str(server.packages[0]), "--executor", executor, "--keys", str(keys), "-o", "json")
    code, out, error = await runwright("doctor", "--data", str(server.data), *words)
    assert code == 0, (out, error)
