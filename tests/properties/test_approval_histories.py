"""Whatever people, hosts, clocks and disks do: nothing runs that was not approved, and nobody decides who may not."""

from __future__ import annotations

import os
from collections import Counter

import pytest

from tests.properties.approval_histories import check
from tests.properties.approvals.planted_bugs import BUGS, Bug

_HISTORIES = 5_000 if os.environ.get("RUNWRIGHT_SOAK") else 240
_ENOUGH = 400  # histories to find any bug in
# What the histories must be about, or they show nothing.
_HAPPENS = (
    "approval_decided",
    "approval_escalated",
    "approval_expired",
    "approval_withdrawn",
    "grant_issued",
    "grant_used",
    "tool_started",
    "tool_denied",
    "tool_recovery_required",
    "crashes",
)


def test_histories_keep_to_the_model() -> None:
    counts = Counter[str]()
    for seed in range(_HISTORIES):
        try:
            counts += check(seed)
        except AssertionError as error:
            error.add_note(f"python -m tests.properties.approval_histories {seed} 1")
            raise

    assert not [what for what in _HAPPENS if not counts[what]]


def test_a_history_follows_from_its_seed_alone() -> None:
    """In memory. With a file, whether a read comes before a commit that is under way is up to the threads."""
    once, again = ([check(seed, on_disk=False) for seed in range(5)] for _ in range(2))
    assert once == again


@pytest.mark.parametrize(("plant", "first"), BUGS.values(), ids=BUGS)
def test_a_planted_bug_is_found(plant: Bug, first: int, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)

    with pytest.raises(Exception) as found:
        for seed in (first, *range(_ENOUGH)):
            check(seed, on_disk=False)

    assert not isinstance(found.value, TypeError | AttributeError), "the bug itself must run"
