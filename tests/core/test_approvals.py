"""What an approval is given for, as one digest; and whose turn it is when."""

from __future__ import annotations

import pytest
from runwright.core.approvals import ApproverSet, approval_digest, current_set

PARTS = {"package": "sha256:p:1", "tool": "send", "schema": "sha256:2", "executor": "desk", "arguments": "sha256:3"}
# Written down once: what was approved by an earlier version is approved still.
KNOWN = "sha256:runwright-approval-v1:d50ac88970a34fe9f9104670daa50ccf42b0a68dbed4c25a926b95a1a7d6891b"


def test_the_digest_is_the_one_that_stands_on_record() -> None:
    assert approval_digest(**PARTS) == KNOWN


@pytest.mark.parametrize("part", PARTS)
def test_a_change_of_any_part_is_another_digest(part: str) -> None:
    assert approval_digest(**{**PARTS, part: f"{PARTS[part]}x"}) != KNOWN


def test_the_turn_of_a_set_ends_at_its_time_and_not_after_it() -> None:
    sets = (ApproverSet(until=10), ApproverSet(until=20), ApproverSet(until=30))

    assert [current_set(sets, at) for at in (0, 9, 10, 19, 20, 30, 31)] == [0, 0, 1, 1, 2, 2, 2]
