"""Records about tool calls ⇄ event bodies."""

from __future__ import annotations

from typing import assert_never

from runwright._gen.runwright.v1 import error_pb2
from runwright._gen.runwright.v1 import event_pb2 as pb
from runwright.core import records as r
from runwright.core.errors import ErrorReason
from runwright.core.ids import EffectId
from runwright.core.policy import Decision, PolicyStage, Verdict
from runwright.wire import values as v
from runwright.wire.packages import EFFECT_NAMES, EFFECTS

BODIES = frozenset(
    {
        "tool_requested",
        "policy_decided",
        "tool_started",
        "tool_completed",
        "tool_failed",
        "tool_denied",
        "tool_cancelled",
        "tool_recovery_required",
        "retry_scheduled",
    }
)


def _reason(reason: ErrorReason) -> error_pb2.ErrorReason.ValueType:
    return error_pb2.ErrorReason.ValueType(reason.value)


def write_call(event: pb.Event, record: r.CallRecord) -> None:
    """Fills the body of an event about a tool call."""
    match record:
        case r.ToolRequested():
            requested = event.tool_requested
            requested.tool, requested.provider_call_id = record.tool, record.provider_call_id
            requested.executor = record.executor
            v.put_ref(requested.arguments, record.arguments)
        case r.PolicyDecided():
            decided = event.policy_decided
            decided.stage = pb.PolicyStage.ValueType(PolicyStage.PRE_TOOL.value)
            decided.verdict = pb.PolicyVerdict.ValueType(record.decision.verdict.value)
            decided.policy_ref, decided.code = record.policy_ref, record.decision.code
        case r.ToolStarted():
            _write_started(event.tool_started, record)
        case r.ToolCompleted():
            event.tool_completed.tool = record.tool
            v.put_ref(event.tool_completed.result, record.result)
            v.put_identity(event.tool_completed.executor_identity, record.executor_identity)
        case r.ToolFailed():
            failed = event.tool_failed
            failed.tool, failed.reason = record.tool, _reason(record.reason)
            if record.message:
                v.put_ref(failed.message, record.message)
            v.put_identity(failed.executor_identity, record.executor_identity)
        case r.ToolDenied():
            denied = event.tool_denied
            denied.tool, denied.policy_ref, denied.code = record.tool, record.policy_ref, record.code
        case r.ToolCancelled():
            event.tool_cancelled.tool = record.tool
        case r.ToolRecoveryRequired():
            lost = event.tool_recovery_required
            lost.tool, lost.executor, lost.reason = record.tool, record.executor, _reason(record.reason)
            lost.idempotency_key, lost.arguments_digest = record.idempotency_key, record.arguments_digest
            v.put_identity(lost.executor_identity, record.executor_identity)
        case r.RetryScheduled():
            planned = event.retry_scheduled
            planned.reason = _reason(record.reason)
            v.put_timestamp(planned.not_before, record.not_before)
            v.put_timestamp(planned.give_up_at, record.give_up_at)
            v.put_identity(planned.executor_identity, record.executor_identity)
        case _:
            assert_never(record)


def _write_started(started: pb.ToolStarted, record: r.ToolStarted) -> None:
    started.tool, started.executor, started.effect = record.tool, record.executor, EFFECTS[record.effect]
    started.idempotent, started.idempotency_key = record.idempotent, record.idempotency_key
    started.arguments_digest = record.arguments_digest
    v.put_timestamp(started.deadline, record.deadline)


def read_call(event: pb.Event, body: str) -> r.CallRecord:
    """The record of an event about a tool call. Raises KeyError for an unknown body."""
    at, call_id, attempt = v.micros(event.time), EffectId(event.effect_id), event.attempt
    match body:
        case "tool_requested":
            requested = event.tool_requested
            return r.ToolRequested(
                at=at,
                call_id=call_id,
                tool=requested.tool,
                provider_call_id=requested.provider_call_id,
                arguments=v.to_content_ref(requested.arguments),
                executor=requested.executor,
            )
        case "policy_decided":
            decided = event.policy_decided
            decision = Decision(Verdict(decided.verdict), decided.code)
            return r.PolicyDecided(at=at, call_id=call_id, policy_ref=decided.policy_ref, decision=decision)
        case "tool_started":
            return _read_started(event, at, call_id)
        case "tool_completed":
            done = event.tool_completed
            return r.ToolCompleted(
                at=at,
                call_id=call_id,
                attempt=attempt,
                tool=done.tool,
                result=v.to_content_ref(done.result),
                executor_identity=v.to_identity(done.executor_identity),
            )
        case "tool_failed":
            failed = event.tool_failed
            return r.ToolFailed(
                at=at,
                call_id=call_id,
                attempt=attempt,
                tool=failed.tool,
                reason=ErrorReason(failed.reason),
                message=v.to_content_ref(failed.message) if failed.HasField("message") else None,
                executor_identity=v.to_identity(failed.executor_identity),
            )
        case _:
            return _read_other(event, at, call_id, body)


def _read_started(event: pb.Event, at: int, call_id: EffectId) -> r.ToolStarted:
    started = event.tool_started
    return r.ToolStarted(
        at=at,
        call_id=call_id,
        attempt=event.attempt,
        tool=started.tool,
        executor=started.executor,
        effect=EFFECT_NAMES[started.effect],
        idempotent=started.idempotent,
        idempotency_key=started.idempotency_key,
        arguments_digest=started.arguments_digest,
        deadline=v.micros(started.deadline),
    )


def _read_other(event: pb.Event, at: int, call_id: EffectId, body: str) -> r.CallRecord:
    attempt = event.attempt
    match body:
        case "tool_denied":
            denied = event.tool_denied
            return r.ToolDenied(
                at=at, call_id=call_id, tool=denied.tool, policy_ref=denied.policy_ref, code=denied.code
            )
        case "tool_cancelled":
            return r.ToolCancelled(at=at, call_id=call_id, attempt=attempt, tool=event.tool_cancelled.tool)
        case "tool_recovery_required":
            lost = event.tool_recovery_required
            return r.ToolRecoveryRequired(
                at=at,
                call_id=call_id,
                attempt=attempt,
                tool=lost.tool,
                executor=lost.executor,
                idempotency_key=lost.idempotency_key,
                arguments_digest=lost.arguments_digest,
                reason=ErrorReason(lost.reason),
                executor_identity=v.to_identity(lost.executor_identity),
            )
        case "retry_scheduled":
            planned = event.retry_scheduled
            return r.RetryScheduled(
                at=at,
                call_id=call_id,
                attempt=attempt,
                reason=ErrorReason(planned.reason),
                not_before=v.micros(planned.not_before),
                give_up_at=v.micros(planned.give_up_at),
                executor_identity=v.to_identity(planned.executor_identity),
            )
        case _:
            raise KeyError(body)
