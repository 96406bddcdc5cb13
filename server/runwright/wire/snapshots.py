"""RunState → `runwright.v1.RunSnapshot`."""

from __future__ import annotations

from runwright._gen.runwright.v1 import content_pb2, run_pb2
from runwright.core.content import INLINE_LIMIT_BYTES, Content, ContentRef
from runwright.core.ids import model_effect_id
from runwright.core.machine import is_done, status, waiting_on
from runwright.core.outcomes import CallPhase
from runwright.core.state import RunState
from runwright.wire import values as v

_EFFECT_STATES = {
    CallPhase.REQUESTED: run_pb2.EFFECT_STATE_QUEUED,
    CallPhase.RUNNING: run_pb2.EFFECT_STATE_RUNNING,
    CallPhase.UNKNOWN: run_pb2.EFFECT_STATE_UNKNOWN,
}


def run_snapshot(state: RunState, last_cursor: str, result: Content | None) -> run_pb2.RunSnapshot:
    """A started run as it stands."""
    message = run_pb2.RunSnapshot(
        run_id=state.key.run_id,
        session_id=state.session_id,
        turn_id=state.turn_id,
        agent_id=state.agent_id,
        status=run_pb2.RunStatus.ValueType(status(state).value),
        package_id=state.package_id,
        package_fingerprint=state.package_fingerprint,
        provider=state.provider,
        model=state.model,
        cancellation_requested=state.cancel_barrier > 0,
        usage=v.usage(state.usage),
        budget=v.budget(state.budget),
        last_cursor=last_cursor,
        last_seq=state.seq,
        open_effects=open_effects(state),
        started_at=v.timestamp(state.started_at),
        updated_at=v.timestamp(state.updated_at),
        labels=state.labels,
        done=is_done(state),
    )
    for wait in waiting_on(state):
        message.waiting_on.add(
            kind=run_pb2.WaitKind.ValueType(wait.kind.value),
            effect_id=wait.effect_id,
            subject=wait.subject,
            since=v.timestamp(wait.since),
            unblocked_by=wait.unblocked_by,
        )
    if result is not None:
        message.result.CopyFrom(inline_content(result.ref, result.data))
    if state.removed_at:
        message.removed_at.CopyFrom(v.timestamp(state.removed_at))
    if state.is_terminal:
        message.ended_at.CopyFrom(v.timestamp(state.ended_at))
        if state.stop is not None:
            message.stop_reason = run_pb2.StopReason.ValueType(state.stop.value)
        if state.error is not None:
            message.error.CopyFrom(v.failure(state.error))
    return message


def open_effects(state: RunState) -> list[run_pb2.OpenEffect]:
    """Acts without a result on record. After a run's end only unknown ones can be left."""
    effects = []
    if state.asked.is_open or state.asked.retry_at:
        effects.append(
            run_pb2.OpenEffect(
                effect_id=model_effect_id(state.round),
                attempt=state.asked.attempt,
                state=run_pb2.EFFECT_STATE_RUNNING if state.asked.is_open else run_pb2.EFFECT_STATE_QUEUED,
            )
        )
    for call in state.calls:
        if call.phase in _EFFECT_STATES:
            effects.append(
                run_pb2.OpenEffect(
                    effect_id=call.call_id,
                    tool=call.tool,
                    attempt=call.attempt,
                    state=_EFFECT_STATES[call.phase],
                    idempotency_key=call.idempotency_key,
                )
            )
    return effects


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
