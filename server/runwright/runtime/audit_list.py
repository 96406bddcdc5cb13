"""The audit, page by page."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from runwright.core.audit import AuditEntry, audit_scope, visible_to
from runwright.core.cursor import CursorMaker
from runwright.core.ids import Namespace
from runwright.ports.audit import Audit
from runwright.ports.journal import JournalIdentity


class ListedAudit(Struct, frozen=True):
    """One page, newest first. `next_token` is empty when there is nothing older."""

    entries: Sequence[AuditEntry]
    next_token: str


class AuditList:
    """Pages through what an admin of a namespace may see."""

    def __init__(self, audit: Audit, journal: JournalIdentity, cursors: CursorMaker) -> None:
        self._audit = audit
        self._journal = journal
        self._cursors = cursors

    async def page(self, namespace: Namespace, token: str, limit: int) -> ListedAudit:
        """One page. Raises the errors of cursors for a token of another list."""
        scope = audit_scope(namespace)
        before = self._cursors.read_token(scope, token, self._journal.head) if token else None
        page = await self._audit.page(visible_to(namespace), before=before, limit=limit)
        further = self._cursors.token(scope, page.reached, self._journal.head) if page.more else ""
        return ListedAudit(page.entries, further)
