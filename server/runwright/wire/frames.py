"""Frames of a stream, made from stored bytes without decoding them.

`RawSubscribeResponse` is a private twin of `runwright.v1.SubscribeResponse`: the
same wire form, but with the event as `bytes`. It lives outside `proto/` and in a
pool of its own, so that reflection never shows it; a test holds the two equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from runwright._gen.runwright.v1 import content_pb2, event_pb2
from runwright.core.content import ContentRef
from runwright.wire.snapshots import inline_content

_REF = content_pb2.ContentRef.DESCRIPTOR.full_name
_FIELD = descriptor_pb2.FieldDescriptorProto


def _twin() -> type[Message]:
    file = descriptor_pb2.FileDescriptorProto(name="runwright/raw_frames.proto", package="runwright.raw")
    frame = file.message_type.add(name="RawEventFrame")
    frame.oneof_decl.add(name="item")
    fields = [
        ("cursor", 1, _FIELD.TYPE_STRING),
        ("event", 2, _FIELD.TYPE_BYTES),
        ("bookmark", 3, _FIELD.TYPE_BYTES),
        ("gap", 4, _FIELD.TYPE_BYTES),
        ("position", 5, _FIELD.TYPE_UINT64),
        ("previous_hash", 6, _FIELD.TYPE_BYTES),
        ("hash", 7, _FIELD.TYPE_BYTES),
        ("contents", 8, _FIELD.TYPE_BYTES),
        ("sub_sequence", 9, _FIELD.TYPE_UINT32),
    ]
    for name, number, kind in fields:
        field = frame.field.add(name=name, number=number, type=kind, label=_FIELD.LABEL_OPTIONAL)
        if name in ("event", "bookmark", "gap"):
            field.oneof_index = 0
        if name == "contents":
            field.label = _FIELD.LABEL_REPEATED
    response = file.message_type.add(name="RawSubscribeResponse")
    response.field.add(
        name="frames",
        number=1,
        type=_FIELD.TYPE_MESSAGE,
        type_name=".runwright.raw.RawEventFrame",
        label=_FIELD.LABEL_REPEATED,
    )
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("runwright.raw.RawSubscribeResponse"))


RawSubscribeResponse = _twin()


class FrameBatch:
    """One response under construction."""

    def __init__(self) -> None:
        self._response = RawSubscribeResponse()
        self.frames = 0
        self.bytes = 0

    def add_event(
        self,
        cursor: str,
        position: int,
        stored: tuple[bytes, bytes, bytes],
        contents: Sequence[tuple[ContentRef, bytes]] = (),
    ) -> None:
        """Adds an event; `stored` is its bytes, the hash before and its own hash."""
        data, previous_hash, own_hash = stored
        inlined = [inline_content(ref, raw).SerializeToString() for ref, raw in contents]
        self._response.frames.add(  # type: ignore[attr-defined]
            cursor=cursor,
            event=data,
            position=position,
            previous_hash=previous_hash,
            hash=own_hash,
            contents=inlined,
        )
        self.frames += 1
        self.bytes += len(data) + sum(map(len, inlined))

    def add_bookmark(self, cursor: str, position: int) -> None:
        """Adds a bookmark."""
        self._response.frames.add(cursor=cursor, bookmark=b"", position=position)  # type: ignore[attr-defined]
        self.frames += 1

    def add_ephemeral(self, cursor: str, sub_sequence: int, event: bytes) -> None:
        """Adds an event that is not stored; it has no position and no hash."""
        self._response.frames.add(cursor=cursor, event=event, sub_sequence=sub_sequence)  # type: ignore[attr-defined]
        self.frames += 1
        self.bytes += len(event)

    def add_gap(self, cursor: str, sub_sequence: int, gap: bytes) -> None:
        """Adds a gap."""
        self._response.frames.add(cursor=cursor, gap=gap, sub_sequence=sub_sequence)  # type: ignore[attr-defined]
        self.frames += 1

    def encode(self) -> bytes:
        """The bytes of the response."""
        return self._response.SerializeToString()


def event_refs(data: bytes) -> list[ContentRef]:
    """Every content a stored event refers to, in field order."""
    return _refs_in(event_pb2.Event.FromString(data))


@cache
def _leading(descriptor: Descriptor) -> tuple[tuple[str, bool, bool], ...]:
    """The fields that hold references or messages with references: name, repeated, itself a reference.

    Every stored event is asked for its references, and most fields never lead to one.
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
