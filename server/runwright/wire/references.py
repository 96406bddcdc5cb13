"""What an event refers to: the contents that must be there as long as it is."""

from __future__ import annotations

from functools import cache

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from runwright._gen.runwright.v1 import approval_pb2, content_pb2, event_pb2, policy_pb2
from runwright.core.content import OPAQUE, ContentRef
from runwright.core.ids import EffectId, parse_effect_id

_OF_RUN = 2  # numbers in the id of a question about the run: its round and its own
_REF = content_pb2.ContentRef.DESCRIPTOR.full_name


def event_refs(data: bytes) -> list[ContentRef]:
    """Every content a stored event refers to, in field order."""
    return _refs_in(event_pb2.Event.FromString(data))


def exported_refs(data: bytes) -> list[ContentRef]:
    """The same, but for an answer that was not published when the event was written: what is published stands in
    RUN_COMPLETED, and whoever may see its approval reads it there."""
    event = event_pb2.Event.FromString(data)
    return [] if _is_of_held_answer(event) else _refs_in(event)


def shown_refs(data: bytes) -> list[ContentRef]:
    """What readers get beside the event: what is exported, but for what its vendor alone needs back."""
    return [ref for ref in exported_refs(data) if ref.media_type != OPAQUE]


def _is_of_held_answer(event: event_pb2.Event) -> bool:
    match event.WhichOneof("body"):
        case "model_message_completed":
            return event.model_message_completed.is_held
        case "approval_requested":
            return event.approval_requested.kind == approval_pb2.APPROVAL_KIND_OUTPUT
        case "subject_replaced":
            return event.subject_replaced.stage == policy_pb2.POLICY_STAGE_OUTPUT
        case "policy_answered":
            about = parse_effect_id(EffectId(event.effect_id)).numbers
            return len(about) == _OF_RUN and about[0] > 0  # asked about the run after a round: about its answer
        case _:
            return False


@cache
def _leading(descriptor: Descriptor) -> tuple[tuple[str, bool, bool], ...]:
    """The fields that hold references or messages with references: name, repeated, itself a reference.

    A reader of whole events asks each for its references, and most fields never lead to one.
    """
    found = []
    for field in sorted(descriptor.fields, key=lambda field: field.number):
        kind = field.message_type
        if kind is None or kind.GetOptions().map_entry:
            continue
        is_ref = kind.full_name == _REF
        if is_ref or _leading(kind):
            found.append((field.name, field.is_repeated, is_ref))
    return tuple(found)


def _refs_in(message: Message) -> list[ContentRef]:
    found: list[ContentRef] = []
    for name, is_repeated, is_ref in _leading(message.DESCRIPTOR):
        if not is_repeated and not message.HasField(name):
            continue
        value = getattr(message, name)
        for inner in value if is_repeated else (value,):
            if is_ref:
                found.append(ContentRef(inner.digest, inner.size, inner.media_type))
            else:
                found += _refs_in(inner)
    return found
