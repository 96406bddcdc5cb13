"""The snapshot row: comes back as the state it was, is trusted only when whole, and stays small."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec.structs import replace
from runwright.core.apply import fold
from runwright.core.errors import Failure
from runwright.core.ids import EffectId, Namespace, RunId, RunKey
from runwright.core.kinds import EventKind
from runwright.core.machine import status
from runwright.core.outcomes import RunPhase, RunStatus
from runwright.core.state import RunState
from runwright.wire.state_row import (
    VERSION,
    RowColumns,
    RowEnd,
    SnapshotRow,
    body_of,
    decode_state,
    encode_state,
)

from tests.core import builders as b
from tests.properties.random_runs import RandomRun

KIB = 1024
ROUND = b.package(b.tool("x" * 64, executor="e" * 128), budget={"parallel_calls": 64, "tool_calls": 64})


def _full_round(answered: int = 0) -> RunState:
    """A round of 64 calls, the most one may have, with ids and names as long as they may be."""
    key = RunKey(Namespace("n" * 64), RunId("r" * 128))
    labels = {f"{index:x<128}": "v" * 256 for index in range(16)}
    calls = [b.model_request("x" * 64)] * 64
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

    assert trusted == []


def test_a_row_with_a_field_this_version_lacks_is_no_state() -> None:
    whole = json.loads(encode_state(_full_round()))

    state = decode_state(_row({**whole, "paused": True}))

    assert state is None


END = RowEnd(last_position=12, hash=bytes(range(32)), is_open=True)


def _columns(state: RunState) -> RowColumns:
    return RowColumns.of(state, RunStatus.RUNNING)


def test_a_row_is_believed_with_the_columns_it_was_written_with_in_whatever_order_its_labels_come() -> None:
    state = _full_round()
    row = SnapshotRow.of(encode_state(state), _columns(state)).checked(END)
    turned = replace(_columns(state), labels=dict(reversed(state.labels.items())))

    assert row.startswith(VERSION)
    assert body_of(row, _columns(state), END) == encode_state(state)
    assert body_of(row, turned, END) == encode_state(state)


def test_no_bit_of_a_row_can_flip_unnoticed() -> None:
    state = _full_round(answered=63)
    row = SnapshotRow.of(encode_state(state), _columns(state)).checked(END)

    for bit in range(0, 8 * len(row), 61):
        flipped = bytearray(row)
        flipped[bit // 8] ^= 1 << (bit % 8)
        assert body_of(bytes(flipped), _columns(state), END) is None


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

    assert body_of(row, replace(_columns(state), **other), END) is None


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

    assert body_of(row, _columns(state), replace(END, **other)) is None


@pytest.mark.parametrize("row", [b"", b"\x01", b"\x01" + bytes(32), b"{}", None, "text", 7])
def test_what_is_no_row_is_not_believed(row: Any) -> None:
    assert body_of(row, _columns(_full_round()), END) is None


def test_the_row_of_a_full_round_stays_small() -> None:
    row = encode_state(_full_round())

    assert len(row) < 60 * KIB


def test_a_call_with_a_result_takes_little_of_the_row() -> None:
    row = encode_state(_full_round(answered=63))

    assert len(row) < 28 * KIB


def test_the_row_does_not_grow_with_the_rounds() -> None:
    pinned = b.package(b.tool(), budget={"rounds": 100, "tool_calls": 1000})
    state, _ = b.play(pinned, b.started(pinned))
    sizes = []

    for number in range(1, 100):
        calls = (b.model_request(), b.model_request())
        replies = [b.asks(*calls, round=number), b.returned(f"c{number}.1"), b.returned(f"c{number}.2")]
        state, _ = b.play(pinned, *replies, state=state)
        sizes.append(len(encode_state(state)))

    assert max(sizes) - min(sizes) < 100


def _as_before_gates(state: RunState) -> bytes:
    """The row as versions wrote it that said `allowed` of a call, and had a phase for runs in need of repair."""
    row = json.loads(encode_state(state))
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
        b.asks(b.model_request("send"), b.model_request("lookup"), b.model_request("lookup")),
        b.lost(),
    ]
    state, _ = b.play(pinned, *value, b.returned(b.SECOND_CALL))
    row = _as_before_gates(state)

    back = decode_state(row)
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
            assert decode_state(_as_before_gates(run.state)) == run.state, f"seed {seed}"
