"""Remote policies in the machine: who is asked, what follows from what is said, and closed by default."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from runwright.core import effects as e
from runwright.core import inputs as i
from runwright.core import records as r
from runwright.core.errors import ErrorReason
from runwright.core.ids import EffectId
from runwright.core.machine import decide, pending, status, waiting_on
from runwright.core.outcomes import CallPhase, RunStatus, StopReason, WaitKind
from runwright.core.policy import PolicyOpinion, PolicyStage, Verdict
from runwright.core.request import Budget
from runwright.core.state import RunState

from tests.core import builders as b
from tests.core import policy_builders as p

PACKAGE = p.package()
DENY = PolicyOpinion(Verdict.DENY, "policies.1", "policies.1.rules.0", "no", "package")


def played(*inputs: i.Input) -> tuple[RunState, list[r.Record]]:
    """A run whose model asks to send something, and what happens then."""
    return b.play(PACKAGE, b.started(PACKAGE), p.asks("send"), *inputs)


def decisions(records: list[r.Record]) -> list[tuple[Verdict, str]]:
    """What was decided, with its code."""
    found = [record.decision for record in records if isinstance(record, r.PolicyDecided)]
    return [(decision.verdict, decision.code) for decision in found]


def kinds(records: list[r.Record]) -> list[str]:
    """What the records are called."""
    return [type(record).__name__ for record in records]


def test_a_call_is_held_with_an_intent_until_the_policy_answers() -> None:
    state, records = played()

    assert kinds(records)[-2:] == ["ToolRequested", "PolicyAsked"]
    assert list(pending(state).values()) == [e.AskPolicy(p.ASKED, 1)]
    assert status(state) is RunStatus.WAITING
    [wait] = waiting_on(state)
    assert (wait.kind, wait.effect_id, wait.subject) == (WaitKind.POLICY, p.ASKED, "compliance")
    assert "compliance" in wait.unblocked_by


def test_what_it_allows_goes_on_and_is_decided_on_record() -> None:
    state, records = played(p.answer(Verdict.ALLOW))

    assert kinds(records)[-2:] == ["PolicyAnswered", "PolicyDecided"]
    assert decisions(records) == [(Verdict.ALLOW, "remote.allow")]
    assert [type(effect) for effect in pending(state).values()] == [e.AwaitExecutor]


def test_what_it_asks_for_waits_for_somebody() -> None:
    state, records = played(p.answer(Verdict.ASK))

    assert kinds(records)[-3:] == ["PolicyAnswered", "PolicyDecided", "ApprovalRequested"]
    assert [type(effect) for effect in pending(state).values()] == [e.AwaitApproval]


def test_what_it_does_not_allow_is_denied_and_the_model_is_told() -> None:
    state, records = played(p.answer(Verdict.DENY))

    assert kinds(records)[-4:] == ["PolicyAnswered", "PolicyDecided", "ToolDenied", "ModelAttemptStarted"]
    assert state.call(b.FIRST_CALL) is None


def test_an_interrupt_leaves_no_open_effect() -> None:
    state, records = b.play(PACKAGE, b.started(PACKAGE), p.asks("send", "lookup"), p.answer(Verdict.INTERRUPT))

    assert (state.is_terminal, state.stop, pending(state)) == (True, StopReason.POLICY_INTERRUPT, {})
    asked = {record.effect_id for record in records if isinstance(record, r.PolicyAsked)}
    answered = {record.effect_id for record in records if isinstance(record, r.PolicyAnswered)}
    assert asked == answered == {p.ASKED, EffectId("p1.2.1")}


def test_what_rules_deny_is_not_asked_about() -> None:
    state, records = b.play(PACKAGE, b.started(PACKAGE), p.asks("send", policies=p.found(DENY)))

    assert not any(isinstance(record, r.PolicyAsked) for record in records)
    assert decisions(records) == [(Verdict.DENY, "no")]
    assert state.round == 2


def test_rules_that_deny_by_the_time_it_answers_deny() -> None:
    _, records = played(p.answer(Verdict.ALLOW, policies=p.found(DENY)))

    assert decisions(records) == [(Verdict.DENY, "no")]


def test_an_allow_counts_for_the_digest_it_was_asked_about_alone() -> None:
    _, records = played(p.answer(Verdict.ALLOW, policies=p.found(digest="sha256:other")))

    assert decisions(records) == [(Verdict.DENY, "policy.not_found_out")]


def test_it_answers_once_and_whatever_comes_later_means_nothing() -> None:
    state, _ = played(p.answer(Verdict.DENY))

    assert decide(PACKAGE, state, p.answer(Verdict.ALLOW)) == []
    held, _ = played(p.fails(ErrorReason.POLICY_TIMED_OUT), p.awaited(is_there=True))
    assert decide(PACKAGE, held, p.answer(Verdict.ALLOW, attempt=1)) == [], "the answer to an attempt given up"


def test_policies_are_asked_one_after_the_other_and_all_must_agree() -> None:
    two = p.found(
        remotes=(b.remote_policy(cache=False), b.remote_policy("second", policy_ref="policies.1", cache=False))
    )
    state, records = b.play(
        PACKAGE, b.started(PACKAGE), p.asks("send", policies=two), p.answer(Verdict.ALLOW, policies=two)
    )
    assert list(pending(state).values()) == [e.AskPolicy(p.AGAIN, 1)]
    assert decisions(records) == []

    records = decide(PACKAGE, state, p.answer(Verdict.DENY, p.AGAIN, policies=two))

    [decided] = [record for record in records if isinstance(record, r.PolicyDecided)]
    assert (decided.decision.verdict, decided.policy_ref) == (Verdict.DENY, "policies.1")


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        (ErrorReason.POLICY_TIMED_OUT, "policy.timed_out"),
        (ErrorReason.POLICY_LOST, "policy.lost"),
    ],
)
def test_a_policy_that_does_not_answer_is_asked_again_and_then_denies(reason: ErrorReason, code: str) -> None:
    state, _ = played(p.fails(reason))
    [wait] = pending(state).values()
    assert isinstance(wait, e.AwaitPolicy) and wait.not_before > b.at(2)

    state, _ = played(
        p.fails(reason),
        p.awaited(is_there=True),
        p.fails(reason, attempt=2, at=4),
        p.awaited(attempt=2, is_there=True, at=5),
    )
    records = decide(PACKAGE, state, p.fails(reason, attempt=3, at=6))

    assert decisions(records) == [(Verdict.DENY, code)]
    [answered] = [record for record in records if isinstance(record, r.PolicyAnswered)]
    assert answered.error is not None and answered.error.reason is reason


def test_an_answer_that_cannot_be_used_denies_at_once() -> None:
    _, records = played(p.fails(ErrorReason.POLICY_ANSWER_INVALID))

    assert decisions(records) == [(Verdict.DENY, "policy.answer_invalid")]


def test_a_policy_that_is_not_there_is_waited_for_and_then_denies() -> None:
    state, _ = played(p.fails(ErrorReason.POLICY_UNAVAILABLE))
    [wait] = pending(state).values()
    assert isinstance(wait, e.AwaitPolicy) and wait.give_up_at == b.at(62)
    [waits] = waiting_on(state)
    assert (waits.kind, waits.subject) == (WaitKind.POLICY, "compliance")

    given_up, records = played(p.fails(ErrorReason.POLICY_UNAVAILABLE), p.awaited(is_there=False, at=62))
    assert list(pending(given_up).values()) == [e.HearPolicies(b.FIRST_CALL, 1)]
    assert isinstance(records[-1], r.PolicyAnswered) and records[-1].answer is not None

    records = decide(PACKAGE, given_up, p.heard(1, at=63))
    assert decisions(records) == [(Verdict.DENY, "policy.unavailable")]


def test_one_end_is_set_to_all_outages_of_a_question() -> None:
    unavailable = ErrorReason.POLICY_UNAVAILABLE
    state, _ = played(p.fails(unavailable), p.awaited(is_there=True, at=50), p.fails(unavailable, attempt=2, at=51))
    [wait] = pending(state).values()
    assert isinstance(wait, e.AwaitPolicy) and wait.give_up_at == b.at(62)


def test_a_restart_asks_again_and_counts_no_failure() -> None:
    state, records = played(i.Recovered(at=b.at(2)))

    assert list(pending(state).values()) == [e.AskPolicy(p.ASKED, 2)]
    assert isinstance(records[-1], r.PolicyAsked)
    walk = state.walk_of(b.FIRST_CALL)
    assert walk is not None and walk.question is not None and walk.question.failures == 0


def test_replaced_arguments_are_decided_on_anew() -> None:
    state, records = played(p.answer(Verdict.MODIFY, replacement=p.OTHER))
    assert kinds(records)[-1] == "PolicyAnswered"
    assert list(pending(state).values()) == [e.HearPolicies(b.FIRST_CALL, 1)]

    new = decide(PACKAGE, state, p.heard(1))
    assert kinds(new) == ["SubjectReplaced"]
    state, _ = played(p.answer(Verdict.MODIFY, replacement=p.OTHER), p.heard(1))
    call = state.call(b.FIRST_CALL)
    assert call is not None and call.arguments == p.OTHER

    other = p.found(digest=p.OTHER.digest)
    replaced = (p.answer(Verdict.MODIFY, replacement=p.OTHER), p.heard(1), p.heard(2, policies=other))
    state, _ = played(*replaced)
    assert list(pending(state).values()) == [e.AskPolicy(p.AGAIN, 1)]
    _, records = played(*replaced, p.answer(Verdict.ALLOW, p.AGAIN, at=5, policies=other))
    [decided] = [record for record in records if isinstance(record, r.PolicyDecided)]
    assert (decided.decision.verdict, decided.subject_digest) == (Verdict.ALLOW, p.OTHER.digest)


def test_what_is_denied_for_its_old_arguments_is_not_saved_by_new_ones() -> None:
    two = p.found(
        remotes=(b.remote_policy(cache=False), b.remote_policy("second", policy_ref="policies.1", cache=False))
    )
    asked = (b.started(PACKAGE), p.asks("send", policies=two), p.answer(Verdict.MODIFY, replacement=p.OTHER))
    _, records = b.play(PACKAGE, *asked, p.heard(1, policies=two), p.answer(Verdict.DENY, p.AGAIN, at=4, policies=two))

    assert decisions(records) == [(Verdict.DENY, "remote.deny")]
    assert not any(isinstance(record, r.SubjectReplaced) for record in records)


def test_a_walk_replaces_three_times_and_then_denies() -> None:
    inputs: list[i.Input] = []
    digest, step = p.ARGUMENTS.digest, 0
    for number in range(1, 5):
        other = b.json_text(f'{{"n":{number}}}')
        question = EffectId(f"p1.1.{number}")
        inputs.append(p.answer(Verdict.MODIFY, question, at=2 + number, replacement=other))
        step = 2 * number - 1
        inputs.append(p.heard(step, at=2 + number, policies=p.found(digest=digest)))
        digest = other.digest
        inputs.append(p.heard(step + 1, at=2 + number, policies=p.found(digest=digest)))

    _, records = played(*inputs)

    assert sum(isinstance(record, r.SubjectReplaced) for record in records) == 3
    assert decisions(records) == [(Verdict.DENY, "policy.too_many_replacements")]


def test_an_answer_counts_again_only_where_it_may_be_cached() -> None:
    for cache, questions in ((True, 1), (False, 2)):
        said = p.found(remotes=(b.remote_policy(cache=cache),))
        state, records = b.play(
            PACKAGE, b.started(PACKAGE), p.asks("send", policies=said), p.answer(Verdict.DENY, policies=said)
        )
        records += decide(PACKAGE, state, p.asks("send", policies=said, round=2))

        asked = [record for record in records if isinstance(record, r.PolicyAsked)]
        assert len(asked) == questions
    cached = records and [record for record in records if isinstance(record, r.PolicyAnswered) and record.cached_from]
    assert cached == []


def test_a_cached_answer_is_of_the_same_tool_and_arguments() -> None:
    said = p.found(remotes=(b.remote_policy(),))
    state, _ = b.play(
        PACKAGE, b.started(PACKAGE), p.asks("send", policies=said), p.answer(Verdict.ALLOW, policies=said)
    )

    other_tool = {cached.tool for cached in state.cached_answers}

    assert other_tool == {"send"}
    [cached] = state.cached_answers
    assert not cached.is_of(b.remote_policy(), PolicyStage.PRE_TOOL, "lookup", p.ARGUMENTS.digest)
    assert not cached.is_of(b.remote_policy(), PolicyStage.PRE_TOOL, "send", p.OTHER.digest)
    assert cached.is_of(b.remote_policy(), PolicyStage.PRE_TOOL, "send", p.ARGUMENTS.digest)


def test_what_was_said_of_a_call_before_the_run_was_tainted_does_not_count_after() -> None:
    said = p.found(remotes=(b.remote_policy(),))
    pages = b.package(
        b.tool("send", effect="write", untrusted=True),
        policy="builtin:read-only",
        policies=[{"remote": "compliance", "cache": True}],
    )
    state, records = b.play(
        pages,
        b.started(pages),
        p.asks("send", policies=said),
        p.answer(Verdict.ALLOW, policies=said),
        i.ExecutorAwaited(at=b.at(3), call_id=b.FIRST_CALL, attempt=0, has_place=True),
        b.returned(),
    )
    assert state.tainted

    records = decide(pages, state, p.asks("send", policies=said, round=2))

    assert kinds(records)[-1] == "PolicyAsked"


def test_a_run_is_held_at_its_start_and_ends_when_that_is_denied() -> None:
    package = p.package("run_start")
    start = b.started(package)
    said = p.found(stage=PolicyStage.RUN_START, digest=start.request_ref.digest)
    question = EffectId("p0.1")
    state, _ = b.play(package, p.started(package, said))
    assert (status(state), list(pending(state).values())) == (RunStatus.WAITING, [e.AskPolicy(question, 1)])

    denied, _ = b.play(package, p.started(package, said), p.answer(Verdict.DENY, question, policies=said))
    assert (denied.is_terminal, denied.stop) == (True, StopReason.POLICY_DENIED)

    limits = Budget(rounds=1)
    lowered, records = b.play(
        package,
        p.started(package, said),
        p.answer(Verdict.MODIFY, question, budget=limits),
        p.heard(1, p.RUN, policies=said),
    )
    assert (lowered.budget.rounds, kinds(records)[-1]) == (1, "SubjectReplaced")

    allowed, _ = b.play(package, p.started(package, said), p.answer(Verdict.ALLOW, question, policies=said))
    assert allowed.model_attempt == 1


def test_an_answer_is_held_and_published_as_it_was_replaced() -> None:
    package, better = p.package("output"), b.text("Better words.")
    said = p.found(stage=PolicyStage.OUTPUT, digest=b.text("Sunny.").digest)
    later = p.found(stage=PolicyStage.OUTPUT, digest=better.digest)
    first, second = EffectId("p1.1"), EffectId("p1.2")
    answered = p.says("Sunny.", said)
    state, _ = b.play(package, b.started(package), answered)
    assert (status(state), list(pending(state).values())) == (RunStatus.WAITING, [e.AskPolicy(first, 1)])

    state, records = b.play(
        package,
        b.started(package),
        answered,
        p.answer(Verdict.MODIFY, first, replacement=better),
        p.heard(1, p.RUN, policies=said),
        p.heard(2, p.RUN, policies=later),
        p.answer(Verdict.ALLOW, second, at=5, policies=later),
    )
    assert isinstance(records[-1], r.RunCompleted) and records[-1].result == better


def test_calls_that_others_hold_up_do_not_hold_up_a_question() -> None:
    state, _ = b.play(PACKAGE, b.started(PACKAGE), p.asks("send", "send"), p.answer(Verdict.ALLOW))

    second = state.call(b.SECOND_CALL)
    assert second is not None and second.phase is CallPhase.REQUESTED
    assert e.AskPolicy(EffectId("p1.2.1"), 1) in pending(state).values()


def test_what_is_asked_about_again_has_passed_nothing_until_it_is_answered() -> None:
    """Rules that change and change back must not let a call go with the question still out."""
    others = tuple(replace(each, operator_digest="sha256:others") for each in p.found())
    state, _ = played(p.answer(Verdict.ALLOW), replace(b.awaited(attempt=0), policies=others))
    assert e.AskPolicy(p.AGAIN, 1) in pending(state).values()

    assert decide(PACKAGE, state, replace(b.awaited(attempt=0, seconds=4), policies=p.found())) == []


def test_what_is_deferred_is_held_until_its_time_and_then_asked_about_again() -> None:
    state, records = played(p.answer(Verdict.DEFER, until=60))
    assert kinds(records)[-1] == "PolicyAnswered"
    assert list(pending(state).values()) == [e.AwaitDeferral(p.ASKED, b.at(60), b.at(2))]
    [wait] = waiting_on(state)
    assert (status(state), wait.kind, wait.effect_id) == (RunStatus.WAITING, WaitKind.POLICY, p.ASKED)
    assert "runwright resume" in wait.unblocked_by

    state, records = played(p.answer(Verdict.DEFER, until=60), p.resumed(at=60))
    assert isinstance(records[-1], r.PolicyResumed) and records[-1].resumed_by == ""
    assert list(pending(state).values()) == [e.HearPolicies(b.FIRST_CALL, 1)]

    state, _ = played(p.answer(Verdict.DEFER, until=60), p.resumed(at=60), p.heard(1, at=60))
    assert list(pending(state).values()) == [e.AskPolicy(p.AGAIN, 1)]


def test_somebody_resumes_it_once_and_is_on_record() -> None:
    who = {"resumed_by": "ann", "reason": "it is over", "request_id": "resume-1"}
    state, records = played(p.answer(Verdict.DEFER, until=60), p.resumed(**who))

    assert isinstance(records[-1], r.PolicyResumed)
    assert (records[-1].resumed_by, records[-1].reason, records[-1].request_id) == tuple(who.values())
    assert decide(PACKAGE, state, p.resumed(**who)) == []
    assert decide(PACKAGE, state, p.resumed(p.AGAIN, **who)) == []


def test_nobody_waits_for_what_another_policy_denies() -> None:
    two = p.found(remotes=(b.remote_policy(cache=False), b.remote_policy("second", policy_ref="policies.1")))
    asked = (b.started(PACKAGE), p.asks("send", policies=two), p.answer(Verdict.DEFER, until=60, policies=two))
    state, _ = b.play(PACKAGE, *asked)
    assert list(pending(state).values()) == [e.AskPolicy(p.AGAIN, 1)], "the later one is heard first"

    _, records = b.play(PACKAGE, *asked, p.answer(Verdict.DENY, p.AGAIN, at=3, policies=two))
    assert decisions(records) == [(Verdict.DENY, "remote.deny")]

    replaced = p.answer(Verdict.MODIFY, p.AGAIN, at=3, replacement=p.OTHER)
    _, records = b.play(PACKAGE, *asked, replaced, p.heard(2, policies=two))
    assert isinstance(records[-1], r.SubjectReplaced), "earlier defers drop"


def test_a_walk_is_deferred_ten_times_and_then_denied() -> None:
    inputs: list[i.Input] = []
    for number in range(1, 12):
        question, at = EffectId(f"p1.1.{number}"), 2.0 + number
        inputs += [p.answer(Verdict.DEFER, question, at=at, until=at), p.resumed(question, at=at)]
        inputs.append(p.heard(number, at=at))

    state, records = played(*inputs)

    assert sum(isinstance(record, r.PolicyResumed) for record in records) == 10
    assert decisions(records) == [(Verdict.DENY, "policy.too_many_defers")]
    assert state.round == 2


def test_a_cancel_ends_a_run_that_is_deferred() -> None:
    state, _ = played(p.answer(Verdict.DEFER, until=60), b.cancelled())

    assert (state.is_terminal, pending(state)) == (True, {})


def test_a_run_held_where_nobody_found_out_what_is_said_ends_instead_of_being_held_for_ever() -> None:
    silent = b.package(policy="builtin:read-only")  # the policy that is asked is the operator's
    asked = p.found(stage=PolicyStage.INPUT, digest="sha256:request")
    held, _ = b.play(silent, p.started(silent, asked), p.answer(Verdict.ALLOW, EffectId("p0.1"), policies=()))
    assert [type(effect) for effect in pending(held).values()] == [e.HearPolicies]

    records = decide(silent, held, replace(p.heard(1, p.RUN), policies=()))

    assert decisions(records) == [(Verdict.DENY, "policy.not_found_out")]
    assert kinds(records)[-1] == "RunFailed"
