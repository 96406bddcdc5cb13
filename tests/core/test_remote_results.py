"""Remote policies at POST_TOOL, and in shadow mode: what is held, what the model is told, and what changes nothing."""

from __future__ import annotations

import pytest
from runwright.core import effects as e
from runwright.core import inputs as i
from runwright.core import records as r
from runwright.core.apply import fold
from runwright.core.errors import ErrorReason
from runwright.core.machine import decide, pending, status, waiting_on
from runwright.core.outcomes import CallPhase, ResultRelease, RunStatus, StopReason
from runwright.core.policy import PolicyFindings, PolicyOpinion, PolicyStage, Verdict
from runwright.core.state import RunState

from tests.core import builders as b
from tests.core import policy_builders as p

PACKAGE = p.of_results()
DENY = PolicyOpinion(Verdict.DENY, "policies.2", "policies.2.rules.0", "no", "package")
OTHER = p.asked_of(digest=p.OTHER_RESULT.digest)


def played(*inputs: i.Input, tool: str = "send", ok: bool = True) -> tuple[RunState, list[r.Record]]:
    """A run whose call came to something, and what happens then."""
    return b.play(PACKAGE, b.started(PACKAGE), p.sent(tool), p.came(ok=ok), *inputs)


def names(records: list[r.Record]) -> list[str]:
    """What the records are called."""
    return [type(record).__name__ for record in records]


def released(records: list[r.Record]) -> list[r.ToolResultReleased]:
    """What the model was told."""
    return [record for record in records if isinstance(record, r.ToolResultReleased)]


def test_the_question_goes_out_with_the_result_and_the_model_is_not_asked_meanwhile() -> None:
    state, records = played()

    assert names(records)[-2:] == ["ToolCompleted", "PolicyAsked"]
    assert isinstance(records[-1], r.PolicyAsked)
    assert (records[-1].stage, records[-1].subject_digest) == (PolicyStage.POST_TOOL, p.RESULT.digest)
    assert list(pending(state).values()) == [e.AskPolicy(p.ASKED, 1)]
    assert status(state) is RunStatus.WAITING
    assert [wait.subject for wait in waiting_on(state)] == ["compliance"]


@pytest.mark.parametrize("tool", ["send", "lookup"])
def test_what_it_allows_is_released_and_taints_what_a_stranger_may_have_said(tool: str) -> None:
    state, records = played(p.answer(Verdict.ALLOW, policies=p.asked_of()), tool=tool)

    assert names(records)[-4:] == ["PolicyAnswered", "PolicyDecided", "ToolResultReleased", "ModelAttemptStarted"]
    assert [each.release for each in released(records)] == [ResultRelease.RELEASED]
    assert state.tainted is (tool == "lookup")


@pytest.mark.parametrize(
    "failed",
    [
        p.answer(Verdict.DENY, policies=p.asked_of()),
        p.fails(ErrorReason.POLICY_ANSWER_INVALID, policies=p.asked_of()),
        p.answer(Verdict.ALLOW, policies=p.asked_of(DENY)),
        p.answer(Verdict.ALLOW, policies=p.asked_of(digest="sha256:other")),
    ],
    ids=["denied", "no answer", "a rule denies by then", "found for something else"],
)
def test_whatever_is_no_allow_of_this_result_withholds_it(failed: i.Input) -> None:
    state, records = played(failed, tool="lookup")

    assert [each.release for each in released(records)] == [ResultRelease.WITHHELD]
    assert not state.tainted
    assert state.round == 2


def test_what_rules_deny_is_not_asked_about() -> None:
    came = p.came(policies=p.asked_of(DENY))
    _, records = b.play(PACKAGE, b.started(PACKAGE), p.sent(), came)

    assert not any(isinstance(record, r.PolicyAsked) for record in records)
    assert [each.code for each in released(records)] == ["no"]


def test_an_interrupt_over_a_result_ends_the_run_with_nothing_open() -> None:
    state, records = played(p.answer(Verdict.INTERRUPT, policies=p.asked_of()))

    assert (state.stop, pending(state), state.is_terminal) == (StopReason.POLICY_INTERRUPT, {}, True)
    assert [each.release for each in released(records)] == [ResultRelease.WITHHELD]


