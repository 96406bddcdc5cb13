"""Ephemeral events: sent to whoever asks for them, never stored, and so unknown to the core."""

from __future__ import annotations

from runwright._gen.runwright.v1 import event_pb2 as pb
from runwright.core.effects import CallModel
from runwright.core.ids import model_effect_id
from runwright.core.state import RunState
from runwright.wire.values import timestamp

EPHEMERAL_KINDS = frozenset({pb.EVENT_KIND_MODEL_STREAM_DELTA})


def encode_delta(state: RunState, effect: CallModel, *, at: int, offset: int, text: str) -> bytes:
    """The bytes of a piece of a model's answer. It has the envelope of the run, but no place in it."""
    event = pb.Event(
        kind=pb.EVENT_KIND_MODEL_STREAM_DELTA,
        ignorable=True,
        time=timestamp(at),
        run_id=state.key.run_id,
        session_id=state.session_id,
        turn_id=state.turn_id,
        agent_id=state.agent_id,
        round=effect.round,
        effect_id=model_effect_id(effect.round),
        attempt=effect.attempt,
        package_fingerprint=state.package_fingerprint,
        principal=state.principal,
        model_stream_delta=pb.ModelStreamDelta(text=text, offset=offset),
    )
    return event.SerializeToString(deterministic=True)


def encode_gap(state: RunState, effect: CallModel, *, start: int, end: int) -> bytes:
    """The bytes of a gap in a model's answer."""
    gap = pb.Gap(
        run_id=state.key.run_id,
        effect_id=model_effect_id(effect.round),
        attempt=effect.attempt,
        from_offset=start,
        to_offset=end,
    )
    return gap.SerializeToString(deterministic=True)
