"""A server of a dispatcher: functions that tell people of approvals where they are, and may decide."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import grpclib.const
import grpclib.server
from grpclib.const import Cardinality, Status
from grpclib.exceptions import GRPCError

from ._gen.runwright.callback import v1 as pb
from ._gen.runwright.v1 import Approval, ApprovalVerdict
from .awaiting import is_async, outcome
from .client import Client
from .connection import Keepalive, Tls
from .serving import ToolServer
from .transport import received

_log = logging.getLogger("runwright_client")
_SERVICE = "/runwright.callback.v1.ApprovalDispatcherService"

ApprovalNotification = (
    pb.ApprovalNotification
)  #: `approval` is how it stands; `idempotency_key` is the same whenever the same thing is told


@dataclass(frozen=True, slots=True)
class Dispatched:
    """What a dispatcher answers. `reference`, of at most 256 bytes, is handed back with what is told later.

    With a `verdict` it decides, on exactly what it was shown, as whoever registered it: see `Client.decide_approval`.
    """

    reference: str = ""
    verdict: ApprovalVerdict | None = None
    message: str = ""
    note: str = ""
    on_behalf_of: str = ""


Tell = Callable[[ApprovalNotification], Any]


class DispatcherServer:
    """Serves one dispatcher: functions, async or not, that get a notification.

    `dispatch` is called when somebody is asked to decide, `update` when it is somebody else's turn or somebody decided,
    `withdraw` when there is nothing to decide any more. The first two return None, a reference, or a `Dispatched`.
    What one raises is logged, and it is called again later; it may be called more than once with one
    `idempotency_key`. The rest is as of `ToolServer`.
    """

    def __init__(
        self,
        dispatch: Tell,
        *,
        update: Tell | None = None,
        withdraw: Tell | None = None,
        tls: Tls | None = None,
        credential: str = "",
        threads: int = 16,
    ) -> None:
        functions = {"dispatch": dispatch, "update": update or _nothing, "withdraw": withdraw or _nothing}
        for name, function in functions.items():
            if not callable(function):
                raise TypeError(f"DispatcherServer: {name} is no function")
        self._host = _DispatcherHost(functions, tls=tls, credential=credential, threads=threads)

    @property
    def address(self) -> str:
        """Where it serves; empty before it does."""
        return self._host.address

    async def start(self, listen: str = "127.0.0.1:0") -> str:
        """As `ToolServer.start`."""
        return await self._host.start(listen)

    async def register(self, client: Client, dispatcher: str, **options: Any) -> None:
        """As `ToolServer.register`, under the name by which packages have it told."""
        await self._host.register(client, dispatcher, **options)

    async def serve_for(self, client: Client, dispatcher: str, *, listen: str = "127.0.0.1:0", **options: Any) -> None:
        """As `ToolServer.serve_for`."""
        await self._host.serve_for(client, dispatcher, listen=listen, **options)

    def run(
        self,
        server: str,
        dispatcher: str,
        *,
        key: str = "",
        tls: Tls | None = None,
        deadline: float = 10.0,
        keepalive: Keepalive | None = None,
        **options: Any,
    ) -> None:
        """As `ToolServer.run`."""
        self._host.run(server, dispatcher, key=key, tls=tls, deadline=deadline, keepalive=keepalive, **options)

    async def stop(self, grace: float = 5.0) -> None:
        """As `ToolServer.stop`."""
        await self._host.stop(grace)


def _nothing(_: ApprovalNotification) -> None:
    """Acknowledges."""


class _DispatcherHost(ToolServer):
    def __init__(self, functions: Mapping[str, Tell], **options: Any) -> None:
        super().__init__(**options)
        self._functions = functions

    def _served(self, schema_digests: bool) -> dict[str, Any]:
        return {"kind": pb.CallbackKind.APPROVAL_DISPATCHER}

    def __mapping__(self) -> Mapping[str, grpclib.const.Handler]:
        unary = Cardinality.UNARY_UNARY
        dispatch = (self._dispatch, unary, pb.DispatchApprovalRequest, pb.DispatchApprovalResponse)
        update = (self._update, unary, pb.UpdateApprovalRequest, pb.UpdateApprovalResponse)
        withdraw = (self._withdraw, unary, pb.WithdrawApprovalRequest, pb.WithdrawApprovalResponse)
        return {
            f"{_SERVICE}/DispatchApproval": grpclib.const.Handler(*dispatch),
            f"{_SERVICE}/UpdateApproval": grpclib.const.Handler(*update),
            f"{_SERVICE}/WithdrawApproval": grpclib.const.Handler(*withdraw),
        }

    async def _dispatch(self, stream: grpclib.server.Stream[Any, Any]) -> None:
        answer, decision = await self._answered(stream, "dispatch", pb.DispatchApprovalRequest)
        await stream.send_message(pb.DispatchApprovalResponse(reference=answer.reference, decision=decision))

    async def _update(self, stream: grpclib.server.Stream[Any, Any]) -> None:
        answer, decision = await self._answered(stream, "update", pb.UpdateApprovalRequest)
        await stream.send_message(pb.UpdateApprovalResponse(reference=answer.reference, decision=decision))

    async def _withdraw(self, stream: grpclib.server.Stream[Any, Any]) -> None:
        await self._answered(stream, "withdraw", pb.WithdrawApprovalRequest)
        await stream.send_message(pb.WithdrawApprovalResponse())

    async def _answered(
        self, stream: grpclib.server.Stream[Any, Any], name: str, kind: type[Any]
    ) -> tuple[Dispatched, pb.DispatcherDecision | None]:
        self._begin(stream)
        told = (await received(stream, kind)).notification or ApprovalNotification()
        function = self._functions[name]
        try:
            answer = _dispatched(await outcome(lambda: function(told), is_async(function), self._threads))
        except BaseException as error:
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                raise
            _log.error("dispatcher %s failed at %s %s", told.dispatcher, name, told.effect_id, exc_info=error)
            raise GRPCError(Status.UNKNOWN, "The dispatcher failed; its log says how.") from error
        return answer, _decision(told.approval or Approval(), answer)


def _dispatched(value: object) -> Dispatched:
    if isinstance(value, Dispatched):
        return value
    if value is None or isinstance(value, str):
        return Dispatched(value or "")
    raise TypeError(f"a dispatcher returns nothing, a reference or Dispatched(…), no {type(value).__name__}")


def _decision(approval: Approval, answer: Dispatched) -> pb.DispatcherDecision | None:
    if answer.verdict is None:
        return None
    return pb.DispatcherDecision(
        digest=approval.digest,
        verdict=answer.verdict,
        message=answer.message,
        note=answer.note,
        on_behalf_of=answer.on_behalf_of,
    )
