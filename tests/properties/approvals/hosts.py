"""Executors' hosts, as the server dials them: what reached them is in their ledger, with the very bytes that came.

They stand behind the server's own `DialledExecutors`, which chooses among them; only the network is not there.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import grpc
from runwright._gen.runwright.callback.v1 import tool_executor_service_pb2 as pb
from runwright.adapters.remote.executors import DialledExecutors
from runwright.core.callbacks import Callback
from runwright.core.ids import DEFAULT_NAMESPACE, Namespace

from tests import builders as b

# What a host does with a call: it answers, fails, says that it has not begun, is gone before or after it has done it,
# or does it and answers later.
ANSWERS = ("result", "error", "not_performed", "lost", "lost_undone", "later")


@dataclass(frozen=True)
class Delivered:
    """One attempt as it reached a host. `is_done`: it had its effect."""

    principal: str
    executor: str
    request: pb.ExecuteToolRequest
    is_done: bool
    step: int

    def is_same(self, other: Delivered) -> bool:
        """True for the same attempt of the same call."""
        one, two = self.request, other.request
        return (one.run_id, one.call_id, one.attempt) == (two.run_id, two.call_id, two.attempt)


class _Rpc(asyncio.Future):  # type: ignore[type-arg]
    """One call over a connection."""

    def time_remaining(self) -> float:
        """It is never late by its own clock."""
        return 1.0


def _broken() -> grpc.aio.AioRpcError:
    nothing = grpc.aio.Metadata()
    return grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, nothing, nothing, "The connection is gone.")


@dataclass(eq=False)
class Host:
    """A host of one executor, of one principal; the connection to it and its channel at once."""

    hosts: Hosts
    callback: Callback
    is_up: bool = True
    is_ready: bool = True
    metadata: tuple[()] = ()
    under_way: dict[_Rpc, bytes] = field(default_factory=dict)

    @property
    def log(self) -> b.ListLog:
        """Where the server tells of its faults."""
        return self.hosts.log

    @property
    def is_away(self) -> bool:
        """True when no call can be sent now for certain."""
        return not self.is_ready

    @contextlib.contextmanager
    def call(self) -> Iterator[Host | None]:
        """The channel for one call."""
        yield self if self.is_up else None

    def lost_call(self) -> None:
        """Gets no other call before it is found well again, as a real one does."""
        self.is_ready = False

    def note_unused(self, unused: object) -> None:
        """All have the schemas of the packages."""
        raise AssertionError(unused)

    def unary_unary(self, path: str) -> Callable[..., _Rpc]:
        """The method of that path."""
        method = {"ExecuteTool": self._execute, "ReconcileTool": self._reconcile}[path.rpartition("/")[2]]

        def begin(request: bytes, **_: Any) -> _Rpc:
            rpc = _Rpc()
            method(rpc, request)
            return rpc

        return begin

    def _execute(self, rpc: _Rpc, data: bytes) -> None:
        request = pb.ExecuteToolRequest.FromString(data)
        how = self.hosts.next_answer()
        done = how not in ("not_performed", "lost_undone")
        name, owner = self.callback.name, self.callback.owner
        self.hosts.ledger.append(Delivered(owner, name, request, done, self.hosts.step))
        if done:
            self.hosts.done[request.idempotency_key] = request.arguments_digest
        answer = pb.ExecuteToolResponse()
        match how:
            case "error":
                answer.error.message = "It did not work."
            case "not_performed":
                answer.not_performed.message = "Too busy."
            case "lost" | "lost_undone":
                rpc.set_exception(_broken())
                return
            case _:
                answer.result.data, answer.result.media_type = b'"done"', "application/json"
        if how == "later":
            self.under_way[rpc] = answer.SerializeToString()
        else:
            rpc.set_result(answer.SerializeToString())

    def _reconcile(self, rpc: _Rpc, data: bytes) -> None:
        request = pb.ReconcileToolRequest.FromString(data)
        answer = pb.ReconcileToolResponse(idempotency_key=request.idempotency_key, attempt=request.attempt)
        known = self.hosts.done.get(request.idempotency_key)
        if self.hosts.knows_nothing:
            answer.unknown.message = "Nobody knows."
        elif known is None:
            answer.not_performed.message = "It never came."
        else:
            answer.arguments_digest = known
            answer.performed.data, answer.performed.media_type = b'"done"', "application/json"
        rpc.set_result(answer.SerializeToString())

    def let_go(self) -> None:
        """Answers what is under way."""
        for rpc, answer in self.under_way.items():
            if not rpc.done():
                rpc.set_result(answer)
        self.under_way.clear()

    def break_off(self) -> None:
        """Is gone, with what is under way."""
        self.is_up = self.is_ready = False
        for rpc in self.under_way:
            if not rpc.done():
                rpc.set_exception(_broken())
        self.under_way.clear()


class _Allowed:
    is_empty = False


class _Callbacks:
    """What `DialledExecutors` needs of those who register hosts: hosts can be, and the test does it."""

    dialer = type("Dialer", (), {"allowed": _Allowed(), "log": None})()

    def attach(self, kind: object, caller: object) -> None:
        """Hosts are handed over by `Hosts`."""

    async def close(self, kind: object) -> None:
        """Nothing to be closed."""


class Hosts:
    """All hosts there are, in every life of the server. `answers` says what is done with the next calls."""

    def __init__(self, answers: Callable[[], str]) -> None:
        self.next_answer = answers
        self.knows_nothing = False
        self.ledger: list[Delivered] = []
        self.done: dict[str, str] = {}
        self.step = 0
        self.log = b.ListLog()
        self.up: list[Host] = []
        self.executors: DialledExecutors | None = None
        self._numbers = 0

    def serve(self, clock: Any) -> DialledExecutors:
        """The executors of a new life of the server: the hosts that are up register anew."""
        self.executors = DialledExecutors({}, clock, _Callbacks())  # type: ignore[arg-type]
        for host in self.up:
            host.is_ready = True
            self.executors.opened(host)  # type: ignore[arg-type]
        return self.executors

    def open(self, executor: str, principal: str, most_calls: int) -> None:
        """Another host."""
        self._numbers += 1
        callback = Callback(
            namespace=Namespace(DEFAULT_NAMESPACE),
            callback_id=f"host-{self._numbers}",
            owner=principal,
            name=executor,
            address=f"{principal}.example:1",
            expires_at=1 << 62,
            max_calls_in_flight=most_calls,
        )
        host = Host(self, callback)
        self.up.append(host)
        if self.executors is not None:
            self.executors.opened(host)  # type: ignore[arg-type]
            self.executors.changed()

    def close(self, host: Host) -> None:
        """A host goes, as its lease does."""
        self.up.remove(host)
        if self.executors is not None:
            self.executors.dropped(host)  # type: ignore[arg-type]
        host.break_off()

    def mend(self) -> None:
        """Every host is well again."""
        for host in self.up:
            host.is_ready = True
        if self.executors is not None:
            self.executors.changed()
