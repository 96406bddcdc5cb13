"""What a run sees of its session: the newest turns that fit, and a reason for everything else."""

from __future__ import annotations

import pytest
from runwright.core.context import MAX_OMITTED, Omission, SessionRun, choose
from runwright.core.ids import RunId
from runwright.core.outcomes import RunStatus
from runwright.core.package import ContextPolicy

from tests.core import builders as b

AGENT = "helper"


def completed(number: int, words: str = "hm", agent: str = AGENT) -> SessionRun:
    """A run that answered with the same number of bytes as it was asked."""
    turn = b.earlier(f"run-{number}", words, words[::-1])
    return SessionRun(RunId(f"run-{number}"), agent, RunStatus.COMPLETED, turn)


def snapshot(number: int, status: RunStatus) -> SessionRun:
    """A run that has not completed."""
    return SessionRun(RunId(f"run-{number}"), AGENT, status)


def chosen(policy: ContextPolicy, *runs: SessionRun) -> tuple[list[str], list[tuple[str, str]]]:
    """What is included and what is not, and why."""
    context = choose(policy, AGENT, runs, has_older=False)
    assert context.omitted_count == len(context.omitted)
    return [turn.run_id for turn in context.included], [(run.run_id, run.why.name) for run in context.omitted]


def test_turns_are_taken_from_the_newest_back_and_shown_oldest_first() -> None:
    included, omitted = chosen(ContextPolicy(session_turns=2), completed(4), completed(3), completed(2), completed(1))

    assert included == ["run-3", "run-4"]
    assert omitted == [("run-2", "TURNS"), ("run-1", "TURNS")]


def test_the_first_turn_that_does_not_fit_ends_the_taking() -> None:
    runs = completed(4, "four"), completed(3, "a longer turn"), completed(2, "two"), completed(1, "one")

    included, omitted = chosen(ContextPolicy(session_bytes=20), *runs)

    assert included == ["run-4"], "run-2 would fit, but the conversation would have a hole"
    assert omitted == [("run-3", "BYTES"), ("run-2", "BYTES"), ("run-1", "BYTES")]


def test_a_turn_that_fits_to_the_byte_is_taken() -> None:
    both = chosen(ContextPolicy(session_bytes=8), completed(2), completed(1))
    one = chosen(ContextPolicy(session_bytes=7), completed(2), completed(1))

    assert both == (["run-1", "run-2"], [])
    assert one == (["run-2"], [("run-1", "BYTES")])


@pytest.mark.parametrize(
    ("status", "why"),
    [
        (RunStatus.RUNNING, Omission.NOT_ENDED),
        (RunStatus.WAITING, Omission.NOT_ENDED),
        (RunStatus.CANCELLING, Omission.NOT_ENDED),
        (RunStatus.REPAIR_NEEDED, Omission.NOT_ENDED),
        (RunStatus.FAILED, Omission.FAILED),
        (RunStatus.CANCELLED, Omission.CANCELLED),
    ],
    ids=str,
)
def test_a_run_without_an_answer_is_left_out_and_takes_no_room(status: RunStatus, why: Omission) -> None:
    included, omitted = chosen(ContextPolicy(session_turns=1), snapshot(3, status), completed(2), completed(1))

    assert included == ["run-2"]
    assert omitted == [("run-3", why.name), ("run-1", "TURNS")]


def test_every_status_is_decided_on() -> None:
    for status in RunStatus:
        included, omitted = chosen(ContextPolicy(), snapshot(1, status))
        assert (included, len(omitted)) == ([], 1)


def test_a_run_of_another_agent_is_left_out() -> None:
    included, omitted = chosen(ContextPolicy(), completed(2, agent="clerk"), completed(1))

    assert (included, omitted) == (["run-1"], [("run-2", "OTHER_AGENT")])


def test_what_cannot_be_read_or_is_gone_is_left_out_and_counts_as_a_turn() -> None:
    unread, gone, good = snapshot(4, RunStatus.COMPLETED), completed(3), completed(2)

    context = choose(
        ContextPolicy(session_turns=2),
        AGENT,
        [unread, gone, good, completed(1)],
        has_older=True,
        unreadable={gone.run_id},
    )

    assert [turn.run_id for turn in context.included] == ["run-2"]
    assert [run.why for run in context.omitted] == [Omission.UNREADABLE, Omission.UNREADABLE, Omission.TURNS]
    assert context.has_older


@pytest.mark.parametrize("policy", [ContextPolicy(session_turns=0), ContextPolicy(session_bytes=0)], ids=str)
def test_a_policy_of_nothing_shows_nothing(policy: ContextPolicy) -> None:
    included, omitted = chosen(policy, completed(2), completed(1))

    assert included == []
    assert {why for _, why in omitted} == ({"TURNS"} if policy.session_turns == 0 else {"BYTES"})


def test_the_list_of_what_is_left_out_is_bounded_and_the_count_is_not() -> None:
    runs = [snapshot(number, RunStatus.FAILED) for number in range(250, 0, -1)]

    context = choose(ContextPolicy(), AGENT, runs, has_older=False)

    assert len(context.omitted) == MAX_OMITTED
    assert context.omitted[0].run_id == "run-250"
    assert context.omitted_count == 250
