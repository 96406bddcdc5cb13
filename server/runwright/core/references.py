"""What a record refers to: the contents that must be there as long as its event is."""

from __future__ import annotations

from runwright.core import records as r
from runwright.core.content import ContentRef


def refs(record: r.Record) -> tuple[ContentRef, ...]:
    """Every content the record refers to. A test holds this equal to what its stored event refers to."""
    match record:
        case r.RunStarted():
            return record.request, record.package
        case r.ContextAssembled():
            return tuple(ref for turn in record.context.included for ref in turn.refs)
        case r.TurnStarted():
            return record.input
        case r.ModelMessageCompleted():
            return tuple(ref for ref in (record.text, record.opaque) if ref)
        case r.ToolFailed(message=ContentRef() as ref):
            return (ref,)
        case r.ToolRequested(arguments=ref) | r.ToolCompleted(result=ref) | r.RunCompleted(result=ref):
            return (ref,)
        case _:
            return ()
