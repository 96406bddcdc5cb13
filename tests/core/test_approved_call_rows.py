"""Where the calls that were approved stand in the index: each kind apart, the newest first."""

from __future__ import annotations

import pytest
from runwright.core.approved_call_rows import approval_of_key, approved_call_key, approved_calls_of

CALLS = approved_calls_of("run-1", "s", "helper", "send")


@pytest.mark.parametrize(
    "other",
    [
        approved_calls_of("run-1", "t", "helper", "send"),
        approved_calls_of("run-1", "s", "other", "send"),
        approved_calls_of("run-1", "s", "helper", "write"),
        approved_calls_of("run-1", "", "helper", "send"),
        approved_calls_of("s", "", "helper", "send"),
        approved_calls_of("run-1", "s", "helpersend", ""),
    ],
    ids=["session", "agent", "tool", "without a session", "of a run named like it", "names side by side"],
)
def test_calls_that_are_not_compared_have_no_place_in_common(other: str) -> None:
    assert not other.startswith(CALLS)
    assert not CALLS.startswith(other)


def test_in_a_session_it_does_not_matter_which_run_asks_and_without_one_it_does() -> None:
    assert approved_calls_of("run-2", "s", "helper", "send") == CALLS
    assert approved_calls_of("run-1", "", "helper", "send") != approved_calls_of("run-2", "", "helper", "send")


def test_what_was_approved_later_stands_before_what_was_approved_earlier() -> None:
    names = {9: "run-1/a1.1.1", 10: "run-0/a1.1.1", 1 << 60: "run-2/a1.1.1"}

    keys = sorted(approved_call_key(CALLS, at, name) for at, name in names.items())

    assert [approval_of_key(key) for key in keys] == ["run-2/a1.1.1", "run-0/a1.1.1", "run-1/a1.1.1"]
    assert all(key.startswith(CALLS) for key in keys)
