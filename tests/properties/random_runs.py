"""Random packages and random runs of them: whatever can happen to a run, in any order."""

from __future__ import annotations

import functools
from collections import Counter
from random import Random

from msgspec import structs
from runwright.core import effects as e
from runwright.core import inputs as i
from runwright.core import records as r
from runwright.core.apply import fold
from runwright.core.approval_delegation import Delegate
from runwright.core.approval_dispatches import DispatchResult
from runwright.core.approvals import ApprovalVerdict, Decider
from runwright.core.context import Context
from runwright.core.errors import ErrorReason, Failure
from runwright.core.grants import AnsweringGrant, GrantMatcher, GrantRequest, GrantScope
from runwright.core.ids import EffectId
from runwright.core.machine import decide, pending
from runwright.core.outcomes import CallPhase, FinishReason, ReconcileAnswer, Resolution
from runwright.core.package import RuntimePackage
from runwright.core.policy import PolicyFindings, PolicyOpinion, PolicyStage, Verdict
from runwright.core.request import Budget
from runwright.core.state import CallState, RunState

from tests.core import builders as b

_WORLDS = 64
_TEXT = b.text("words")
_FOREIGN = [EffectId("c1.9"), EffectId("c9.1"), EffectId("m1"), EffectId("")]
_PROBLEMS = [ErrorReason.TOOL_UNKNOWN, ErrorReason.TOOL_ARGUMENTS_INVALID]
_UNKNOWN = [ErrorReason.EXECUTOR_LOST, ErrorReason.TOOL_TIMED_OUT, ErrorReason.TOOL_ANSWER_INVALID]
_FAILED = [
    Failure(reason, "The provider failed.", (("adapter", "scripted"), *asks))
    for reason, asks in [
        (ErrorReason.PROVIDER_FAILED, ()),
        (ErrorReason.PROVIDER_RATE_LIMITED, (("retry_after", "7s"),)),
        (ErrorReason.PROVIDER_RATE_LIMITED, (("retry_after", "301s"),)),
        (ErrorReason.PROVIDER_KEY_REFUSED, ()),
        (ErrorReason.MODEL_OUTPUT_INVALID, (("rule", "none"),)),
    ]
]
_requested = functools.cache(b.tool_call)
_GRANTS = {"scopes": ["run", "namespace"], "matchers": ["any"], "max_uses": 3, "max_time": "1m", "tainted": True}
_GRANT = GrantRequest(GrantScope.RUN, GrantMatcher.ANY, uses=2, valid_for="1m", tainted=True)
_APPROVALS = {
    "writes": {
        "sets": [{"principals": ["ann"], "for": "5s"}, {"roles": ["approver"]}],
        "expires": "20s",
        "delegates": ["bob", "dan"],
        "grants": _GRANTS,
    },
    "other": {
        "sets": [{"roles": ["approver"]}],
        "expires": "30s",
        "on_expiry": "abort_run",
        "four_eyes": True,
        "dispatchers": ["chat"],
    },
}


_EDITS = [b.json_text('{"edited":1}'), b.json_text('{"edited":2}')]


@functools.cache
def _asking(name: str, digest: str, rules: str = "") -> PolicyFindings:
    asks = PolicyOpinion(Verdict.ASK, "policies.0", "policies.0.rules.0", "rule.ask", "package", "", name)
    return PolicyFindings(PolicyStage.PRE_TOOL, digest, rules, (asks,))


_AVAILABILITIES = [i.Availability.HELD, i.Availability.HELD, i.Availability.BUSY, i.Availability.AWAY]
_FINISHES = [FinishReason.STOP, FinishReason.STOP, FinishReason.LENGTH, FinishReason.CONTENT_FILTER]


@functools.cache
def _worlds() -> list[tuple[RuntimePackage, i.StartRequested]]:
    """Packages, each with a request for a run; made once, because digests cost more than a whole run."""
    ports = []
    for number in range(_WORLDS):
        rng = Random(number)
        pinned = random_package(rng)
        budget = Budget(*(rng.choice([0, 0, 0, 1, 3, 99]) for _ in range(3)))
        context = rng.choice([None, None, Context((b.earlier("run-0", "Is it cold?", "No."),))])
        ports.append((pinned, b.started(pinned, budget=budget, context=context)))
    return ports


