"""Records ⇄ the stored bytes of `runwright.v1.Event`: what is on disk is what readers get."""

from __future__ import annotations

from google.protobuf.message import DecodeError

from runwright._gen.runwright.v1 import event_pb2 as pb
from runwright.core import records as r
from runwright.core.content import ContentRef
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.events import kind_of
from runwright.core.ids import event_id, is_model_effect, model_effect_id
from runwright.core.state import RunState
from runwright.wire import call_records, run_records
from runwright.wire.references import refs_in
from runwright.wire.values import micros, timestamp


def encode_event(state: RunState, seq: int, record: r.Record) -> tuple[bytes, list[ContentRef]]:
    """The bytes to store for `record` at `seq`, and what they refer to. `state` gives what is constant in a run."""
    event = _event(state, seq, record)
    return event.SerializeToString(deterministic=True), refs_in(event)


def _event(state: RunState, seq: int, record: r.Record) -> pb.Event:
    event = pb.Event(
        seq=seq,
        event_id=event_id(state.key.run_id, seq),
        kind=pb.EventKind.ValueType(kind_of(record).value),
        time=timestamp(record.at),
        run_id=state.key.run_id,
        session_id=state.session_id,
        turn_id=state.turn_id,
        agent_id=state.agent_id,
        package_fingerprint=state.package_fingerprint,
        principal=state.principal,
        trace_parent=state.trace_parent,
    )
    match record:
        case r.ModelAttemptStarted() | r.ModelMessageCompleted() | r.ModelAttemptFailed() | r.ModelRetryScheduled():
            event.round = record.round
            event.effect_id = model_effect_id(record.round)
            event.attempt = record.attempt
            run_records.write_model(event, record)
        case (
            r.RunStarted()
            | r.ContextAssembled()
            | r.TurnStarted()
            | r.RunCancelRequested()
            | r.TurnCompleted()
            | r.TurnFailed()
            | r.RunCompleted()
            | r.RunFailed()
            | r.RunCancelled()
        ):
            run_records.write_run(event, record, state.key.namespace)
        case _:
            event.round = int(record.call_id[1:].partition(".")[0])
            event.effect_id = record.call_id
            event.attempt = getattr(record, "attempt", 0)
            call_records.write_call(event, record)
    return event


def decode_event(data: bytes) -> r.Record:
    """The record behind stored bytes. Raises JOURNAL_CORRUPT when there is none."""
    try:
        event = pb.Event.FromString(data)
        body = event.WhichOneof("body") or ""
        if pb.EventKind.Name(event.kind) != f"EVENT_KIND_{body.upper()}":
            raise ValueError("kind and body disagree")
        if body in call_records.BODIES and not is_model_effect(event.effect_id):
            return call_records.read_call(event, body)
        return run_records.read_run_or_model(event, body)
    except (DecodeError, ValueError, KeyError) as error:
        raise _undecodable() from error


def event_subjects(data: bytes) -> tuple[str, str]:
    """Session and agent of stored bytes. Raises JOURNAL_CORRUPT when they do not decode."""
    try:
        event = pb.Event.FromString(data)
    except DecodeError as error:
        raise _undecodable() from error
    return event.session_id, event.agent_id


def event_turn(data: bytes) -> str:
    """The turn's id of stored bytes. Raises JOURNAL_CORRUPT when they do not decode."""
    try:
        return pb.Event.FromString(data).turn_id
    except DecodeError as error:
        raise _undecodable() from error


def event_time(data: bytes) -> int:
    """When the event happened. Raises JOURNAL_CORRUPT when the bytes do not decode."""
    try:
        return micros(pb.Event.FromString(data).time)
    except DecodeError as error:
        raise _undecodable() from error


def _undecodable() -> AgentError:
    return AgentError(
        ErrorReason.JOURNAL_CORRUPT, "A stored event does not decode.", metadata={"run_id": "", "first_bad": ""}
    )
