"""Event kinds: one for each record, and the sets that stores and readers go by."""

from __future__ import annotations

import typing

from runwright.core import records as r
from runwright.core.events import KINDS, MESSAGE_BEARING, TERMINAL, EventKind

from tests.core import builders as b


def test_every_record_has_one_kind_and_every_kind_one_record() -> None:
    records = set(typing.get_args(r.Record))

    assert set(KINDS) == records
    assert sorted(kind.name for kind in KINDS.values()) == sorted(kind.name for kind in EventKind)


def test_kinds_are_named_like_their_records() -> None:
    names = {record.__name__.upper(): kind.name.replace("_", "") for record, kind in KINDS.items()}

    assert all(name == kind for name, kind in names.items())


def test_the_builders_know_an_example_of_every_kind() -> None:
    examples = b.examples()

    assert set(examples) == set(EventKind)


def test_the_end_of_a_run_tells_the_model_nothing() -> None:
    both = TERMINAL & MESSAGE_BEARING

    assert both == frozenset()
    assert {kind.name for kind in TERMINAL} == {"RUN_COMPLETED", "RUN_FAILED", "RUN_CANCELLED"}
