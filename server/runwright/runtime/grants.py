"""Grants as objects: who sees them, and taking them back. Pages of the index that runs write."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from msgspec import DecodeError, Struct

from runwright.core.audit import AuditEntry, AuditKind
from runwright.core.errors import AgentError, ErrorReason, invalid_request
from runwright.core.grant_failures import grant_not_found, grant_not_yours
from runwright.core.grant_requests import MAX_NOTE_BYTES, GrantFilter, StandingGrant, run_of_grant
from runwright.core.grant_rows import (
    BY_ID,
    ISSUED,
    OPEN,
    REVOKED,
    Revocation,
    counter_of,
    id_of_key,
    read_grant,
    read_revocation,
    rows_of_revocation,
)
from runwright.core.grants import Grant
from runwright.core.ids import Namespace, RunKey
from runwright.core.principal import Principal, Role
from runwright.runtime.approvals import SEES_ALL, Approvals
from runwright.runtime.index_tokens import key_of, token_of
from runwright.runtime.ports import Ports

LISTED_FROM = 1000  # entries for one page, however many of them a filter hides
_REVOKES = frozenset({Role.ADMIN})


class GrantPage(Struct, frozen=True):
    """A page of grants; `next_token` is empty when nothing follows, and `tokens` continue after each of them."""

    grants: Sequence[StandingGrant]
    tokens: Sequence[str]
    next_token: str


class Grants:
    """Reads what runs have written of grants, and takes grants back. A restart changes no answer."""

    def __init__(self, ports: Ports, approvals: Approvals) -> None:
        self._ports = ports
        self._approvals = approvals

    async def page(self, who: Principal, wanted: GrantFilter, token: str, limit: int) -> GrantPage:
        """One page of what the principal sees. Raises INVALID_REQUEST and the journal's errors."""
        wanted.check()
        index = OPEN if wanted.is_of_open else ISSUED
        after, looked_at, now = key_of(token, index), 0, self._ports.clock.now()
        listed, tokens = list[StandingGrant](), list[str]()
        while True:
            page = await self._ports.journal.entries(who.namespace, index, after=after, limit=limit)
            for entry in page:
                if isinstance(entry, AgentError):
                    raise entry
                if entry.expires_at and entry.expires_at <= now:
                    return GrantPage(listed, tokens, "")  # so is everything behind it
                looked_at += 1
                after = entry.key
                found = await self.look_up(who.namespace, id_of_key(entry.key))
                if found is not None and await self._is_wanted(who, wanted, found):
                    listed.append(found)
                    tokens.append(token_of(index, after))
                if len(listed) == limit or looked_at == LISTED_FROM:
                    return GrantPage(listed, tokens, token_of(index, after))
            if len(page) < limit:
                return GrantPage(listed, tokens, "")

    async def get(self, who: Principal, grant_id: str) -> StandingGrant:
        """A grant as it stands. Raises INVALID_REQUEST, GRANT_NOT_FOUND and the journal's errors."""
        run_of_grant(grant_id)
        found = await self.look_up(who.namespace, grant_id)
        if found is None or not await self._sees(who, found.grant):
            raise grant_not_found(grant_id)
        return found

    async def revoke(self, who: Principal, grant_id: str, note: str) -> tuple[StandingGrant, bool]:
        """Takes a grant back; on return that is durable. False: it answered no more before.

        Raises INVALID_REQUEST, GRANT_NOT_FOUND, GRANT_NOT_YOURS and the journal's errors.
        """
        if len(note.encode()) > MAX_NOTE_BYTES:
            raise invalid_request("note", f"at most {MAX_NOTE_BYTES} bytes", "Shorten it.")
        grant = (await self.get(who, grant_id)).grant
        if who.name != grant.issuer and not who.has_any(_REVOKES):
            raise grant_not_yours(grant)
        revocation = Revocation(who.name, self._ports.clock.now(), note)
        run = RunKey(who.namespace, run_of_grant(grant_id))
        try:
            failed = await self._ports.journal.change_beside(run, rows_of_revocation(grant, revocation))
        except AgentError as error:
            if error.reason is ErrorReason.RUN_NOT_FOUND:  # it went with its run, meanwhile
                raise grant_not_found(grant_id) from None
            raise
        if failed is None:
            subjects = (grant_id, grant.tool)
            kind, reason = AuditKind.GRANT_REVOKED, grant.scope.name
            self._ports.audit.note(
                AuditEntry(kind=kind, principal=who.name, namespace=who.namespace, reason=reason, subjects=subjects)
            )
        return await self.get(who, grant_id), failed is None

    async def look_up(self, namespace: Namespace, grant_id: str) -> StandingGrant | None:
        """A grant as it stands, for whomever; None when there is none, or it went with its run."""
        (entry, revoked), left = await asyncio.gather(
            self._ports.journal.named(namespace, (BY_ID, grant_id), (REVOKED, grant_id)),
            self._ports.journal.counter(namespace, counter_of(grant_id)),
        )
        if entry is None or left is None:
            return None
        try:
            revocation = read_revocation(revoked.value) if revoked is not None else None
            return StandingGrant(read_grant(entry.value), left, self._ports.clock.now(), revocation)
        except DecodeError:
            message = f"What is stored of grant {grant_id} cannot be read."
            metadata = {"run_id": entry.run.run_id, "first_bad": ""}
            raise AgentError(ErrorReason.JOURNAL_CORRUPT, message, metadata=metadata) from None

    async def _is_wanted(self, who: Principal, wanted: GrantFilter, found: StandingGrant) -> bool:
        if wanted.states and found.state not in wanted.states:
            return False
        return wanted.passes(found.grant) and await self._sees(who, found.grant)

    async def _sees(self, who: Principal, grant: Grant) -> bool:
        """True for observers and admins, whoever issued it, and whoever sees the approval that it was given with."""
        if who.has_any(SEES_ALL) or who.name == grant.issuer:
            return True
        approval = await self._approvals.look_up(who.namespace, grant.approval_id)
        return approval is not None and self._approvals.sees(who, approval)
