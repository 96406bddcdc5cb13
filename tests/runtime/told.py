"""Dispatchers that note what they are told, and answer what a test has them answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from runwright.core.approval_dispatches import ApprovalNotice, DispatchResult
from runwright.core.approvals import ApprovalVerdict
from runwright.core.ids import Namespace
from runwright.ports.approval_dispatchers import (
    ApprovalNotification,
    DispatcherDecision,
    DispatcherReply,
    DispatcherWait,
)

ACKNOWLEDGED = DispatcherReply(result=DispatchResult.ACKNOWLEDGED)
Answer = Callable[[ApprovalNotification], DispatcherReply | Awaitable[DispatcherReply]]


class Waiting:
    """Somebody who waits for a dispatcher."""

    def __init__(self, waiting: list[Waiting], there: Callable[[], None]) -> None:
        self.there = there
        self._waiting = waiting
        waiting.append(self)

    def leave(self) -> None:
        """See the port."""
        if self in self._waiting:
            self._waiting.remove(self)


class Told:
    """ApprovalDispatchers whose answer may be another one at any time. `told` is everything that reached one."""

    def __init__(self, answer: Answer = lambda _: ACKNOWLEDGED, *, is_away: bool = False) -> None:
        self.answer = answer
        self.is_away = is_away
        self.told: list[ApprovalNotification] = []
        self.waiting: list[Waiting] = []
        self.is_closed = False

    @property
    def notices(self) -> list[ApprovalNotice]:
        """What was told, in order."""
        return [each.notice for each in self.told]

    def comes_back(self) -> None:
        """From now on it is there."""
        self.is_away = False
        for waiting in list(self.waiting):
            waiting.leave()
            waiting.there()

    def is_there(self, namespace: Namespace, dispatcher: str) -> bool:
        """See the port."""
        return not self.is_away

    def wait_for_dispatcher(self, namespace: Namespace, dispatcher: str, there: Callable[[], None]) -> DispatcherWait:
        """See the port."""
        return Waiting(self.waiting, there)

    async def tell(self, notification: ApprovalNotification) -> DispatcherReply:
        """See the port."""
        if self.is_away:
            return DispatcherReply(result=DispatchResult.NOT_SENT)
        self.told.append(notification)
        answer = self.answer(notification)
        return await answer if isinstance(answer, Awaitable) else answer

    async def close(self) -> None:
        """See the port."""
        self.is_closed = True


def decides(verdict: ApprovalVerdict | None, by: str = "bot", **fields: Any) -> Answer:
    """It decides on what it was shown, whatever that is, with somebody's key."""
    reply = {name: fields.pop(name) for name in ("reference", "credential") if name in fields}

    def answer(told: ApprovalNotification) -> DispatcherReply:
        said = {"digest": told.approval.asked.digest, "verdict": verdict, **fields}
        who = {"principal": by, "credential": f"key:{by}", "callback_id": "chat-1", **reply}
        return DispatcherReply(result=DispatchResult.ACKNOWLEDGED, decision=DispatcherDecision(**said), **who)

    return answer


async def never(_: ApprovalNotification) -> DispatcherReply:
    """It has it, and does not answer."""
    await asyncio.Event().wait()
    raise AssertionError
