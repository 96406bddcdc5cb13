"""Records ⇄ the stored bytes of `runwright.v1.Event`: what is on disk is what readers get.

A record's fields are those of the event's body (see `codec`), except these, which the event itself says: the time, the
effect a record is about, and whatever the body has no field for and the event has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError

from runwright._gen.runwright.v1 import event_pb2 as pb
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.ids import EffectId, event_id, parse_effect_id
from runwright.core.kinds import ROWS, Row, about_of, effect_field, fields_of
from runwright.core.records import Record
from runwright.core.state import RunState
from runwright.core.units import Micros, Seq
from runwright.wire.codec import Codec, Read
from runwright.wire.values import micros, put_timestamp

# Fields of bodies that no record has: what is the same in a whole run.
_OF_THE_RUN: Mapping[str, Callable[[RunState], str]] = {"namespace": lambda state: state.key.namespace}


class _Kind:
    """One kind of event, compiled: what is written into the body, and what is read from it and the event around it."""

    def __init__(self, row: Row) -> None:
        self.number = pb.EventKind.ValueType(row.kind.value)
        self.body = row.kind.name.lower()
        message = pb.Event.DESCRIPTOR.fields_by_name[self.body].message_type
        assert message is not None, f"{self.body} is no message"
        self.of_the_run = [(name, get) for name, get in _OF_THE_RUN.items() if name in message.fields_by_name]
        around = _around(row, message)
        codec = Codec(row.record, message, around=around, unread=dict(self.of_the_run))
        self.about, self.put, self.read = about_of(row.record), codec.put, codec.read


def _around(row: Row, body: Descriptor) -> Mapping[str, tuple[str, Read | None]]:
    """The fields of a record that its event says: how, by the names of the record."""
    effect, found = effect_field(row.record), dict[str, tuple[str, Read | None]]()
    for field in fields_of(row.record):
        if field.name == "at":
            found["at"] = ("time", micros)
        elif field.name == effect:
            found[effect] = ("effect_id", _effect if field.type is EffectId else _effect_or_none)
        elif field.name in pb.Event.DESCRIPTOR.fields_by_name and field.name not in body.fields_by_name:
            found[field.name] = (field.name, None)
    return found


def _effect(value: str) -> EffectId:
    parse_effect_id(EffectId(value))  # or the event is none
    return EffectId(value)


def _effect_or_none(value: str) -> EffectId | None:
    return _effect(value) if value else None


_KINDS: Mapping[type[Record], _Kind] = {row.record: _Kind(row) for row in ROWS}
_BY_BODY: Mapping[str | None, _Kind] = {kind.body: kind for kind in _KINDS.values()}


def encode_events(state: RunState, after: Seq, records: Sequence[Record]) -> list[bytes]:
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
    encoded, at = [], None
    for seq, record in enumerate(records, start=after + 1):
        kind = _KINDS[type(record)]
        event.ClearField("body")
        event.seq = seq
        event.event_id = event_id(state.key.run_id, seq)
        event.kind = kind.number
        if record.at != at:  # records of one decision are of one moment
            at = record.at
            put_timestamp(event.time, at)
        event.round, effect, event.attempt = kind.about(record)
        event.effect_id = effect or ""
        body = getattr(event, kind.body)
        kind.put(body, record)
        if kind.of_the_run:
            for name, get in kind.of_the_run:
                setattr(body, name, get(state))
        encoded.append(event.SerializeToString(deterministic=True))
    return encoded


def decode_event(data: bytes) -> Record:
    """The record behind stored bytes. Raises JOURNAL_CORRUPT when there is none."""
    try:
        event = pb.Event.FromString(data)
        kind = _BY_BODY[event.WhichOneof("body")]
        if event.kind != kind.number:
            raise ValueError("kind and body disagree")
        return kind.read(getattr(event, kind.body), event)
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


def event_time(data: bytes) -> Micros:
    """When the event happened. Raises JOURNAL_CORRUPT when the bytes do not decode."""
    try:
        return micros(pb.Event.FromString(data).time)
    except DecodeError as error:
        raise _undecodable() from error


def _undecodable() -> AgentError:
    return AgentError(
        ErrorReason.JOURNAL_CORRUPT, "A stored event does not decode.", metadata={"run_id": "", "first_bad": ""}
    )
