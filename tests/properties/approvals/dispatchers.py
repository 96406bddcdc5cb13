"""The dispatcher of a world, as the server knows it: it is told of approvals, and at times decides in its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random

from runwright._gen.runwright.v1 import approval_service_pb2
from runwright.core.approval_dispatches import DispatchResult
from runwright.core.approvals import ApprovalState, ApprovalVerdict
from runwright.core.ids import Namespace
from runwright.ports.approval_dispatchers import (
    ApprovalNotification,
    DispatcherDecision,
    DispatcherReply,
    DispatcherWait,
)

CHAT, BOT = "chat", "bot"  # its name, and whose it is
_ANSWERS = ("acknowledges", "acknowledges", "decides", "decides", "lost", "later")
_VERDICTS = (ApprovalVerdict.APPROVE, ApprovalVerdict.APPROVE, ApprovalVerdict.DENY, ApprovalVerdict.RESPOND)
_OTHER = "sha256:runwright-approval-v1:" + "1" * 64


class _Waiting:
    """Somebody who waits for it."""

    def __init__(self, waiting: list[_Waiting], there: Callable[[], None]) -> None:
        self.there = there
        self._waiting = waiting
        waiting.append(self)

    def leave(self) -> None:
        """See the port."""
        if self in self._waiting:
            self._waiting.remove(self)


class Dispatchers:
    """ApprovalDispatchers of every life of the server. `said` is what it decided in the step that is under way."""

    def __init__(self, rng: Random, principal: str) -> None:
        self._rng = rng
        self._principal = principal
        self._waiting: list[_Waiting] = []
        self._later: list[asyncio.Future[None]] = []
        self.is_up = True
        self.is_over = False
        self.said: list[tuple[str, object]] = []

    def begin(self) -> None:
        """A new life of the server: nobody of the last one waits any more."""
        self._waiting.clear()
        self._later.clear()

    def come_or_go(self) -> None:
        """It is there from now on, or is not."""
        self.is_up = not self.is_up
        while self.is_up and self._waiting:
            waiting = self._waiting.pop()
            waiting.there()

    def let_go(self) -> None:
        """It answers what it has not yet."""
        for answer in self._later:
            if not answer.done():
                answer.set_result(None)
        self._later.clear()

    def is_there(self, namespace: Namespace, dispatcher: str) -> bool:
        """See the port."""
        return self.is_up

    def wait_for_dispatcher(self, namespace: Namespace, dispatcher: str, there: Callable[[], None]) -> DispatcherWait:
        """See the port."""
        return _Waiting(self._waiting, there)

    async def tell(self, notification: ApprovalNotification) -> DispatcherReply:
        """See the port."""
        if not self.is_up:
            return DispatcherReply(result=DispatchResult.NOT_SENT)
        how = "acknowledges" if self.is_over else self._rng.choice(_ANSWERS)
        if how == "lost":
            return DispatcherReply(result=DispatchResult.LOST)
        if how == "later":
            answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._later.append(answer)
            await answer
        decides = how != "acknowledges" and notification.approval.state is ApprovalState.PENDING
        return DispatcherReply(
            result=DispatchResult.ACKNOWLEDGED,
            principal=self._principal,
            credential=self._principal,
            callback_id="chat-1",
            decision=self._decision(notification) if decides else None,
        )

    def _decision(self, notification: ApprovalNotification) -> DispatcherDecision:
        """Something that it may say: on what it was shown, or on something else."""
        asked, verdict = notification.approval.asked, self._rng.choice(_VERDICTS)
        digest = asked.digest if self._rng.random() < 0.9 else _OTHER
        message = "by the rota" if verdict is ApprovalVerdict.RESPOND else ""
        request = approval_service_pb2.DecisionRequest(
            approval_id=asked.id,
            digest=digest,
            verdict=verdict.value,
            request_id=f"dispatch:{notification.effect_id}:{notification.attempt}",
            message=message,
        )
        self.said.append((self._principal, request))
        return DispatcherDecision(digest=digest, verdict=verdict, message=message)

    async def close(self) -> None:
        """See the port."""
