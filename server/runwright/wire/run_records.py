"""Records about the run, its turn and its model requests ⇄ event bodies."""

from __future__ import annotations

from typing import assert_never

from runwright._gen.runwright.v1 import error_pb2, run_pb2
from runwright._gen.runwright.v1 import event_pb2 as pb
from runwright.core import records as r
from runwright.core.errors import ErrorReason
from runwright.core.ids import EffectId
from runwright.core.outcomes import FinishReason, StopReason
from runwright.wire import contexts
from runwright.wire import values as v


def write_model(event: pb.Event, record: r.ModelRecord) -> None:
    """Fills the body of an event about a model request."""
    match record:
        case r.ModelAttemptStarted():
            requested = event.model_attempt_started
            requested.provider, requested.model, requested.route = record.provider, record.model, record.route
        case r.ModelMessageCompleted():
            message = event.model_message_completed
            if record.text:
                v.put_ref(message.text, record.text)
            message.finish_reason = pb.FinishReason.ValueType(record.finish.value)
            message.tool_calls = record.tool_calls
            message.input_tokens, message.output_tokens = record.input_tokens, record.output_tokens
            if record.opaque:
                v.put_ref(message.opaque, record.opaque)
            message.route = record.route
        case r.ModelAttemptFailed():
            event.model_attempt_failed.error.CopyFrom(v.failure(record.error))
        case r.ModelRetryScheduled():
            planned = event.retry_scheduled
            planned.reason = error_pb2.ErrorReason.ValueType(record.reason.value)
            v.put_timestamp(planned.not_before, record.not_before)
        case _:
            assert_never(record)


def write_run(event: pb.Event, record: r.RunRecord, namespace: str) -> None:
    """Fills the body of an event about the run or its turn."""
    match record:
        case r.RunStarted():
            _write_started(event.run_started, record, namespace)
        case r.ContextAssembled():
            event.context_assembled.CopyFrom(contexts.context(record.context))
        case r.TurnStarted():
            event.turn_started.SetInParent()
            for ref in record.input:
                v.put_ref(event.turn_started.input.add(), ref)
        case r.RunCancelRequested():
            requested = event.run_cancel_requested
            requested.reason, requested.requested_by = record.reason, record.requested_by
            v.put_timestamp(requested.deadline, record.deadline)
        case r.TurnCompleted():
            event.turn_completed.SetInParent()
        case r.TurnFailed():
            event.turn_failed.error.CopyFrom(v.failure(record.error))
        case r.RunCompleted():
            completed = event.run_completed
            completed.stop_reason = run_pb2.StopReason.ValueType(record.stop.value)
            v.put_ref(completed.result, record.result)
            v.put_usage(completed.usage, record.usage)
        case r.RunFailed():
            failed = event.run_failed
            failed.stop_reason = run_pb2.StopReason.ValueType(record.stop.value)
            failed.error.CopyFrom(v.failure(record.error))
            v.put_usage(failed.usage, record.usage)
        case r.RunCancelled():
            cancelled = event.run_cancelled
            cancelled.error.CopyFrom(v.failure(record.error))
            cancelled.unknown_effects.extend(record.unknown_effects)
            v.put_usage(cancelled.usage, record.usage)
        case _:
            assert_never(record)


def _write_started(started: pb.RunStarted, record: r.RunStarted, namespace: str) -> None:
    started.namespace = namespace
    v.put_ref(started.request, record.request)
    started.request_digest = record.request_digest
    started.package_id = record.package_id
    v.put_ref(started.package, record.package)
    started.provider, started.model = record.provider, record.model
    v.put_budget(started.budget, record.budget)
    started.labels.update(record.labels)
    started.journal_id = record.journal_id


def read_run_or_model(event: pb.Event, body: str) -> r.Record:
    """The record of an event about run, turn or model. Raises KeyError for an unknown body."""
    at = v.micros(event.time)
    match body:
        case "model_attempt_started":
            requested = event.model_attempt_started
            return r.ModelAttemptStarted(
                at=at,
                round=event.round,
                attempt=event.attempt,
                provider=requested.provider,
                model=requested.model,
                route=requested.route,
            )
        case "model_message_completed":
            message = event.model_message_completed
            return r.ModelMessageCompleted(
                at=at,
                round=event.round,
                attempt=event.attempt,
                text=v.to_content_ref(message.text) if message.HasField("text") else None,
                finish=FinishReason(message.finish_reason),
                tool_calls=message.tool_calls,
                input_tokens=message.input_tokens,
                output_tokens=message.output_tokens,
                opaque=v.to_content_ref(message.opaque) if message.HasField("opaque") else None,
                route=message.route,
            )
        case "model_attempt_failed":
            error = v.to_failure(event.model_attempt_failed.error)
            return r.ModelAttemptFailed(at=at, round=event.round, attempt=event.attempt, error=error)
        case "retry_scheduled":
            planned = event.retry_scheduled
            return r.ModelRetryScheduled(
                at=at,
                round=event.round,
                attempt=event.attempt,
                reason=ErrorReason(planned.reason),
                not_before=v.micros(planned.not_before),
            )
        case "run_started":
            return _read_started(event, at)
        case "context_assembled":
            return r.ContextAssembled(at=at, context=contexts.to_context(event.context_assembled))
        case "turn_started":
            return r.TurnStarted(at=at, input=tuple(v.to_content_ref(ref) for ref in event.turn_started.input))
        case "run_cancel_requested":
            cancel = event.run_cancel_requested
            return r.RunCancelRequested(
                at=at, reason=cancel.reason, requested_by=cancel.requested_by, deadline=v.micros(cancel.deadline)
            )
        case "turn_completed":
            return r.TurnCompleted(at=at)
        case "turn_failed":
            return r.TurnFailed(at=at, error=v.to_failure(event.turn_failed.error))
        case _:
            return _read_end(event, at, body)


def _read_started(event: pb.Event, at: int) -> r.RunStarted:
    started = event.run_started
    return r.RunStarted(
        at=at,
        session_id=event.session_id,
        turn_id=event.turn_id,
        agent_id=event.agent_id,
        principal=event.principal,
        request=v.to_content_ref(started.request),
        request_digest=started.request_digest,
        package_id=started.package_id,
        package=v.to_content_ref(started.package),
        package_fingerprint=event.package_fingerprint,
        provider=started.provider,
        model=started.model,
        budget=v.to_budget(started.budget),
        labels=dict(started.labels),
        trace_parent=event.trace_parent,
        journal_id=started.journal_id,
    )


def _read_end(event: pb.Event, at: int, body: str) -> r.Record:
    match body:
        case "run_completed":
            completed = event.run_completed
            return r.RunCompleted(
                at=at,
                stop=StopReason(completed.stop_reason),
                result=v.to_content_ref(completed.result),
                usage=v.to_usage(completed.usage),
            )
        case "run_failed":
            failed = event.run_failed
            return r.RunFailed(
                at=at,
                stop=StopReason(failed.stop_reason),
                error=v.to_failure(failed.error),
                usage=v.to_usage(failed.usage),
            )
        case "run_cancelled":
            cancelled = event.run_cancelled
            return r.RunCancelled(
                at=at,
                error=v.to_failure(cancelled.error),
                unknown_effects=tuple(EffectId(effect) for effect in cancelled.unknown_effects),
                usage=v.to_usage(cancelled.usage),
            )
        case _:
            raise KeyError(body)
