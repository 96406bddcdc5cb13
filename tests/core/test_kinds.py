"""Event kinds: a row for each record, and the sets that stores and readers go by."""

from __future__ import annotations

import pytest
from msgspec import structs
from runwright.core import records as r
from runwright.core.approval_dispatches import NOTICE_EFFECT
from runwright.core.ids import CALL_EFFECT, MODEL_EFFECT, POLICY_EFFECT, EffectId, parse_effect_id
from runwright.core.kinds import (
    INTENTS,
    KINDS,
    MESSAGE_BEARING,
    OUTCOMES,
    ROWS,
    TERMINAL,
    EventKind,
    Family,
    Row,
    about,
    effect_field,
)

from tests.core import builders as b

every_row = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.record.__name__)


def test_every_record_has_one_kind_and_every_kind_one_record() -> None:
    records = r.Record.__subclasses__()

    assert set(KINDS) == set(records)
    assert sorted(kind.name for kind in KINDS.values()) == sorted(kind.name for kind in EventKind)
    assert len(ROWS) == len(records)


def test_kinds_are_named_like_their_records() -> None:
    names = {record.__name__.upper(): kind.name.replace("_", "") for record, kind in KINDS.items()}

    assert all(name == kind for name, kind in names.items())


def test_the_builders_know_an_example_of_every_kind() -> None:
    examples = b.examples()

    assert set(examples) == set(EventKind)


@every_row
def test_a_record_has_the_fields_by_which_its_family_says_what_it_is_about(row: Row) -> None:
    fields = {field.name: field.type for field in structs.fields(row.record)}

    assert (effect_field(row.record) is not None) == (row.family in (Family.CALL, Family.NOTICE, Family.EFFECT))
    assert (fields.get("call_id") is EffectId) == (row.family is Family.CALL)
    assert ("round" in fields) == (row.family is Family.MODEL)
    assert ("attempt" in fields) <= (row.family is not Family.RUN)


@every_row
def test_a_record_says_what_it_is_about(row: Row) -> None:
    record = b.examples()[row.kind]

    round_number, effect, attempt = about(record)

    kind = parse_effect_id(effect).kind if effect else None
    expected = {Family.RUN: {None}, Family.MODEL: {MODEL_EFFECT}, Family.CALL: {CALL_EFFECT}}
    expected |= {Family.NOTICE: {NOTICE_EFFECT}}
    assert kind in expected.get(row.family, {MODEL_EFFECT, CALL_EFFECT, POLICY_EFFECT})
    assert (round_number, attempt) == (1 if effect else 0, getattr(record, "attempt", 0))


def test_what_intends_is_counted_and_what_ends_an_effect_is_not_intent() -> None:
    intended = {record.__name__ for record in INTENTS}

    first = {"ModelAttemptStarted", "ToolStarted", "ReconcileStarted", "PolicyAsked"}
    assert intended == first | {"ApprovalDispatchStarted"}
    assert not set(INTENTS) & set(OUTCOMES)
    assert all("attempt" in record.__struct_fields__ for record in INTENTS)


def test_a_conversation_is_made_of_turns_answers_and_what_calls_came_to() -> None:
    names = {kind.name for kind in MESSAGE_BEARING}

    assert names == {
        "CONTEXT_ASSEMBLED",
        "TURN_STARTED",
        "MODEL_MESSAGE_COMPLETED",
        "TOOL_REQUESTED",
        "TOOL_COMPLETED",
        "TOOL_FAILED",
        "TOOL_DENIED",
        "SUBJECT_REPLACED",
        "TOOL_RESULT_RELEASED",
    }


def test_the_end_of_a_run_tells_the_model_nothing() -> None:
    both = TERMINAL & MESSAGE_BEARING

    assert both == frozenset()
    assert {kind.name for kind in TERMINAL} == {"RUN_COMPLETED", "RUN_FAILED", "RUN_CANCELLED"}
