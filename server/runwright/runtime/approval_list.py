"""Lists of approvals: pages of the index that runs write. Nothing is scanned but what the index lists."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from runwright.core.approval_requests import ApprovalFilter, StandingApproval
from runwright.core.approval_rows import BY_ID, CLOSED, PENDING, full_id, id_of_key
from runwright.core.errors import AgentError
from runwright.core.ids import Namespace, check_caller_id
from runwright.core.principal import Principal
from runwright.ports.journal import Entry
from runwright.runtime.approvals import Approvals
from runwright.runtime.index_tokens import key_of, token_of
from runwright.runtime.ports import Ports

LOOKED_AT = 1000  # entries for one page, however many of them a filter hides


class ApprovalPage(Struct, frozen=True):
    """A page of approvals; `next_token` is empty when nothing follows, and `tokens` continue after each of them."""

    approvals: Sequence[StandingApproval]
    tokens: Sequence[str]
    next_token: str


class ApprovalList:
    """Pages through what is pending, the oldest first, or what is closed, the newest first; of one run by their ids.

    A token holds the key of an entry: what is asked for or decided meanwhile shifts nothing.
    """

    def __init__(self, ports: Ports, approvals: Approvals) -> None:
        self._ports = ports
        self._approvals = approvals

    async def page(self, who: Principal, wanted: ApprovalFilter, token: str, limit: int) -> ApprovalPage:
        """One page of what the principal sees. Raises INVALID_REQUEST and the journal's errors."""
        wanted.check()
        index, prefix = PENDING if wanted.is_of_pending else CLOSED, ""
        if wanted.run_id:
            index, prefix = BY_ID, full_id(check_caller_id("run_id", wanted.run_id), "")
        after = key_of(token, index)
        listed: list[StandingApproval] = []
        tokens: list[str] = []
        looked_at = 0
        while True:
            page = await self._entries(who.namespace, index, prefix, after, limit)
            standing = await self._standing(who, wanted, index, page)
            for entry in page:
                looked_at += 1
                after = entry.key
                found = standing.get(after)
                if found is not None and self._is_listed(who, wanted, found):
                    listed.append(found)
                    tokens.append(token_of(index, after))
                if len(listed) == limit or looked_at == LOOKED_AT:
                    return ApprovalPage(listed, tokens, token_of(index, after))
            if len(page) < limit:
                return ApprovalPage(listed, tokens, "")

    async def _entries(self, namespace: Namespace, index: str, prefix: str, after: str, limit: int) -> list[Entry]:
        """The entries that can be read. One that cannot be hides no other; a page without any says what is wrong."""
        read = await self._ports.journal.entries(namespace, index, prefix=prefix, after=after, limit=limit)
        good = [entry for entry in read if isinstance(entry, Entry)]
        for entry in read:
            if isinstance(entry, AgentError):
                if not good:
                    raise entry
                self._ports.log.error("an approval cannot be listed", entry, namespace=namespace)
        return good

    async def _standing(
        self, who: Principal, wanted: ApprovalFilter, index: str, page: Sequence[Entry]
    ) -> dict[str, StandingApproval]:
        """What the entries list, by their keys. Of what is not wanted, or may not be seen, some may be missing."""
        if index != PENDING:
            ids = [id_of_key(entry.key) if index == CLOSED else entry.key for entry in page]
            found = await self._approvals.look_up_all(who.namespace, ids)
            return {entry.key: standing for entry, standing in zip(page, found, strict=True) if standing}
        pending: dict[str, StandingApproval] = {}
        for entry in page:
            asked = self._approvals.read(entry.key, entry.value)
            if wanted.passes(asked) and self._approvals.may_see(who, asked):
                delegations = await self._approvals.delegations(who.namespace, asked)
                pending[entry.key] = self._approvals.as_of(asked, None, delegations)
        return pending

    def _is_listed(self, who: Principal, wanted: ApprovalFilter, standing: StandingApproval) -> bool:
        if not (wanted.passes(standing.asked) and self._approvals.sees(who, standing)):
            return False
        is_open = standing.outcome is None
        # Without states only what is open, also of one run, whose approvals stand in one list.
        is_wanted = standing.state in wanted.states if wanted.states else is_open
        return is_wanted and (not wanted.mine or (is_open and self._approvals.may_decide(who, standing)))
