"""Performs effects: one short method each, from a wish to the input that settles it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TypeVar, assert_never

from runwright.core import effects as e
from runwright.core import inputs as i
from runwright.core import trace
from runwright.core.content import JSON, Content
from runwright.core.errors import AgentError, ErrorReason, Failure
from runwright.core.package import RuntimePackage
from runwright.core.state import RunState
from runwright.ports.provider import Message, ModelReply, ModelRequest, ToolSpecification
from runwright.ports.tools import ToolInvocation, ToolOutcome, ToolOutcomeKind
from runwright.runtime.conversation import Conversation
from runwright.runtime.live_text import LiveText, LiveTexts
from runwright.runtime.model_reply import check_reply
from runwright.runtime.waiting import bounded, comes_before
from runwright.runtime.world import World

T = TypeVar("T")
MAX_RESULT_BYTES = 1024 * 1024
MAX_ERROR_BYTES = 4096
MAX_MEDIA_TYPE = 127
PROBE_US = 1_000_000
_UNKNOWN = {
    ToolOutcomeKind.LOST: ErrorReason.EXECUTOR_LOST,
    ToolOutcomeKind.TIMED_OUT: ErrorReason.TOOL_TIMED_OUT,
    ToolOutcomeKind.UNREADABLE: ErrorReason.TOOL_ANSWER_INVALID,
}


class Performer:
    """Performs the effects of one run. Failures of the world become inputs; only our own faults raise."""

    def __init__(self, world: World, package: RuntimePackage, conversation: Conversation, texts: LiveTexts) -> None:
        self._world = world
        self._package = package
        self._conversation = conversation
        self._texts = texts
        self._text: LiveText | None = None  # of the model that answers now
        self.missing_provider = ""  # the adapter that the run has to ask and this server does not have

    async def perform(self, state: RunState, position: int, effect: e.Effect, may_begin: Callable[[], bool]) -> i.Input:
        """Performs one effect for a run in `state`, whose last event is at `position`, and says what came of it.

        `may_begin` is asked right before a tool call is sent.
        """
        match effect:
            case e.CallModel():
                self._text = text = self._texts.open(state, effect, position)
                try:
                    given = await self._request_model(state, effect, text)
                    text.end(is_whole=isinstance(given, i.ModelReplied))
                    return given
                finally:
                    text.end(is_whole=False)
                    self._text = None if self._text is text else self._text
            case e.AwaitRetry():
                clock = self._world.clock
                await clock.sleep_until(bounded(effect.due, state.asked.since, clock.now()))
                # The wait is over, whatever the clock says: the time on record goes on from what was planned.
                return i.RetryDue(at=max(clock.now(), effect.due), round=effect.round, attempt=effect.attempt)
            case e.CallTool():
                return await self._call_tool(state, effect, may_begin)
            case e.AwaitExecutor():
                return await self._await_executor(state, effect)
            case e.WaitForCancelDeadline():
                await self._world.clock.sleep_until(effect.due)
                return i.CancelDeadlinePassed(at=self._world.clock.now())
            case _:
                assert_never(effect)

    def superseded(self, state: RunState) -> None:
        """Says that `state` is about to become durable: nobody may hear more of an attempt that has ended in it."""
        text = self._text
        if text is not None and (state.round, state.model_attempt) != (text.effect.round, text.effect.attempt):
            text.end(is_whole=False)

    async def _request_model(self, state: RunState, effect: e.CallModel, text: LiveText) -> i.Input:
        await self._require_provider(state, effect)
        try:
            # What the journal says while it is read is no failure of the model: it is raised.
            async with self._conversation.request() as messages:
                return await self._call_model(state, effect, text, messages)
        except AgentError as error:
            if error.reason is not ErrorReason.CONVERSATION_TOO_LARGE:
                raise
            at = self._world.clock.now()
            return i.ModelFailed(at=at, round=effect.round, attempt=effect.attempt, error=Failure.of(error))

    async def _call_model(
        self, state: RunState, effect: e.CallModel, text: LiveText, messages: tuple[Message, ...]
    ) -> i.Input:
        try:
            reply = await self._ask(state, effect, text, messages)
            adapter = self._package.routes[effect.route].adapter
            checked = await check_reply(self._package, self._world.schemas, reply, adapter)
            if not text.begins(reply.text or ""):
                self._world.log.error("provider emitted other text than its answer", run_id=state.key.run_id)
        except AgentError as error:
            return i.ModelFailed(
                at=self._world.clock.now(), round=effect.round, attempt=effect.attempt, error=Failure.of(error)
            )
        return i.ModelReplied(
            at=self._world.clock.now(),
            round=effect.round,
            attempt=effect.attempt,
            text=checked.text.ref if checked.text else None,
            finish=reply.finish,
            calls=checked.calls,
            input_tokens=max(0, reply.input_tokens),
            output_tokens=max(0, reply.output_tokens),
            contents=checked.contents,
        )

    async def _require_provider(self, state: RunState, effect: e.CallModel) -> None:
        """Never returns while no provider of the route, or of one after it, is configured: the next start may have one.

        A start is refused then; a run that is under way has done nothing wrong.
        """
        routes = self._package.routes[effect.route :]
        if any(route.adapter in self._world.providers for route in routes):
            return
        self.missing_provider = routes[0].adapter
        self._world.log.warning(
            "run waits for a provider that is not configured",
            run_id=state.key.run_id,
            trace_id=state.trace_id,
            adapter=self.missing_provider,
        )
        try:
            await asyncio.Event().wait()
        finally:
            self.missing_provider = ""

    async def _ask(
        self, state: RunState, effect: e.CallModel, text: LiveText, messages: tuple[Message, ...]
    ) -> ModelReply:
        route = self._package.routes[effect.route]
        provider = self._world.provider(route.adapter)
        request = ModelRequest(
            run_id=state.key.run_id,
            round=effect.round,
            attempt=effect.attempt,
            model=route.model,
            parameters=route.parameters,
            instructions=self._package.agent.instructions,
            messages=messages,
            tools=tuple(
                ToolSpecification(tool.name, tool.description, tool.parameters) for tool in self._package.tools
            ),
        )
        try:
            return await _guarded(provider.complete(request, text.add))
        except AgentError:
            raise
        except Exception as error:  # noqa: BLE001 - an adapter's own failure must end this run only
            self._world.log.error(
                "provider raised", error, run_id=state.key.run_id, trace_id=state.trace_id, adapter=route.adapter
            )
            raise AgentError(
                ErrorReason.PROVIDER_FAILED,
                "The provider adapter failed; the server's log says how.",
                metadata={"adapter": route.adapter},
            ) from None

    async def _call_tool(self, state: RunState, effect: e.CallTool, may_begin: Callable[[], bool]) -> i.Input:
        invocation = ToolInvocation(
            namespace=state.key.namespace,
            run_id=state.key.run_id,
            turn_id=state.turn_id,
            round=state.round,
            call_id=effect.call_id,
            attempt=effect.attempt,
            idempotency_key=effect.idempotency_key,
            tool=effect.tool,
            arguments_json=await self._conversation.data(effect.arguments),
            arguments_digest=effect.arguments.digest,
            deadline=effect.deadline,
            package_fingerprint=state.package_fingerprint,
            trace_parent=self._trace_parent(state, effect),
            may_begin=may_begin,
        )
        outcome = await _guarded(self._world.tools.execute(effect.executor, invocation))
        return self._settled(effect, outcome)

    def _trace_parent(self, state: RunState, effect: e.CallTool) -> str:
        """What the executor is told: below the attempt's own span where spans are made, else what the caller said."""
        if not (state.trace_parent and self._world.traces):
            return state.trace_parent
        return trace.child(state.trace_parent, trace.attempt_span(state.key, effect.call_id, effect.attempt))

    def _settled(self, effect: e.CallTool, outcome: ToolOutcome) -> i.Input:
        at, call_id, attempt, by = self._world.clock.now(), effect.call_id, effect.attempt, outcome.executor_identity
        ok, reason = False, ErrorReason.TOOL_FAILED
        match outcome.kind:
            case ToolOutcomeKind.NOT_SENT:
                return i.ToolNotSent(at=at, call_id=call_id, attempt=attempt, executor_identity=by)
            case ToolOutcomeKind.LOST | ToolOutcomeKind.TIMED_OUT | ToolOutcomeKind.UNREADABLE:
                return i.ToolOutcomeUnknown(
                    at=at, call_id=call_id, attempt=attempt, reason=_UNKNOWN[outcome.kind], executor_identity=by
                )
            case ToolOutcomeKind.RESULT if len(outcome.data) <= MAX_RESULT_BYTES:
                ok, content = True, Content.of(outcome.data, _media_type(outcome.media_type))
            case ToolOutcomeKind.RESULT | ToolOutcomeKind.TOO_LARGE:
                # The effect has happened, so the model must not be told that it failed.
                reason, content = ErrorReason.TOOL_RESULT_TOO_LARGE, _too_large(outcome.size or len(outcome.data))
            case ToolOutcomeKind.ERROR:
                told = outcome.data[:MAX_ERROR_BYTES].decode("utf-8", "replace")
                content = Content.text(told or "The tool failed without saying why.")
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

    async def _await_executor(self, state: RunState, effect: e.AwaitExecutor) -> i.Input:
        clock, call = self._world.clock, state.call(effect.call_id)
        assert call is not None, "what waits is a call of the run"
        give_up_at = bounded(effect.give_up_at, call.since, clock.now())
        await clock.sleep_until(min(bounded(effect.not_before, call.since, clock.now()), give_up_at))
        # Asked at least once: the wait may have been over while there was no room for the call.
        due = max(give_up_at, clock.now() + PROBE_US)
        reaching = self._world.tools.reachable(state.key.namespace, effect.executor, call.tool)
        reachable = await _guarded(comes_before(reaching, clock, due))
        return i.ExecutorAwaited(at=clock.now(), call_id=effect.call_id, attempt=effect.attempt, reachable=reachable)


async def _guarded(call: Coroutine[object, object, T]) -> T:
    """Awaits an adapter. One that cancels itself fails; only the driver may cancel an effect."""
    try:
        return await call
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise RuntimeError("the adapter cancelled itself") from None


def _too_large(size: int) -> Content:
    of = f" of {size} bytes" if size else ""  # nobody knows the size of what was compressed and not unpacked
    return Content.text(f"The call was made; its result{of} is above {MAX_RESULT_BYTES}.")


def _media_type(said: str) -> str:
    """An executor's word for its result, if it can be one; it ends up in events and terminals."""
    if not said:
        return JSON
    fits = len(said) <= MAX_MEDIA_TYPE and said.isascii() and said.isprintable()
    return said if fits else "application/octet-stream"
