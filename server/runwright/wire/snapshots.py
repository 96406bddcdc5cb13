"""RunState → `runwright.v1.RunSnapshot`."""

from __future__ import annotations

from runwright._gen.runwright.v1 import approval_pb2, content_pb2, run_pb2
from runwright.core.approval_rows import full_id
from runwright.core.approvals import ApprovalKind, approval_effect_id
from runwright.core.condition import DRIVEN, Condition, is_done_in, status_in, waiting_on_in
from runwright.core.content import INLINE_LIMIT_BYTES, Content, ContentRef
from runwright.core.ids import model_effect_id
from runwright.core.outcomes import CallPhase
from runwright.core.run_approvals import RunApproval, run_approval_id
from runwright.core.state import RunState
from runwright.wire import values as v
from runwright.wire.approvals import put_approvers

_EFFECT_STATES = {
    CallPhase.REQUESTED: run_pb2.EFFECT_STATE_QUEUED,
    CallPhase.RUNNING: run_pb2.EFFECT_STATE_RUNNING,
    CallPhase.UNKNOWN: run_pb2.EFFECT_STATE_UNKNOWN,
    CallPhase.RECONCILING: run_pb2.EFFECT_STATE_RECONCILING,
}


def put_snapshot(
    message: run_pb2.RunSnapshot,
    state: RunState,
    last_cursor: str,
    result: Content | None,
    condition: Condition = DRIVEN,
) -> None:
    """A started run as it stands, into a message's own snapshot: assigned, it would be copied."""
    message.run_id = state.key.run_id
    message.session_id, message.turn_id, message.agent_id = state.session_id, state.turn_id, state.agent_id
    message.status = run_pb2.RunStatus.ValueType(status_in(state, condition).value)
    message.package_id, message.package_fingerprint = state.package_id, state.package_fingerprint
    message.provider, message.model = state.provider, state.model
    message.cancellation_requested = state.cancel_barrier > 0
    v.put_usage(message.usage, state.usage)
    v.put_budget(message.budget, state.budget)
    message.last_cursor, message.last_seq = last_cursor, state.seq
    _put_open_effects(message, state)
    v.put_timestamp(message.started_at, state.started_at)
    v.put_timestamp(message.updated_at, state.updated_at)
    message.labels.update(state.labels)
    message.done = is_done_in(state, condition)
    for wait in waiting_on_in(state, condition):
        message.waiting_on.add(
            kind=run_pb2.WaitKind.ValueType(wait.kind.value),
            effect_id=wait.effect_id,
            subject=wait.subject,
            since=v.timestamp(wait.since),
            unblocked_by=wait.unblocked_by,
        )
    _put_pending_approvals(message, state)
    if result is not None:
        message.result.CopyFrom(inline_content(result.ref, result.data))
    if state.removed_at:
        v.put_timestamp(message.removed_at, state.removed_at)
    if condition.hold is not None:
        message.error.CopyFrom(v.failure(condition.hold.failure))
    elif state.is_terminal:
        v.put_timestamp(message.ended_at, state.ended_at)
        if state.stop is not None:
            message.stop_reason = run_pb2.StopReason.ValueType(state.stop.value)
        if state.error is not None:
            message.error.CopyFrom(v.failure(state.error))


def _put_open_effects(message: run_pb2.RunSnapshot, state: RunState) -> None:
    """Acts without a result on record. After a run's end only unknown ones can be left."""
    if state.model_request.is_open or state.model_request.retry_at:
        open_effect = message.open_effects.add()
        open_effect.effect_id, open_effect.attempt = model_effect_id(state.round), state.model_request.attempt
        open_effect.state = run_pb2.EFFECT_STATE_RUNNING if state.model_request.is_open else run_pb2.EFFECT_STATE_QUEUED
    for call in state.calls:
        if call.phase in _EFFECT_STATES:
            effect = message.open_effects.add(
                effect_id=call.call_id,
                tool=call.tool,
                attempt=call.attempt,
                state=_EFFECT_STATES[call.phase],
                idempotency_key=call.idempotency_key,
            )
            v.put_identity(effect.executor_identity, call.executor_identity)


def _put_pending_approvals(message: run_pb2.RunSnapshot, state: RunState) -> None:
    if (asked := state.approval) is not None and asked.is_pending:
        _put_pending_of_run(message, state, asked)
    for call in state.calls:
        approval = call.approval
        if approval is None or not call.is_pending or call.arguments is None:
            continue
        own = approval_effect_id(call.call_id, approval.number)
        pending = message.pending_approvals.add(
            approval_id=full_id(state.key.run_id, own),
            effect_id=call.call_id,
            tool=call.tool,
            digest=approval.digest,
            requested_at=v.timestamp(approval.requested_at),
            expires_at=v.timestamp(approval.expires_at),
            kind=approval_pb2.APPROVAL_KIND_TOOL_CALL,
        )
        v.put_ref(pending.arguments, call.arguments)
        put_approvers(pending.approvers, approval.approvers)


def _put_pending_of_run(message: run_pb2.RunSnapshot, state: RunState, asked: RunApproval) -> None:
    approval, shown = asked.approval, state.result if asked.kind is ApprovalKind.OUTPUT else state.request
    pending = message.pending_approvals.add(
        approval_id=full_id(state.key.run_id, run_approval_id(state.round, approval.number)),
        digest=approval.digest,
        requested_at=v.timestamp(approval.requested_at),
        expires_at=v.timestamp(approval.expires_at),
        kind=approval_pb2.ApprovalKind.ValueType(asked.kind.value),
    )
    if shown is not None:
        v.put_ref(pending.arguments, shown)
    put_approvers(pending.approvers, approval.approvers)


def inline_content(ref: ContentRef, data: bytes) -> content_pb2.InlineContent:
    """Content beside its reference; the bytes are left out above the inline limit."""
    message = content_pb2.InlineContent(ref=v.content_ref(ref))
    if ref.size > INLINE_LIMIT_BYTES:
        message.omitted = True
        return message
    try:
        readable = ref.media_type.startswith("text/") or ref.media_type.endswith("json")
        message.text = data.decode("utf-8") if readable else ""
    except UnicodeDecodeError:
        readable = False
    if not readable:
        message.data = data
    return message


def inline_bytes(content: content_pb2.InlineContent) -> bytes:
    """The bytes of inlined content, however they were sent."""
    return content.text.encode() if content.WhichOneof("body") == "text" else content.data
