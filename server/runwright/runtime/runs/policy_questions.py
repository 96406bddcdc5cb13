"""Asks remote policies on behalf of a run, and finds out anew what policies say where a walk goes on.

Nothing a host answers is trusted: another digest than was asked about, a verdict that the stage does not have and a
replacement that is not accepted are answers that cannot be used, and those deny.
"""

from __future__ import annotations

import asyncio
import json
import re

from msgspec import Struct

from runwright.core import effects as e
from runwright.core import inputs as i
from runwright.core.content import JSON, TEXT, Content, ContentRef, digest
from runwright.core.errors import ErrorReason, Failure
from runwright.core.fingerprint import canonical_json
from runwright.core.ids import EffectId, question_subject
from runwright.core.machine.remote_policies import lowered
from runwright.core.outcomes import CallPhase
from runwright.core.package import RuntimePackage
from runwright.core.policy import PolicyFindings, PolicyStage, Verdict
from runwright.core.policy_walk import MAX_DEFER_US, PolicyAnswer, PolicyQuestion, PolicyWalk
from runwright.core.request import Budget
from runwright.core.state import NO_POLICY, CallState, RunState
from runwright.ports.provider import ProviderCall
from runwright.ports.remote_policies import (
    MAX_MESSAGE,
    MAX_REPLACEMENT_BYTES,
    AskedCall,
    AskedResult,
    PolicyReply,
    PolicyReplyKind,
    PolicyRequest,
)
from runwright.runtime.conversations.conversation import Conversation
from runwright.runtime.conversations.model_reply import arguments_problem
from runwright.runtime.policies import (
    Result,
    RunFacts,
    subject_of_text,
)
from runwright.runtime.ports import Ports
from runwright.runtime.runs import policy_findings

_FAILED = {
    PolicyReplyKind.NOT_SENT: (ErrorReason.POLICY_UNAVAILABLE, "cannot be asked"),
    PolicyReplyKind.LOST: (ErrorReason.POLICY_LOST, "was lost before it answered, or answered with an error"),
    PolicyReplyKind.TIMED_OUT: (ErrorReason.POLICY_TIMED_OUT, "did not answer in time"),
}
_CODE = re.compile(r"[a-z][a-z0-9_.-]{0,63}\Z")
_MAY_ASK = (PolicyStage.PRE_TOOL, PolicyStage.RUN_START, PolicyStage.OUTPUT)


class Unusable(Exception):
    """An answer breaks a rule."""


class _Replacement(Struct, frozen=True):
    """What a policy wants in the place of the subject. `changes` is False when that is there already."""

    answer: PolicyAnswer
    contents: tuple[Content, ...] = ()
    changes: bool = True


