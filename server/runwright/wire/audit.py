"""Audit entries ⇄ `runwright.v1.AuditEvent`: what is on disk is what readers get."""

from __future__ import annotations

from google.protobuf.message import DecodeError

from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright.core.audit import AuditEntry, AuditKind
from runwright.core.errors import AgentError, ErrorReason
from runwright.wire.values import micros, timestamp


def audit_event(entry: AuditEntry) -> pb.AuditEvent:
    """core → proto."""
    return pb.AuditEvent(
        number=entry.number,
        time=timestamp(entry.at),
        kind=pb.AuditKind.ValueType(entry.kind.value),
        principal=entry.principal,
        namespace=entry.namespace,
        method=entry.method,
        reason=entry.reason,
        subjects=entry.subjects,
        count=entry.count,
    )


def encode_entry(entry: AuditEntry) -> bytes:
    """The bytes to store."""
    return audit_event(entry).SerializeToString(deterministic=True)


def decode_entry(data: bytes) -> AuditEntry:
    """The entry behind stored bytes. Raises JOURNAL_CORRUPT when there is none."""
    try:
        event = pb.AuditEvent.FromString(data)
        kind = AuditKind(event.kind)
    except (DecodeError, ValueError):
        raise AgentError(
            ErrorReason.JOURNAL_CORRUPT,
            "A stored audit entry does not decode.",
            metadata={"run_id": "", "first_bad": ""},
        ) from None
    return AuditEntry(
        at=micros(event.time),
        kind=kind,
        principal=event.principal,
        namespace=event.namespace,
        method=event.method,
        reason=event.reason,
        subjects=tuple(event.subjects),
        count=event.count,
        number=event.number,
    )
