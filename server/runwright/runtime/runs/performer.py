"""Performs effects: one short method each, from a wish to the input that settles it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TypeVar, assert_never

from msgspec.structs import replace

from runwright.core import effects as e
from runwright.core import inputs as i
from runwright.core import trace
from runwright.core.content import Content
from runwright.core.errors import AgentError, ErrorReason, Failure
from runwright.core.outcomes import CallPhase, ReconcileAnswer
from runwright.core.package import RuntimePackage, ToolSpec
from runwright.core.resolution import MAX_MESSAGE_BYTES, MAX_RESULT_BYTES
from runwright.core.state import RunState
from runwright.ports.provider import MAX_OPAQUE_BYTES, Message, ModelReply, ModelRequest, ToolSpecification
from runwright.ports.tools import ToolInvocation, ToolOutcome, ToolOutcomeKind
from runwright.runtime.conversations.conversation import Conversation
from runwright.runtime.conversations.model_reply import check_reply, counted, is_opaque_fit
from runwright.runtime.policies import Result
from runwright.runtime.ports import Ports
from runwright.runtime.runs import policy_findings
from runwright.runtime.runs.live_text import LiveText, LiveTexts
from runwright.runtime.runs.looking_again import looked_at_again, run_looked_at_again
from runwright.runtime.runs.places import CallPlaces
from runwright.runtime.runs.policy_questions import PolicyQuestions
from runwright.runtime.runs.taking_places import PlaceTaker
from runwright.runtime.runs.tool_contents import too_large, tool_content

T = TypeVar("T")
_UNKNOWN = {
    ToolOutcomeKind.LOST: ErrorReason.EXECUTOR_LOST,
    ToolOutcomeKind.TIMED_OUT: ErrorReason.TOOL_TIMED_OUT,
    ToolOutcomeKind.UNREADABLE: ErrorReason.TOOL_ANSWER_INVALID,
}


class Performer:
    """Performs the effects of one run. Failures of the world become inputs; only our own faults raise."""

    def __init__(self, ports: Ports, package: RuntimePackage, conversation: Conversation, texts: LiveTexts) -> None:
        self.places = CallPlaces()
        self.taker = PlaceTaker(ports, package, self.places)
        self._ports = ports
        self._package = package
        self._conversation = conversation
        self._texts = texts
        self._policies = ports.policies
        self._questions = PolicyQuestions(ports, package, conversation)
        self._text: LiveText | None = None  # of the model that answers now
        self.missing_provider = ""  # the adapter that the run has to ask and this server does not have

    async def perform(
        self, state: RunState, position: int, effect: e.RunningEffect, may_begin: Callable[[], bool]
    ) -> i.Input:
        """Performs one effect for a run in `state`, whose last event is at `position`, and says what came of it.

        `may_begin` is asked right before a tool call is sent. An input that
        carries places has them in `places`, until it is decided on.
        """
        match effect:
            case e.CallModel():
                is_held = self._policies.may_hold_answer(self._package, state.key.namespace)
                self._text = text = self._texts.open(state, effect, position, is_held=is_held)
                try:
                    input_ = await self._request_model(state, effect, text)
                    text.end(is_whole=isinstance(input_, i.ModelReplied))
                    return input_
                finally:
                    text.end(is_whole=False)
                    self._text = None if self._text is text else self._text
            case e.CallTool():
                return await self._call_tool(state, effect, may_begin)
            case e.AskPolicy():
                return await _guarded(self._questions.ask(state, effect))
            case e.HearPolicies():
                return await self._questions.hear(state, effect)
            case e.ReconcileTool():
                return await self._reconcile(state, effect)
            case e.EvaluateResult():
                return await self._evaluate_result(state, effect)
            case _:
                assert_never(effect)

    def superseded(self, state: RunState) -> None:
        """Says that `state` is about to become durable: nobody may hear more of an attempt that has ended in it."""
        text = self._text
        if text is not None and (state.round, state.model_attempt) != (text.effect.round, text.effect.attempt):
            text.end(is_whole=False)

    async def _request_model(self, state: RunState, effect: e.CallModel, text: LiveText) -> i.Input:
        routes, providers = self._package.routes[effect.route :], self._ports.providers
        if routes[0].adapter not in providers and not any(route.adapter in providers for route in routes):
            await self._await_provider(state, routes[0].adapter)
        try:
            # What the journal says while it is read is no failure of the model: it is raised.
            async with self._conversation.request(effect.route) as messages:
                return await self._call_model(state, effect, text, messages)
        except AgentError as error:
            if error.reason is not ErrorReason.CONVERSATION_TOO_LARGE:
                raise
            at = self._ports.clock.now()
            return i.ModelFailed(at=at, round=effect.round, attempt=effect.attempt, error=Failure.of(error))

    async def _call_model(
        self, state: RunState, effect: e.CallModel, text: LiveText, messages: tuple[Message, ...]
    ) -> i.Input:
        try:
            reply = await self._ask(state, effect, text, messages)
            adapter = self._package.routes[effect.route].adapter
            checked = await check_reply(self._package, self._ports.schemas, reply, adapter)
            calls = await policy_findings.of_calls(self._ports, self._package, state, checked.calls, checked.values)
            answer = None if checked.calls else checked.text
            of_answer = await policy_findings.of_answer(self._policies, self._package, state, answer)
            if not text.begins(reply.text or ""):
                self._ports.log.error("provider emitted other text than its answer", run_id=state.key.run_id)
            if not is_opaque_fit(reply):
                self._ports.log.warning(
                    "what the vendor needs back is too large to be kept; it is left out",
                    run_id=state.key.run_id,
                    adapter=adapter,
                    limit=MAX_OPAQUE_BYTES,
                )
        except AgentError as error:
            self._tell_failure(state, effect, error)
            return i.ModelFailed(
                at=self._ports.clock.now(), round=effect.round, attempt=effect.attempt, error=Failure.of(error)
            )
        return i.ModelReplied(
            at=self._ports.clock.now(),
            round=effect.round,
            attempt=effect.attempt,
            text=checked.text.ref if checked.text else None,
            opaque=checked.opaque.ref if checked.opaque else None,
            finish=reply.finish,
            calls=self.taker.for_requested(state, calls),
            policies=of_answer,
            input_tokens=counted(reply.input_tokens),
            output_tokens=counted(reply.output_tokens),
            contents=checked.contents,
        )

    def _tell_failure(self, state: RunState, effect: e.CallModel, error: AgentError) -> None:
        """The operator hears of every request that failed, also of those that another one makes up for."""
        route = self._package.routes[effect.route]
        self._ports.log.warning(
            "model request failed",
            run_id=state.key.run_id,
            trace_id=state.trace_id,
            round=effect.round,
            attempt=effect.attempt,
            adapter=route.adapter,
            model=route.model,
            reason=error.reason.name,
            said=error.message,
        )

    def _tool(self, name: str) -> ToolSpec:
        tool = self._package.tool(name)
        assert tool is not None, "only calls of declared tools are made"
        return tool

    async def _await_provider(self, state: RunState, adapter: str) -> None:
        """Never returns: no provider of the route, or of one after it, is configured, and the next start may have one.

        A start is refused then; a run that is under way has done nothing wrong.
        """
        self.missing_provider = adapter
        self._ports.log.warning(
            "run waits for a provider that is not configured",
            run_id=state.key.run_id,
            trace_id=state.trace_id,
            adapter=adapter,
        )
        try:
            await asyncio.Event().wait()
        finally:
            self.missing_provider = ""

    async def _ask(
        self, state: RunState, effect: e.CallModel, text: LiveText, messages: tuple[Message, ...]
    ) -> ModelReply:
        route = self._package.routes[effect.route]
        provider = self._ports.provider(route.adapter)
        request = ModelRequest(
            run_id=state.key.run_id,
            round=effect.round,
            attempt=effect.attempt,
            model=route.model,
            parameters=route.parameters,
            instructions=self._package.agent.instructions,
            messages=messages,
            tools=tuple(
                ToolSpecification(tool.name, tool.description, self._package.model_schema(tool))
                for tool in self._package.tools
            ),
        )
        try:
            return await _guarded(provider.complete(request, text.add))
        except AgentError:
            raise
        except Exception as error:  # noqa: BLE001 - an adapter's own failure must end this run only
            self._ports.log.error(
                "provider raised", error, run_id=state.key.run_id, trace_id=state.trace_id, adapter=route.adapter
            )
            raise AgentError(
                ErrorReason.PROVIDER_FAILED,
                "The provider adapter failed; the server's log says how.",
                metadata={"adapter": route.adapter},
            ) from None

    async def _call_tool(self, state: RunState, effect: e.CallTool, may_begin: Callable[[], bool]) -> i.Input:
        call = state.call(effect.call_id)
        place = self.places.begin(effect.call_id, call.not_performed_by if call else "")
        if place is None:
            return i.ToolNotSent(at=self._ports.clock.now(), call_id=effect.call_id, attempt=effect.attempt)
        try:
            arguments = await self._conversation.data(effect.arguments)
            invocation = self._invocation(state, effect, arguments, may_begin)
            outcome = await _guarded(self._ports.tools.execute(place, invocation))
        finally:
            place.release()
        settled = self._settled(effect, outcome, may_begin)
        return self._gated(state, settled, arguments) if isinstance(settled, i.ToolReturned) else settled

    def _gated(self, state: RunState, returned: i.ToolReturned, arguments: bytes) -> i.ToolReturned:
        """An answer with what policies say of it, where they are heard; it is not kept back until that is known."""
        call, [content] = state.call(returned.call_id), returned.contents
        assert call is not None, "an effect is that of a call"
        result = Result(returned.ok, content.ref, content.data)
        return replace(
            returned,
            is_gated=self._policies.are_heard_of_results(state.key.namespace),
            policies=policy_findings.of_result_at_once(self._policies, self._package, state, call, arguments, result),
        )

    async def _evaluate_result(self, state: RunState, effect: e.EvaluateResult) -> i.ResultEvaluated:
        call = state.call(effect.call_id)
        assert call is not None and call.arguments is not None and call.outcome is not None, "it awaits its release"
        async with self._policies.room_for_results:
            arguments, data = await self._conversation.data(call.arguments), await self._conversation.data(call.outcome)
            result = Result(call.phase is CallPhase.COMPLETED, call.outcome, data)
            said = await policy_findings.of_result(self._policies, self._package, state, call, arguments, result)
        return i.ResultEvaluated(
            at=self._ports.clock.now(), call_id=effect.call_id, attempt=effect.attempt, policies=said
        )

    async def _reconcile(self, state: RunState, effect: e.ReconcileTool) -> i.Input:
        place = self.places.begin(effect.call_id)
        assert place is not None, "whoever performed it is asked, whoever approved"
        try:
            arguments = await self._conversation.data(effect.arguments)
            invocation = self._invocation(state, effect, arguments, lambda: True)
            outcome = await _guarded(self._ports.tools.reconcile(place, invocation, effect.ask))
        finally:
            place.release()
        content, failure = None, None
        if outcome.answer is ReconcileAnswer.PERFORMED and len(outcome.data) > MAX_RESULT_BYTES:
            content, failure = too_large(len(outcome.data)), ErrorReason.TOOL_RESULT_TOO_LARGE
        elif outcome.answer is ReconcileAnswer.PERFORMED:
            content = tool_content(outcome.data, outcome.media_type)
        return i.Reconciled(
            at=self._ports.clock.now(),
            call_id=effect.call_id,
            attempt=effect.attempt,
            ask=effect.ask,
            answer=outcome.answer,
            result=content.ref if content else None,
            failure=failure,
            is_gated=self._policies.are_heard_of_results(state.key.namespace),
            executor_identity=outcome.executor_identity,
            contents=(content,) if content else (),
        )

    def _invocation(
        self,
        state: RunState,
        effect: e.CallTool | e.ReconcileTool,
        arguments: bytes,
        may_begin: Callable[[], bool],
    ) -> ToolInvocation:
        return ToolInvocation(
            namespace=state.key.namespace,
            run_id=state.key.run_id,
            turn_id=state.turn_id,
            round=state.round,
            call_id=effect.call_id,
            attempt=effect.attempt,
            idempotency_key=effect.idempotency_key,
            tool=effect.tool,
            arguments_json=arguments,
            arguments_digest=effect.arguments.digest,
            # From now, not from the intent: writing that down and reading the arguments may have taken long.
            deadline=self._ports.clock.now() + self._tool(effect.tool).timeout_ms * 1000,
            package_fingerprint=state.package_fingerprint,
            trace_parent=self._trace_parent(state, effect),
            may_begin=may_begin,
        )

    def _trace_parent(self, state: RunState, effect: e.CallTool | e.ReconcileTool) -> str:
        """What the executor is told: below the attempt's own span where spans are made, else what the caller said."""
        if not (state.trace_parent and self._ports.traces):
            return state.trace_parent
        return trace.child(state.trace_parent, trace.attempt_span(state.key, effect.call_id, effect.attempt))

    def _settled(self, effect: e.CallTool, outcome: ToolOutcome, may_begin: Callable[[], bool]) -> i.Input:
        at, call_id, attempt, by = self._ports.clock.now(), effect.call_id, effect.attempt, outcome.executor_identity
        ok, reason = False, ErrorReason.TOOL_FAILED
        match outcome.kind:
            case ToolOutcomeKind.NOT_SENT:
                return i.ToolNotSent(
                    at=at, call_id=call_id, attempt=attempt, withdrawn=not may_begin(), executor_identity=by
                )
            case ToolOutcomeKind.LOST | ToolOutcomeKind.TIMED_OUT | ToolOutcomeKind.UNREADABLE:
                return i.ToolOutcomeUnknown(
                    at=at, call_id=call_id, attempt=attempt, reason=_UNKNOWN[outcome.kind], executor_identity=by
                )
            case ToolOutcomeKind.RESULT if len(outcome.data) <= MAX_RESULT_BYTES:
                ok, content = True, tool_content(outcome.data, outcome.media_type)
            case ToolOutcomeKind.RESULT | ToolOutcomeKind.TOO_LARGE:
                # The effect has happened, so the model must not be told that it failed.
                reason, content = ErrorReason.TOOL_RESULT_TOO_LARGE, too_large(outcome.size or len(outcome.data))
            case ToolOutcomeKind.ERROR:
                message = outcome.data[:MAX_MESSAGE_BYTES].decode("utf-8", "replace")
                content = Content.text(message or "The tool failed without saying why.")
            case _:
                assert_never(outcome.kind)
        return i.ToolReturned(
            at=at,
            call_id=call_id,
            attempt=attempt,
            ok=ok,
            result=content.ref,
            reason=reason,
            executor_identity=by,
            contents=(content,),
        )

    async def looked_at_again(self, state: RunState, input: i.Input) -> i.Input:
        """What is about to be decided on, with what holds by now."""
        if isinstance(input, i.ApprovalDecisionRequested) and input.call_id is None:
            return await run_looked_at_again(self._ports, state, input, self._questions.said_of_run)
        return await looked_at_again(self._ports, self._package, self._conversation, state, input, self.taker.for_call)


async def _guarded(call: Coroutine[object, object, T]) -> T:
    """Awaits an adapter. One that cancels itself fails; only the driver may cancel an effect."""
    try:
        return await call
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise RuntimeError("the adapter cancelled itself") from None
