"""The snapshot row: comes back as the state it was, is trusted only when whole, and stays small."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from msgspec import inspect
from msgspec.structs import replace
from runwright.core.apply import fold
from runwright.core.errors import Failure
from runwright.core.ids import EffectId, Namespace, RunId, RunKey
from runwright.core.kinds import EventKind
from runwright.core.machine import status
from runwright.core.outcomes import RunPhase, RunStatus
from runwright.core.state import RunState
from runwright.wire import state_row
from runwright.wire.checked_row import RowColumns, RowEnd, SnapshotRow, believed
from runwright.wire.state_row import VERSION, decode_state, encode_state

from tests.core import builders as b
from tests.properties.random_runs import RandomRun

KIB = 1024
ROUND = b.package(b.tool("x" * 64, executor="e" * 128), budget={"parallel_calls": 64, "tool_calls": 64})


def _full_round(answered: int = 0) -> RunState:
    """A round of 64 calls, the most one may have, with ids and names as long as they may be."""
    key = RunKey(Namespace("n" * 64), RunId("r" * 128))
    labels = {f"{index:x<128}": "v" * 256 for index in range(16)}
    calls = [b.tool_call("x" * 64)] * 64
    results = [b.returned(f"c1.{index + 1}") for index in range(answered)]
    value = [b.started(ROUND, labels=labels, session_id="s" * 128), b.asks(*calls), *results]
    state, _ = b.play(ROUND, *value, state=RunState(key=key))
    return state


def _row(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()


def test_states_of_random_runs_come_back_the_same() -> None:
    for seed in range(100):
        run = RandomRun(seed)
        run.give(run.first)
        for _ in range(20):
            run.give(run.next())
            assert decode_state(encode_state(run.state)) == run.state, f"seed {seed}"


def test_a_failed_run_comes_back_with_its_failure() -> None:
    started = b.examples()[EventKind.RUN_STARTED]
    state = fold(b.NEW, [started, *b.incident()])

    back = decode_state(encode_state(state))

    assert back == state
    assert back is not None
    assert isinstance(back.error, Failure)


@pytest.mark.parametrize(
    "garbage",
    [b"", b"\0", b"garbage", b"null", b"[]", b"{}", b"7", b'"x"', b"\xff\xfe", b'{"key":7}', b'{"phase":99}'],
)
def test_garbage_is_no_state(garbage: bytes) -> None:
    state = decode_state(garbage)

    assert state is None


def test_a_row_cut_short_is_no_state() -> None:
    row = encode_state(_full_round())

    for length in range(0, len(row), 97):
        assert decode_state(row[:length]) is None


def test_a_row_without_a_field_this_version_has_is_no_state() -> None:
    whole = json.loads(encode_state(_full_round()))

    without = {name: {key: value for key, value in whole.items() if key != name} for name in whole}
    trusted = [name for name, fields in without.items() if decode_state(_row(fields)) is not None]

    assert set(trusted) <= state_row.ADDED


def test_a_row_with_a_field_this_version_lacks_is_no_state() -> None:
    whole = json.loads(encode_state(_full_round()))

    state = decode_state(_row({**whole, "paused": True}))

    assert state is None


def test_of_a_row_without_a_field_that_was_added_the_default_is_taken_and_of_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    state = _full_round()
    whole = json.loads(encode_state(state))
    earlier = {name: value for name, value in whole.items() if name != "route"}
    earlier["calls"] = [{name: value for name, value in call.items() if name != "losses"} for call in whole["calls"]]
    without = {name: value for name, value in earlier.items() if name != "round"}

    monkeypatch.setattr(state_row, "ADDED", frozenset({"route", "calls.losses"}))

    assert decode_state(_row(earlier)) == state
    assert decode_state(_row(without)) is None
    assert decode_state(_row({**earlier, "paused": True})) is None
    assert decode_state(_row({**earlier, "turn_ended": 0})) is None
    monkeypatch.setattr(state_row, "ADDED", frozenset({"calls.losses"}))
    assert decode_state(_row(earlier)) is None


# What a row of version 3 has said from the first one on. A field that is added is not added here: it is named in
# `state_row.ADDED` if its default is true of every run of before, else the version rises.
FIELDS = """
    agent_id approval approval.approval approval.approval.approved_by approval.approval.arguments_digest
    approval.approval.current_set approval.approval.delegated_set approval.approval.delegates
    approval.approval.delegations approval.approval.digest approval.approval.expires_at approval.approval.four_eyes
    approval.approval.grant_id approval.approval.name approval.approval.number approval.approval.on_expiry
    approval.approval.phase approval.approval.requested_at approval.approval.separation approval.approval.sets
    approval.approval.sets.principals approval.approval.sets.roles approval.approval.sets.until
    approval.operator_digest approval.stage budget budget.parallel_calls budget.rounds budget.tool_calls
    cached_answers cached_answers.answer cached_answers.answer.budget cached_answers.answer.budget.parallel_calls
    cached_answers.answer.budget.rounds cached_answers.answer.budget.tool_calls cached_answers.answer.code
    cached_answers.answer.defer_until cached_answers.answer.message cached_answers.answer.replacement
    cached_answers.answer.replacement.digest cached_answers.answer.replacement.media_type
    cached_answers.answer.replacement.size cached_answers.answer.verdict cached_answers.digest cached_answers.policy
    cached_answers.question cached_answers.stage cached_answers.tainted cached_answers.tool calls calls.approval
    calls.approval.approved_by calls.approval.arguments_digest calls.approval.current_set calls.approval.delegated_set
    calls.approval.delegates calls.approval.delegations calls.approval.digest calls.approval.expires_at
    calls.approval.four_eyes calls.approval.grant_id calls.approval.name calls.approval.number
    calls.approval.on_expiry calls.approval.phase calls.approval.requested_at calls.approval.separation
    calls.approval.sets calls.approval.sets.principals calls.approval.sets.roles calls.approval.sets.until
    calls.arguments calls.arguments.digest calls.arguments.media_type calls.arguments.size calls.attempt calls.call_id
    calls.deadline calls.executor calls.executor_identity calls.executor_identity.address
    calls.executor_identity.callback_id calls.executor_identity.principal calls.give_up_at calls.idempotency_key
    calls.idempotent calls.losses calls.not_before calls.passed calls.phase calls.policy calls.policy.operator_digest
    calls.policy.outcome calls.policy.outcome.digest calls.policy.outcome.media_type calls.policy.outcome.size
    calls.policy.tainted calls.policy.untrusted calls.policy.walk calls.policy.walk.answers
    calls.policy.walk.answers.answer calls.policy.walk.answers.answer.budget
    calls.policy.walk.answers.answer.budget.parallel_calls calls.policy.walk.answers.answer.budget.rounds
    calls.policy.walk.answers.answer.budget.tool_calls calls.policy.walk.answers.answer.code
    calls.policy.walk.answers.answer.defer_until calls.policy.walk.answers.answer.message
    calls.policy.walk.answers.answer.replacement calls.policy.walk.answers.answer.replacement.digest
    calls.policy.walk.answers.answer.replacement.media_type calls.policy.walk.answers.answer.replacement.size
    calls.policy.walk.answers.answer.verdict calls.policy.walk.answers.at calls.policy.walk.answers.question
    calls.policy.walk.answers.remote calls.policy.walk.answers.remote.cache calls.policy.walk.answers.remote.decider
    calls.policy.walk.answers.remote.max_attempts calls.policy.walk.answers.remote.policy
    calls.policy.walk.answers.remote.policy_ref calls.policy.walk.answers.remote.shadow
    calls.policy.walk.answers.remote.timeout_ms calls.policy.walk.answers.remote.unavailable_timeout_ms
    calls.policy.walk.defers calls.policy.walk.passed calls.policy.walk.question calls.policy.walk.question.attempt
    calls.policy.walk.question.deadline calls.policy.walk.question.effect_id calls.policy.walk.question.failures
    calls.policy.walk.question.give_up_at calls.policy.walk.question.is_open calls.policy.walk.question.not_before
    calls.policy.walk.question.remote calls.policy.walk.question.remote.cache
    calls.policy.walk.question.remote.decider calls.policy.walk.question.remote.max_attempts
    calls.policy.walk.question.remote.policy calls.policy.walk.question.remote.policy_ref
    calls.policy.walk.question.remote.shadow calls.policy.walk.question.remote.timeout_ms
    calls.policy.walk.question.remote.unavailable_timeout_ms calls.policy.walk.question.since
    calls.policy.walk.question.subject_digest calls.policy.walk.questions calls.policy.walk.replacements
    calls.policy.walk.stage calls.reconciling calls.reconciling.asks calls.reconciling.give_up_at
    calls.reconciling.is_asked calls.reconciling.next_ask_at calls.reconciling.reason calls.since calls.tool
    cancel_barrier cancel_deadline cancel_reason dispatches dispatches.approval_id dispatches.attempt
    dispatches.closing dispatches.dispatcher dispatches.effect_id dispatches.failures dispatches.given_up
    dispatches.is_open dispatches.may_know dispatches.not_before dispatches.notice dispatches.reference
    dispatches.revision dispatches.sent dispatches.since dispatches.told ended_at error error.message error.metadata
    error.reason input input.digest input.media_type input.size journal_id key key.namespace key.run_id labels model
    model_request model_request.attempt model_request.failures model_request.is_open model_request.losses
    model_request.retry_at model_request.since package package.digest package.media_type package.size
    package_fingerprint package_id phase policy_failure policy_failure.message policy_failure.metadata
    policy_failure.reason principal principal_roles provider removed_at request request.digest request.media_type
    request.size request_digest result result.digest result.media_type result.size round route seq session_id
    started_at stop taint taint.calls taint.calls.effect_id taint.calls.run_id taint.calls.seq taint.calls.tool
    taint.count taint.seen tainted trace_parent turn_ended turn_id updated_at usage usage.input_tokens
    usage.output_tokens usage.rounds usage.tool_calls walk walk.answers walk.answers.answer walk.answers.answer.budget
    walk.answers.answer.budget.parallel_calls walk.answers.answer.budget.rounds walk.answers.answer.budget.tool_calls
    walk.answers.answer.code walk.answers.answer.defer_until walk.answers.answer.message
    walk.answers.answer.replacement walk.answers.answer.replacement.digest walk.answers.answer.replacement.media_type
    walk.answers.answer.replacement.size walk.answers.answer.verdict walk.answers.at walk.answers.question
    walk.answers.remote walk.answers.remote.cache walk.answers.remote.decider walk.answers.remote.max_attempts
    walk.answers.remote.policy walk.answers.remote.policy_ref walk.answers.remote.shadow
    walk.answers.remote.timeout_ms walk.answers.remote.unavailable_timeout_ms walk.defers walk.passed walk.question
    walk.question.attempt walk.question.deadline walk.question.effect_id walk.question.failures
    walk.question.give_up_at walk.question.is_open walk.question.not_before walk.question.remote
    walk.question.remote.cache walk.question.remote.decider walk.question.remote.max_attempts
    walk.question.remote.policy walk.question.remote.policy_ref walk.question.remote.shadow
    walk.question.remote.timeout_ms walk.question.remote.unavailable_timeout_ms walk.question.since
    walk.question.subject_digest walk.questions walk.replacements walk.stage
