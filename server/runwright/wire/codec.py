"""Structs ⇄ messages: compiled once for each pair, from the fields of the struct and the descriptor of the message.

A field of a struct is the message's field of the same name: a number, text or truth value as it is, an enum by its
number, a time in microseconds as a Timestamp, a tuple as a repeated field, a mapping as a map, a value of `_VALUES` by
its functions. What may be None is absent then. A struct that the message has no field for is spread: its own fields
are the message's. What else is irregular is said here: `_RENAMED`, `_BY_NAME`, and properties of a struct, which are
written and not read back.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from enum import Enum
from operator import attrgetter, itemgetter
from types import NoneType
from typing import Any, Generic, TypeAlias, TypeVar, get_args, get_origin

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.timestamp_pb2 import Timestamp
from msgspec import Struct

from runwright._gen.runwright.v1 import content_pb2, error_pb2, package_pb2, run_pb2
from runwright.core.content import ContentRef
from runwright.core.errors import Failure
from runwright.core.kinds import fields_of
from runwright.core.outcomes import ExecutorIdentity, Usage
from runwright.core.request import Budget
from runwright.wire import values as v
from runwright.wire.packages import EFFECT_NAMES, EFFECTS

_S = TypeVar("_S", bound=Struct)
Put: TypeAlias = Callable[[Any, Any], None]  # into a message's own message, from the value
Read: TypeAlias = Callable[[Any], Any]

# Fields whose name in the message is a longer one.
_RENAMED: Mapping[str, str] = {"finish": "finish_reason", "stop": "stop_reason"}
# Enums of the schema that the core knows by names.
_BY_NAME: Mapping[str, tuple[Mapping[str, int], Mapping[int, str]]] = {
    package_pb2.EffectClass.DESCRIPTOR.full_name: (EFFECTS, EFFECT_NAMES),
}
# Values with a message of their own, which many share: their functions are faster than what is compiled.
_VALUES: Mapping[tuple[object, str], tuple[Put, Read]] = {
    (int, Timestamp.DESCRIPTOR.full_name): (v.put_timestamp, v.micros),
    (ContentRef, content_pb2.ContentRef.DESCRIPTOR.full_name): (v.put_ref, v.to_content_ref),
    (Usage, run_pb2.Usage.DESCRIPTOR.full_name): (v.put_usage, v.to_usage),
    (Budget, package_pb2.Budget.DESCRIPTOR.full_name): (v.put_budget, v.to_budget),
    (ExecutorIdentity, run_pb2.ExecutorIdentity.DESCRIPTOR.full_name): (v.put_identity, v.to_identity),
    (Failure, error_pb2.AgentError.DESCRIPTOR.full_name): (v.put_failure, v.to_failure),
}


class Codec(Generic[_S]):
    """Writes structs of one class into messages of one type, and reads them back."""

    def __init__(
        self,
        struct: type[_S],
        message: Descriptor,
        *,
        around: Mapping[str, tuple[str, Read | None]] | None = None,
        unread: Collection[str] = (),
    ) -> None:
        """`around`: fields of the struct that a message around this one says, where and how; the caller writes them.

        `unread`: fields of the message that the caller writes and nobody reads. Raises TypeError when a field on
        either side is left over. The struct is made by position, which is ten times faster than by name: it is not
        `kw_only`.
        """
        self._struct = struct
        self._sources: list[str] = []  # paths of scalars within the struct, …
        self._targets: list[str] = []  # … and the fields of the message they go to
        self._values: list[tuple[str, str, Put]] = []  # with a message of their own: name, field, function
        self._others: list[Put] = []
        # Reading: what is there, as it is, in the order of the struct; then by index what is to be made of it.
        self._fields: list[str] = []
        self._reads: list[tuple[int, Read]] = []
        self._optional: list[tuple[int, str, Read]] = []
        self._spread: list[tuple[int, Codec[Any]]] = []
        around = around or {}
        fields = [field for field in fields_of(struct) if field.name not in around]
        self._reads += [(index, read) for index, (_, read) in enumerate(around.values()) if read is not None]
        left = set(message.fields_by_name) - set(unread)
        for index, field in enumerate(fields, start=len(around)):
            target = message.fields_by_name.get(_RENAMED.get(field.name, field.name))
            if target is None:
                left -= self._take_spread(index, field.name, field.type, message, left)
            else:
                left.discard(target.name)
                self._take(index, field.name, field.type, target)
        for name in sorted(left):
            if not isinstance(getattr(struct, name, None), property):
                raise TypeError(f"{message.full_name}.{name} is no field of {struct.__name__}")
            self._write(name, name)
        self._get_scalars = _getter(self._sources)
        self._get_around = _getter([path for path, _ in around.values()])
        self._get_fields = _getter(self._fields)
        names = [*around, *(field.name for field in fields)]
        order = [names.index(name) for name in struct.__struct_fields__]
        self._order = None if order == sorted(order) else itemgetter(*order)

    def put(self, message: Any, value: _S) -> None:
        """Writes a struct into an empty message. What says nothing, "" or 0, is left out, as proto3 does."""
        message.SetInParent()
        for name, held in zip(self._targets, self._get_scalars(value), strict=True):
            if held:
                setattr(message, name, held)
        for name, field, put in self._values:
            held = getattr(value, name)
            if held is not None:
                put(getattr(message, field), held)
        for put in self._others:
            put(message, value)

    def read(self, message: Any, around: Any = None) -> _S:
        """The struct that a message says, in the message around it. Raises KeyError for an enum's unknown number."""
        found = [*self._get_around(around), *self._get_fields(message)]
        for index, inner in self._spread:
            found.insert(index, inner.read(message))
        for index, read in self._reads:
            found[index] = read(found[index])
        for index, field, read in self._optional:
            found[index] = read(found[index]) if message.HasField(field) else None
        return self._struct(*(found if self._order is None else self._order(found)))

    def _take_spread(self, index: int, name: str, kind: Any, message: Descriptor, left: set[str]) -> set[str]:
        """A struct whose fields are the message's own; answers which."""
        if not _is_struct(kind):
            raise TypeError(f"{self._struct.__name__}.{name} is no field of {message.full_name}")
        own = {_RENAMED.get(field.name, field.name) for field in fields_of(kind)}
        own |= {field for field in left if isinstance(getattr(kind, field, None), property)}
        inner: Codec[Any] = Codec(kind, message, unread=set(message.fields_by_name) - own)
        self._spread.append((index, inner))
        self._others.append(lambda into, value: inner.put(into, getattr(value, name)))
        return own

    def _take(self, index: int, name: str, kind: Any, target: FieldDescriptor) -> None:
        """A field of the struct that is the message's field `target`."""
        self._fields.append(target.name)
        options = [option for option in get_args(kind) if option not in (NoneType, Ellipsis)]
        inner = options[0] if options else kind
        if target.message_type and target.message_type.GetOptions().map_entry:
            self._take_map(name, target.name)
            self._reads.append((index, dict))
        elif target.message_type and get_origin(kind) is tuple:
            self._take_several(index, name, target.name, *_functions(inner, target.message_type))
        elif target.message_type:
            put, read = _functions(inner, target.message_type)
            self._values.append((name, target.name, put))
            if NoneType in get_args(kind):
                self._optional.append((index, target.name, read))
            else:
                self._reads.append((index, read))
        elif target.is_repeated and target.enum_type:
            members = {member.value: member for member in inner}
            self._others.append(
                lambda into, value: getattr(into, target.name).extend(each.value for each in getattr(value, name))
            )
            self._reads.append((index, lambda several: tuple([members[each] for each in several])))
        elif target.is_repeated:
            self._others.append(lambda into, value: getattr(into, target.name).extend(getattr(value, name)))
            self._reads.append((index, tuple))
        else:
            self._take_scalar(index, name, inner, target)

    def _take_map(self, name: str, field: str) -> None:
        def put_map(into: Any, value: Any) -> None:
            held = getattr(value, name)
            if held:
                getattr(into, field).update(held)

        self._others.append(put_map)

    def _take_several(self, index: int, name: str, field: str, put: Put, read: Read) -> None:
        def put_each(into: Any, value: Any) -> None:
            several = getattr(into, field)
            for each in getattr(value, name):
                put(several.add(), each)

        self._others.append(put_each)
        self._reads.append((index, lambda several: tuple([read(each) for each in several])))

    def _take_scalar(self, index: int, name: str, kind: Any, target: FieldDescriptor) -> None:
        if isinstance(kind, type) and issubclass(kind, Enum):
            self._reads.append((index, {member.value: member for member in kind}.__getitem__))
            self._write(f"{name}.value", target.name)
        elif target.enum_type:
            numbers, names = _BY_NAME[target.enum_type.full_name]
            self._reads.append((index, names.__getitem__))
            self._others.append(lambda into, value: setattr(into, target.name, numbers[getattr(value, name)]))
        else:
            self._write(name, target.name)

    def _write(self, source: str, target: str) -> None:
        self._sources.append(source)
        self._targets.append(target)


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Struct)


def _functions(kind: Any, message: Descriptor) -> tuple[Put, Read]:
    """How a value of a class is put into a message of its own, and read."""
    known = _VALUES.get((kind, message.full_name))
    if known is not None:
        return known
    inner: Codec[Any] = Codec(kind, message)
    return inner.put, inner.read


def _getter(paths: Sequence[str]) -> Callable[[Any], tuple[Any, ...]]:
    """Reads several attributes at once, always as a tuple."""
    if not paths:
        return lambda _: ()
    get = attrgetter(*paths)
    return get if len(paths) > 1 else lambda value: (get(value),)
