"""Ids of effects: made and parsed in one place, whatever the kind."""

from __future__ import annotations

import pytest
from runwright.core.ids import (
    CALL_EFFECT,
    MODEL_EFFECT,
    EffectId,
    EffectParts,
    call_effect_id,
    effect_id,
    model_effect_id,
    parse_effect_id,
)


@pytest.mark.parametrize(
    ("kind", "numbers", "made"),
    [("m", (3,), "m3"), ("c", (3, 2), "c3.2"), ("a", (3, 2, 1), "a3.2.1"), ("d", (10,), "d10")],
)
def test_an_id_is_a_letter_and_dotted_numbers_and_says_them_again(
    kind: str, numbers: tuple[int, ...], made: str
) -> None:
    found = effect_id(kind, *numbers)

    assert found == made
    assert parse_effect_id(found) == EffectParts(kind, numbers)


def test_model_requests_and_calls_are_told_apart_by_their_kind() -> None:
    kinds = [parse_effect_id(made).kind for made in (model_effect_id(12), call_effect_id(12, 34))]

    assert kinds == [MODEL_EFFECT, CALL_EFFECT]


@pytest.mark.parametrize(
    "value", ["", "m", "c1.", "c.1", "c01.1", "c0", "cc1", "C1", "1", "c1.1 ", "c1.1\n", "c1..2", "c²"]
)
def test_what_is_no_id_of_an_effect_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="is no effect's id"):
        parse_effect_id(EffectId(value))