def random_package(rng: Random) -> RuntimePackage:
    """A package with a mixture of effects, of what may be repeated, and of tight budgets."""
    idempotent = [rng.random() < 0.5 for _ in range(rng.randint(1, 4))]
    tools = [
        b.tool(
            f"tool_{index}",
            effect=rng.choice(["read", "write", "process", "network"]),
            idempotent=may_repeat,
            reconcilable=not may_repeat and rng.random() < 0.6,
            max_attempts=rng.randint(1, 3),
            timeout_ms=rng.choice([1, 1000, 60_000]),
            untrusted=index == 1,
            unavailable_timeout_ms=rng.choice([1, 1000, 60_000]),
        )
        for index, may_repeat in enumerate(idempotent)
    ]
    policy = rng.choice(["builtin:read-only", "builtin:allow-declared", "builtin:allow-declared"])
    budget = {"rounds": rng.randint(1, 8), "tool_calls": rng.randint(0, 24), "parallel_calls": rng.randint(1, 4)}
    first, *others = [
        {"adapter": "scripted", "model": f"model-{index}", "max_attempts": rng.randint(1, 3)}
        for index in range(rng.choice([1, 1, 2, 3]))
    ]
    how = {"policy": policy, "budget": budget, "approvals": _APPROVALS}
    return b.package(*tools, provider=first, fallbacks=others, **how)


