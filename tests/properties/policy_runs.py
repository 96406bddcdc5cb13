"""Random runs under random policies, each checked against `policy_model` as it goes.

A run follows from its seed alone. One again: `python -m tests.properties.policy_runs SEED`; many, from a seed on:
`python -m tests.properties.policy_runs SEED COUNT`.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import Any

from msgspec.structs import replace
from runwright.adapters.condition_worker import evaluated
from runwright.core import effects as e
from runwright.core import inputs as i
from runwright.core import records as r
from runwright.core.apply import fold
from runwright.core.approvals import ApprovalVerdict, Decider
from runwright.core.content import JSON, Content, ContentRef
from runwright.core.errors import ErrorReason, Failure
from runwright.core.ids import EffectId, call_effect_id, question_subject
from runwright.core.machine import decide, pending
from runwright.core.machine.holds import walks_of
from runwright.core.outcomes import CallPhase, FinishReason, Resolution, ResultRelease, StopReason
from runwright.core.package import RuntimePackage
from runwright.core.policy import PolicyFindings, PolicyStage, Verdict
from runwright.core.policy_chain import OperatorRules, Outcome
from runwright.core.policy_rules import PolicySpec
from runwright.core.policy_walk import PolicyAnswer
from runwright.core.references import refs
from runwright.core.state import CallState, RunState
from runwright.ports.provider import ToolResultMessage
from runwright.runtime.conversations.conversation import messages_of
from runwright.runtime.policies import CallFacts, Result, RunFacts, subject_of_call, subject_of_result

from tests.core import builders as b
from tests.properties import policy_model as model

_OUTCOMES = {"H": Outcome.HOLDS, "D": Outcome.DOES_NOT_HOLD, "F": Outcome.FAILED}
_WORDS = {
    Verdict.DEFER: "defer",
    Verdict.ALLOW: "allow",
    Verdict.ASK: "ask",
    Verdict.DENY: "deny",
    Verdict.INTERRUPT: "interrupt",
}
_TEXT = b.text("words")
_STOP = [{"rules": [{"if": "always", "then": "interrupt"}]}]
# What a remote policy does with a call. The last three come to no answer, and so to a denial.
_ANSWERS = (
    ("allow",) * 5 + ("replaces",) * 3 + ("deny", "ask", "interrupt", "defer", "defer", "lost", "away", "unusable")
)
_NO_ANSWER = {"lost": ErrorReason.POLICY_LOST, "away": ErrorReason.POLICY_UNAVAILABLE}
_VERDICTS = {word: verdict for verdict, word in _WORDS.items()}
_EFFECTS = ("read", "write", "network", "process")


def random_policies(rng: Random, most: int) -> list[dict[str, Any]]:
    """Policies of one owner, as the model has them."""
    policies: list[dict[str, Any]] = []
    for _ in range(rng.randint(0, most)):
        if rng.random() < 0.45:
            policies.append({"builtin": rng.choice(["read-only", "allow-declared"])})
            continue
        thens = ["allow", "allow", "deny", "ask", "interrupt"] if rng.random() < 0.5 else ["allow", "deny", "ask"]
        conditions = [name for name in model.CONDITIONS if name != "always" or rng.random() < 0.3]
        rules: list[dict[str, Any]] = [
            {"if": rng.choice(conditions), "then": rng.choice(thens)} for _ in range(rng.randint(1, 3))
        ]
        if rng.random() < 0.4:
            words = ["allow", "allow", "deny", "deny", *(["interrupt"] if rng.random() < 0.3 else [])]
            rules.append({"stage": "post_tool", "if": rng.choice([*model.RESULTS]), "then": rng.choice(words)})
        shadow = {"mode": "shadow"} if rng.random() < 0.15 else {}
        policies.append({"rules": rules, **shadow})
    return policies


def _random_remote(rng: Random, name: str, is_about_results: bool) -> dict[str, Any]:
    """A remote policy that is asked about calls, about results, or about both."""
    policy: dict[str, Any] = {"remote": name, "max_attempts": 2}
    if is_about_results:
        policy["stages"] = ["post_tool"]
    elif rng.random() < 0.3:
        policy["stages"] = ["pre_tool", "post_tool"]
    if rng.random() < 0.3:
        policy["cache"] = True
    if rng.random() < 0.2:
        policy["mode"] = "shadow"
    return policy


def _gone_by(about: model.Subject) -> object:
    """What a policy that defers goes by: nothing that becomes true of the same subject later, as taint does."""
    return (about.tool, about.path, about.size) if isinstance(about, model.Call) else about.text


class PolicyRun:
    """One run, with a world that does what the run wants, and a model of what it may want."""

    def __init__(self, seed: int) -> None:
        rng = self.rng = Random(seed)
        self.policies = random_policies(rng, 3) or [{"builtin": "allow-declared"}]
        self.seed = seed
        # Some runs are about results alone: elsewhere few calls come so far. In others one call of an answer passes and
        # another one ends the run.
        self.is_about_results = seed % 8 == 3
        if self.is_about_results:
            self.policies = [{"builtin": "allow-declared"}]
        if seed % 8 == 5:
            ends = {"if": rng.choice(["is large", "has a path"]), "then": "interrupt"}
            self.policies = [{"builtin": "allow-declared"}, {"rules": [ends]}]
        if self.is_about_results or rng.random() < 0.5:
            self.policies += [
                _random_remote(rng, name, self.is_about_results) for name in ("first", "second")[: rng.randint(1, 2)]
            ]
        self.operator = [] if self.is_about_results else random_policies(rng, 1)
        self.package = self._random_package()
        self.state: RunState = b.NEW
        self.records: list[r.Record] = []
        self.now = b.T0
        self.is_tainted = False  # whether the model has seen what a stranger may have said
        self.expected: dict[EffectId, str] = {}  # what may become of a call, by the rules as they were looked at last
        self.calls: dict[EffectId, model.Call] = {}
        self.arguments: dict[EffectId, Content] = {}
        self.lies: set[EffectId] = set()  # calls whose findings are another one's
        self.approved: set[EffectId] = set()  # by somebody who was asked
        self.performed: list[EffectId] = []  # what an executor has got
        self.replacements: Counter[EffectId] = Counter()
        self.defers: Counter[EffectId] = Counter()
        self.deferred: Counter[tuple[str, object]] = Counter()
        self.answered: dict[EffectId, list[str]] = {}  # which remote policies have, about a call as it is
        self.came: dict[EffectId, model.Came] = {}  # to what a call came, as the world knows
        self.released: dict[EffectId, str] = {}  # what must be decided on that, by the rules when they are looked at
        self.held: set[EffectId] = set()  # the calls of which the model must hear nothing yet
        self.withheld: set[EffectId] = set()
        self.hidden: dict[EffectId, list[str]] = {}  # what a call came to, and the model must not see
        self.replaced: dict[EffectId, str] = {}  # what it must see in the place of that
        self.contents: dict[str, bytes] = {}
        self.resolutions = 0

    def play(self) -> None:
        """From the start to the end of the run, or until a call of unknown outcome holds it up."""
        self._give(b.started(self.package))
        for _ in range(120):
            wanted = list(pending(self.state).values())
            self.now += b.SECOND
            unknown = [call for call in self.state.calls if call.phase is CallPhase.UNKNOWN]
            if unknown and (not wanted or self.rng.random() < 0.2) and self.rng.random() < 0.9:
                self._give(self._resolution(self.rng.choice(unknown)))
                continue
            if not wanted:
                break
            self.now += b.SECOND
            if self.rng.random() < (0.03 if self.is_about_results else 0.3) and self.seed % 5 != 1:
                self.operator = _STOP if self.rng.random() < 0.3 else random_policies(self.rng, 2)
            if self.rng.random() < 0.02:
                self._give(i.Recovered(at=self.now))
                continue
            self._give(self._outcome(self.rng.choice(wanted)))
        self._check_whole()

    def _random_package(self) -> RuntimePackage:
        rng = self.rng
        tools = [
            b.tool(
                f"tool_{number}",
                effect=rng.choice(_EFFECTS),
                idempotent=rng.random() < 0.5,
                untrusted=rng.random() < 0.3,
                risk=rng.choice([None, "low", "high", "critical"]),
            )
            for number in range(rng.randint(1, 4))
        ]
        budget = {"rounds": 4, "tool_calls": rng.randint(4, 24), "parallel_calls": rng.randint(1, 3)}
        as_file = model.as_file(self.policies)
        return b.package(*tools, policy="builtin:read-only", policies=as_file, budget=budget)

    def _rules(self) -> OperatorRules:
        policies = tuple(PolicySpec.model_validate(policy) for policy in model.as_file(self.operator))
        return OperatorRules(policies, json.dumps(self.operator) if policies else "")

    def _give(self, input_: i.Input) -> None:
        new = decide(self.package, self.state, input_)
        for record in new:
            self._check(record)
        self.state = fold(self.state, new)
        self.records += new

    def _outcome(self, effect: e.Effect) -> i.Input:
        rng = self.rng
        match effect:
            case e.CallModel():
                return self._model(effect)
            case e.CallTool():
                self.performed.append(effect.call_id)
                assert self._may_run(effect.call_id), "what is denied never reaches an executor"
                dice, ids = rng.random(), {"at": self.now, "call_id": effect.call_id, "attempt": effect.attempt}
                if dice < 0.75:
                    ok = dice < 0.6
                    result, said = self._came(effect.call_id, ok=ok), tuple[PolicyFindings, ...]()
                    if model.are_results_heard(self.policies, self.operator) and rng.random() < 0.5:
                        said = (self._found_of_result(effect.call_id),)
                    return i.ToolReturned(
                        ok=ok, result=result, is_gated=model.are_results_heard(self.operator), policies=said, **ids
                    )
                if dice < 0.9:
                    return i.ToolNotSent(**ids)
                return i.ToolOutcomeUnknown(reason=ErrorReason.EXECUTOR_LOST, **ids)
            case e.AwaitExecutor():
                return self._place(effect)
            case e.AwaitApproval():
                return self._approval(effect)
            case e.AskPolicy():
                return self._answer(effect)
            case e.HearPolicies():
                said = (self._found_again(effect.subject),)
                return i.PoliciesHeard(at=self.now, subject=effect.subject, step=effect.step, policies=said)
            case e.AwaitDeferral():
                self.now = max(self.now, effect.due) if rng.random() < 0.5 else self.now
                by = {} if self.now >= effect.due else {"resumed_by": "ann", "request_id": f"resume-{self.now}"}
                return i.ResumeRequested(at=self.now, effect_id=effect.effect_id, **by)
            case e.AwaitPolicy():
                is_there = (
                    rng.random() < 0.6 or self._word(effect.policy, self._asked_about(effect.effect_id)) != "away"
                )
                self.now = max(self.now, effect.not_before if is_there else effect.give_up_at)
                return i.PolicyAwaited(
                    at=self.now, effect_id=effect.effect_id, attempt=effect.attempt, is_there=is_there
                )
            case e.EvaluateResult():
                said = (self._found_of_result(effect.call_id),)
                return i.ResultEvaluated(at=self.now, call_id=effect.call_id, attempt=effect.attempt, policies=said)
            case e.AwaitRetry():
                self.now = max(self.now, effect.due)
                return i.RetryDue(at=self.now, round=effect.round, attempt=effect.attempt)
            case e.WaitForCancelDeadline():
                self.now = max(self.now, effect.due)
                return i.CancelDeadlinePassed(at=self.now)
        raise AssertionError(effect)

    def _may_run(self, call_id: EffectId) -> bool:
        word = self.expected[call_id]
        return word == "allow" or (word == "ask" and call_id in self.approved)

    def _approval(self, effect: e.AwaitApproval) -> i.Input:
        """Somebody approves or denies a call, under the rules as they are then; or nobody does."""
        which = {"at": self.now, "call_id": effect.call_id, "approval_id": effect.approval_id}
        if self.rng.random() < 0.2:
            self.now = which["at"] = max(self.now, effect.due)
            return i.ApprovalDue(**which)
        verdict = self.rng.choice([ApprovalVerdict.APPROVE, ApprovalVerdict.APPROVE, ApprovalVerdict.DENY])
        call = self.state.call(effect.call_id)
        assert call is not None and call.approval is not None
        said: tuple[PolicyFindings, ...] = ()
        if verdict is ApprovalVerdict.APPROVE:
            self.approved.add(effect.call_id)
            said = self._found_if_changed(effect.call_id)
        return i.ApprovalDecisionRequested(
            digest=call.approval.digest,
            verdict=verdict,
            decider=Decider("bob", ("approver",)),
            request_id="decision-1",
            request_digest="",
            availability=self.rng.choice([i.Availability.HELD, i.Availability.BUSY]),
            policies=said,
            **which,
        )

    def _came(self, call_id: EffectId, *, ok: bool) -> ContentRef:
        """What a call comes to, at a place that the model can be shown to have seen or not."""
        words = self.rng.choice(["words", "a secret", "many secret words"])
        content = Content.text(f"{words} of {call_id}")
        self.came[call_id] = model.Came(self.calls[call_id], ok, content.data.decode())
        self.hidden[call_id] = []
        self.contents[content.ref.digest] = content.data
        return content.ref

    def _resolution(self, call: CallState) -> i.Input:
        """Somebody says what became of a call, whoever that is and whatever they say."""
        resolution = self.rng.choice([*Resolution, Resolution.HAPPENED, Resolution.FAILED, Resolution.TRY_AGAIN])
        has_words = resolution in (Resolution.HAPPENED, Resolution.FAILED)
        self.resolutions += 1
        return i.ResolutionRequested(
            at=self.now,
            call_id=call.call_id,
            attempt=call.attempt,
            resolution=resolution,
            resolved_by="ann",
            reason="",
            request_id=f"decision-{self.resolutions}",
            request_digest="",
            result=self._came(call.call_id, ok=resolution is Resolution.HAPPENED) if has_words else None,
            grace_us=b.SECOND,
            is_gated=model.are_results_heard(self.operator),
        )

    def _model(self, effect: e.CallModel) -> i.Input:
        rng = self.rng
        answer = {"at": self.now, "round": effect.round, "attempt": effect.attempt, "text": _TEXT}
        if rng.random() < 0.15:
            return i.ModelReplied(finish=FinishReason.STOP, **answer)
        calls = []
        most = 1 if self.seed % 5 == 1 else 4  # or the world's turns are over before a policy has deferred often enough
        for index in range(1, rng.randint(1, most) + 1):
            calls.append(self._call(call_effect_id(effect.round, index), index))
        return i.ModelReplied(finish=FinishReason.TOOL_CALLS, calls=tuple(calls), **answer)

    def _call(self, call_id: EffectId, index: int) -> i.RequestedCall:
        rng, tool = self.rng, self.rng.choice(self.package.tools)
        path, size = rng.choice([None, "/srv/out/a", "/etc/passwd"]), rng.choice([0, 1, 5, 11, 2**53 - 1])
        self.calls[call_id] = model.Call(
            tool.name, tool.effect.value, tool.risk or "", path, size, self.is_tainted, self.state.usage.rounds
        )
        content = self.arguments[call_id] = _content(self.calls[call_id])
        found = self._found(call_id, index, self.is_tainted)
        self.expected[call_id] = self._verdict(self.calls[call_id])
        if rng.random() < 0.03:
            self.lies.add(call_id)
            self.expected[call_id] = "deny"
            found = replace(found, subject_digest="sha256:other")
        available = rng.choice([i.Availability.HELD, i.Availability.HELD, i.Availability.BUSY])
        findings = i.Findings(availability=available, policies=(found,))
        return i.RequestedCall(tool.name, f"p-{call_id}", content.ref, findings)

    def _word(self, policy: str, about: model.Subject) -> str:
        """What a remote policy does with a call or a result: always the same with the same."""
        if self.seed % 5 < 2:  # a policy that is never content, or never done
            return "replaces" if self.seed % 5 == 0 else "defer"
        if isinstance(about, model.Came):  # nobody can be asked about what has happened
            return Random(f"{self.seed} {policy} {about.text}").choice([word for word in _ANSWERS if word != "ask"])
        return Random(f"{self.seed} {policy} {about.tool} {about.path} {about.size}").choice(_ANSWERS)

    def _says(self, policy: str, about: model.Subject) -> model.Answer:
        """The same in the words of the model. A policy that defers says something else at some time, or never."""
        word = self._word(policy, about)
        if word == "defer":
            patience = 99 if self.seed % 5 == 1 else self.seed % 4
            return "defer" if self.deferred[policy, _gone_by(about)] < patience else "allow"
        if word != "replaces":
            return word if word in model.SEVERITY else "deny"
        if isinstance(about, model.Came):
            return model.Replaced(model.Came(about.call, about.ok, _other_words(about.text)))
        return model.Replaced(model.Call(**{**about.__dict__, "size": (about.size + 3) % 2**53}))

    def _asked_about(self, question: EffectId) -> model.Subject:
        subject = question_subject(question)
        assert subject is not None
        return self.came[subject] if subject in self.held else self.calls[subject]

    def _answer(self, effect: e.AskPolicy) -> i.Input:
        """What a host says, or does not."""
        subject = question_subject(effect.effect_id)
        assert subject is not None
        walk = self.state.walk_of(subject)
        assert walk is not None and walk.question is not None
        name, about = walk.question.remote.policy, self._asked_about(effect.effect_id)
        ids = {"at": self.now, "effect_id": effect.effect_id, "attempt": effect.attempt}
        if effect.attempt > 1:
            late = i.PolicyReplied(**{**ids, "attempt": effect.attempt - 1}, answer=PolicyAnswer(Verdict.ALLOW, "late"))
            assert decide(self.package, self.state, late) == [], "the answer to an attempt that was given up is none"
        said, word = (self._found_again(subject),), self._word(name, about)
        if word not in model.SEVERITY and word != "replaces":
            reason = _NO_ANSWER.get(word, ErrorReason.POLICY_ANSWER_INVALID)
            return i.PolicyReplied(error=Failure(reason, "It does not say."), policies=said, **ids)
        if effect.attempt == 1 and self.rng.random() < 0.2:  # and then it answers after all
            return i.PolicyReplied(error=Failure(ErrorReason.POLICY_TIMED_OUT, "Late."), policies=said, **ids)
        answer = self._says(name, about)
        if answer == "defer":
            made = PolicyAnswer(Verdict.DEFER, "later", defer_until=self.now + b.SECOND)
            return i.PolicyReplied(answer=made, policies=said, **ids)
        if isinstance(answer, model.Replaced):
            replacement = _content(answer.subject)
            self.contents[replacement.ref.digest] = replacement.data
            made = PolicyAnswer(Verdict.MODIFY, "other", "", replacement.ref)
            return i.PolicyReplied(answer=made, contents=(replacement,), **ids)
        return i.PolicyReplied(answer=PolicyAnswer(_VERDICTS[answer], "said"), policies=said, **ids)

    def _found_again(self, subject: EffectId) -> PolicyFindings:
        if subject in self.held:
            return self._found_of_result(subject)
        return self._found(subject, int(subject.rpartition(".")[2]), self.calls[subject].tainted)

    def _verdict(self, call: model.Call) -> str:
        """What must become of a call; where remote policies are asked that is said when all have answered."""
        is_asked = model.is_anybody_asked(self.policies, self.operator)
        return "asked" if is_asked else model.verdict(call, self.policies, self.operator)

    def _outcome_of(self, call_id: EffectId) -> model.Answer:
        """What the model says of a call or its result, as that stands now."""
        if call_id in self.lies and call_id not in self.held:
            return "deny"
        replaced = self.replacements[call_id]
        answered = self.answered.get(call_id, [])
        about = self.came[call_id] if call_id in self.held else self.calls[call_id]
        answer = model.outcome(about, replaced, answered, self._says, self.policies, self.operator)
        return "deny" if answer == "defer" and self.defers[call_id] > model.MOST_DEFERS else answer

    def _place(self, effect: e.AwaitExecutor) -> i.Input:
        self.now = max(self.now, effect.not_before)
        said = self._found_if_changed(effect.call_id)
        return i.ExecutorAwaited(
            at=self.now,
            call_id=effect.call_id,
            attempt=effect.attempt,
            has_place=True,
            give_up_at=effect.give_up_at,
            policies=said,
        )

    def _found_if_changed(self, call_id: EffectId) -> tuple[PolicyFindings, ...]:
        """What the edge finds of a call that is about to be sent; nothing where the rules are those on record."""
        call, on_record = self.state.call(call_id), ""
        assert call is not None
        if call.policy is not None:
            on_record = call.policy.operator_digest
        if self._rules().digest == on_record:
            return ()
        facts = self.calls[call_id]
        self.calls[call_id] = facts = model.Call(**{**facts.__dict__, "rounds": self.state.usage.rounds})
        self.expected[call_id] = self._verdict(facts)
        return (self._found(call_id, int(call_id.rpartition(".")[2]), facts.tainted),)

    def _found(self, call_id: EffectId, index: int, tainted: bool) -> PolicyFindings:
        """What the edge finds: the conditions in CEL, over the arguments."""
        content, chain = self.arguments[call_id], self.package.chain(PolicyStage.PRE_TOOL, self._rules())
        tool = self.package.tool(self.calls[call_id].tool)
        assert tool is not None
        facts = CallFacts(self.state.round, index, tainted, content.ref)
        subject = subject_of_call(RunFacts.of(self.state), tool, facts, json.loads(content.data))
        letters = evaluated(chain.conditions, subject.variables)
        return chain.findings(subject.effect, subject.digest, [_OUTCOMES[letter] for letter in letters])

    def _found_of_result(self, call_id: EffectId) -> PolicyFindings:
        """What the edge finds of what a call came to, and what must be decided then; now and then of something else."""
        came, chain = self.came[call_id], self.package.chain(PolicyStage.POST_TOOL, self._rules())
        tool, arguments = self.package.tool(came.call.tool), self.arguments[call_id]
        assert tool is not None
        facts = CallFacts(self.state.round, int(call_id.rpartition(".")[2]), came.call.tainted, arguments.ref)
        asked = subject_of_call(RunFacts.of(self.state), tool, facts, json.loads(arguments.data))
        said = Content.text(came.text)
        subject = subject_of_result(asked, Result(came.ok, said.ref, said.data))
        found = chain.findings(
            subject.effect,
            subject.digest,
            [_OUTCOMES[letter] for letter in evaluated(chain.conditions, subject.variables)],
        )
        self.released[call_id] = "asked"
        if self.rng.random() < 0.03:
            self.released[call_id] = "deny"
            return replace(found, subject_digest="sha256:other")
        return found

    def _check(self, record: r.Record) -> None:
        """One record against the model."""
        match record:
            case r.PolicyDecided(stage=PolicyStage.POST_TOOL, subject=str() as call_id):
                assert call_id in self.held, "only what is held is decided on"
                if self.released[call_id] == "asked":
                    answer = self._outcome_of(call_id)
                    assert isinstance(answer, str), f"what came of {call_id} is decided and must be replaced"
                    self.released[call_id] = answer
                self.answered[call_id], self.defers[call_id], self.replacements[call_id] = [], 0, 0
                word, expected = _WORDS[record.decision.verdict], self.released[call_id]
                assert word == expected, f"what came of {call_id} is decided {word} and must be {expected}"
                assert record.subject_digest == Content.text(self.came[call_id].text).ref.digest
            case r.ToolResultReleased():
                self._check_release(record)
            case r.ModelAttemptStarted():
                assert not self.held, "the model is asked on only when every result is released"
                self._check_what_the_model_sees()
            case r.ToolRequested():
                assert record.tainted == self.is_tainted, "taint is that of what the model has seen"
            case r.PolicyDecided(subject=str() as call_id):
                if model.is_anybody_asked(self.policies, self.operator):
                    answer = self._outcome_of(call_id)
                    assert isinstance(answer, str), f"{call_id} is decided and must be replaced"
                    self.expected[call_id] = answer
                    self.answered[call_id] = []
                    self.defers[call_id] = 0
                    self.replacements[call_id] = 0  # should it be looked at again, the walk is another one
                word, expected = _WORDS[record.decision.verdict], self.expected[call_id]
                assert word == expected, f"{call_id} is decided {word} and must be {expected}"
                assert record.subject_digest == self.arguments[call_id].ref.digest
                assert call_id in self.lies or record.operator_digest == self._rules().digest
            case r.ToolStarted():
                assert self._may_run(record.call_id), "nothing is sent that the rules do not allow"
                earlier = [
                    each
                    for each in self._all_records()
                    if isinstance(each, r.PolicyDecided) and each.subject == record.call_id
                ]
                assert earlier, "an effect has an earlier decision"
                asked = earlier[-1].decision.verdict is Verdict.ASK
                assert earlier[-1].decision.verdict is Verdict.ALLOW or (asked and record.approved_by == "bob")
                assert earlier[-1].subject_digest == record.arguments_digest, "an allow is for one digest"
            case r.ToolCompleted() | r.ToolFailed() if record.attempt:
                has_words = isinstance(record, r.ToolCompleted) or record.message is not None
                must_wait = has_words and model.are_results_heard(self.policies, self.operator)
                assert record.awaits_release == must_wait, "what policies are heard of is held, and nothing else"
                if must_wait:
                    self.held.add(record.call_id)
                else:
                    self._tells(record.tool)
        self._check_question(record)
        self._checked = [*self._all_records(), record]

    def _check_release(self, record: r.ToolResultReleased) -> None:
        """What the model is told is what the last decision says."""
        decided = self._all_records()[-1]
        assert isinstance(decided, r.PolicyDecided) and decided.subject == record.call_id, "a release has a decision"
        self.held.remove(record.call_id)
        came, is_replaced = self.came[record.call_id], bool(self.hidden[record.call_id])
        if self.released[record.call_id] != "allow":
            assert record.release is ResultRelease.WITHHELD
            self.withheld.add(record.call_id)
            self.hidden[record.call_id].append(came.text)
            return
        assert record.release is (ResultRelease.REPLACED if is_replaced else ResultRelease.RELEASED)
        assert record.replacement == (Content.text(came.text).ref if is_replaced else None)
        assert record.failed == (is_replaced and not came.ok)
        if is_replaced:
            self.replaced[record.call_id] = came.text
        self._tells(record.tool)

    def _tells(self, name: str) -> None:
        """The model is told what a tool says."""
        tool = self.package.tool(name)
        self.is_tainted = self.is_tainted or (tool is not None and tool.untrusted)

    def _check_what_the_model_sees(self) -> None:
        """Every result that it may see, and of those that are withheld nothing but that."""
        contents = {_TEXT.digest: b"words", **self.contents}
        contents |= {content.ref.digest: content.data for content in self.arguments.values()}
        contents |= {
            ref.digest: b"input" for record in self._all_records() for ref in refs(record) if ref.digest not in contents
        }
        for message in messages_of(list(self._all_records()), contents, 0):
            if isinstance(message, ToolResultMessage):
                call_id = EffectId(message.call_id)
                hidden, is_withheld = self.hidden.get(call_id, []), message.call_id in self.withheld
                assert not any(text in message.content for text in hidden), f"{message.call_id} is not for the model"
                assert not is_withheld or "is withheld by policy" in message.content, "and the model is told so"
                if call_id in self.replaced:
                    told = (self.replaced[call_id], not self.came[call_id].ok)
                    assert (message.content, message.is_error) == told, "it is told what stands there"

    def _check_question(self, record: r.Record) -> None:
        """One record about remote policies against the model."""
        match record:
            case r.PolicyAsked():
                subject = question_subject(record.effect_id)
                assert subject is not None
                about = self._asked_about(record.effect_id)
                said = model.said_of(about, self.policies, self.operator)
                is_first = record.attempt == 1
                assert not (is_first and any(word in model.FINAL for word in said)), "what is denied is not asked about"
                digest = _content(about).ref.digest if subject in self.held else self.arguments[subject].ref.digest
                assert record.subject_digest == digest
                # The other one may still be asked once one has deferred too often.
                assert self.defers[subject] <= model.MOST_DEFERS + 1, "and nothing is deferred without end"
                assert is_first or not record.remote.shadow, "it holds nothing up for longer than one attempt"
            case r.PolicyAnswered() if record.answer is not None and not record.remote.shadow:
                subject = question_subject(record.effect_id)
                assert subject is not None
                self.answered.setdefault(subject, []).append(record.remote.policy)
                self.defers[subject] += record.answer.verdict is Verdict.DEFER
            case r.PolicyResumed():
                subject = question_subject(record.effect_id)
                assert subject is not None
                policy = next(
                    each.remote.policy
                    for each in self._all_records()
                    if isinstance(each, r.PolicyAnswered) and each.effect_id == record.effect_id and each.answer
                )
                self.answered[subject].remove(policy)
                assert self.defers[subject] <= model.MOST_DEFERS, "what is deferred too often is denied"
                self.deferred[policy, _gone_by(self._asked_about(record.effect_id))] += 1
            case r.SubjectReplaced(subject=str() as call_id):
                changed = self._outcome_of(call_id)
                assert isinstance(changed, model.Replaced), f"{call_id} is replaced and must be {changed}"
                self.replacements[call_id] += 1
                self.answered[call_id] = []
                assert record.replacement == _content(changed.subject).ref
                if isinstance(changed.subject, model.Came):
                    self.hidden[call_id].append(self.came[call_id].text)
                    self.came[call_id] = changed.subject
                else:
                    self.calls[call_id], self.arguments[call_id] = changed.subject, _content(changed.subject)

    def _all_records(self) -> Sequence[r.Record]:
        return getattr(self, "_checked", [])

    def _check_whole(self) -> None:
        """What must be true of the run once it is over."""
        decided = {record.subject for record in self.records if isinstance(record, r.PolicyDecided)}
        requested = {record.call_id for record in self.records if isinstance(record, r.ToolRequested)}
        interrupts = [record for record in self.records if isinstance(record, r.PolicyDecided)]
        if not model.is_anybody_asked(self.policies, self.operator):
            assert requested <= decided, "each decision is on record"
        elif not any(record.decision.verdict is Verdict.INTERRUPT for record in interrupts):
            held = {subject for subject, _ in walks_of(self.state)}
            # Somebody may end the run meanwhile, who resolves another call so.
            held |= {record.call_id for record in self.records if isinstance(record, r.ToolCancelled)}
            assert requested <= decided | held, "each decision is on record, but of what a policy holds or held"
        self._check_questions()
        denied = {record.call_id for record in self.records if isinstance(record, r.ToolDenied)}
        said = {call for call, word in self.expected.items() if word != "asked" and call in requested}
        refused = {call for call in said if not self._may_run(call)}
        refused -= {call.call_id for call in self.state.calls if call.is_pending}
        settled_otherwise = (r.ToolFailed, r.ToolCompleted, r.ToolCancelled, r.ToolRecoveryRequired)
        ended_otherwise = {record.call_id for record in self.records if isinstance(record, settled_otherwise)}
        assert refused <= denied | ended_otherwise
        interrupted = [
            number
            for number, record in enumerate(self.records)
            if isinstance(record, r.PolicyDecided) and record.decision.verdict is Verdict.INTERRUPT
        ]
        if not interrupted:
            return
        later = self.records[interrupted[0] :]
        assert not any(isinstance(record, r.ToolStarted | r.ModelAttemptStarted) for record in later)
        assert self.state.is_terminal and self.state.stop is StopReason.POLICY_INTERRUPT
        opened = {(record.call_id, record.attempt) for record in self.records if isinstance(record, r.ToolStarted)}
        closed = (r.ToolCompleted, r.ToolFailed, r.ToolCancelled, r.ToolRecoveryRequired)
        settled = {(record.call_id, record.attempt) for record in self.records if isinstance(record, closed)}
        retried = {
            (record.effect_id, record.attempt) for record in self.records if isinstance(record, r.RetryScheduled)
        }
        assert opened <= settled | retried, "an interrupt leaves no open effect"
        assert not pending(self.state)

    def _check_questions(self) -> None:
        """No question is left open at an end, and none is asked more often than it may be."""
        asked = {record.effect_id for record in self.records if isinstance(record, r.PolicyAsked)}
        settled = {
            record.effect_id
            for record in self.records
            if isinstance(record, r.PolicyAnswered) and (record.answer is not None or self.state.is_terminal)
        }
        open_now = {walk.question.effect_id for _, walk in walks_of(self.state) if walk.question is not None}
        assert asked <= settled | open_now, "a question has a result"
        if self.state.is_terminal:
            assert not any(walk.question.is_open for _, walk in walks_of(self.state) if walk.question is not None)


def _other_words(text: str) -> str:
    """What is put in the place of a result: never the same again, and nothing of what was there."""
    number, _, call_id = text.removeprefix("masked ").partition(" of ")
    return f"masked {int(number) + 1 if number.isdecimal() else 1} of {call_id}"


def _content(about: model.Subject) -> Content:
    """The arguments of a call, or what it came to."""
    if isinstance(about, model.Came):
        return Content.text(about.text)
    arguments = {"size": about.size, **({"path": about.path} if about.path else {})}
    return Content.of(json.dumps(arguments, separators=(",", ":")).encode(), JSON)


def check_run(seed: int) -> PolicyRun:
    """Plays and checks one run."""
    run = PolicyRun(seed)
    try:
        run.play()
    except AssertionError as error:
        raise AssertionError(f"seed {seed}: {error}") from error
    return run


def main(first: int, count: int = 1) -> None:
    """Checks runs from the command line, and says how many came to what."""
    ends: dict[str, int] = {}
    for seed in range(first, first + count):
        run = check_run(seed)
        end = run.state.stop.name if run.state.stop else run.state.phase.name
        ends[end] = ends.get(end, 0) + 1
    print(json.dumps(ends))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
