"""What a record refers to, by the types of its fields: the contents that must be there as long as its event is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from types import NoneType
from typing import Any, TypeAlias, get_args, get_origin

from msgspec import Struct

from runwright.core.content import ContentRef
from runwright.core.kinds import ROWS, fields_of
from runwright.core.records import Record

_Read: TypeAlias = Callable[[Any], tuple[ContentRef, ...]]
_Take: TypeAlias = Callable[[list[ContentRef], Any], object]  # adds what a field holds to what was found


def refs(record: Record) -> tuple[ContentRef, ...]:
    """Every content the record refers to. A test holds this equal to what its stored event refers to."""
    read = _READERS[type(record)]
    return read(record) if read else ()


def _reader(kind: type[Record]) -> _Read | None:
    """How the references of a class are read; None: it never has any."""
    parts = _parts(kind)
    if not parts:
        return None
    get: Callable[[Any], Any] = attrgetter(*(name for name, _, _ in parts))
    takes = [take for _, take, _ in parts]
    if takes == [list.extend]:
        return get
    if all(take is list.append and not optional for _, take, optional in parts):
        return get if len(parts) > 1 else lambda record: (get(record),)
    walk = _walk(parts)
    return lambda record: tuple(walk(record))


def _parts(kind: type[Struct]) -> list[tuple[str, _Take, bool]]:
    """The fields that lead to references, in their order: name, how they are taken, whether they may be None."""
    found: list[tuple[str, _Take, bool]] = []
    for field in fields_of(kind):
        options = [option for option in get_args(field.type) if option not in (NoneType, Ellipsis)]
        inner = options[0] if options else field.type
        several, optional = get_origin(field.type) is tuple, NoneType in get_args(field.type)
        if inner is ContentRef:
            found.append((field.name, list.extend if several else list.append, optional))
        elif isinstance(inner, type) and issubclass(inner, Struct) and (leading := _parts(inner)):
            found.append((field.name, _nested(_walk(leading), several=several), optional))
    return found


def _walk(parts: Sequence[tuple[str, _Take, bool]]) -> Callable[[Any], list[ContentRef]]:
    steps = [(attrgetter(name), take) for name, take, _ in parts]

    def walk(value: Any) -> list[ContentRef]:
        found: list[ContentRef] = []
        for get, take in steps:
            held = get(value)
            if held is not None:
                take(found, held)
        return found

    return walk


def _nested(walk: Callable[[Any], list[ContentRef]], *, several: bool) -> _Take:
    def take_each(found: list[ContentRef], held: Sequence[Any]) -> None:
        for each in held:
            found += walk(each)

    return take_each if several else lambda found, held: found.extend(walk(held))


# By class, because every append asks for each of its records more than once.
_READERS: Mapping[type[Record], _Read | None] = {row.record: _reader(row.record) for row in ROWS}
