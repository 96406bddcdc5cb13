"""Sessions: what a new run sees of the earlier ones, and who may start while another goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeAlias
from weakref import WeakValueDictionary

from runwright.core.content import Content
from runwright.core.context import Context, SessionTurn, choose
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.ids import Namespace, RunId, RunKey
from runwright.core.package import RuntimePackage
from runwright.core.request import OnBusy, RunRequest
from runwright.ports.journal import Contents, RunIndex

Key: TypeAlias = tuple[Namespace, str, str]


class SessionSource(RunIndex, Contents, Protocol):
    """What earlier runs of a session are read from."""


class Sessions:
    """Chooses the context of new runs, and lets starts that ask for an idle session in one after the other."""

    def __init__(self, journal: SessionSource) -> None:
        self._journal = journal
        self._starting: WeakValueDictionary[Key, asyncio.Lock] = WeakValueDictionary()

    async def start(
        self, run: RunKey, request: RunRequest, package: RuntimePackage, start: Callable[[], Awaitable[None]]
    ) -> None:
        """Starts a run by `start`. Raises SESSION_BUSY if it asks for an idle session and this one is not.

        Only those that ask wait for one another: another run may begin at any
        time, as if a moment later.
        """
        if request.on_busy is OnBusy.ALLOW:
            await start()
            return
        key = (run.namespace, request.session_id, package.agent.id)
        lock = self._starting.get(key)
        if lock is None:
            lock = self._starting[key] = asyncio.Lock()
        await lock.acquire()
        started = asyncio.create_task(self._start_if_idle(run, request, package, start))

        def settled(task: asyncio.Task[None]) -> None:
            lock.release()
            if not task.cancelled():
                task.exception()  # marks it as seen: its caller may have gone

        # A caller that goes away leaves the start, and so the lock, to come to their end.
        started.add_done_callback(settled)
        await asyncio.shield(started)

    async def _start_if_idle(
        self, run: RunKey, request: RunRequest, package: RuntimePackage, start: Callable[[], Awaitable[None]]
    ) -> None:
        found = await self._journal.session(run.namespace, request.session_id, package.agent.id, turns=0)
        # A start that was made before is repeated, not refused; it finds out by itself, and whether it can be read.
        if found.open_run is None or await self._journal.load_many([run]) != [None]:
            await start()
            return
        raise AgentError(
            ErrorReason.SESSION_BUSY,
            f"Run {found.open_run} of session {request.session_id} has not ended.",
            metadata={"session_id": request.session_id, "run_id": found.open_run},
        )

    async def context(
        self, namespace: Namespace, session_id: str, package: RuntimePackage
    ) -> tuple[Context, tuple[Content, ...]]:
        """What a new run of the session sees, and the content of it.

        The content is stored with the run once more, which costs nothing while it
        is there: so the run has what it refers to, whatever becomes of the others.
        """
        agent_id, policy = package.agent.id, package.context
        found = await self._journal.session(namespace, session_id, agent_id, turns=policy.session_turns)
        gone: set[RunId] = set()
        while True:
            chosen = choose(policy, agent_id, found.runs, has_older=found.has_older, unreadable=gone)
            refs = {ref.digest: ref for turn in chosen.included for ref in turn.refs}
            stored = await self._whole(namespace, chosen.included)
            missing = {turn.run_id for turn in chosen.included if any(ref.digest not in stored for ref in turn.refs)}
            if not missing:
                return chosen, tuple(Content(ref, stored[digest]) for digest, ref in refs.items())
            gone |= missing

    async def _whole(self, namespace: Namespace, turns: Sequence[SessionTurn]) -> dict[str, bytes]:
        """The contents of the turns, without those that are damaged: the run goes on without such a turn, on record."""
        requested = [(turn.run_id, [ref.digest for ref in turn.refs]) for turn in turns]
        try:
            return await self._journal.content(namespace, [digest for _, digests in requested for digest in digests])
        except AgentError as error:
            if error.reason is not ErrorReason.JOURNAL_CORRUPT:
                raise
        stored: dict[str, bytes] = {}
        for run, digests in requested:
            try:
                stored |= await self._journal.content(namespace, digests, run=run)
            except AgentError as error:  # told to whoever asks for that run
                if error.reason is not ErrorReason.JOURNAL_CORRUPT:
                    raise
        return stored
