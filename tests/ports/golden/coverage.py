"""Which fields and values occur: of structs, set and unset, and of messages."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, get_args

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from msgspec import Struct, structs

# What no build has written so far: waits are whole seconds, deltas are never stored, and a cancelled run has no reason
# to stop in its event.
NEVER_WRITTEN = frozenset(
    {
        "runwright.v1.Event.ignorable",
        "runwright.v1.Event.model_stream_delta",
        "EVENT_KIND_MODEL_STREAM_DELTA",
        "google.protobuf.Duration.nanos",
        "STOP_REASON_CANCELLED",
    }
)
UNSET = (None, "", 0, False, (), {})


class Seen:
    """Which fields of structs were seen set, which unset."""

    def __init__(self) -> None:
        self.set: dict[type[Struct], set[str]] = defaultdict(set)
        self.unset: dict[type[Struct], set[str]] = defaultdict(set)

    def look(self, value: object) -> None:
        """Takes in a value and what is in it."""
        if isinstance(value, tuple):
            for each in value:
                self.look(each)
        elif isinstance(value, Struct):
            for field in structs.fields(value):
                inner = getattr(value, field.name)
                is_unset = any(inner is none or (inner == none and type(inner) is type(none)) for none in UNSET)
                (self.unset if is_unset else self.set)[type(value)].add(field.name)
                self.look(inner)

    def missing(self) -> Iterator[str]:
        """Every field that was never set, and every one that may be unset and never was."""
        for kind in [*self.set]:
            for field in structs.fields(kind):
                if field.name not in self.set[kind]:
                    yield f"{kind.__name__}.{field.name}"
                may_be_unset = not field.required or type(None) in get_args(field.type)
                # A nested value has fields of its own that may be unset.
                if may_be_unset and not _is_nested(field.type) and field.name not in self.unset[kind]:
                    yield f"{kind.__name__}.{field.name} unset"


def _is_nested(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Struct)


def fields_of(message: Descriptor, known: dict[str, FieldDescriptor]) -> Mapping[str, FieldDescriptor]:
    """Every field of the message and of the messages in it, by its full name."""
    for field in message.fields:
        if field.full_name not in known and field.full_name not in NEVER_WRITTEN:
            known[field.full_name] = field
            if field.message_type is not None:
                fields_of(field.message_type, known)
    return known


def written(message: Message) -> Iterator[tuple[FieldDescriptor, Any]]:
    """What is set in the message and in those in it, each with its value."""
    for field, value in message.ListFields():
        yield field, value
        if field.message_type is None:
            continue
        if field.message_type.GetOptions().map_entry:
            yield from ((inner, None) for inner in field.message_type.fields)
            continue
        for inner in value if field.is_repeated else (value,):
            yield from written(inner)
