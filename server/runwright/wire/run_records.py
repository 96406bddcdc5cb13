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
            event.model_attempt_started.CopyFrom(
                pb.ModelAttemptStarted(provider=record.provider, model=record.model, route=record.route)
            )
        case r.ModelMessageCompleted():
            event.model_message_completed.CopyFrom(
                pb.ModelMessageCompleted(
                    text=v.content_ref(record.text) if record.text else None,
                    finish_reason=pb.FinishReason.ValueType(record.finish.value),
                    tool_calls=record.tool_calls,
                    input_tokens=record.input_tokens,
                    output_tokens=record.output_tokens,
                )
            )
        case r.ModelAttemptFailed():
            event.model_attempt_failed.error.CopyFrom(v.failure(record.error))
        case r.ModelRetryScheduled():
            event.retry_scheduled.CopyFrom(
                pb.RetryScheduled(
                    reason=error_pb2.ErrorReason.ValueType(record.reason.value),
                    not_before=v.timestamp(record.not_before),
                )
            )
        case _:
            assert_never(record)


def write_run(event: pb.Event, record: r.RunRecord, namespace: str) -> None:
    """Fills the body of an event about the run or its turn."""
    match record:
        case r.RunStarted():
            event.run_started.CopyFrom(
                pb.RunStarted(
                    namespace=namespace,
                    request=v.content_ref(record.request),
                    request_digest=record.request_digest,
                    package_id=record.package_id,
                    package=v.content_ref(record.package),
                    provider=record.provider,
                    model=record.model,
                    budget=v.budget(record.budget),
                    labels=record.labels,
                )
            )
        case r.ContextAssembled():
            event.context_assembled.CopyFrom(contexts.context(record.context))
        case r.TurnStarted():
            event.turn_started.input.extend(v.content_ref(ref) for ref in record.input)
        case r.RunCancelRequested():
            event.run_cancel_requested.CopyFrom(
                pb.RunCancelRequested(
                    reason=record.reason, requested_by=record.requested_by, deadline=v.timestamp(record.deadline)
                )
            )
        case r.TurnCompleted():
            event.turn_completed.SetInParent()
        case r.TurnFailed():
            event.turn_failed.error.CopyFrom(v.failure(record.error))
        case r.RunCompleted():
            event.run_completed.CopyFrom(
                pb.RunCompleted(
                    stop_reason=run_pb2.StopReason.ValueType(record.stop.value),
                    result=v.content_ref(record.result),
                    usage=v.usage(record.usage),
                )
            )
        case r.RunFailed():
            event.run_failed.CopyFrom(
                pb.RunFailed(
                    stop_reason=run_pb2.StopReason.ValueType(record.stop.value),
                    error=v.failure(record.error),
                    usage=v.usage(record.usage),
                )
            )
        case r.RunCancelled():
            event.run_cancelled.CopyFrom(
                pb.RunCancelled(
                    error=v.failure(record.error),
                    unknown_effects=record.unknown_effects,
                    usage=v.usage(record.usage),
                )
            )
        case _:
            assert_never(record)


def read_run_or_model(event: pb.Event, body: str) -> r.Record:
    """The record of an event about run, turn or model. Raises KeyError for an unknown body."""
    at = v.micros(event.time)
    match body:
        case "model_attempt_started":
            asked = event.model_attempt_started
            return r.ModelAttemptStarted(
                at=at,
                round=event.round,
                attempt=event.attempt,
                provider=asked.provider,
                model=asked.model,
                route=asked.route,
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
