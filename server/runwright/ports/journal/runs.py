"""The index of runs: one, many, those that are open, those that a list or a session wants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

from msgspec import Struct

from runwright.core.context import SessionRun
from runwright.core.errors import AgentError
from runwright.core.ids import Namespace, RunId, RunKey
from runwright.core.outcomes import RunStatus
from runwright.core.selection import RunFilter
from runwright.core.state import RunState
from runwright.core.units import Position

NOTHING: Mapping[str, RunStatus] = MappingProxyType({})


class LoadedRun(Struct, frozen=True):
    """A run as it is on disk at one moment: its state after all of its events, and the position of the last of them.

    Of a removed run the outline, with `removed_at` set.
    """

    state: RunState
    last_position: Position


class ListedRun(Struct, frozen=True):
    """A run as it stands. `number` counts the journal's runs in the order in which they began, from 1."""

    number: int
    state: RunState
    last_position: Position


class RunPage(Struct, frozen=True):
    """Wanted runs, newest first. All wanted ones with a number of `reached` or more have been listed."""

    runs: Sequence[ListedRun]
    reached: int
    more: bool


class SessionPage(Struct, frozen=True):
    """The newest runs of a session, newest first; whether there are older ones; the agent's newest run that is open."""

    runs: Sequence[SessionRun]
    has_older: bool
    open_run: RunId | None


class RunIndex(Protocol):
    """Runs as they are on disk. A state is the fold of the run's events, however the store comes by it."""

    async def load(self, run: RunKey) -> LoadedRun | None:
        """The run at one moment; None for an unknown run. Raises JOURNAL_CORRUPT naming the run's first bad event."""

    async def load_many(self, runs: Sequence[RunKey]) -> list[LoadedRun | AgentError | None]:
        """What `load` says of each of these, in their order; of one that cannot be read its error, as a value.

        For a start with many open runs: each is of one moment, all of them together are not.
        """

    async def intact(self, run: RunKey) -> tuple[RunState, int] | None:
        """What a run's events say up to the first that cannot be read, and the position of the last of these.

        Where not even the first can be read, what else the store knows of the run,
        with 0 as position. None for an unknown run.
        """

    async def open_runs(self) -> list[RunKey]:
        """Every run without a terminal event, oldest first."""

    async def list_runs(
        self,
        namespace: Namespace,
        wanted: RunFilter,
        *,
        before: int | None,
        limit: int,
        statuses: Mapping[str, RunStatus] = NOTHING,
    ) -> RunPage:
        """At most `limit` wanted runs with a number below `before`, newest first.

        `stands` are runs, by id, whose status is another one than their events say.
        Looks at a bounded number of runs, as `select` does at events.
        """

    async def session(self, namespace: Namespace, session_id: str, agent_id: str, *, turns: int) -> SessionPage:
        """The newest runs of a session, with what was said in the newest `turns` that the agent completed.

        Looks at a bounded number of runs, however long the session is. `open_run`
        is exact: it is found among all of them.
        """
