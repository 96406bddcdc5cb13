"""What a record refers to, by the types of its fields: the contents that must be there as long as its event is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from operator import attrgetter
from types import NoneType
from typing import Any, TypeAlias, get_args, get_origin

from msgspec import Struct

from runwright.core.content import ContentRef
from runwright.core.kinds import ROWS, fields_of
from runwright.core.records import Record

_Refs: TypeAlias = Callable[[Any], tuple[ContentRef, ...]]
_Take: TypeAlias = Callable[[list[ContentRef], Any], object]


def refs(record: Record) -> tuple[ContentRef, ...]:
    """Every content the record refers to. A test holds this equal to what its stored event refers to."""
    return _REFS[type(record)](record)


@cache
def _reader(kind: type[Struct]) -> _Refs | None:
    """How the references of a class are read, in the order of its fields; None: it leads to none.

    Made once for each class, because every append asks for each of its records more than once.
    """
    parts = [(field.name, *part) for field in fields_of(kind) if (part := _part(field.type)) is not None]
    if not parts:
        return None
    names, takes = [name for name, _, _ in parts], [take for _, take, _ in parts]
    certain = not any(optional for _, _, optional in parts)
    get: Callable[[Any], Any] = attrgetter(*names)
    if takes == [list.extend] or (len(parts) > 1 and certain and all(take is list.append for take in takes)):
        return get
    if takes == [list.append]:
        return (lambda value: (get(value),)) if certain else lambda value: () if (ref := get(value)) is None else (ref,)
    one = len(parts) == 1

    def walk(value: Any) -> tuple[ContentRef, ...]:
        found: list[ContentRef] = []
        for take, held in zip(takes, (get(value),) if one else get(value), strict=True):
            if held is not None:
                take(found, held)
        return tuple(found)

    return walk


def _part(kind: Any) -> tuple[_Take, bool] | None:
    """How what a field holds is added to the references found, and whether it may be None; None: it leads to none."""
    options = [option for option in get_args(kind) if option not in (NoneType, Ellipsis)]
    inner, several, optional = options[0] if options else kind, get_origin(kind) is tuple, NoneType in get_args(kind)
    if inner is ContentRef:
        return (list.extend if several else list.append), optional
    read = _reader(inner) if isinstance(inner, type) and issubclass(inner, Struct) else None
    if read is None:
        return None
    if several:
        return (lambda found, held: [found.extend(read(each)) for each in held]), optional
    return (lambda found, held: found.extend(read(held))), optional


_REFS: Mapping[type[Record], _Refs] = {row.record: _reader(row.record) or (lambda record: ()) for row in ROWS}
