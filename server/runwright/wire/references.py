"""What an event refers to: the contents that must be there as long as it is."""

from __future__ import annotations

from functools import cache

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from runwright._gen.runwright.v1 import content_pb2, event_pb2
from runwright.core.content import ContentRef

_REF = content_pb2.ContentRef.DESCRIPTOR.full_name


def event_refs(data: bytes) -> list[ContentRef]:
    """Every content a stored event refers to, in field order."""
    return _refs_in(event_pb2.Event.FromString(data))


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
