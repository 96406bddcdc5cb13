"""Audit entries: what happened outside of every run, and so stands in no run's journal."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from msgspec import Struct

from runwright.core.ids import DEFAULT_NAMESPACE, Namespace
from runwright.core.units import Micros


class AuditKind(Enum):
    """What an entry is about. The numbers are those of `runwright.v1.AuditKind`."""

    UNAUTHENTICATED = 1
    ROLE_DENIED = 2
    CREDENTIAL_REVOKED = 3
    REGISTRATION_REFUSED = 4
    ANSWER_IGNORED = 5
    CANCEL_IGNORED = 6
    RELOAD_FAILED = 7
    RUNS_REMOVED = 8
    ENTRIES_DROPPED = 9
    RUN_HELD = 20
    HELD_RUN_RELEASED = 21
    HELD_RUN_CANCELLED = 22
    HELD_RUN_REMOVED = 23
    START_REFUSED = 30
    RESOLUTION_REFUSED = 40
    PACKAGE_PUT = 50
    PACKAGE_TAGGED = 51
    PACKAGE_REFUSED = 52
    APPROVAL_REFUSED = 60
    GRANT_REVOKED = 63
    GRANT_REVOCATION_REFUSED = 64


# What says that somebody may be where they should not: it always finds room beside what merely happens often.
SECURITY = frozenset(
    {
        AuditKind.UNAUTHENTICATED,
        AuditKind.ROLE_DENIED,
        AuditKind.CREDENTIAL_REVOKED,
        AuditKind.REGISTRATION_REFUSED,
        AuditKind.RELOAD_FAILED,
        AuditKind.APPROVAL_REFUSED,
        AuditKind.GRANT_REVOKED,
        AuditKind.GRANT_REVOCATION_REFUSED,
    }
)


class AuditEntry(Struct, frozen=True, kw_only=True):
    """One thing that happened, or `count` alike in one minute. Never a secret, never content.

    `namespace` is empty for what belongs to none; time and number are given by the store.
    """

    kind: AuditKind
    at: Micros = 0
    principal: str = ""
    namespace: str = ""
    method: str = ""
    reason: str = ""
    subjects: tuple[str, ...] = ()
    count: int = 1
    number: int = 0


def visible_to(namespace: Namespace) -> Sequence[str]:
    """The namespaces whose entries an admin of this one sees: what belongs to none is the default namespace's."""
    return (namespace, "") if namespace == DEFAULT_NAMESPACE else (namespace,)


def audit_scope(namespace: Namespace) -> str:
    """The text that stands for the list in its page tokens."""
    return f"audit\0{namespace}"
