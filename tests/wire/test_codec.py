"""The codec: compiled from struct and message, and refused when something on either side is left over."""

from __future__ import annotations

import pytest
from msgspec import Struct
from runwright._gen.runwright.v1 import event_pb2 as pb
from runwright.core.content import ContentRef
from runwright.core.kinds import ROWS
from runwright.wire.codec import Codec


class Requested(Struct, frozen=True):
    """All fields of ToolRequested."""

    executor: str  # in another order than the message's
    arguments: ContentRef
    provider_call_id: str
    tool: str
    tainted: bool
    untrusted: bool


class Cancelled(Struct, frozen=True):
    """All fields of ToolCancelled, and one more."""

    tool: str
    why: str


class Retried(Struct, frozen=True):
    """All fields of RetryScheduled but one."""

    not_before: int
    give_up_at: int | None


def test_every_body_of_an_event_that_is_stored_has_a_row_and_every_row_a_body() -> None:
    bodies = {field.name for field in pb.Event.DESCRIPTOR.oneofs_by_name["body"].fields}

    rows = {row.kind.name.lower() for row in ROWS}

    assert bodies - rows == {"model_stream_delta"}, "deltas are not stored"
    assert rows <= bodies


def test_a_struct_comes_back_whatever_the_order_of_its_fields() -> None:
    codec = Codec(Requested, pb.ToolRequested.DESCRIPTOR)
    value, message = (
        Requested("desk", ContentRef("sha256:0", 7, "text/plain"), "p-1", "look", False, True),
        pb.ToolRequested(),
    )

    codec.put(message, value)

    assert (message.tool, message.executor, message.arguments.size) == ("look", "desk", 7)
    assert codec.read(message) == value


def test_a_field_that_the_message_lacks_is_refused_when_compiled() -> None:
    with pytest.raises(TypeError, match=r"^Cancelled\.why is no field of runwright\.v1\.ToolCancelled$"):
        Codec(Cancelled, pb.ToolCancelled.DESCRIPTOR)


def test_a_field_that_the_struct_lacks_is_refused_when_compiled() -> None:
    with pytest.raises(TypeError, match=r"^runwright\.v1\.RetryScheduled\.executor_identity is no field of Retried$"):
        Codec(Retried, pb.RetryScheduled.DESCRIPTOR, unread=["reason"])


def test_what_may_be_absent_is_absent_and_not_zero() -> None:
    codec = Codec(Retried, pb.RetryScheduled.DESCRIPTOR, unread=["reason", "executor_identity"])
    messages = [pb.RetryScheduled(), pb.RetryScheduled()]

    for message, give_up_at in zip(messages, (0, None), strict=True):
        codec.put(message, Retried(0, give_up_at))

    assert [message.HasField("not_before") for message in messages] == [True, True]
    assert [message.HasField("give_up_at") for message in messages] == [True, False]
    assert [codec.read(message).give_up_at for message in messages] == [0, None]
