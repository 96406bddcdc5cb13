"""Connections to executors: the connections to executors. One that is configured, and one that is registered."""

from __future__ import annotations

import asyncio
from typing import Protocol

import grpc
from msgspec.structs import replace

from runwright.adapters.remote.callback_connection import CallbackConnection
from runwright.adapters.remote.dialer import DIAL_OPTIONS
from runwright.adapters.remote.reconcile_calls import reconcile
from runwright.adapters.remote.tool_calls import perform
from runwright.core.callback_kinds import ToolExecutor
from runwright.core.callbacks import DEFAULT_CALLS_IN_FLIGHT, UnusedTool
from runwright.core.executor_names import ConfiguredExecutor
from runwright.core.outcomes import ExecutorIdentity, ReconcileAnswer
from runwright.ports.log import OperatorLog
from runwright.ports.tools import PlaceRequest, ReconcileOutcome, ToolInvocation, ToolOutcome, ToolOutcomeKind

_READY = grpc.ChannelConnectivity.READY
_FAILING = grpc.ChannelConnectivity.TRANSIENT_FAILURE


class ExecutorConnection(Protocol):
    """A connection to one executor. `used` is when it last got a call, as a count of calls.

    `calls` counts the places that are taken here, of `most_calls`.
    """

    name: str
    used: int
    calls: int

    @property
    def most_calls(self) -> int:
        """How many calls may be under way here at once."""

    @property
    def identity(self) -> ExecutorIdentity:
        """Who answers here, for the record."""

    def serves(self, tool: str) -> bool:
        """True when calls of the tool may be sent here at all."""

    def other_schema(self, wanted: PlaceRequest) -> str:
        """The digest of the tool's schema here, if it is another than is wanted; empty else, or where nobody says."""

    @property
    def is_ready(self) -> bool:
        """True when a call can be sent now."""

    @property
    def is_away(self) -> bool:
        """True when it was tried and found that no call can be sent now."""

    async def until_ready(self) -> None:
        """Returns once `is_ready` may have become true."""

    async def perform(self, call: ToolInvocation, seconds: float) -> ToolOutcome:
        """Sends an attempt. The outcome says who got it."""

    async def reconcile(self, call: ToolInvocation, ask: int, seconds: float) -> ReconcileOutcome:
        """Asks what became of an attempt. The outcome says who was asked."""


class ConfiguredConnection:
    """An executor the operator named, in whatever state its channel is."""

    def __init__(self, configured: ConfiguredExecutor, most_calls: int, log: OperatorLog | None = None) -> None:
        self.name = configured.address
        self.used = 0
        self.calls = 0
        self.most_calls = most_calls
        self.identity = ExecutorIdentity("", configured.principal, configured.address)
        self.channel = grpc.aio.insecure_channel(configured.address, options=DIAL_OPTIONS)
        self._log = log

    def serves(self, tool: str) -> bool:
        """Always: what it serves is not known."""
        return True

    def other_schema(self, wanted: PlaceRequest) -> str:
        """None: it says nothing of schemas."""
        return ""

    @property
    def is_ready(self) -> bool:
        """See `ExecutorConnection`."""
        return self.channel.get_state(try_to_connect=True) is _READY

    @property
    def is_away(self) -> bool:
        """See `ExecutorConnection`."""
        return self.channel.get_state(try_to_connect=True) is _FAILING

    async def until_ready(self) -> None:
        """See `ExecutorConnection`."""
        await self.channel.channel_ready()

    async def perform(self, call: ToolInvocation, seconds: float) -> ToolOutcome:
        """See `ExecutorConnection`."""
        outcome = await perform(self.channel, call, seconds=seconds, log=self._log)
        return replace(outcome, executor_identity=self.identity)

    async def reconcile(self, call: ToolInvocation, ask: int, seconds: float) -> ReconcileOutcome:
        """See `ExecutorConnection`."""
        outcome = await reconcile(self.channel, call, ask, seconds=seconds, log=self._log)
        return replace(outcome, executor_identity=self.identity)


class RegisteredConnection:
    """A tool executor that a host registered."""

    def __init__(self, connection: CallbackConnection) -> None:
        self.connection = connection
        self.name = connection.callback.callback_id
        self.used = 0
        self.calls = 0

    @property
    def most_calls(self) -> int:
        """See `ExecutorConnection`."""
        return self.connection.callback.max_calls_in_flight or DEFAULT_CALLS_IN_FLIGHT

    @property
    def identity(self) -> ExecutorIdentity:
        """See `ExecutorConnection`."""
        callback = self.connection.callback
        return ExecutorIdentity(callback.callback_id, callback.owner, callback.address)

    def serves(self, tool: str) -> bool:
        """True for the tools of the registration."""
        details = self.connection.callback.details
        return isinstance(details, ToolExecutor) and details.serves(tool)

    def other_schema(self, wanted: PlaceRequest) -> str:
        """What the registration says, where it says another."""
        details = self.connection.callback.details
        return details.other_schema(wanted.tool, wanted.schema_digest) if isinstance(details, ToolExecutor) else ""

    def note_unused(self, wanted: PlaceRequest, now: int) -> UnusedTool:
        """Says, and remembers for whoever lists registrations, that calls of the tool are not sent here."""
        callback = self.connection.callback
        unused = UnusedTool(
            callback_id=callback.callback_id,
            tool=wanted.tool,
            schema_digest=self.other_schema(wanted),
            package_schema_digest=wanted.schema_digest,
            package_fingerprint=wanted.package,
            wanted_at=now,
        )
        self.connection.note_unused(unused)
        return unused

    @property
    def is_ready(self) -> bool:
        """See `ExecutorConnection`."""
        return self.connection.is_ready

    @property
    def is_away(self) -> bool:
        """See `ExecutorConnection`."""
        return self.connection.is_away

    async def until_ready(self) -> None:
        """Never: the connection says itself when it may be ready."""
        await asyncio.Event().wait()

    async def perform(self, call: ToolInvocation, seconds: float) -> ToolOutcome:
        """See `ExecutorConnection`. One that loses a call gets no other before it was found well again."""
        connection = self.connection
        with connection.call() as channel:
            if channel is None:  # dropped since it was chosen
                return ToolOutcome(ToolOutcomeKind.NOT_SENT)
            outcome = await perform(channel, call, seconds=seconds, metadata=connection.metadata, log=connection.log)
        if outcome.kind is ToolOutcomeKind.LOST:
            connection.lost_call()
        return replace(outcome, executor_identity=self.identity)

    async def reconcile(self, call: ToolInvocation, ask: int, seconds: float) -> ReconcileOutcome:
        """See `ExecutorConnection`."""
        connection = self.connection
        with connection.call() as channel:
            if channel is None:  # dropped since it was chosen
                return ReconcileOutcome(ReconcileAnswer.NOT_ASKED)
            told = connection.metadata
            outcome = await reconcile(channel, call, ask, seconds=seconds, metadata=told, log=connection.log)
        return replace(outcome, executor_identity=self.identity)
