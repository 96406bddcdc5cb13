"""Policies: whatever is said of whatever call, nothing is done that the model of policies does not allow.

`python -m tests.properties.policy_runs SEED` plays one run again.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module

import pytest
from msgspec.structs import replace
from runwright.core import apply, apply_policies, policy, policy_chain, policy_walk, state
from runwright.core import records as r
from runwright.core.ids import EffectId, question_subject
from runwright.core.machine import endings, gates, policies, questions, remote_policies, repairs
from runwright.core.machine.step import Step
from runwright.core.outcomes import CallPhase, ResultRelease
from runwright.core.policy import PolicyFindings, PolicyOpinion, Verdict
from runwright.core.records import PolicyAsked, PolicyResumed, SubjectReplaced
from runwright.core.state import RunState
from runwright.runtime.conversations import conversation

from tests.e2e.conftest import SOAK
from tests.properties.policy_runs import check_run

RUNS = 10_000 if SOAK else 400
_SLICE = 200
_ALLOWED = PolicyOpinion(Verdict.ALLOW, "policies.0", "", "wrong", "package")
_ENOUGH = 1_000  # runs in which each bug below is found


def _check(seeds: range) -> set[str]:
    """How these runs ended."""
    return {str(check_run(seed).state.stop) for seed in seeds}


def test_no_effect_is_without_an_allow_and_what_is_denied_reaches_nobody() -> None:
    slices = [range(first, first + _SLICE) for first in range(0, RUNS, _SLICE)]
    with ProcessPoolExecutor(2) as pool:
        ends = set().union(*pool.map(_check, slices))

    assert {"StopReason.END_TURN", "StopReason.POLICY_INTERRUPT"} <= ends


machine = import_module("runwright.core.machine.decide")  # its name in the package is that of its function
Bug = Callable[[pytest.MonkeyPatch], None]
BUGS: dict[str, Bug] = {}


def bug(plant: Bug) -> Bug:
    """Names a bug by its function."""
    BUGS[plant.__name__.strip("_").replace("_", " ")] = plant
    return plant


@bug
def _the_mildest_counts(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(policy, "_STRICTNESS", tuple(reversed(policy._STRICTNESS)))


@bug
def _no_allow_is_an_allow(patch: pytest.MonkeyPatch) -> None:
    right = policies.decided_for_call

    def wrong(*given: object) -> policy.PolicyOpinion:
        opinion = right(*given)  # type: ignore[arg-type]
        is_nobody = opinion.code == policy.NO_ALLOW
        return replace(opinion, verdict=Verdict.ALLOW) if is_nobody else opinion

    patch.setattr(policies, "decided_for_call", wrong)


@bug
def _an_ask_is_an_allow(patch: pytest.MonkeyPatch) -> None:
    right = policies.decided_for_call

    def wrong(*given: object) -> policy.PolicyOpinion:
        opinion = right(*given)  # type: ignore[arg-type]
        return replace(opinion, verdict=Verdict.ALLOW) if opinion.verdict is Verdict.ASK else opinion

    patch.setattr(policies, "decided_for_call", wrong)


@bug
def _findings_count_whatever_they_were_found_for(patch: pytest.MonkeyPatch) -> None:
    right = policies.allow_call

    def wrong(step: object, call: object, found: PolicyFindings | None) -> bool:
        digest = call.arguments.digest  # type: ignore[attr-defined]
        return right(step, call, found and replace(found, subject_digest=digest))  # type: ignore[arg-type]

    patch.setattr(policies, "allow_call", wrong)


@bug
def _a_condition_that_fails_says_nothing(patch: pytest.MonkeyPatch) -> None:
    right = policy_chain.PolicyChain.findings

    def wrong(chain: policy_chain.PolicyChain, effect: str, digest: str, found: list[object]) -> PolicyFindings:
        outcome = policy_chain.Outcome
        mild = [outcome.DOES_NOT_HOLD if each is outcome.FAILED else each for each in found]
        return right(chain, effect, digest, mild)  # type: ignore[arg-type]

    patch.setattr(policy_chain.PolicyChain, "findings", wrong)


@bug
def _rules_that_change_are_not_looked_at_again(patch: pytest.MonkeyPatch) -> None:
    right = gates._is_allowed

    def wrong(step: object, subject: object, found: object) -> bool:
        passed = step.call(subject).passed  # type: ignore[attr-defined]
        return passed is not None or right(step, subject, found)  # type: ignore[arg-type]

    call_gate = gates.GATES[policy.PolicyStage.PRE_TOOL]
    checks = tuple(wrong if check is right else check for check in call_gate.checks)
    patch.setitem(gates.GATES, policy.PolicyStage.PRE_TOOL, replace(call_gate, checks=checks))  # type: ignore[arg-type]


@bug
def _shadow_counts(patch: pytest.MonkeyPatch) -> None:
    right = policy_chain.PolicyChain.findings

    def wrong(*given: object) -> PolicyFindings:
        found = right(*given)  # type: ignore[arg-type]
        return replace(found, opinions=(*found.opinions, *found.shadow))

    patch.setattr(policy_chain.PolicyChain, "findings", wrong)


@bug
def _only_the_first_rule_of_a_policy_is_heard(patch: pytest.MonkeyPatch) -> None:
    right = policy_chain._Heard

    def wrong(enforced: bool, decider: str, builtin: object, rules: tuple[object, ...]) -> object:
        return right(enforced, decider, builtin, rules[:1])  # type: ignore[arg-type]

    patch.setattr(policy_chain, "_Heard", wrong)


@bug
def _the_operator_is_not_heard(patch: pytest.MonkeyPatch) -> None:
    right = policy_chain.PolicyChain.findings

    def wrong(*given: object) -> PolicyFindings:
        found = right(*given)  # type: ignore[arg-type]
        return replace(found, opinions=tuple(each for each in found.opinions if each.decider != policy.OPERATOR))

    patch.setattr(policy_chain.PolicyChain, "findings", wrong)


@bug
def _nothing_is_ever_tainted(patch: pytest.MonkeyPatch) -> None:
    right = apply._closed

    def wrong(state: object, *given: object) -> object:
        return right(state, *given).__replace__(tainted=False)  # type: ignore[arg-type]

    patch.setattr(apply, "_closed", wrong)


@bug
def _an_interrupt_is_only_a_denial(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(apply_policies, "_ended_by_policy", lambda state, _: state)


@bug
def _an_interrupt_closes_nothing_that_runs(patch: pytest.MonkeyPatch) -> None:
    right = endings.close

    def wrong(step: object, ending: object, *, awaits_answers: bool) -> None:
        all_calls = step.calls  # type: ignore[attr-defined]
        left = lambda *phases: all_calls(*(phase for phase in phases if phase is not CallPhase.RUNNING))  # noqa: E731
        step.calls = left  # type: ignore[attr-defined]
        right(step, ending, awaits_answers=awaits_answers)  # type: ignore[arg-type]
        step.calls = all_calls  # type: ignore[attr-defined]

    patch.setattr(endings, "close", wrong)


@bug
def _what_passed_starts_before_an_interrupt(patch: pytest.MonkeyPatch) -> None:
    right = machine._settle

    def wrong(step: object) -> None:
        machine.tools.start_with_places(step)  # type: ignore[arg-type]
        right(step)  # type: ignore[arg-type]

    patch.setattr(machine, "_settle", wrong)


@bug
def _a_denied_call_is_started(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(policies, "allow_call", lambda step, call, _: bool(policies.calls.start(step, call)) or True)


@bug
def _a_remote_policy_that_denies_is_not_heard(patch: pytest.MonkeyPatch) -> None:
    right = policy_walk.SettledAnswer.opinion

    def wrong(settled: policy_walk.SettledAnswer) -> policy.PolicyOpinion:
        opinion = right(settled)
        return replace(opinion, verdict=Verdict.ALLOW) if opinion.verdict is Verdict.DENY else opinion

    patch.setattr(policy_walk.SettledAnswer, "opinion", wrong)


@bug
def _a_question_without_an_answer_is_an_allow(patch: pytest.MonkeyPatch) -> None:
    right = questions.PolicyAnswer
    patch.setattr(questions, "PolicyAnswer", lambda _, *given: right(Verdict.ALLOW, *given))


@bug
def _what_was_said_of_old_arguments_counts_for_new_ones(patch: pytest.MonkeyPatch) -> None:
    right = apply_policies.replaced

    def wrong(state: RunState, record: SubjectReplaced) -> RunState:
        before = state.walk_of(record.subject)
        after = right(state, record)
        assert before is not None
        kept = [each for each in before.answers if each.answer.verdict is not Verdict.MODIFY]
        walk = after.walk_of(record.subject)
        assert walk is not None
        return apply_policies._with_walk(after, record.subject, walk.__replace__(answers=tuple(kept)))

    patch.setattr(apply_policies, "replaced", wrong)


@bug
def _new_arguments_are_not_decided_on_anew(patch: pytest.MonkeyPatch) -> None:
    right = remote_policies._replace

    def wrong(step: Step, subject: EffectId, found: PolicyFindings, changed: policy_walk.SettledAnswer) -> None:
        right(step, subject, found, changed)
        call = step.call(subject)
        assert call.arguments is not None
        said = replace(found, subject_digest=call.arguments.digest, remotes=(), opinions=(_ALLOWED,))
        policies.allow_call(step, call, said)

    patch.setattr(remote_policies, "_replace", wrong)


@bug
def _arguments_are_replaced_without_end(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(remote_policies, "MAX_REPLACEMENTS", 99)


@bug
def _what_is_deferred_is_let_go(patch: pytest.MonkeyPatch) -> None:
    right = remote_policies._decided_or_held

    def wrong(*given: object) -> policy.PolicyOpinion:
        return right(*given) or _ALLOWED  # type: ignore[arg-type]

    patch.setattr(remote_policies, "_decided_or_held", wrong)


@bug
def _what_is_deferred_waits_without_end(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(remote_policies, "MAX_DEFERS", 99)


@bug
def _a_policy_that_deferred_is_not_asked_again(patch: pytest.MonkeyPatch) -> None:
    right = apply_policies.resumed

    def wrong(state: RunState, record: PolicyResumed) -> RunState:
        subject = question_subject(record.effect_id)
        before, after = state.walk_of(subject), right(state, record)
        walk = after.walk_of(subject)
        assert before is not None and walk is not None
        [held] = [each for each in before.answers if each.question == record.effect_id]
        allowed = replace(held, answer=replace(held.answer, verdict=Verdict.ALLOW))
        return apply_policies._with_walk(after, subject, walk.__replace__(answers=(*walk.answers, allowed)))

    patch.setattr(apply_policies, "resumed", wrong)


@bug
def _only_the_first_remote_policy_is_asked(patch: pytest.MonkeyPatch) -> None:
    right = remote_policies.heard
    patch.setattr(
        remote_policies,
        "heard",
        lambda step, who, found, answered=None: right(step, who, replace(found, remotes=found.remotes[:1]), answered),
    )


@bug
def _what_rules_deny_is_asked_about(patch: pytest.MonkeyPatch) -> None:
    right = remote_policies.heard

    def wrong(
        step: Step, subject: EffectId, found: PolicyFindings, answered: str | None = None
    ) -> policy.PolicyOpinion | None:
        milder = [each for each in found.opinions if each.verdict not in (Verdict.DENY, Verdict.INTERRUPT)]
        opinion = right(step, subject, replace(found, opinions=tuple(milder)), answered)
        return opinion and policy.decided(found.stage, [*found.opinions, opinion])

    patch.setattr(remote_policies, "heard", wrong)


@bug
def _an_interrupt_leaves_questions_open(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(endings, "_close_questions", lambda _: None)


@bug
def _the_answer_to_an_attempt_that_was_given_up_counts(patch: pytest.MonkeyPatch) -> None:
    right = questions._of

    def wrong(step: Step, effect_id: EffectId, attempt: int) -> object:
        walk = step.state.walk_of(question_subject(effect_id))
        now = walk.question.attempt if walk is not None and walk.question is not None else attempt
        return right(step, effect_id, max(attempt, now))

    patch.setattr(questions, "_of", wrong)


@bug
def _what_is_asked_about_again_has_passed_still(patch: pytest.MonkeyPatch) -> None:
    right = apply_policies.asked

    def wrong(state: RunState, record: PolicyAsked) -> RunState:
        subject = question_subject(record.effect_id)
        before, after = state.call(subject) if subject else None, right(state, record)
        call = after.call(subject) if subject else None
        if before is None or call is None:
            return after
        return apply_policies.with_call(after, call.__replace__(passed=before.passed))

    patch.setattr(apply_policies, "asked", wrong)


@bug
def _what_is_withheld_is_told(patch: pytest.MonkeyPatch) -> None:
    right = conversation._results

    def wrong(records: list[r.Record]) -> object:
        released = {"release": ResultRelease.RELEASED}
        return right(
            [replace(each, **released) if isinstance(each, r.ToolResultReleased) else each for each in records]
        )

    patch.setattr(conversation, "_results", wrong)


@bug
def _what_is_withheld_taints(patch: pytest.MonkeyPatch) -> None:
    right = apply._closed

    def wrong(state: object, record: object, call_id: object) -> object:
        return apply._told(right(state, record, call_id), state.call(call_id))  # type: ignore[arg-type, attr-defined]

    patch.setattr(apply, "_closed", wrong)


@bug
def _what_is_released_does_not_taint(patch: pytest.MonkeyPatch) -> None:
    right = apply._told
    released = lambda state, call: state if call.awaits_release else right(state, call)  # noqa: E731
    patch.setattr(apply, "_told", released)


@bug
def _the_model_does_not_wait_for_a_release(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(state.CallState, "awaits_release", property(lambda _: False))


@bug
def _what_somebody_resolves_is_not_held(patch: pytest.MonkeyPatch) -> None:
    right = repairs.resolve

    def wrong(step: object, input_: object) -> None:
        patch.setattr(repairs.policies, "are_heard_of_results", lambda *_: False)
        right(step, input_)  # type: ignore[arg-type]
        patch.setattr(repairs.policies, "are_heard_of_results", heard)

    heard = repairs.policies.are_heard_of_results
    patch.setattr(repairs, "resolve", wrong)


@bug
def _the_operator_is_not_heard_of_results(patch: pytest.MonkeyPatch) -> None:
    right = policies.are_heard_of_results
    patch.setattr(policies, "are_heard_of_results", lambda step, _: right(step, by_operator=False))


@bug
def _what_was_found_of_another_result_counts(patch: pytest.MonkeyPatch) -> None:
    right = policies.release

    def wrong(step: object, call: object, found: PolicyFindings) -> None:
        right(step, call, replace(found, subject_digest=call.outcome.digest))  # type: ignore[arg-type, attr-defined]

    patch.setattr(policies, "release", wrong)


@bug
def _a_failure_in_the_words_of_its_tool_is_not_held(patch: pytest.MonkeyPatch) -> None:
    right = policies.calls.fail

    def wrong(*given: object, is_gated: bool, **named: object) -> None:
        right(*given, **named)  # type: ignore[arg-type]

    patch.setattr(policies.calls, "fail", lambda *given, **named: wrong(*given, **{"is_gated": False, **named}))


@bug
def _an_interrupt_over_a_result_goes_on(patch: pytest.MonkeyPatch) -> None:
    right = apply_policies._ended_by_policy

    def wrong(before: RunState, record: r.PolicyDecided) -> RunState:
        return before if record.stage is policy.PolicyStage.POST_TOOL else right(before, record)

    patch.setattr(apply_policies, "_ended_by_policy", wrong)


@bug
def _the_stored_result_is_told_in_the_place_of_another(patch: pytest.MonkeyPatch) -> None:
    right = conversation._results

    def wrong(records: list[r.Record]) -> object:
        released = {"release": ResultRelease.RELEASED, "replacement": None}
        replaced = lambda each: isinstance(each, r.ToolResultReleased) and each.replacement is not None  # noqa: E731
        return right([replace(each, **released) if replaced(each) else each for each in records])

    patch.setattr(conversation, "_results", wrong)


@bug
def _a_replaced_failure_is_told_as_a_success(patch: pytest.MonkeyPatch) -> None:
    right = policies.release

    def wrong(step: Step, call: state.CallState, found: PolicyFindings) -> bool:
        return right(step, replace(call, phase=CallPhase.COMPLETED), found)

    patch.setattr(policies, "release", wrong)


@bug
def _what_is_put_in_the_place_of_a_result_does_not_taint(patch: pytest.MonkeyPatch) -> None:
    right = apply._told
    is_replaced = lambda call: call.policy is not None and call.policy.walk is not None and call.awaits_release  # noqa: E731
    patch.setattr(apply, "_told", lambda state, call: state if is_replaced(call) else right(state, call))


@bug
def _a_replaced_result_is_released_without_a_word(patch: pytest.MonkeyPatch) -> None:
    right = remote_policies._replace

    def wrong(step: Step, subject: EffectId, found: PolicyFindings, changed: policy_walk.SettledAnswer) -> None:
        right(step, subject, found, changed)
        call = step.call(subject)
        if call.awaits_release:
            assert call.outcome is not None
            said = replace(found, subject_digest=call.outcome.digest, remotes=(), opinions=(_ALLOWED,))
            policies.release(step, call, said)

    patch.setattr(remote_policies, "_replace", wrong)


@bug
def _a_result_is_looked_at_again_while_its_policy_is_asked(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(state.CallState, "is_held_by_policy", property(lambda call: call.phase is CallPhase.REQUESTED))


@bug
def _a_remote_policy_in_shadow_mode_counts(patch: pytest.MonkeyPatch) -> None:
    right = remote_policies.heard

    def wrong(
        step: Step, subject: EffectId, found: PolicyFindings, answered: str | None = None
    ) -> policy.PolicyOpinion | None:
        enforced = tuple(replace(remote, shadow=False) for remote in found.remotes)
        return right(step, subject, replace(found, remotes=enforced), answered)

    patch.setattr(remote_policies, "heard", wrong)


@bug
def _a_remote_policy_in_shadow_mode_is_asked_again_and_again(patch: pytest.MonkeyPatch) -> None:
    right = questions._is_given_up

    def wrong(step: Step, question: policy_walk.PolicyQuestion, error: object) -> bool:
        return right(step, replace(question, remote=replace(question.remote, shadow=False)), error)  # type: ignore[arg-type]

    patch.setattr(questions, "_is_given_up", wrong)


@pytest.mark.parametrize("plant", BUGS.values(), ids=BUGS)
def test_a_bug_of_the_machine_is_found(plant: Bug, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)

    with pytest.raises(Exception) as found:
        for seed in range(_ENOUGH):
            check_run(seed)

    assert not isinstance(found.value, TypeError | AttributeError), "the bug itself must run"
