"""The ways out of a hold: release, cancel, remove. One at a time: each decides on what the one before has left."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import TypeVar

from msgspec.structs import replace

from runwright.core import inputs as i
from runwright.core.audit import AuditEntry, AuditKind
from runwright.core.condition import HoldCause, RunHold, run_held, run_not_held
from runwright.core.errors import AgentError
from runwright.core.ids import RunKey
from runwright.core.state import RunState
from runwright.runtime.ports import Ports
from runwright.runtime.runs.decisions import cancel_at_once
from runwright.runtime.runs.run_on_record import RunOnRecord
from runwright.runtime.runs.stored_runs import is_of
from runwright.runtime.runs.supervisor import Supervisor
from runwright.runtime.runs.tail import Tails

_T = TypeVar("_T")


class HeldRunActions:
    """What an operator may do with a run that is not driven.

    An action that has begun goes on to its end, also when its caller goes away: a run that was let go and not taken
    up would be driven by nobody.
    """

    def __init__(
        self, ports: Ports, supervisor: Supervisor, tails: Tails, removed: Callable[[Sequence[RunKey], int], None]
    ) -> None:
        """`removed` is told which runs the journal has removed, and up to which position."""
        self._ports = ports
        self._supervisor = supervisor
        self._tails = tails
        self._removed = removed
        self._lock = asyncio.Lock()
        self._under_way: set[asyncio.Task[object]] = set()

    async def release(self, run: RunKey, principal: str, reason: str) -> bool:
        """Takes a held run up as if it had just been found; it may be held again. False when it is not held."""
        return await self._to_its_end(self._release(run, principal, reason))

    async def cancel(self, run: RunKey, requested: i.CancelRequested) -> RunState | None:
        """Ends a held run at once, without any further effect. None when it is not held.

        Raises RUN_HELD for one that cannot be read, and the journal's errors.
        """
        return await self._to_its_end(self._cancel(run, requested))

    async def remove(self, run: RunKey, principal: str, reason: str) -> None:
        """Leaves an outline of a held run. Raises RUN_NOT_HELD."""
        await self._to_its_end(self._remove(run, principal, reason))

    async def _to_its_end(self, action: Coroutine[None, None, _T]) -> _T:
        task = asyncio.create_task(action)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        task.add_done_callback(lambda done: done.cancelled() or done.exception())  # its caller may have gone
        return await asyncio.shield(task)

    async def _release(self, run: RunKey, principal: str, reason: str) -> bool:
        async with self._lock:
            hold = self._supervisor.held.of(run)
            if hold is None:
                return False
            await self._supervisor.let_go(run)
            try:
                await self._supervisor.state(run)  # holds it again if it cannot be read
                if run not in self._supervisor.held:
                    await self._supervisor.take_up([run])
            except Exception as error:
                self._supervisor.hold(run, hold.cause, error)
                raise
            self._note(AuditKind.HELD_RUN_RELEASED, run, principal, reason)
            return True

    async def _cancel(self, run: RunKey, requested: i.CancelRequested) -> RunState | None:
        async with self._lock:
            hold = self._supervisor.held.of(run)
            if hold is None:
                return None
            on_record = await self._cancelled(run, hold, replace(requested, grace_us=0))
            self._supervisor.stored.ends.put(run, on_record.stored)
            await self._supervisor.let_go(run, is_over=True)
            self._note(AuditKind.HELD_RUN_CANCELLED, run, requested.requested_by, requested.reason)
            return on_record.state

    async def _remove(self, run: RunKey, principal: str, reason: str) -> None:
        async with self._lock:
            if run not in self._supervisor.held:
                raise run_not_held(run)
            horizon = await self._ports.journal.remove(run, now=self._ports.clock.now())
            self._removed([run], horizon)
            await self._supervisor.let_go(run, is_over=True)
            self._note(AuditKind.HELD_RUN_REMOVED, run, principal, reason)

    def _note(self, kind: AuditKind, run: RunKey, principal: str, reason: str) -> None:
        self._ports.audit.note(
            AuditEntry(kind=kind, principal=principal, namespace=run.namespace, reason=reason, subjects=(run.run_id,))
        )

    async def _cancelled(self, run: RunKey, hold: RunHold, requested: i.CancelRequested) -> RunOnRecord:
        if hold.cause is HoldCause.UNREADABLE:
            raise run_held(run, hold)
        stored = self._supervisor.stored
        try:
            loaded = await stored.load(run)
            package = await stored.package(run, loaded.state)
        except AgentError as error:
            raise run_held(run, hold) if is_of(error, run) else error from error
        on_record = RunOnRecord(self._ports, loaded, self._tails.of(run))
        if not loaded.state.is_terminal:
            await self._supervisor.noted(cancel_at_once(on_record, package, requested))
        return on_record
