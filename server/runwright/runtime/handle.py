"""RunHandle: one run, in the hands of a library user."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Protocol

from runwright.core.ids import Namespace, RunKey
from runwright.core.outcomes import RunStatus
from runwright.ports.journal import StoredEvent
from runwright.runtime.snapshot import Cancelled, RunSnapshot
from runwright.runtime.streams.subscriptions import StreamItem


class RunOperations(Protocol):
    """What a handle asks of the runtime; see AgentRuntime."""

    async def run_snapshot(self, run_id: str, *, namespace: Namespace) -> RunSnapshot:
        """The run as it stands."""

    async def wait_run(self, run_id: str, *, timeout_us: int | None, namespace: Namespace) -> tuple[RunSnapshot, bool]:
        """The run once it has ended or needs repair, or the time is over."""

    async def subscribe_run(
        self, run_id: str, *, after_cursor: str, deltas: bool, namespace: Namespace
    ) -> AsyncGenerator[list[StreamItem], None]:
        """Pages of the run's stream after the cursor."""

    async def cancel_run(self, run_id: str, *, reason: str, namespace: Namespace) -> Cancelled:
        """Asks the run to end."""

    async def latest_terminal_event(self, run_id: str, *, namespace: Namespace) -> StoredEvent | None:
        """The run's terminal event, if it has ended."""


class RunHandle:
    """A started run. Letting go of the handle changes nothing for the run."""

    def __init__(self, runtime: RunOperations, run: RunKey) -> None:
        self._runtime = runtime
        self._run = run

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self._run.run_id

    async def snapshot(self) -> RunSnapshot:
        """The run as it stands."""
        return await self._runtime.run_snapshot(self.run_id, namespace=self._run.namespace)

    async def status(self) -> RunStatus:
        """Where the run stands."""
        return (await self.snapshot()).status

    async def wait(self, timeout_us: int | None = None) -> RunSnapshot:
        """The run once it has ended or needs repair, or as it stands when the time is over."""
        waited, _ = await self._runtime.wait_run(self.run_id, timeout_us=timeout_us, namespace=self._run.namespace)
        return waited

    async def stream(self, after_cursor: str = "", *, deltas: bool = False) -> AsyncIterator[StreamItem]:
        """Every item of the run's stream after the cursor, ending with the terminal event."""
        batches = await self._runtime.subscribe_run(
            self.run_id, after_cursor=after_cursor, deltas=deltas, namespace=self._run.namespace
        )
        async for batch in batches:
            for item in batch:
                yield item

    async def cancel(self, reason: str = "") -> Cancelled:
        """Asks the run to end."""
        return await self._runtime.cancel_run(self.run_id, reason=reason, namespace=self._run.namespace)

    async def latest_terminal_event(self) -> StoredEvent | None:
        """The run's terminal event; None while it has not ended."""
        return await self._runtime.latest_terminal_event(self.run_id, namespace=self._run.namespace)