class RandomRun:
    """One run in a random world. `state` is the live state, `records` all that was written."""

    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)
        self.package, self.first = self.rng.choice(_worlds())
        self.state: RunState = b.NEW
        self.records: list[r.Record] = []
        self.now = b.T0
        self._past: list[i.Input] = []

    def give(self, input_: i.Input) -> list[r.Record]:
        """Lets something happen; returns what is written because of it."""
        new = decide(self.package, self.state, input_)
        self.state = fold(self.state, new)
        self.records += new
        self._past.append(input_)
        return new

    def next(self) -> i.Input:
        """Something that may happen now, or could have happened before."""
        self.now += self.rng.choice([0, 1, b.SECOND, b.SECOND, 60 * b.SECOND, -b.SECOND])
        dice = self.rng.random()
        if dice < 0.12:
            return self.rng.choice(self._past[-8:])
        if dice < 0.16:
            lost = [call.call_id for call in self.state.calls if call.phase is CallPhase.RUNNING and call.idempotent]
            return i.Recovered(at=self.now, places=tuple(lost) if self.rng.random() < 0.3 else ())
        if dice < 0.17:
            return i.CancelRequested(at=self.now, reason="", requested_by="local", grace_us=self.rng.choice([0, 9]))
        if dice < 0.18:
            return i.CancelDeadlinePassed(at=self.now)
        unknown = [call for call in self.state.calls if call.phase is CallPhase.UNKNOWN]
        asked = [call for call in self.state.calls if call.phase is CallPhase.RECONCILING]
        if asked and dice < 0.22:
            return self._altered(self._resolution(self.rng.choice(asked)))
        if unknown and dice < 0.4:
            return self._altered(self._resolution(self.rng.choice(unknown)))
        approved = [call for call in self.state.calls if call.passed and call.approval and not call.attempt]
        if approved and dice < (0.6 if any(call.approval and call.approval.grant_id for call in approved) else 0.3):
            return self._asked_anew(self.rng.choice(approved))
        wanted = [*pending(self.state).values(), *self._unwanted_waits()] or [e.CallModel(1, 1)]
        return self._altered(self._outcome(self.rng.choice(wanted)))

    def cooperate(self) -> None:
        """From here on the world does what the run wants, until it ends or wants nothing."""
        for _ in range(200):
            wanted = list(pending(self.state).values())
            if not wanted:
                return
            self.now += b.SECOND
            self.give(self._cooperative(self.rng.choice(wanted)))
        raise AssertionError("the run does not come to an end")

    def _unwanted_waits(self) -> list[e.Effect]:
        """Waits that may still come to an end, though no room is left for the call that waits."""
        wanted = pending(self.state)
        waiting = [call for call in self.state.calls if call.phase is CallPhase.REQUESTED and call.passed]
        return [
            e.AwaitExecutor(call.call_id, call.attempt, call.executor, call.not_before, call.give_up_at)
            for call in waiting
            if (call.call_id, "await", call.attempt) not in wanted
        ]

    def _outcome(self, effect: e.Effect) -> i.Input:
        match effect:
            case e.CallModel():
                return self._model(effect)
            case e.AwaitRetry():
                return i.RetryDue(at=self._due(effect), round=effect.round, attempt=effect.attempt)
            case e.CallTool():
                return self._tool(effect)
            case e.AwaitExecutor():
                has_place = self.rng.random() < 0.7
                self.now = max(self.now, effect.not_before - self.rng.choice([0, 0, 0, 1]))
                return i.ExecutorAwaited(
                    at=self.now,
                    call_id=effect.call_id,
                    attempt=effect.attempt,
                    has_place=has_place,
                    give_up_at=self.rng.choice([effect.give_up_at] * 5 + [0]),
                )
            case e.AwaitApproval():
                return self._approval(effect)
            case e.DispatchApproval():
                return _told(effect, self.now, self.rng.choice([DispatchResult.ACKNOWLEDGED, *DispatchResult]))
            case e.AwaitDispatcher():
                self.now = max(self.now, effect.not_before - self.rng.choice([0, 0, 0, 1]))
                return i.DispatcherAwaited(at=self.now, effect_id=effect.effect_id, attempt=effect.attempt)
            case e.AwaitReconcile():
                has_place = self.rng.random() < 0.9
                self.now = max(self.now, effect.not_before - self.rng.choice([0, 0, 0, 1]))
                return _may_ask(effect, self.now, has_place)
            case e.ReconcileTool():
                return self._reconciled(effect, self.rng.choice(list(ReconcileAnswer)))
            case e.EvaluateResult():
                return self._evaluated(effect, self.rng.choice([*Verdict, *[Verdict.ALLOW] * 4]))
            case e.WaitForCancelDeadline():
                return i.CancelDeadlinePassed(at=self.now)

    def _reconciled(self, effect: e.ReconcileTool, answer: ReconcileAnswer) -> i.Input:
        performed = answer is ReconcileAnswer.PERFORMED
        return i.Reconciled(
            at=self.now,
            call_id=effect.call_id,
            attempt=effect.attempt,
            ask=effect.ask,
            answer=answer,
            result=_TEXT if performed else None,
            failure=self.rng.choice([None, None, ErrorReason.TOOL_RESULT_TOO_LARGE]) if performed else None,
        )

    def _evaluated(self, effect: e.EvaluateResult, verdict: Verdict) -> i.Input:
        said = (b.said_of(_TEXT, verdict),)
        return i.ResultEvaluated(at=self.now, call_id=effect.call_id, attempt=effect.attempt, policies=said)

    def _approval(self, effect: e.AwaitApproval) -> i.Input:
        if self.rng.random() < 0.3:
            self.now = max(self.now, effect.due - self.rng.choice([0, 0, 1]))
            return i.ApprovalDue(at=self.now, call_id=effect.call_id, approval_id=effect.approval_id)
        call = self.state.call(effect.call_id)
        digest = call.approval.digest if call and call.approval else ""
        verdict = self.rng.choice([*ApprovalVerdict, *([ApprovalVerdict.APPROVE] * 4)])
        edits = verdict is ApprovalVerdict.APPROVE_WITH_EDITS
        said = self.rng.choice(["writes", "writes", "other"])
        is_of_writes = call is not None and call.approval is not None and call.approval.name == "writes"
        gives = is_of_writes and verdict is ApprovalVerdict.APPROVE and self.rng.random() < 0.8
        return i.ApprovalDecisionRequested(
            at=self.now,
            call_id=effect.call_id,
            approval_id=effect.approval_id,
            digest=self.rng.choice([digest, digest, digest, "another"]),
            verdict=verdict,
            decider=Decider(self.rng.choice(["ann", "bob", "local", "dan"]), ("approver",), self.rng.random() < 0.1),
            request_id="decision-1",
            request_digest="",
            response=_TEXT,
            edited=self.rng.choice([None, *_EDITS, *_EDITS]),
            delegate=Delegate(self.rng.choice(["bob", "dan", "local"]), may_decide=True, may_perform=False),
            grant=_GRANT if gives else self.rng.choice([*([None] * 9), _GRANT]),
            availability=self.rng.choice(_AVAILABILITIES),
            policies=(_asking(said, self.rng.choice(_EDITS).digest),) if edits else (),
        )

    def _asked_anew(self, call: CallState) -> i.Input:
        """A place for an approved call, under rules that ask for another approval."""
        assert call.arguments is not None
        return i.ExecutorAwaited(
            at=self.now,
            call_id=call.call_id,
            attempt=call.attempt,
            has_place=True,
            give_up_at=call.give_up_at,
            policies=(_asking("other", call.arguments.digest, "rules-2"),),
        )

    def _resolution(self, call: CallState) -> i.Input:
        return i.ResolutionRequested(
            at=self.now,
            call_id=call.call_id,
            attempt=call.attempt,
            resolution=self.rng.choice([*Resolution, *([Resolution.TRY_AGAIN] * 3)]),
            resolved_by="ann",
            reason="",
            request_id="decision-1",
            request_digest="",
            result=_TEXT,
            grace_us=self.rng.choice([0, 9]),
            is_gated=self.rng.random() < 0.3,
        )

    def _due(self, effect: e.AwaitRetry) -> int:
        """Mostly the time that was waited for; now and then a clock that is early."""
        self.now = max(self.now, effect.due - self.rng.choice([0, 0, 0, 1]))
        return self.now

    def _model(self, effect: e.CallModel) -> i.Input:
        rng, dice = self.rng, self.rng.random()
        if dice < 0.08:
            error = rng.choice(_FAILED)
            return i.ModelFailed(at=self.now, round=effect.round, attempt=effect.attempt, error=error)
        calls = tuple(self._call() for _ in range(rng.randint(1, 5))) if dice < 0.93 else ()
        finish = FinishReason.TOOL_CALLS if calls and rng.random() < 0.97 else rng.choice(_FINISHES)
        return i.ModelReplied(
            at=self.now,
            round=effect.round,
            attempt=effect.attempt,
            text=rng.choice([None, _TEXT]),
            finish=finish,
            calls=calls,
            input_tokens=rng.randint(0, 9),
            output_tokens=rng.randint(0, 9),
        )

    def _call(self) -> i.RequestedCall:
        if self.rng.random() < 0.1:
            return _requested("teleport", self.rng.choice(_PROBLEMS))
        problem = ErrorReason.TOOL_ARGUMENTS_INVALID if self.rng.random() < 0.1 else None
        grants = self._grants()
        tools = [each.grant.tool for each in grants] or [tool.name for tool in self.package.tools]
        call = _requested(self.rng.choice(tools), problem, self.rng.choice(_AVAILABILITIES))
        if problem is None and self.rng.random() < (0.7 if grants else 0.15):
            asks = _asking(self.rng.choice(["", "writes", "writes"]), call.arguments.digest)
            asks = structs.replace(asks, grants=grants)
            not_by = grants[0].grant.issuer if grants else ""
            return structs.replace(call, findings=structs.replace(call.findings, policies=(asks,), not_by=not_by))
        return call

    def _grants(self) -> tuple[AnsweringGrant, ...]:
        """Those that one person gave in this run, as if found: whether their time is over is for `decide` to say."""
        issued = [record.grant for record in self.records if isinstance(record, r.GrantIssued)]
        of_one = [grant for grant in issued if grant.issuer == issued[0].issuer]
        used = Counter(record.grant.grant_id for record in self.records if isinstance(record, r.GrantUsed))
        # No more than is left: an append that would spend more does not stand.
        left = {grant.grant_id: grant.uses - used[grant.grant_id] for grant in of_one}
        return tuple(AnsweringGrant(grant, b"", min(self.rng.randint(0, 2), left[grant.grant_id])) for grant in of_one)

    def _tool(self, effect: e.CallTool) -> i.Input:
        call_id, attempt, dice = effect.call_id, effect.attempt, self.rng.random()
        if dice < 0.6:
            said = (b.said_of(_TEXT, Verdict.ALLOW),) if self.rng.random() < 0.5 else ()
            gated = {"is_gated": self.rng.random() < 0.3, "policies": said}
            return i.ToolReturned(at=self.now, call_id=call_id, attempt=attempt, ok=dice < 0.5, result=_TEXT, **gated)
        if dice < 0.8:
            return i.ToolNotSent(at=self.now, call_id=call_id, attempt=attempt)
        return i.ToolOutcomeUnknown(at=self.now, call_id=call_id, attempt=attempt, reason=self.rng.choice(_UNKNOWN))

    def _altered(self, input_: i.Input) -> i.Input:
        """The same news, now and then about an older or later attempt, or a call nobody made."""
        dice = self.rng.random()
        if dice < 0.06 and hasattr(input_, "attempt"):
            return structs.replace(input_, attempt=input_.attempt + self.rng.choice([-1, 1]))
        if dice < 0.08 and hasattr(input_, "ask"):
            return structs.replace(input_, ask=input_.ask + self.rng.choice([-1, 1]))
        if dice < 0.10 and hasattr(input_, "call_id"):
            return structs.replace(input_, call_id=self.rng.choice(_FOREIGN))
        if dice < 0.10 and hasattr(input_, "round"):
            return structs.replace(input_, round=input_.round + self.rng.choice([-1, 1]))
        return input_

    def _cooperative(self, effect: e.Effect) -> i.Input:
        match effect:
            case e.CallModel():
                return i.ModelReplied(
                    at=self.now, round=effect.round, attempt=effect.attempt, text=_TEXT, finish=FinishReason.STOP
                )
            case e.AwaitRetry():
                self.now = max(self.now, effect.due)
                return i.RetryDue(at=self.now, round=effect.round, attempt=effect.attempt)
            case e.CallTool():
                return i.ToolReturned(
                    at=self.now, call_id=effect.call_id, attempt=effect.attempt, ok=True, result=_TEXT
                )
            case e.AwaitExecutor():
                self.now = max(self.now, effect.not_before)
                return i.ExecutorAwaited(at=self.now, call_id=effect.call_id, attempt=effect.attempt, has_place=True)
            case e.AwaitApproval():
                self.now = max(self.now, effect.due)
                return i.ApprovalDue(at=self.now, call_id=effect.call_id, approval_id=effect.approval_id)
            case e.DispatchApproval():
                return _told(effect, self.now, DispatchResult.ACKNOWLEDGED)
            case e.AwaitDispatcher():
                self.now = max(self.now, effect.not_before)
                return i.DispatcherAwaited(at=self.now, effect_id=effect.effect_id, attempt=effect.attempt)
            case e.AwaitReconcile():
                self.now = max(self.now, effect.not_before)
                return _may_ask(effect, self.now, has_place=True)
            case e.ReconcileTool():
                return self._reconciled(effect, ReconcileAnswer.PERFORMED)
            case e.EvaluateResult():
                return self._evaluated(effect, Verdict.ALLOW)
            case e.WaitForCancelDeadline():
                return i.CancelDeadlinePassed(at=self.now)


def _told(effect: e.DispatchApproval, at: int, result: DispatchResult) -> i.Input:
    return i.ApprovalDispatchReported(at=at, effect_id=effect.effect_id, attempt=effect.attempt, result=result)


def _may_ask(effect: e.AwaitReconcile, at: int, has_place: bool) -> i.Input:
    return i.ReconcileAwaited(
        at=at, call_id=effect.call_id, attempt=effect.attempt, ask=effect.ask, has_place=has_place
    )
