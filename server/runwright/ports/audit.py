"""Where is written down what belongs to no run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from runwright.core.audit import AuditEntry, AuditKind
from runwright.core.errors import ErrorReason
from runwright.core.ids import RunKey
from runwright.core.principal import Principal
from runwright.core.records import ApprovalDispatched


class AuditPage(Struct, frozen=True):
    """Entries, newest first. All with a number of `reached` or more have been listed."""

    entries: Sequence[AuditEntry]
    reached: int
    more: bool


class Audit(Protocol):
    """An append-only list of entries. What is noted is durable a moment later."""

    def note(self, what: AuditEntry) -> None:
        """Notes what has happened, giving it time and number. Of any thread; never waits, never raises.

        The same again in the same minute is only counted. What is too much for
        one minute is dropped, and the number of dropped entries is an entry.
        """

    async def page(self, namespaces: Sequence[str], *, before: int | None, limit: int) -> AuditPage:
        """At most `limit` entries of the namespaces with a number below `before`, newest first."""


class NoAudit:
    """Keeps nothing: for runtimes that nobody audits."""

    def note(self, what: AuditEntry) -> None:
        """See the port."""

    async def page(self, namespaces: Sequence[str], *, before: int | None, limit: int) -> AuditPage:
        """See the port."""
        return AuditPage((), 0, False)


def refused_registration(audit: Audit, who: Principal, callback: str, reason: str) -> None:
    """Notes that somebody wanted to register as a callback and may not. `reason` is an ErrorReason's name."""
    audit.note(
        AuditEntry(
            kind=AuditKind.REGISTRATION_REFUSED,
            principal=who.name,
            namespace=who.namespace,
            reason=reason,
            subjects=(callback,),
        )
    )


def refused_start(audit: Audit, who: Principal, subjects: Sequence[str], reason: str) -> None:
    """Notes that a start of a run was refused. `subjects`: run id and package, empty where the request names none."""
    audit.note(
        AuditEntry(
            kind=AuditKind.START_REFUSED,
            principal=who.name,
            namespace=who.namespace,
            reason=reason,
            subjects=tuple(subject for subject in subjects if subject),
        )
    )


def refused_resolution(audit: Audit, who: Principal, run_id: str, effect_id: str, reason: str) -> None:
    """Notes that a decision about a call of unknown outcome was refused. `reason` is an ErrorReason's name."""
    audit.note(
        AuditEntry(
            kind=AuditKind.RESOLUTION_REFUSED,
            principal=who.name,
            namespace=who.namespace,
            reason=reason,
            subjects=(run_id, effect_id),
        )
    )


def ignored_answer(audit: Audit, run: RunKey, call_id: str, reason: str, principal: str = "") -> None:
    """Notes an answer that changed nothing: it was late, a second one, or another attempt's."""
    audit.note(
        AuditEntry(
            kind=AuditKind.ANSWER_IGNORED,
            principal=principal,
            namespace=run.namespace,
            reason=reason,
            subjects=(run.run_id, call_id),
        )
    )


# What a dispatcher that may not decide is refused with, by what is on record. One that is late is no attempt.
_REFUSED = {
    **dict.fromkeys(
        ("role", "approver_set", "executor", "four_eyes", "dispatcher"), ErrorReason.APPROVER_NOT_ALLOWED.name
    ),
    "digest": ErrorReason.APPROVAL_DIGEST_MISMATCH.name,
    "invalid": ErrorReason.INVALID_REQUEST.name,
}


def refused_dispatcher(audit: Audit, run: RunKey, record: ApprovalDispatched) -> None:
    """Notes that a dispatcher answered a decision that it may not make."""
    if record.refusal in _REFUSED:
        audit.note(
            AuditEntry(
                kind=AuditKind.APPROVAL_REFUSED,
                principal=record.principal,
                namespace=run.namespace,
                reason=_REFUSED[record.refusal],
                subjects=(f"{run.run_id}/{record.approval_id}", record.refusal),
            )
        )
