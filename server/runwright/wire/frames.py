"""Frames of a stream, made from stored bytes without decoding them.

`RawSubscribeResponse` is a private twin of `runwright.v1.SubscribeResponse`: the
same wire form, but with the event as `bytes`. It lives outside `proto/` and in a
pool of its own, so that reflection never shows it; a test holds the two equal.
"""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message

from runwright._gen.runwright.v1 import event_pb2
from runwright.core.content import ContentRef
from runwright.wire.snapshots import inline_content

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
        ("ends_run", 10, _FIELD.TYPE_BOOL),
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
        *,
        ends_run: bool = False,
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
            ends_run=ends_run,
        )
        self.frames += 1
        self.bytes += len(data) + sum(map(len, inlined))

    def add_bookmark(self, cursor: str, position: int, *, opening: bool = False) -> None:
        """Adds a bookmark."""
        bookmark = event_pb2.Bookmark(opening=opening).SerializeToString()
        self._response.frames.add(cursor=cursor, bookmark=bookmark, position=position)  # type: ignore[attr-defined]
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
