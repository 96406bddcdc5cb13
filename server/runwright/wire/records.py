"""Records ⇄ the stored bytes of `runwright.v1.Event`: what is on disk is what readers get."""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf.message import DecodeError

from runwright._gen.runwright.v1 import event_pb2 as pb
from runwright.core import records as r
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.events import kind_of
from runwright.core.ids import event_id, model_effect_id, parse_effect_id
from runwright.core.state import RunState
from runwright.wire import call_records, run_records
from runwright.wire.values import micros, put_timestamp


def encode_events(state: RunState, after: int, records: Sequence[r.Record]) -> list[bytes]:
    """The bytes to store for records that follow the event numbered `after`.

    `state` gives what is constant in a run: set once, in one message that each record fills anew.
    """
    event = pb.Event(
        run_id=state.key.run_id,
        session_id=state.session_id,
        turn_id=state.turn_id,
        agent_id=state.agent_id,
        package_fingerprint=state.package_fingerprint,
        principal=state.principal,
        trace_parent=state.trace_parent,
    )
    encoded = []
    for seq, record in enumerate(records, start=after + 1):
        event.ClearField("body")
        event.seq = seq
        event.event_id = event_id(state.key.run_id, seq)
        event.kind = pb.EventKind.ValueType(kind_of(record).value)
        put_timestamp(event.time, record.at)
        event.round, event.effect_id, event.attempt = _fill(event, state, record)
        encoded.append(event.SerializeToString(deterministic=True))
    return encoded


def _fill(event: pb.Event, state: RunState, record: r.Record) -> tuple[int, str, int]:
    """Writes the body; answers which round, effect and attempt it is about, as far as it is about one."""
    match record:
        case r.ModelAttemptStarted() | r.ModelMessageCompleted() | r.ModelAttemptFailed():
            run_records.write_model(event, record)
            return record.round, model_effect_id(record.round), record.attempt
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
            return 0, "", 0
        case r.PolicyDecided():
            call_records.write_decision(event, record)
            round_number = parse_effect_id(record.subject).numbers[0] if record.subject else 0
            return round_number, record.subject or "", 0
        case r.RetryScheduled():
            call_records.write_retry(event, record)
            return parse_effect_id(record.effect_id).numbers[0], record.effect_id, record.attempt
        case _:
            call_records.write_call(event, record)
            return int(record.call_id[1:].partition(".")[0]), record.call_id, getattr(record, "attempt", 0)


def decode_event(data: bytes) -> r.Record:
    """The record behind stored bytes. Raises JOURNAL_CORRUPT when there is none."""
    try:
        event = pb.Event.FromString(data)
        body = event.WhichOneof("body") or ""
        if pb.EventKind.Name(event.kind) != f"EVENT_KIND_{body.upper()}":
            raise ValueError("kind and body disagree")
        if body in call_records.BODIES:
            return call_records.read_call(event, body)
        return run_records.read_run_or_model(event, body)
    except (DecodeError, ValueError, KeyError) as error:
        raise _undecodable() from error


def event_run_id(data: bytes) -> str:
    """The run of stored bytes. Raises JOURNAL_CORRUPT when they do not decode."""
    try:
        return pb.Event.FromString(data).run_id
    except DecodeError as error:
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