@pytest.mark.parametrize("ok", [True, False])
def test_a_replaced_result_is_decided_on_anew_and_told_as_what_the_call_was(ok: bool) -> None:
    replaced = p.answer(Verdict.MODIFY, replacement=p.OTHER_RESULT)
    state, _ = played(replaced, tool="lookup", ok=ok)
    assert list(pending(state).values()) == [e.HearPolicies(b.FIRST_CALL, 1)]

    state, records = played(
        replaced,
        p.heard(1, policies=p.asked_of()),
        p.heard(2, policies=OTHER),
        p.answer(Verdict.ALLOW, p.AGAIN, at=4, policies=OTHER),
        tool="lookup",
        ok=ok,
    )

    [told] = released(records)
    assert (told.release, told.replacement, told.failed) == (ResultRelease.REPLACED, p.OTHER_RESULT, not ok)
    [decided] = [each for each in records if isinstance(each, r.PolicyDecided) and each.stage is PolicyStage.POST_TOOL]
    assert decided.subject_digest == p.OTHER_RESULT.digest
    [came] = [each for each in records if isinstance(each, r.ToolCompleted | r.ToolFailed)]
    assert (came.result if isinstance(came, r.ToolCompleted) else came.message) == p.RESULT, "on record as it was"
    assert state.tainted, "what was put there may hold what a stranger said"


def test_a_denial_of_the_replacement_withholds_both() -> None:
    _, records = played(
        p.answer(Verdict.MODIFY, replacement=p.OTHER_RESULT),
        p.heard(1, policies=p.asked_of()),
        p.heard(2, policies=p.asked_of(DENY, digest=p.OTHER_RESULT.digest)),
    )

    [told] = released(records)
    assert (told.release, told.replacement, told.code) == (ResultRelease.WITHHELD, None, "no")


def test_a_restart_with_the_question_out_asks_again_and_releases_nothing_before() -> None:
    state, records = played(i.Recovered(at=b.at(3)))

    assert list(pending(state).values()) == [e.AskPolicy(p.ASKED, 2)]
    assert released(records) == []
    assert decide(PACKAGE, state, p.answer(Verdict.ALLOW, attempt=1, policies=p.asked_of())) == []


def test_a_deferred_result_holds_the_model_until_its_time_and_its_policy_is_asked_again() -> None:
    state, _ = played(p.answer(Verdict.DEFER, until=60, policies=p.asked_of()))

    assert list(pending(state).values()) == [e.AwaitDeferral(p.ASKED, b.at(60), b.at(2))]
    assert status(state) is RunStatus.WAITING
    assert decide(PACKAGE, state, i.ResultEvaluated(at=b.at(3), call_id=b.FIRST_CALL, attempt=1, policies=())) == []
    state = fold(state, decide(PACKAGE, state, p.resumed(at=60)))
    assert list(pending(state).values()) == [e.HearPolicies(b.FIRST_CALL, 1)]
    state = fold(state, decide(PACKAGE, state, p.heard(1, at=60, policies=p.asked_of())))
    assert list(pending(state).values()) == [e.AskPolicy(p.AGAIN, 1)]


def test_a_cancel_closes_the_question_and_the_model_is_told_nothing() -> None:
    state, records = played(b.cancelled())

    assert (state.is_terminal, released(records)) == (True, [])
    [answered] = [record for record in records if isinstance(record, r.PolicyAnswered)]
    assert answered.error is not None and answered.error.reason is ErrorReason.CANCELLED


def test_an_answer_about_a_result_counts_again_only_with_the_arguments_it_was_seen_with() -> None:
    cached = p.asked_of(cache=True)
    answered = p.answer(Verdict.ALLOW, policies=cached)
    came = p.came(policies=cached)
    state, _ = b.play(PACKAGE, b.started(PACKAGE), p.sent(), came, answered)

    [known] = state.cached_answers

    [remote] = cached[0].remotes
    assert known.is_of(remote, PolicyStage.POST_TOOL, "send", f"{p.RESULT.digest} {p.ARGUMENTS.digest}")
    assert not known.is_of(remote, PolicyStage.POST_TOOL, "send", f"{p.RESULT.digest} {p.OTHER.digest}")


SHADOW = p.package(mode="shadow")
ALLOWED = PolicyOpinion(Verdict.ALLOW, "policies.1", "", "tool.declared", "package")


