"""A server of a remote policy: a function that is asked what runs and calls may do."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import grpclib.const
import grpclib.server
from grpclib.const import Cardinality, Status
from grpclib.exceptions import GRPCError

from ._gen.runwright.callback import v1 as pb
from ._gen.runwright.v1 import Budget, PolicyVerdict
from .awaiting import is_async, outcome
from .client import Client
from .connection import Keepalive, Tls
from .serving import ToolServer
from .transport import received

_log = logging.getLogger("runwright_client")

PolicyQuestion = (
    pb.DecideRequest
)  #: `stage` says what it is about: `call` before a tool call, with `result` after it, else `text`


@dataclass(frozen=True, slots=True)
class PolicyDecision:
    """What a policy says; `allow`, `deny` and the other functions here make one."""

    verdict: PolicyVerdict
    code: str = ""
    message: str = ""
    arguments: Mapping[str, Any] | None = None
    text: str | None = None
    budget: Budget | None = None
    defer_for: timedelta | None = None


def allow(code: str = "") -> PolicyDecision:
    """It may go on."""
    return PolicyDecision(PolicyVerdict.ALLOW, code)


def deny(code: str = "", message: str = "") -> PolicyDecision:
    """It must not go on; the model, or whoever is refused, is told `message`, of at most 256 characters."""
    return PolicyDecision(PolicyVerdict.DENY, code, message)


def interrupt(code: str = "", message: str = "") -> PolicyDecision:
    """The run must end."""
    return PolicyDecision(PolicyVerdict.INTERRUPT, code, message)


def replace_arguments(arguments: Mapping[str, Any], code: str = "") -> PolicyDecision:
    """The call goes on with other arguments, once they are checked and decided on anew."""
    return PolicyDecision(PolicyVerdict.MODIFY, code, arguments=arguments)


def replace_text(text: str, code: str = "") -> PolicyDecision:
    """The run goes on with another input, result of a call, or answer."""
    return PolicyDecision(PolicyVerdict.MODIFY, code, text=text)


def lower_budget(budget: Budget, code: str = "") -> PolicyDecision:
    """The run starts with lower limits; 0 leaves one as it is."""
    return PolicyDecision(PolicyVerdict.MODIFY, code, budget=budget)


def defer(seconds: float, code: str = "", message: str = "") -> PolicyDecision:
    """It is held for so long, at most 7 days, or until somebody resumes it; then the policy is asked again."""
    return PolicyDecision(PolicyVerdict.DEFER, code, message, defer_for=timedelta(seconds=seconds))


Decide = Callable[[PolicyQuestion], Any]


class PolicyServer:
    """Serves one policy: `decide`, async or not, gets a question and returns a `PolicyDecision`.

    A question may come more than once: decide without any effect. What it raises is logged and is no answer; a
    question without an answer is denied in the end. The rest is as of `ToolServer`.
    """

    def __init__(self, decide: Decide, *, tls: Tls | None = None, credential: str = "", threads: int = 16) -> None:
        if not callable(decide):
            raise TypeError("PolicyServer: decide is no function")
        self._host = _PolicyHost(decide, tls=tls, credential=credential, threads=threads)

    @property
    def address(self) -> str:
        """Where it serves; empty before it does."""
        return self._host.address

    async def start(self, listen: str = "127.0.0.1:0") -> str:
        """As `ToolServer.start`."""
        return await self._host.start(listen)

    async def register(self, client: Client, policy: str, **options: Any) -> None:
        """As `ToolServer.register`, under the name by which packages and operators ask it."""
        await self._host.register(client, policy, **options)

    async def serve_for(self, client: Client, policy: str, *, listen: str = "127.0.0.1:0", **options: Any) -> None:
        """As `ToolServer.serve_for`."""
        await self._host.serve_for(client, policy, listen=listen, **options)

    def run(
        self,
        server: str,
        policy: str,
        *,
        key: str = "",
        tls: Tls | None = None,
        deadline: float = 10.0,
        keepalive: Keepalive | None = None,
        **options: Any,
    ) -> None:
        """As `ToolServer.run`."""
        self._host.run(server, policy, key=key, tls=tls, deadline=deadline, keepalive=keepalive, **options)

    async def stop(self, grace: float = 5.0) -> None:
        """As `ToolServer.stop`."""
        await self._host.stop(grace)


class _PolicyHost(ToolServer):
    def __init__(self, decide: Decide, **options: Any) -> None:
        super().__init__(**options)
        self._decide = decide

    def _served(self, schema_digests: bool) -> dict[str, Any]:
        return {"kind": pb.CallbackKind.POLICY}

    def __mapping__(self) -> Mapping[str, grpclib.const.Handler]:
        path = "/runwright.callback.v1.PolicyService/Decide"
        kinds = (Cardinality.UNARY_UNARY, pb.DecideRequest, pb.DecideResponse)
        return {path: grpclib.const.Handler(self._answer, *kinds)}

    async def _answer(self, stream: grpclib.server.Stream[pb.DecideRequest, pb.DecideResponse]) -> None:
        self._begin(stream)
        question = await received(stream, pb.DecideRequest)
        try:
            decision = await outcome(lambda: self._decide(question), is_async(self._decide), self._threads)
            response = _response(question, decision)
        except BaseException as error:
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                raise
            _log.error("policy %s failed on question %s", question.policy, question.effect_id, exc_info=error)
            raise GRPCError(Status.UNKNOWN, "The policy failed; its log says how.") from error
        await stream.send_message(response)


def _response(question: PolicyQuestion, decision: object) -> pb.DecideResponse:
    if not isinstance(decision, PolicyDecision):
        raise TypeError(f"a policy returns allow(…), deny(…) and the like, no {type(decision).__name__}")
    arguments = None if decision.arguments is None else json.dumps(dict(decision.arguments), allow_nan=False).encode()
    return pb.DecideResponse(
        subject_digest=question.subject_digest,
        verdict=decision.verdict,
        code=decision.code,
        message=decision.message,
        arguments_json=arguments,
        text=decision.text,
        budget=decision.budget,
        defer_for=decision.defer_for,
    )
