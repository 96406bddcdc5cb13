"""AgentRuntime: everything callers may do, without a wire."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack

from runwright.core import inputs as i
from runwright.core import trace
from runwright.core.audit import AuditEntry, AuditKind
from runwright.core.condition import is_done_in
from runwright.core.content import Content
from runwright.core.cursor import CursorMaker
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.ids import DEFAULT_NAMESPACE, LOCAL_PRINCIPAL, Namespace, RunId, RunKey, check_caller_id
from runwright.core.outcomes import RunPhase
from runwright.core.request import RunRequest
from runwright.core.selection import ANY_RUN, RunFilter, Selection
from runwright.core.state import RunState
from runwright.ports.journal import StoredEvent
from runwright.ports.telemetry import RuntimeReport
from runwright.runtime.approval_list import ApprovalList
from runwright.runtime.approvals import Approvals
from runwright.runtime.audit_list import AuditList, ListedAudit
from runwright.runtime.handle import RunHandle
from runwright.runtime.package_lookup import PackageLookup
from runwright.runtime.package_registry import PackageRegistry
from runwright.runtime.packages import PackageCatalogue
from runwright.runtime.ports import Ports
from runwright.runtime.repair import Repair
from runwright.runtime.report import report_of
from runwright.runtime.run_list import ListedRuns, RunList
from runwright.runtime.runs.held_actions import HeldRunActions
from runwright.runtime.runs.live_text import LiveTexts
from runwright.runtime.runs.refusals import draining
from runwright.runtime.runs.stored_runs import not_found, removed
from runwright.runtime.runs.supervisor import Supervisor
from runwright.runtime.runs.tail import Tails
from runwright.runtime.same_request import require_same
from runwright.runtime.sessions import Sessions
from runwright.runtime.snapshot import Cancelled, RunSnapshot, has_result
from runwright.runtime.start_input import StartCaller, preflight, start_input
from runwright.runtime.streams.readers import StreamReaders
from runwright.runtime.streams.subscriptions import BATCH_EVENTS, StreamItem, StreamPage, Subscriptions
from runwright.runtime.waiting import DeadlineWait
from runwright.runtime.write_watch import WriteWatch

DEFAULT_GRACE_US = 10_000_000
START_ATTEMPTS = 3  # of one start that meets another one; a journal that says both yes and no is not asked for ever
HASHED_INLINE_BYTES = 256 * 1024  # of images, in a millisecond on the loop; more of them on another thread
_A_YEAR_US = 365 * 24 * 3600 * 1_000_000


class AgentRuntime:
    """Starts agent runs, follows them and ends them. Made by AgentRuntimeBuilder; all methods on one loop."""

    def __init__(self, ports: Ports, packages: PackageCatalogue) -> None:
        self.ports = ports
        self.packages = packages
        self.lookup = PackageLookup(packages, ports.package_store)
        self.registry = (
            PackageRegistry(ports, packages, self.lookup, ports.package_store, ports.package_reader)
            if ports.package_store is not None and ports.package_reader is not None
            else None
        )
        tails = Tails()
        self._tails = tails
        texts = LiveTexts(ports.clock)
        self._supervisor = Supervisor(ports, tails, texts)
        cursors = CursorMaker(ports.journal.incarnation, ports.journal.cursor_key, ports.journal.epochs)
        self._subscriptions = Subscriptions(ports, self._supervisor, tails, texts, cursors)
        self._run_list = RunList(ports.journal, cursors, self._supervisor)
        self._held_actions = HeldRunActions(ports, self._supervisor, tails, self.forget)
        self.repair = Repair(ports, self._supervisor, self)
        self.approvals = Approvals(ports, self._supervisor)
        self.approval_list = ApprovalList(ports, self.approvals)
        self._sessions = Sessions(ports.journal)
        self._readers = StreamReaders()
        self._audit_list = AuditList(ports.audit, ports.journal, cursors)
        self._is_prepared = False

    async def prepare(self) -> None:
        """Has providers load what they need, which may keep the loop. `recover` does so where this was not called."""
        if not self._is_prepared:
            self._is_prepared = True
            await self.ports.prepare_providers()

    async def recover(self) -> int:
        """Takes up every open run of the journal; call it once, before anything else. Returns how many.

        What providers need is loaded first. Runs that may have ended the server before are taken up one by one, beside
        what is asked of the runtime meanwhile.
        """
        await self.prepare()
        return await self._supervisor.recover()

    async def start_run(
        self,
        request: RunRequest,
        *,
        namespace: Namespace = DEFAULT_NAMESPACE,
        principal: str = LOCAL_PRINCIPAL,
        trace_parent: str = "",
        roles: Sequence[str] = (),
    ) -> tuple[RunHandle, bool]:
        """Starts a run; on return it is durable. The second value is False when it was there already.

        `trace_parent` is the caller's W3C trace context; one that cannot be used is passed over. `roles` are those of
        the principal, for policies.

        Raises INVALID_REQUEST, RUN_ID_CONFLICT naming the differing fields, PACKAGE_NOT_FOUND, AGENT_MISMATCH,
        PROVIDER_MISSING, EXECUTOR_MISSING, APPROVER_MISSING, POLICY_DENIED, SESSION_BUSY, OVERLOADED, DRAINING and
        the journal's errors.
        """
        request.check()
        self._supervisor.refuse_when_draining()
        if request.image_bytes > HASHED_INLINE_BYTES:
            request = await asyncio.to_thread(request.with_digests)
        run = RunKey(namespace, RunId(request.run_id or self.ports.ids.run_id()))
        for attempt in range(START_ATTEMPTS):
            existing = await self._supervisor.state(run) if request.run_id or attempt else None
            if existing is not None:
                hold = self._supervisor.condition(run).hold
                await require_same(self.ports.journal, run, existing[0], request, hold)
                return RunHandle(self, run), False
            try:
                await self._start(
                    request, StartCaller(run, principal, self._trace_parent(run, trace_parent), tuple(roles))
                )
            except AgentError as error:
                # Somebody else started it a moment ago: answer as for any repeated call.
                if error.reason is ErrorReason.JOURNAL_CONFLICT and attempt + 1 < START_ATTEMPTS:
                    continue
                raise
            return RunHandle(self, run), True
        raise AssertionError("the last attempt returns or raises")

    async def _start(self, request: RunRequest, caller: StartCaller) -> None:
        run = caller.run
        self.ports.memory.refuse_when_full()
        found = await preflight(self.ports, self.lookup, request, run.namespace)

        async def start() -> None:
            input_ = await start_input(self.ports, self._sessions, request, found, caller)
            await self._supervisor.start(run, found.package, input_)

        await self._sessions.start(run, request, found.package, start)

    async def run_text(self, request: RunRequest) -> RunSnapshot:
        """Starts a run and waits for its end (or its need of repair)."""
        handle, _ = await self.start_run(request)
        return await handle.wait()

    async def cancel_run(
        self,
        run_id: str,
        *,
        reason: str = "",
        grace_us: int = DEFAULT_GRACE_US,
        namespace: Namespace = DEFAULT_NAMESPACE,
        principal: str = LOCAL_PRINCIPAL,
    ) -> Cancelled:
        """Asks a run to end; on return the barrier is durable. Repeating it changes nothing.

        A held run ends at once. Raises RUN_NOT_FOUND, and RUN_HELD for one whose events cannot be read.
        """
        run = self._key(run_id, namespace)
        state, _ = await self._found(run)
        requested = i.CancelRequested(
            at=self.ports.clock.now(), reason=reason, requested_by=principal, grace_us=grace_us
        )
        if self._supervisor.condition(run).hold and (held := await self._held_actions.cancel(run, requested)):
            return Cancelled(await self.run_snapshot(run_id, namespace=namespace), held.cancel_barrier)
        if state.is_terminal:
            kind, ended = AuditKind.CANCEL_IGNORED, state.phase.name
            self.ports.audit.note(
                AuditEntry(kind=kind, principal=principal, namespace=namespace, reason=ended, subjects=(run_id,))
            )
        elif state.phase is not RunPhase.CANCELLING:
            _, state = await self._supervisor.submit(run, requested)
        return Cancelled(await self.run_snapshot(run_id, namespace=namespace), state.cancel_barrier)

    async def release_run(
        self,
        run_id: str,
        *,
        reason: str = "",
        namespace: Namespace = DEFAULT_NAMESPACE,
        principal: str = LOCAL_PRINCIPAL,
    ) -> tuple[RunSnapshot, bool]:
        """Takes a held run up again; it may be held again. False when it is not held. RUN_NOT_FOUND."""
        run = self._key(run_id, namespace)
        await self._found(run)
        self._supervisor.refuse_when_draining()
        released = await self._held_actions.release(run, principal, reason)
        return await self.run_snapshot(run_id, namespace=namespace), released

    async def remove_run(
        self,
        run_id: str,
        *,
        reason: str = "",
        namespace: Namespace = DEFAULT_NAMESPACE,
        principal: str = LOCAL_PRINCIPAL,
    ) -> RunSnapshot:
        """Removes a held run; what comes back is its outline. Raises RUN_NOT_FOUND, RUN_NOT_HELD."""
        run = self._key(run_id, namespace)
        await self._found(run)
        self._supervisor.refuse_when_draining()
        await self._held_actions.remove(run, principal, reason)
        return await self.run_snapshot(run_id, namespace=namespace)

    async def run_snapshot(self, run_id: str, *, namespace: Namespace = DEFAULT_NAMESPACE) -> RunSnapshot:
        """A run as it stands; of a removed one its outline. Raises RUN_NOT_FOUND."""
        run = self._key(run_id, namespace)
        state, position = await self._found(run)
        result = None
        held = self._supervisor.condition(run).hold
        if held is None and state.result is not None and has_result(state):
            stored = await self.contents(run, [state.result.digest])
            if state.result.digest not in stored:
                state, position = await self._found(run)  # it may have been removed between the two questions
            if not state.removed_at and state.result is not None:
                stored = stored or await self.contents(run, [state.result.digest], required=True)
                result = Content(state.result, stored[state.result.digest])
        cursor = self._subscriptions.cursor(Selection.of_run(run), position)
        return RunSnapshot(state, cursor, result, self._supervisor.condition(run))

    async def wait_run(
        self, run_id: str, *, timeout_us: int | None = None, namespace: Namespace = DEFAULT_NAMESPACE
    ) -> tuple[RunSnapshot, bool]:
        """Waits until the run has ended or needs repair; False when the time was over before. Never cancels."""
        run = self._key(run_id, namespace)
        stopping = self._subscriptions.stopping
        # A year stands for no limit: the caller's own deadline ends the wait.
        due = self.ports.clock.now() + (_A_YEAR_US if timeout_us is None else timeout_us)
        tail = self._tails.of(run)
        with DeadlineWait(self.ports.clock) as deadline:
            while True:
                more = tail.signal()
                state, _ = await self._found(run)
                done = is_done_in(state, self._supervisor.condition(run))
                if not done and stopping.is_set():
                    raise draining()
                if done or not await deadline.lasts(due, more):
                    return await self.run_snapshot(run_id, namespace=namespace), done

    async def subscribe(
        self, selection: Selection, *, after_cursor: str = "", live_only: bool = False, deltas: bool = False
    ) -> AsyncGenerator[list[StreamItem], None]:
        """Opens a stream, in batches, once the request is checked. With `deltas` texts of models come in pieces."""
        self._check(selection)
        place = await self._subscriptions.start(selection, after_cursor, live_only=live_only)
        items = self._subscriptions.stream(selection, place, deltas=deltas)
        return self._readers.follow(items, place.position, BATCH_EVENTS)

    async def subscribe_run(
        self,
        run_id: str,
        *,
        after_cursor: str = "",
        live_only: bool = False,
        deltas: bool = False,
        namespace: Namespace = DEFAULT_NAMESPACE,
    ) -> AsyncGenerator[list[StreamItem], None]:
        """Opens the stream of one run."""
        selection = Selection.of_run(self._key(run_id, namespace))
        return await self.subscribe(selection, after_cursor=after_cursor, live_only=live_only, deltas=deltas)

    async def list_selected(self, selection: Selection, *, after_cursor: str = "", limit: int = 100) -> StreamPage:
        """One page of what subscribe streams, without bookmarks; it may be empty where a filter hides much."""
        self._check(selection)
        place = await self._subscriptions.start(selection, after_cursor, live_only=False)
        return await self._subscriptions.listed(selection, place, limit)

    async def list_events(
        self, run_id: str, *, after_cursor: str = "", limit: int = 100, namespace: Namespace = DEFAULT_NAMESPACE
    ) -> list[StreamItem]:
        """One page of what subscribe_run streams, without bookmarks."""
        selection = Selection.of_run(self._key(run_id, namespace))
        page = await self.list_selected(selection, after_cursor=after_cursor, limit=limit)
        return list(page.items)

    async def list_runs(
        self,
        wanted: RunFilter = ANY_RUN,
        *,
        page_token: str = "",
        limit: int = 100,
        namespace: Namespace = DEFAULT_NAMESPACE,
    ) -> ListedRuns:
        """One page of the namespace's runs, newest first, as they stand, without their results."""
        return await self._run_list.page(namespace, wanted, page_token, limit)

    async def list_audit(
        self, *, page_token: str = "", limit: int = 100, namespace: Namespace = DEFAULT_NAMESPACE
    ) -> ListedAudit:
        """One page of what happened outside of every run, newest first, as far as the namespace may see it."""
        return await self._audit_list.page(namespace, page_token, limit)

    async def contents(self, run: RunKey, digests: list[str], *, required: bool = False) -> dict[str, bytes]:
        """Stored bytes that events of the run's namespace refer to. Raises JOURNAL_CORRUPT if one is damaged.

        Missing ones are left out, unless `required`: they may be another run's that was removed meanwhile.
        """
        return await self.ports.journal.content(run.namespace, digests, run=run.run_id, required=required)

    async def required_content(self, run: RunKey, digest: str) -> bytes:
        """A content that an event of the run refers to. Raises JOURNAL_CORRUPT; RUN_REMOVED if it went with the run."""
        stored = await self.contents(run, [digest])
        if digest not in stored:
            state, _ = await self._found(run)
            if state.removed_at:
                raise removed(run)
            stored = await self.contents(run, [digest], required=True)
        return stored[digest]

    async def run_head(self, run_id: str, *, namespace: Namespace = DEFAULT_NAMESPACE) -> StoredEvent:
        """The run's last event at this time. Raises RUN_NOT_FOUND, RUN_REMOVED."""
        run = self._key(run_id, namespace)
        _, position = await self._found(run)
        found = await self.ports.journal.read(run, after=position - 1, limit=1)
        if not found:
            raise removed(run)
        return found[0]

    async def latest_terminal_event(
        self, run_id: str, *, namespace: Namespace = DEFAULT_NAMESPACE
    ) -> StoredEvent | None:
        """The run's terminal event, from the journal; None while it has not ended."""
        head = await self.run_head(run_id, namespace=namespace)
        return head if head.is_terminal else None

    def forget(self, runs: Sequence[RunKey], horizon: int) -> None:
        """Lets go of what the journal has removed."""
        self._subscriptions.forget(runs, horizon)

    def registered_run_count(self) -> int:
        """How many runs have started and not ended."""
        return self._supervisor.open_runs

    def report(self) -> RuntimeReport:
        """The runtime at a glance; callable on any thread."""
        return report_of(self.ports, self._supervisor, self._readers)

    def write_blockage(self) -> str | None:
        """Why the journal takes no writes at the moment, for health; None when it does. A held run is no reason."""
        return self._supervisor.blocked_by.name if self._supervisor.blocked_by else None

    async def watch_writes(self) -> None:
        """Keeps `write_blockage` true while nobody writes; goes on for ever, cancel it."""
        await WriteWatch(self.ports, self._supervisor).run()

    def stop_streams(self) -> None:
        """Ends every stream; readers come back with their last cursor."""
        self._subscriptions.stop()

    async def drain(self, grace_us: int) -> bool:
        """Stops the runs as a restart needs it. False when a call that must not be repeated was still open."""
        self._subscriptions.stop()
        return await self._supervisor.drain(grace_us)

    async def close(self) -> None:
        """Releases providers, executors, the schema checker and the journal, each though another fails; drain first."""
        async with AsyncExitStack() as closing:
            closing.push_async_callback(self.ports.journal.close)
            closing.push_async_callback(self.ports.schemas.close)
            closing.push_async_callback(self.ports.policies.conditions.close)
            closing.push_async_callback(self.ports.tools.close)
            closing.push_async_callback(self.ports.remote_policies.close)
            closing.push_async_callback(self.ports.dispatchers.close)
            closing.push_async_callback(self.ports.close_providers)
            closing.push_async_callback(self._supervisor.close)
            closing.callback(self._subscriptions.close)

    def _key(self, run_id: str, namespace: Namespace) -> RunKey:
        return RunKey(namespace, RunId(check_caller_id("run_id", run_id)))

    def _check(self, selection: Selection) -> None:
        if selection.run is not None:
            check_caller_id("run_id", selection.run.run_id)

    async def _found(self, run: RunKey) -> tuple[RunState, int]:
        found = await self._supervisor.state(run)
        if found is None:
            raise not_found(run)
        return found

    def _trace_parent(self, run: RunKey, input_: str) -> str:
        made = trace.root(self.ports.journal.incarnation, run) if self.ports.traces else ""
        return trace.accepted(input_) or made
