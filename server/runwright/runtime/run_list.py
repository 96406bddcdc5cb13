"""Lists of runs: newest first, page by page."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from runwright.core.cursor import CursorMaker, run_scope
from runwright.core.ids import Namespace
from runwright.core.selection import RunFilter
from runwright.ports.journal import JournalIdentity, ListedRun, RunIndex
from runwright.runtime.runs.supervisor import Supervisor
from runwright.runtime.snapshot import RunSnapshot


class ListedRuns(Struct, frozen=True):
    """One page. `next_token` is empty when there are no older runs; `tokens` continue after each of the runs."""

    runs: list[RunSnapshot]
    tokens: list[str]
    next_token: str


class ListSource(JournalIdentity, RunIndex, Protocol):
    """What is listed, and how far it has come."""


class RunList:
    """Pages through a journal's runs. A token holds the number of a run, so what begins later shifts nothing."""

    def __init__(self, journal: ListSource, cursors: CursorMaker, supervisor: Supervisor) -> None:
        self._journal = journal
        self._supervisor = supervisor
        self._cursors = cursors

    async def page(self, namespace: Namespace, wanted: RunFilter, token: str, limit: int) -> ListedRuns:
        """One page, without the runs' results. Raises the errors of cursors for a token of another list."""
        scope = wanted.page_scope(namespace)
        before = self._cursors.read_token(scope, token, self._journal.head) if token else None
        statuses = self._supervisor.statuses(namespace)
        page = await self._journal.list_runs(namespace, wanted, before=before, limit=limit, statuses=statuses)
        runs = [self._snapshot(each) for each in page.runs]
        head = self._journal.head
        tokens = [self._cursors.token(scope, each.number, head) for each in page.runs]
        return ListedRuns(runs, tokens, self._cursors.token(scope, page.reached, head) if page.more else "")

    def _snapshot(self, listed: ListedRun) -> RunSnapshot:
        cursor = self._cursors.make(run_scope(listed.state.key), listed.last_position)
        return RunSnapshot(listed.state, cursor, None, self._supervisor.condition(listed.state.key))