"""


def _fields(kind: inspect.Type, path: str = "") -> Iterator[str]:
    match kind:
        case inspect.StructType():
            for field in kind.fields:
                yield f"{path}{field.encode_name}"
                yield from _fields(field.type, f"{path}{field.encode_name}.")
        case inspect.UnionType():
            for each in kind.types:
                yield from _fields(each, path)
        case inspect.VarTupleType() | inspect.ListType():
            yield from _fields(kind.item_type, path)


def test_every_field_of_a_row_is_of_this_version_from_the_start_or_named_as_added() -> None:
    added = tuple(f"{path}." for path in state_row.ADDED)  # what is below a field that was added came with it

    fields = {path for path in _fields(inspect.type_info(RunState)) if not f"{path}.".startswith(added)}

    assert fields == {*FIELDS.split()}, "see the module on fields that are added"


@pytest.mark.parametrize("version", [0, 4, 255])
def test_a_row_of_a_version_that_is_not_known_is_no_state(version: int) -> None:
    assert decode_state(encode_state(_full_round()), version) is None


END = RowEnd(last_position=12, hash=bytes(range(32)), is_open=True)


def _columns(state: RunState) -> RowColumns:
    return RowColumns.of(state, RunStatus.RUNNING)


def test_a_row_is_believed_with_the_columns_it_was_written_with_in_whatever_order_its_labels_come() -> None:
    state = _full_round()
    row = SnapshotRow.of(encode_state(state), _columns(state)).checked(END)
    turned = replace(_columns(state), labels=dict(reversed(state.labels.items())))

    assert row[0] == VERSION
    for columns in (_columns(state), turned):
        found = believed(row, columns, END)
        assert found is not None
        assert (found.version, found.body) == (VERSION, encode_state(state))


def test_a_row_of_version_1_is_believed_as_such_and_passes_for_no_other() -> None:
    state = _full_round()
    row = SnapshotRow.of(as_version_1(state), _columns(state), 1).checked(END)

    found = believed(row, _columns(state), END)

    assert found is not None
    assert (row[0], found.version) == (1, 1)
    assert decode_state(found.body, found.version) == state
    for other in range(256):
        relabelled = bytes([other]) + row[1:]
        assert (believed(relabelled, _columns(state), END) is None) is (other != 1)


def test_no_bit_of_a_row_can_flip_unnoticed() -> None:
    state = _full_round(answered=63)
    row = SnapshotRow.of(encode_state(state), _columns(state)).checked(END)

    for bit in range(0, 8 * len(row), 61):
        flipped = bytearray(row)
        flipped[bit // 8] ^= 1 << (bit % 8)
        assert believed(bytes(flipped), _columns(state), END) is None


@pytest.mark.parametrize(
    "other",
    [
        {"run": RunKey(Namespace("m" + "n" * 63), RunId("r" * 128))},
        {"run": RunKey(Namespace("n" * 64), RunId("r" * 127))},
        {"seq": 7},
        {"session_id": ""},
        {"agent_id": "other"},
        {"status": 3},
        {"status": "2"},
        {"labels": {}},
        {"labels": []},
        {"labels": None},
        {"removed_at": 1},
        {"seq": None},
    ],
)
def test_no_column_of_a_row_can_be_another_unnoticed(other: dict[str, Any]) -> None:
    state = _full_round()
    row = SnapshotRow.of(encode_state(state), _columns(state)).checked(END)

    assert believed(row, replace(_columns(state), **other), END) is None


@pytest.mark.parametrize(
    "other",
    [
        {"last_position": 13},
        {"last_position": None},
        {"hash": bytes(32)},
        {"hash": ""},
        {"is_open": False},
        {"is_open": 300},
        {"last_position": -1},
        {"is_open": "x"},
    ],
)
def test_no_end_of_a_row_can_be_another_unnoticed(other: dict[str, Any]) -> None:
    state = _full_round()
    row = SnapshotRow.of(encode_state(state), _columns(state)).checked(END)

    assert believed(row, _columns(state), replace(END, **other)) is None


@pytest.mark.parametrize("row", [b"", b"\x01", b"\x01" + bytes(32), b"{}", None, "text", 7])
def test_what_is_no_row_is_not_believed(row: Any) -> None:
    assert believed(row, _columns(_full_round()), END) is None


def test_the_row_of_a_full_round_stays_small() -> None:
    row = encode_state(_full_round())

    assert len(row) < 60 * KIB


def test_a_call_with_a_result_takes_little_of_the_row() -> None:
    row = encode_state(_full_round(answered=63))

    assert len(row) < 30 * KIB


def test_the_row_does_not_grow_with_the_rounds() -> None:
    pinned = b.package(b.tool(), budget={"rounds": 100, "tool_calls": 1000})
    state, _ = b.play(pinned, b.started(pinned))
    sizes = []

    for number in range(1, 100):
        calls = (b.tool_call(), b.tool_call())
        replies = [b.asks(*calls, round=number), b.returned(f"c{number}.1"), b.returned(f"c{number}.2")]
        state, _ = b.play(pinned, *replies, state=state)
        sizes.append(len(encode_state(state)))

    assert max(sizes) - min(sizes) < 100


def as_version_1(state: RunState) -> bytes:
    """The row as version 1 wrote it, with `allowed` of a call, and a phase for runs in need of repair."""
    row = json.loads(encode_state(state))
    row = {"asked" if name == "model_request" else name: value for name, value in row.items()}
    row["phase"] = 5 if status(state) is RunStatus.REPAIR_NEEDED else row["phase"]
    row["calls"] = [
        dict(("allowed", bool(value)) if name == "passed" else (name, value) for name, value in call.items())
        for call in row["calls"]
    ]
    return _row(row)


def test_a_row_of_before_calls_had_stages_is_the_same_state_and_the_run_goes_on() -> None:
    pinned = b.package(b.tool("lookup"), b.tool("send", effect="write"))
    value = [
        b.started(pinned),
        b.asks(b.tool_call("send"), b.tool_call("lookup"), b.tool_call("lookup")),
        b.lost(),
    ]
    state, _ = b.play(pinned, *value, b.returned(b.SECOND_CALL))
    row = as_version_1(state)

    back = decode_state(row, 1)
    assert b'"phase":5' in row and b'"allowed":true' in row
    assert back == state
    assert (back.phase, status(back)) == (RunPhase.RUNNING, RunStatus.REPAIR_NEEDED)
    ended, records = b.play(pinned, b.returned(EffectId("c1.3"), seconds=3), b.cancelled(seconds=4), state=back)

    assert b.kinds(records) == ["TOOL_COMPLETED", "RUN_CANCEL_REQUESTED", "TURN_FAILED", "RUN_CANCELLED"]
    assert ended.phase is RunPhase.CANCELLED


def test_rows_of_before_calls_had_stages_are_read_whatever_the_run_came_to() -> None:
    for seed in range(50):
        run = RandomRun(seed)
        run.give(run.first)
        for _ in range(20):
            run.give(run.next())
            expected = None if run.state.tainted else run.state  # by which calls, only its events can tell
            assert decode_state(as_version_1(run.state), 1) == expected, f"seed {seed}"
