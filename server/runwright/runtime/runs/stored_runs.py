"""Runs as the journal has them: state, position, pinned package. What does not fit together is JOURNAL_CORRUPT."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Protocol

from pydantic import ValidationError

from runwright.core.condition import HoldCause
from runwright.core.content import ContentRef
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.ids import RunKey
from runwright.core.outcomes import RunPhase
from runwright.core.package import RuntimePackage
from runwright.core.state import RunState
from runwright.ports.journal import Contents, LoadedRun, RunIndex
from runwright.runtime.lru_cache import LruCache

CACHED_ENDS = 1024


class RunSource(RunIndex, Contents, Protocol):
    """What runs and their packages are read from."""


class StoredRuns:
    """Reads runs. Packages are parsed once for each fingerprint; ends are remembered, since nothing follows them."""

    def __init__(self, journal: RunSource) -> None:
        self.ends: LruCache[RunKey, LoadedRun] = LruCache(CACHED_ENDS)
        self._journal = journal
        self._packages: dict[str, RuntimePackage] = {}

    async def look_up(self, run: RunKey) -> LoadedRun | None:
        """As `find`, for whoever only wants to know: a run that has ended is read once."""
        if ended := self.ends.get(run):
            return ended
        generation = self.ends.generation  # the run may be removed while the journal is asked
        found = await self.find(run)
        if found is not None and found.state.is_terminal:
            self.ends.put(run, found, generation)
        return found

    async def load(self, run: RunKey) -> LoadedRun:
        """The run as it is on disk. Raises RUN_NOT_FOUND, JOURNAL_CORRUPT."""
        loaded = await self.find(run)
        if loaded is None:
            raise not_found(run)
        return loaded

    async def find(self, run: RunKey) -> LoadedRun | None:
        """As `load`; None when there is no such run."""
        loaded = await self._journal.load(run)
        return loaded and _begun(run, loaded)

    async def load_many(self, runs: Sequence[RunKey]) -> list[LoadedRun | AgentError]:
        """What `load` says of each of these, in their order: of one that cannot be read or is not there its error."""
        found: list[LoadedRun | AgentError] = []
        try:
            stored = await self._journal.load_many(runs)
        except AgentError as error:  # of the journal: it keeps each of them from being read
            return [error] * len(runs)
        for run, loaded in zip(runs, stored, strict=True):
            try:
                found.append(_begun(run, loaded) if isinstance(loaded, LoadedRun) else loaded or not_found(run))
            except AgentError as error:
                found.append(error)
        return found

    def known_package(self, state: RunState) -> RuntimePackage | None:
        """What `package` would say at once: of this or another run it was asked before."""
        return self._packages.get(state.package_fingerprint)

    async def package(self, run: RunKey, state: RunState) -> RuntimePackage:
        """The package the run was started with, from the journal: never the file given at this start."""
        known = self.known_package(state)
        if known is None:
            pinned = state.package
            stored = await self._pinned(run, pinned) if pinned else {}
            if pinned is None or pinned.digest not in stored:
                raise _corrupt(run, f"The package of run {run.run_id} is missing from the journal.", "1")
            try:
                known = RuntimePackage.model_validate_json(stored[pinned.digest])
            except ValidationError as error:
                raise _corrupt(run, f"The package of run {run.run_id} cannot be read.", "1") from error
            self._packages[state.package_fingerprint] = known
        return known

    async def _pinned(self, run: RunKey, pinned: ContentRef) -> dict[str, bytes]:
        return await self._journal.content(run.namespace, [pinned.digest], run=run.run_id, required=True)

    async def missing_provider(self, run: RunKey, state: RunState, configured: Container[str]) -> str:
        """The adapter of the model that is to be asked, if none of those that may answer is configured."""
        if not asks_model(state) or state.provider in configured:
            return ""
        routes = (await self.package(run, state)).routes[state.route :]
        return "" if any(route.adapter in configured for route in routes) else state.provider


def asks_model(state: RunState) -> bool:
    """True when the model is to be asked next: now, or again after a while."""
    return bool(state.model_attempt or state.model_request.retry_at)


def _begun(run: RunKey, loaded: LoadedRun) -> LoadedRun:
    if loaded.state.phase is RunPhase.NEW:
        raise _corrupt(run, f"The stored state of run {run.run_id} has not begun, and there are events.", "1")
    return loaded


def is_of(error: BaseException, run: RunKey) -> bool:
    """True for an error that says that this run, and not the whole journal, cannot be read."""
    if not isinstance(error, AgentError) or error.reason is not ErrorReason.JOURNAL_CORRUPT:
        return False
    return error.metadata.get("run_id") == run.run_id


def causes(error: BaseException) -> Sequence[BaseException]:
    """What a group of errors consists of."""
    return error.exceptions if isinstance(error, BaseExceptionGroup) else [error]


def cause_of(error: BaseException, run: RunKey) -> HoldCause:
    """Why a run with this error is held."""
    return HoldCause.UNREADABLE if any(is_of(each, run) for each in causes(error)) else HoldCause.FAILING


def not_found(run: RunKey) -> AgentError:
    """There is no such run, or it is another namespace's: the answer is the same."""
    return AgentError(ErrorReason.RUN_NOT_FOUND, f"There is no run {run.run_id}.", metadata={"run_id": run.run_id})


def removed(run: RunKey) -> AgentError:
    """The run has been, and only its outline is left."""
    message = f"The events of run {run.run_id} were removed: they were older than the retention."
    return AgentError(ErrorReason.RUN_REMOVED, message, metadata={"run_id": run.run_id})


def taken(run: RunKey) -> AgentError:
    """Somebody else has started the run meanwhile."""
    message = "The run was started by another call."
    return AgentError(ErrorReason.JOURNAL_CONFLICT, message, metadata={"run_id": run.run_id})


def _corrupt(run: RunKey, message: str, first_bad: str) -> AgentError:
    return AgentError(ErrorReason.JOURNAL_CORRUPT, message, metadata={"run_id": run.run_id, "first_bad": first_bad})
