"""Approval dispatchers: who tells people of approvals, and may answer with a decision."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from msgspec import Struct

from runwright.core.approval_dispatches import ApprovalNotice, DispatchResult
from runwright.core.approval_requests import StandingApproval
from runwright.core.approvals import ApprovalVerdict
from runwright.core.ids import EffectId, Namespace


class ApprovalNotification(Struct, frozen=True, kw_only=True):
    """One attempt at telling a dispatcher how an approval stands.

    `key` is the same for every attempt at telling the same `revision`. `arguments` are those to be approved, as JSON,
    none beyond 64 KiB. `reference` is what the dispatcher has called its message by.
    """

    namespace: Namespace
    dispatcher: str
    notice: ApprovalNotice
    effect_id: EffectId
    attempt: int
    key: str
    revision: int
    reference: str
    approval: StandingApproval
    arguments: bytes | None
    trace_parent: str = ""


class DispatcherDecision(Struct, frozen=True, kw_only=True):
    """What a dispatcher decides, as it said it. `verdict` is None for one that nobody knows."""

    digest: str
    verdict: ApprovalVerdict | None
    message: str = ""
    note: str = ""
    on_behalf_of: str = ""


class DispatcherReply(Struct, frozen=True, kw_only=True):
    """What came of an attempt, as the dispatcher said it: nothing of it is checked but its form.

    `principal` registered it, as `callback_id`, with the key or certificate `credential`; all are empty when none got
    it.
    """

    result: DispatchResult
    principal: str = ""
    credential: str = ""
    callback_id: str = ""
    reference: str = ""
    decision: DispatcherDecision | None = None


class DispatcherWait(Protocol):
    """Somebody who waits for a dispatcher."""

    def leave(self) -> None:
        """Waits no more; harmless once one was there."""


class ApprovalDispatchers(Protocol):
    """The dispatchers by the names that packages use, in each namespace."""

    def is_there(self, namespace: Namespace, dispatcher: str) -> bool:
        """True when one can be told now."""

    def wait_for_dispatcher(self, namespace: Namespace, dispatcher: str, there: Callable[[], None]) -> DispatcherWait:
        """Calls `there` once when one can be told, later and on the event loop, unless it is left before."""

    async def tell(self, notification: ApprovalNotification) -> DispatcherReply:
        """Tells one. Never raises for one that fails; bounded in time."""

    async def close(self) -> None:
        """Lets go of everything."""


class NoDispatchers:
    """Where there are none: approvals are only listed."""

    def is_there(self, namespace: Namespace, dispatcher: str) -> bool:
        """Never."""
        return False

    def wait_for_dispatcher(self, namespace: Namespace, dispatcher: str, there: Callable[[], None]) -> DispatcherWait:
        """In vain."""
        return _InVain()

    async def tell(self, notification: ApprovalNotification) -> DispatcherReply:
        """Nobody gets it."""
        return DispatcherReply(result=DispatchResult.NOT_SENT)

    async def close(self) -> None:
        """There is nothing to close."""


class _InVain:
    def leave(self) -> None:
        """See DispatcherWait."""