def shadowed(*opinions: PolicyOpinion) -> tuple[PolicyFindings, ...]:
    """What the edge finds where a remote policy is in shadow mode."""
    return p.found(*(opinions or (ALLOWED,)), remotes=(b.remote_policy(shadow=True, cache=False),))


def in_shadow(*inputs: i.Input) -> tuple[RunState, list[r.Record]]:
    """A run whose one call is allowed, and which a policy in shadow mode is asked about."""
    return b.play(SHADOW, b.started(SHADOW), p.asks("send", policies=shadowed()), *inputs)


@pytest.mark.parametrize(
    "said",
    [
        p.answer(Verdict.ALLOW, policies=shadowed()),
        p.answer(Verdict.DENY, policies=shadowed()),
        p.answer(Verdict.INTERRUPT, policies=shadowed()),
        p.answer(Verdict.DEFER, until=60, policies=shadowed()),
        p.fails(ErrorReason.POLICY_TIMED_OUT, policies=shadowed()),
        p.fails(ErrorReason.POLICY_UNAVAILABLE, policies=shadowed()),
    ],
    ids=["allow", "deny", "interrupt", "defer", "slow", "away"],
)
def test_what_a_policy_in_shadow_mode_says_is_on_record_and_changes_nothing(said: i.PolicyReplied) -> None:
    state, records = in_shadow(said)

    [decided] = [record for record in records if isinstance(record, r.PolicyDecided)]
    verdict = said.answer.verdict if said.answer is not None else Verdict.DENY
    assert (decided.decision.verdict, decided.policy_ref) == (Verdict.ALLOW, "policies.1")
    assert [(each.verdict, each.policy_ref) for each in decided.shadow] == [(verdict, "policies.0")]
    assert [type(effect) for effect in pending(state).values()] == [e.AwaitExecutor]


def test_what_a_policy_in_shadow_mode_would_put_there_is_put_nowhere() -> None:
    state, records = in_shadow(p.answer(Verdict.MODIFY, replacement=p.OTHER), p.heard(1, policies=shadowed()))

    assert not any(isinstance(record, r.SubjectReplaced) for record in records)
    call = state.call(b.FIRST_CALL)
    assert call is not None and (call.arguments, call.phase) == (p.ARGUMENTS, CallPhase.REQUESTED)
    [decided] = [record for record in records if isinstance(record, r.PolicyDecided)]
    assert [each.verdict for each in decided.shadow] == [Verdict.MODIFY]


def test_a_restart_does_not_ask_a_policy_in_shadow_mode_again() -> None:
    state, records = in_shadow(i.Recovered(at=b.at(3)))

    assert list(pending(state).values()) == [e.HearPolicies(b.FIRST_CALL, 1)]
    assert sum(isinstance(record, r.PolicyAsked) for record in records) == 1
    records = decide(SHADOW, state, p.heard(1, at=4, policies=shadowed()))
    [decided] = [record for record in records if isinstance(record, r.PolicyDecided)]
    assert [each.code for each in decided.shadow] == ["policy.lost"]


def test_a_policy_in_shadow_mode_is_asked_last_and_of_nothing_that_is_denied_or_about_to_be_replaced() -> None:
    remotes = (
        b.remote_policy(shadow=True, cache=False),
        b.remote_policy("second", policy_ref="policies.1", cache=False),
    )
    two = p.found(remotes=remotes)
    denied = p.found(DENY, remotes=remotes)
    start = (b.started(SHADOW), p.asks("send", policies=two))

    _, records = b.play(SHADOW, *start, p.answer(Verdict.ALLOW, policies=two))
    assert [each.remote.policy for each in records if isinstance(each, r.PolicyAsked)] == ["second", "compliance"]
    _, records = b.play(SHADOW, *start, p.answer(Verdict.DENY, policies=two))
    assert [each.remote.policy for each in records if isinstance(each, r.PolicyAsked)] == ["second"]
    changed = p.answer(Verdict.MODIFY, replacement=p.OTHER)
    _, records = b.play(SHADOW, *start, changed, p.heard(1, policies=two))
    assert [each.remote.policy for each in records if isinstance(each, r.PolicyAsked)] == ["second"]
    assert isinstance(records[-1], r.SubjectReplaced)
    _, records = b.play(SHADOW, b.started(SHADOW), p.asks("send", policies=denied))
    assert not any(isinstance(record, r.PolicyAsked) for record in records)
