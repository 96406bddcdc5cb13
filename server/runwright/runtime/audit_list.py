"""The audit, page by page."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from runwright.core.audit import AuditEntry, audit_scope, visible_to
from runwright.core.cursor import CursorMaker
from runwright.core.ids import Namespace
from runwright.ports.audit import Audit

_ANY_NUMBER = 2**62  # tokens are made by this server alone; there is no end to compare them with


class ListedAudit(Struct, frozen=True):
    """One page, newest first. `next_token` is empty when there is nothing older."""

    entries: Sequence[AuditEntry]
    next_token: str


class AuditList:
    """Pages through what an admin of a namespace may see."""

    def __init__(self, audit: Audit, cursors: CursorMaker) -> None:
        self._audit = audit
        self._cursors = cursors

    async def page(self, namespace: Namespace, token: str, limit: int) -> ListedAudit:
        """One page. Raises the errors of cursors for a token of another list."""
        scope = audit_scope(namespace)
        before = self._cursors.read(scope, token, _ANY_NUMBER).position if token else None
        page = await self._audit.page(visible_to(namespace), before=before, limit=limit)
        return ListedAudit(page.entries, self._cursors.make(scope, page.reached) if page.more else "")
