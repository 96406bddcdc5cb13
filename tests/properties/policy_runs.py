"""Random runs under random policies, each checked against `policy_model` as it goes.

A run follows from its seed alone. One again: `python -m tests.properties.policy_runs SEED`; many, from a seed on:
`python -m tests.properties.policy_runs SEED COUNT`.
"""

from __future__ import annotations

import json
import sys
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
from runwright.core.content import JSON, Content
from runwright.core.errors import ErrorReason
from runwright.core.ids import EffectId, call_effect_id
from runwright.core.machine import decide, pending
from runwright.core.outcomes import FinishReason, StopReason
from runwright.core.package import RuntimePackage
from runwright.core.policy import PolicyFindings, PolicyStage, Verdict
from runwright.core.policy_chain import OperatorRules, Outcome
from runwright.core.policy_rules import PolicySpec
from runwright.core.state import RunState
from runwright.runtime.policies import CallFacts, RunFacts, subject_of_call

from tests.core import builders as b
from tests.properties import policy_model as model

_OUTCOMES = {"H": Outcome.HOLDS, "D": Outcome.DOES_NOT_HOLD, "F": Outcome.FAILED}
_WORDS = {Verdict.ALLOW: "allow", Verdict.ASK: "ask", Verdict.DENY: "deny", Verdict.INTERRUPT: "interrupt"}
_TEXT = b.text("words")
_STOP = [{"rules": [{"if": "always", "then": "interrupt"}]}]
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
        rules = [{"if": rng.choice(conditions), "then": rng.choice(thens)} for _ in range(rng.randint(1, 3))]
        shadow = {"mode": "shadow"} if rng.random() < 0.15 else {}
        policies.append({"rules": rules, **shadow})
    return policies


class PolicyRun:
    """One run, with a world that does what the run wants, and a model of what it may want."""

    def __init__(self, seed: int) -> None:
        rng = self.rng = Random(seed)
        self.policies = random_policies(rng, 3) or [{"builtin": "allow-declared"}]
        self.operator = random_policies(rng, 1)
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

    def play(self) -> None:
        """From the start to the end of the run, or until a call of unknown outcome holds it up."""
        self._give(b.started(self.package))
        for _ in range(60):
            wanted = list(pending(self.state).values())
            if not wanted:
                break
            self.now += b.SECOND
            if self.rng.random() < 0.3:
                self.operator = _STOP if self.rng.random() < 0.3 else random_policies(self.rng, 2)
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
                    return i.ToolReturned(ok=dice < 0.6, result=_TEXT, **ids)
                if dice < 0.9:
                    return i.ToolNotSent(**ids)
                return i.ToolOutcomeUnknown(reason=ErrorReason.EXECUTOR_LOST, **ids)
            case e.AwaitExecutor():
                return self._place(effect)
            case e.AwaitApproval():
                return self._approval(effect)
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
            said = self._found_again(effect.call_id)
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

    def _model(self, effect: e.CallModel) -> i.Input:
        rng = self.rng
        answer = {"at": self.now, "round": effect.round, "attempt": effect.attempt, "text": _TEXT}
        if rng.random() < 0.15:
            return i.ModelReplied(finish=FinishReason.STOP, **answer)
        calls = []
        for index in range(1, rng.randint(1, 4) + 1):
            calls.append(self._call(call_effect_id(effect.round, index), index))
        return i.ModelReplied(finish=FinishReason.TOOL_CALLS, calls=tuple(calls), **answer)

    def _call(self, call_id: EffectId, index: int) -> i.RequestedCall:
        rng, tool = self.rng, self.rng.choice(self.package.tools)
        path, size = rng.choice([None, "/srv/out/a", "/etc/passwd"]), rng.choice([0, 1, 5, 11, 2**53 - 1])
        arguments = {"size": size, **({"path": path} if path else {})}
        content = self.arguments[call_id] = Content.of(json.dumps(arguments, separators=(",", ":")).encode(), JSON)
        self.calls[call_id] = model.Call(
            tool.name, tool.effect.value, tool.risk or "", path, size, self.is_tainted, self.state.usage.rounds
        )
        found = self._found(call_id, index, self.is_tainted)
        self.expected[call_id] = model.verdict(self.calls[call_id], self.policies, self.operator)
        if rng.random() < 0.03:
            self.lies.add(call_id)
            self.expected[call_id] = "deny"
            found = replace(found, subject_digest="sha256:other")
        available = rng.choice([i.Availability.HELD, i.Availability.HELD, i.Availability.BUSY])
        findings = i.Findings(availability=available, policies=(found,))
        return i.RequestedCall(tool.name, f"p-{call_id}", content.ref, findings)

    def _place(self, effect: e.AwaitExecutor) -> i.Input:
        self.now = max(self.now, effect.not_before)
        said = self._found_again(effect.call_id)
        return i.ExecutorAwaited(
            at=self.now,
            call_id=effect.call_id,
            attempt=effect.attempt,
            has_place=True,
            give_up_at=effect.give_up_at,
            policies=said,
        )

    def _found_again(self, call_id: EffectId) -> tuple[PolicyFindings, ...]:
        """What the edge finds of a call that is about to be sent; nothing where the rules are those on record."""
        call, on_record = self.state.call(call_id), ""
        assert call is not None
        if call.policy is not None:
            on_record = call.policy.operator_digest
        if self._rules().digest == on_record:
            return ()
        facts = self.calls[call_id]
        self.calls[call_id] = facts = model.Call(**{**facts.__dict__, "rounds": self.state.usage.rounds})
        self.expected[call_id] = model.verdict(facts, self.policies, self.operator)
        return (self._found(call_id, int(call_id.rpartition(".")[2]), facts.tainted),)

    def _found(self, call_id: EffectId, index: int, tainted: bool) -> PolicyFindings:
        """What the edge finds: the conditions in CEL, over the arguments."""
        content, chain = self.arguments[call_id], self.package.chain(PolicyStage.PRE_TOOL, self._rules())
        tool = self.package.tool(self.calls[call_id].tool)
        assert tool is not None
        facts = CallFacts(self.state.round, index, tainted, content.ref)
        subject = subject_of_call(RunFacts.of(self.state), tool, facts, json.loads(content.data))
        letters = evaluated(chain.conditions(), subject.variables)
        return chain.findings(subject.effect, subject.digest, [_OUTCOMES[letter] for letter in letters])

    def _check(self, record: r.Record) -> None:
        """One record against the model."""
        match record:
            case r.ToolRequested():
                assert record.tainted == self.is_tainted, "taint is that of what the model has seen"
            case r.PolicyDecided(subject=str() as call_id):
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
                tool = self.package.tool(record.tool)
                self.is_tainted = self.is_tainted or (tool is not None and tool.untrusted)
        self._checked = [*self._all_records(), record]

    def _all_records(self) -> Sequence[r.Record]:
        return getattr(self, "_checked", [])

    def _check_whole(self) -> None:
        """What must be true of the run once it is over."""
        decided = {record.subject for record in self.records if isinstance(record, r.PolicyDecided)}
        requested = {record.call_id for record in self.records if isinstance(record, r.ToolRequested)}
        assert requested <= decided, "each decision is on record"
        denied = {record.call_id for record in self.records if isinstance(record, r.ToolDenied)}
        refused = {call for call in self.expected if not self._may_run(call) and call in requested}
        refused -= {call.call_id for call in self.state.calls if call.is_pending}
        ended_otherwise = {
            record.call_id for record in self.records if isinstance(record, r.ToolFailed | r.ToolCompleted)
        }
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
