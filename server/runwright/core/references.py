"""What a record refers to: the contents that must be there as long as its event is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from runwright.core import records as r
from runwright.core.content import ContentRef


def refs(record: r.Record) -> tuple[ContentRef, ...]:
    """Every content the record refers to. A test holds this equal to what its stored event refers to."""
    found = _REFS.get(type(record))
    return () if found is None else found(record)


def _present(*found: ContentRef | None) -> tuple[ContentRef, ...]:
    return tuple([ref for ref in found if ref is not None])


# By class, because every append asks for each of its records more than once.
_REFS: Mapping[type, Callable[[Any], tuple[ContentRef, ...]]] = {
    r.RunStarted: lambda record: (record.request, record.package),
    r.ContextAssembled: lambda record: tuple(ref for turn in record.context.included for ref in turn.refs),
    r.TurnStarted: lambda record: record.input,
    r.ModelMessageCompleted: lambda record: _present(record.text, record.opaque),
    r.ToolRequested: lambda record: _present(record.arguments),
    r.ToolCompleted: lambda record: (record.result,),
    r.ToolFailed: lambda record: _present(record.message),
    r.RunCompleted: lambda record: (record.result,),
}
