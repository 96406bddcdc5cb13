"""A dispatcher of approvals that is a function of the program around the runtime; and those that runtimes share."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from msgspec import Struct

from runwright.core.approval_dispatches import ApprovalNotice, DispatchResult
from runwright.core.approvals import ApprovalState, ApprovalVerdict
from runwright.core.ids import LOCAL_PRINCIPAL, Namespace
from runwright.ports.approval_dispatchers import (
    ApprovalDispatchers,
    ApprovalNotification,
    DispatcherDecision,
    DispatcherReply,
    DispatcherWait,
    NoDispatchers,
)


class Dispatched(Struct, frozen=True):
    """What a function answers: what it calls its message by, and with a `verdict` what is decided."""

    reference: str = ""
    verdict: ApprovalVerdict | None = None
    message: str = ""
    note: str = ""
    on_behalf_of: str = ""


# Nothing, or a verdict alone, will do as well. It may be async; one that is not holds up the event loop.
Answer: TypeAlias = Dispatched | ApprovalVerdict | None
DispatchFunction: TypeAlias = Callable[[ApprovalNotification], Awaitable[Answer] | Answer]


class FunctionDispatcher:
    """Every dispatcher, by whatever name: a function that is told how approvals stand, and may decide while they wait.

    What it decides it decides as `principal`, by that one's key `credential` where there are keys. What it raises is no
    acknowledgement: it is called again later, with the same `key`.
    """

    def __init__(self, function: DispatchFunction, *, principal: str = LOCAL_PRINCIPAL, credential: str = "") -> None:
        self._function = function
        self._principal = principal
        self._credential = credential

    def is_there(self, namespace: Namespace, dispatcher: str) -> bool:
        """Always."""
        return True

    def wait_for_dispatcher(self, namespace: Namespace, dispatcher: str, there: Callable[[], None]) -> DispatcherWait:
        """Nobody has to wait for it."""
        return NoDispatchers().wait_for_dispatcher(namespace, dispatcher, there)

    async def tell(self, notification: ApprovalNotification) -> DispatcherReply:
        """See the port. Raises what the function does."""
        said = self._function(notification)
        answer = await said if inspect.isawaitable(said) else said
        answer = Dispatched(verdict=answer) if isinstance(answer, ApprovalVerdict) else answer
        is_asked = notification.approval.state is ApprovalState.PENDING
        decision = None
        if answer is not None and answer.verdict is not None and is_asked:
            decision = DispatcherDecision(
                digest=notification.approval.asked.digest,
                verdict=answer.verdict,
                message=answer.message,
                note=answer.note,
                on_behalf_of=answer.on_behalf_of,
            )
        return DispatcherReply(
            result=DispatchResult.ACKNOWLEDGED,
            principal=self._principal,
            credential=self._credential,
            reference=answer.reference if answer is not None else "",
            decision=decision if notification.notice is not ApprovalNotice.WITHDRAW else None,
        )

    async def close(self) -> None:
        """There is nothing to close."""


class SharedDispatchers:
    """Dispatchers that somebody else closes."""

    def __init__(self, shared: ApprovalDispatchers) -> None:
        self.is_there = shared.is_there
        self.wait_for_dispatcher = shared.wait_for_dispatcher
        self.tell = shared.tell

    async def close(self) -> None:
        """Whoever owns them does."""


def dispatchers_of(
    owned: ApprovalDispatchers | DispatchFunction | None, shared: ApprovalDispatchers | DispatchFunction | None
) -> ApprovalDispatchers:
    """Those of a runtime, which closes what it owns. Raises ValueError for both."""
    if owned is not None and shared is not None:
        raise ValueError("either approval_dispatcher or shared_approval_dispatcher")
    found = owned if owned is not None else shared
    if found is None:
        return NoDispatchers()
    port: ApprovalDispatchers = found if not callable(found) else FunctionDispatcher(found)
    return port if owned is not None else SharedDispatchers(port)
