"""Spans from records: what a run, a model request and a tool call look like in a trace. No content, ever."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from runwright.adapters.telemetry import conventions as c
from runwright.core import records as r
from runwright.core import trace
from runwright.core.errors import ErrorReason
from runwright.core.ids import RunKey, model_effect_id
from runwright.core.outcomes import RunStatus
from runwright.core.records import Record
from runwright.core.state import RunState

Value = str | int | Sequence[str]


class FinishedSpan(Struct, frozen=True):
    """A span that is over. Times are microseconds; `parent_id` is empty for the root of a trace."""

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    calls_out: bool
    begun: int
    ended: int
    attributes: Mapping[str, Value]
    error: str = ""


class _Attempt(Struct, frozen=True):
    """An attempt that has begun."""

    name: str
    begun: int
    attributes: Mapping[str, Value]


class SpanMaker:
    """An AppendObserver that hands on a span for everything that ended, of runs in a sampled trace.

    The beginning of an attempt is held in memory: one that a crash cut short
    has no span, and its later attempts have theirs. A run's is in its state.
    """

    def __init__(self, finished: Callable[[FinishedSpan], None]) -> None:
        self._finished = finished
        # Bounded by what is under way: a model request or the calls of a round for each run.
        self._open: dict[RunKey, dict[tuple[str, int], _Attempt]] = {}

    def appended(self, run: RunKey, records: Sequence[Record], state: RunState, seconds: float) -> None:
        """See AppendObserver."""
        if trace.is_sampled(state.trace_parent):
            for record in records:
                self._take(run, record, state)

    def _take(self, run: RunKey, record: Record, state: RunState) -> None:
        match record:
            case r.ModelAttemptStarted():
                self._begin(run, (model_effect_id(record.round), record.attempt), _request(record, state))
            case r.ModelMessageCompleted():
                details: dict[str, Value] = {
                    c.FINISH_REASONS: (record.finish.name.lower(),),
                    c.INPUT_TOKENS: record.input_tokens,
                    c.OUTPUT_TOKENS: record.output_tokens,
                }
                self._end(state, (model_effect_id(record.round), record.attempt), record.at, details)
            case r.ModelAttemptFailed():
                self._fail(state, (model_effect_id(record.round), record.attempt), record.at, record.error.reason)
            case r.ToolStarted():
                self._begin(run, (record.call_id, record.attempt), _call(record, state))
            case r.ToolCompleted():
                self._end(state, (record.call_id, record.attempt), record.at, {})
            case r.ToolFailed() | r.ToolRecoveryRequired():
                self._fail(state, (record.call_id, record.attempt), record.at, record.reason)
            case r.RetryScheduled():  # of a model request it follows the failure, which has ended the span
                self._fail(state, (record.effect_id, record.attempt), record.at, record.reason)
            case r.ToolCancelled():
                self._fail(state, (record.call_id, record.attempt), record.at, ErrorReason.CANCELLED)
            case r.RunCompleted() | r.RunFailed() | r.RunCancelled():
                self._open.pop(run, None)
                self._finished(_run(run, record.at, state))
            case _:
                pass

    def _begin(self, run: RunKey, key: tuple[str, int], attempt: _Attempt) -> None:
        self._open.setdefault(run, {})[key] = attempt

    def _fail(self, state: RunState, key: tuple[str, int], at: int, reason: ErrorReason) -> None:
        self._end(state, key, at, {c.ERROR_TYPE: reason.name}, reason.name)

    def _end(
        self, state: RunState, key: tuple[str, int], at: int, details: Mapping[str, Value], error: str = ""
    ) -> None:
        attempts = self._open.get(state.key, {})
        attempt = attempts.pop(key, None)
        if not attempts:
            self._open.pop(state.key, None)
        if attempt is None:
            return
        self._finished(
            FinishedSpan(
                trace_id=state.trace_id,
                span_id=trace.attempt_span(state.key, *key),
                parent_id=trace.run_span(state.key),
                name=attempt.name,
                calls_out=True,
                begun=attempt.begun,
                ended=at,
                attributes={**attempt.attributes, **details},
                error=error,
            )
        )


def _request(record: r.ModelAttemptStarted, state: RunState) -> _Attempt:
    attributes: dict[str, Value] = {
        **_common(c.CHAT, state),
        c.PROVIDER: state.provider,
        c.REQUEST_MODEL: state.model,
        c.ROUND: record.round,
        c.ATTEMPT: record.attempt,
    }
    return _Attempt(f"{c.CHAT} {state.model}", record.at, attributes)


def _call(record: r.ToolStarted, state: RunState) -> _Attempt:
    attributes: dict[str, Value] = {
        **_common(c.EXECUTE_TOOL, state),
        c.TOOL_NAME: record.tool,
        c.TOOL_CALL_ID: record.call_id,
        c.TOOL_TYPE: "function",
        c.EXECUTOR: record.executor,
        c.EFFECT: record.effect,
        c.ATTEMPT: record.attempt,
    }
    return _Attempt(f"{c.EXECUTE_TOOL} {record.tool}", record.at, attributes)


def _run(run: RunKey, at: int, state: RunState) -> FinishedSpan:
    own, parent = trace.run_span(run), trace.parent_span(state.trace_parent)
    attributes: dict[str, Value] = {
        **_common(c.INVOKE_AGENT, state),
        c.PROVIDER: state.provider,
        c.REQUEST_MODEL: state.model,
        c.PACKAGE: state.package_fingerprint,
        c.STATUS: RunStatus(state.phase.value).name.lower(),
        c.INPUT_TOKENS: state.usage.input_tokens,
        c.OUTPUT_TOKENS: state.usage.output_tokens,
    }
    if state.stop is not None:
        attributes[c.STOP_REASON] = state.stop.name.lower()
    error = state.error.reason.name if state.error else ""
    if error:
        attributes[c.ERROR_TYPE] = error
    return FinishedSpan(
        trace_id=state.trace_id,
        span_id=own,
        parent_id="" if parent == own else parent,
        name=f"{c.INVOKE_AGENT} {state.agent_id}",
        calls_out=False,
        begun=state.started_at,
        ended=at,
        attributes=attributes,
        error=error,
    )


def _common(operation: str, state: RunState) -> dict[str, Value]:
    common: dict[str, Value] = {
        c.OPERATION: operation,
        c.AGENT_ID: state.agent_id,
        c.AGENT_NAME: state.agent_id,
        c.RUN_ID: state.key.run_id,
        c.NAMESPACE: state.key.namespace,
    }
    return common | {c.CONVERSATION_ID: state.session_id} if state.session_id else common