class PolicyQuestions:
    """Those of one run."""

    def __init__(self, ports: Ports, package: RuntimePackage, conversation: Conversation) -> None:
        self._ports = ports
        self._package = package
        self._conversation = conversation

    async def ask(self, state: RunState, effect: e.AskPolicy) -> i.PolicyReplied:
        """Makes one attempt at a question, and says what came of it."""
        subject = question_subject(effect.effect_id)
        walk = state.walk_of(subject)
        assert walk is not None and walk.question is not None, "only questions with an intent are asked"
        question, stage = walk.question, walk.stage
        assert stage is not None, "a question is asked at a stage"
        request = await self._request(state, walk.question, stage)
        reply = await self._ports.remote_policies.decide(request)
        contents: tuple[Content, ...] = ()
        answer: PolicyAnswer | None = None
        error: Failure | None = None
        try:
            if reply.kind in _FAILED:
                reason, what = _FAILED[reply.kind]
                error = _failure(question, reason, what)
            else:
                checked = await self._checked(state, question, request, reply)
                answer, contents = checked.answer, checked.contents
        except Unusable as unusable:
            rule = str(unusable)
            error = _failure(question, ErrorReason.POLICY_ANSWER_INVALID, f"answered what cannot be used: {rule}", rule)
        said = () if answer and answer.verdict is Verdict.MODIFY else await self._said(state, subject)
        return i.PolicyReplied(
            at=self._ports.clock.now(),
            effect_id=effect.effect_id,
            attempt=effect.attempt,
            answer=answer,
            error=error,
            policies=said,
            contents=(*contents, *await self._replacements(walk)),
        )

    async def hear(self, state: RunState, effect: e.HearPolicies) -> i.PoliciesHeard:
        """What policies say of a subject whose walk goes on."""
        subject = effect.subject or None
        walk = state.walk_of(subject)
        said = await self._said(state, subject)
        return i.PoliciesHeard(
            at=self._ports.clock.now(),
            subject=effect.subject,
            step=effect.step,
            policies=said,
            contents=await self._replacements(walk) if walk is not None else (),
        )

    async def said_of_run(self, state: RunState) -> tuple[PolicyFindings, ...]:
        """What policies say of the run as a whole at the stages that it is at, as of now."""
        return await self._said(state, None)

    async def _replacements(self, walk: PolicyWalk) -> tuple[Content, ...]:
        """What policies have put forward: what follows may put it in its place, and whoever reads that needs it."""
        refs = [settled.answer.replacement for settled in walk.answers]
        return tuple([Content(ref, await self._conversation.data(ref)) for ref in refs if ref is not None])

    async def _request(self, state: RunState, question: PolicyQuestion, stage: PolicyStage) -> PolicyRequest:
        subject = question_subject(question.effect_id)
        asked_call, result, text = None, None, ""
        if subject:
            call = _call(state, subject)
            tool = self._package.tool(call.tool)
            assert tool is not None and call.arguments is not None, "only calls of declared tools are asked about"
            is_tainted = (call.policy or NO_POLICY).tainted
            data = await self._conversation.data(call.arguments)
            asked_call = AskedCall(call.call_id, tool, is_tainted, data)
            if stage is PolicyStage.POST_TOOL:
                came = await self._result(call)
                result = AskedResult(came.ok, came.ref, came.data)
        else:
            text = "\n".join(await self._texts(state, stage))
        return PolicyRequest(
            state=state,
            effect_id=question.effect_id,
            attempt=question.attempt,
            remote=question.remote,
            stage=stage,
            subject_digest=question.subject_digest,
            call=asked_call,
            text=text,
            result=result,
        )

    async def _result(self, call: CallState) -> Result:
        """What came of a call, or what stands in its place."""
        assert call.outcome is not None, "it awaits its release"
        return Result(call.phase is CallPhase.COMPLETED, call.outcome, await self._conversation.data(call.outcome))

    async def _said(self, state: RunState, subject: EffectId | None) -> tuple[PolicyFindings, ...]:
        """What is said of a call or of the run at the stages that it is at, beside remote policies."""
        policies, namespace = self._ports.policies, state.key.namespace
        if subject:
            call = _call(state, subject)
            if call.awaits_release:
                arguments, result = await self._conversation.data(_arguments(call)), await self._result(call)
                async with policies.room_for_results:
                    return await policy_findings.of_result(policies, self._package, state, call, arguments, result)
            arguments = await self._conversation.data(_arguments(call))
            return await policy_findings.of_call_again(self._ports, self._package, state, call, arguments)
        said: list[PolicyFindings] = []
        stages = (PolicyStage.OUTPUT,) if state.round else (PolicyStage.RUN_START, PolicyStage.INPUT)
        held_at = state.walk.stage if state.walk is not None else None
        for stage in stages:
            # Where it is held it is decided on, also when the operator's rules say nothing there any more.
            if stage is held_at or policies.is_used(self._package, namespace, stage):
                name = "output" if stage is PolicyStage.OUTPUT else "input"
                texts = await self._texts(state, stage)
                about = subject_of_text(RunFacts.of(state), name, texts, run_digest(state, stage))
                said += await policies.find(self._package, namespace, stage, [about])
        return tuple(said)

    async def _texts(self, state: RunState, stage: PolicyStage) -> list[str]:
        """What the user says, part by part, or the run's answer."""
        ref = state.result if stage is PolicyStage.OUTPUT else next(iter(state.input), None)
        if ref is not None:
            return [(await self._conversation.data(ref)).decode("utf-8", "replace")]
        assert state.request is not None, "a run has a request"
        request = json.loads(await self._conversation.data(state.request))
        return [part for part in request["input"] if isinstance(part, str)]

    async def _checked(
        self, state: RunState, question: PolicyQuestion, request: PolicyRequest, reply: PolicyReply
    ) -> _Replacement:
        """The answer, fit for the machine. Raises Unusable naming the rule that it breaks."""
        _require(reply.kind is not PolicyReplyKind.UNREADABLE and reply.verdict is not None, "a verdict that is known")
        _require(reply.subject_digest == question.subject_digest, "subject_digest as it was asked about")
        _require(not reply.code or bool(_CODE.match(reply.code)), "code of lower-case letters, digits and _ . -")
        _require(len(reply.message) <= MAX_MESSAGE, f"message of at most {MAX_MESSAGE} characters")
        verdict = reply.verdict
        assert verdict is not None, "required before"
        _require(verdict is not Verdict.ASK or request.stage in _MAY_ASK, "another verdict than ASK at this stage")
        answer = PolicyAnswer(verdict, reply.code or f"remote.{verdict.name.lower()}", reply.message)
        if verdict is Verdict.DEFER:
            _require(0 < reply.defer_for <= MAX_DEFER_US, "defer_for above 0 and at most 7 days with DEFER")
            until = self._ports.clock.now() + reply.defer_for
            return _Replacement(PolicyAnswer(verdict, answer.code, answer.message, defer_until=until))
        if verdict is not Verdict.MODIFY:
            return _Replacement(answer)
        found = await self._replacement(state, request, reply, answer)
        # What is there already is allowed as it is, or the walk would begin again for nothing.
        return found if found.changes else _Replacement(PolicyAnswer(Verdict.ALLOW, answer.code, answer.message))

    async def _replacement(
        self, state: RunState, request: PolicyRequest, reply: PolicyReply, answer: PolicyAnswer
    ) -> _Replacement:
        if request.stage is PolicyStage.RUN_START:
            _require(reply.budget is not None, "a budget with MODIFY at RUN_START")
            assert reply.budget is not None, "required before"
            budget = lowered(state.budget, reply.budget)
            return _Replacement(_with(answer, None, budget), changes=budget != state.budget)
        if request.call is None or request.result is not None:
            _require(reply.text is not None, "a text with MODIFY at this stage")
            assert reply.text is not None, "required before"
            data = reply.text.encode("utf-8", "replace")
            _require(bool(reply.text.strip()), "a text that is not blank")
            _require(len(data) <= MAX_REPLACEMENT_BYTES, f"a replacement of at most {MAX_REPLACEMENT_BYTES} bytes")
            content = Content.of(data, await _media_type(request.result, data))
        else:
            _require(reply.arguments_json is not None, "arguments with MODIFY at this stage")
            content = await self._arguments(request.call, reply.arguments_json or b"")
        _require(content.ref.size <= MAX_REPLACEMENT_BYTES, f"a replacement of at most {MAX_REPLACEMENT_BYTES} bytes")
        changes = content.ref.digest != request.subject_digest
        if request.call is None and state.result is not None:
            changes = content.ref.digest != state.result.digest
        return _Replacement(_with(answer, content.ref, None), (content,), changes)

    async def _arguments(self, call: AskedCall, data: bytes) -> Content:
        _require(len(data) <= MAX_REPLACEMENT_BYTES, f"a replacement of at most {MAX_REPLACEMENT_BYTES} bytes")
        asked = ProviderCall("", call.tool.name, data.decode("utf-8", "replace"))
        content, problem = await arguments_problem(self._package, self._ports.schemas, asked)
        _require(problem is None, f"arguments that are accepted: {problem}")
        return content


def run_digest(state: RunState, stage: PolicyStage) -> str:
    """Digest of what is decided on about a run: of its request, of what a policy has put there, or of its answer."""
    assert state.request is not None, "a run has a request"
    match stage:
        case PolicyStage.OUTPUT:
            return state.result.digest if state.result is not None else ""
        case PolicyStage.INPUT if state.input:
            return state.input[0].digest
        case PolicyStage.RUN_START if state.walk is not None and state.walk.replacements:
            limits = [state.budget.rounds, state.budget.tool_calls, state.budget.parallel_calls]
            return digest(canonical_json([state.request.digest, *limits]))
        case _:
            return state.request.digest


async def _media_type(result: AskedResult | None, data: bytes) -> str:
    """That of a replacement: JSON in the place of a result that is JSON, if it can be read so."""
    if result is None or result.ref.media_type != JSON:
        return TEXT
    try:
        await asyncio.to_thread(json.loads, data)
    except (ValueError, RecursionError):
        return TEXT
    return JSON


def _arguments(call: CallState) -> ContentRef:
    assert call.arguments is not None, "only calls of declared tools are decided on"
    return call.arguments


def _call(state: RunState, call_id: EffectId) -> CallState:
    call = state.call(call_id)
    assert call is not None, "a question is about a call of this round"
    return call


def _with(answer: PolicyAnswer, replacement: ContentRef | None, budget: Budget | None) -> PolicyAnswer:
    return PolicyAnswer(answer.verdict, answer.code, answer.message, replacement, budget)


def _failure(question: PolicyQuestion, reason: ErrorReason, what: str, rule: str = "") -> Failure:
    name = question.remote.policy
    metadata = (("policy", name), ("rule", rule)) if rule else (("policy", name),)
    return Failure(reason, f"Policy {name} {what}.", metadata)


def _require(holds: bool, rule: str) -> None:
    if not holds:
        raise Unusable(rule)
