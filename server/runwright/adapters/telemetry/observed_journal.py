"""ObservedJournal: any journal, watched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from runwright.adapters.clock import monotonic
from runwright.adapters.log import StandardLog
from runwright.core.content import Content
from runwright.core.ids import RunKey
from runwright.core.records import Record
from runwright.core.side_rows import SideRow
from runwright.core.state import RunState
from runwright.ports.journal import Appended, Appending, Journal
from runwright.ports.storage import Storage
from runwright.ports.telemetry import AppendObserver


class StoredJournal(Journal, Storage, Protocol):
    """A journal that takes room on a disk, as that of a server does."""


class ObservedJournal:
    """Times appends, and tells observers of what has become durable.

    It is put around a journal where somebody wants to know; without telemetry there is not even a check on the way.
    """

    def __init__(self, inner: StoredJournal) -> None:
        self.observers: Sequence[AppendObserver] = ()
        self._waiting: dict[object, float] = {}  # in order of arrival: since when each append has waited
        self._inner = inner
        self._append = inner.append
        # Whatever is no append is the journal's own method: being watched costs it nothing.
        self.incarnation, self.cursor_key, self.epochs = inner.incarnation, inner.cursor_key, inner.epochs
        self.probe = inner.probe
        self.messages, self.records, self.read = inner.messages, inner.records, inner.read
        self.event, self.change_beside = inner.event, inner.change_beside
        self.select, self.horizon = inner.select, inner.horizon
        self.listen, self.unlisten = inner.listen, inner.unlisten
        self.load, self.load_many, self.intact = inner.load, inner.load_many, inner.intact
        self.open_runs, self.list_runs, self.session = inner.open_runs, inner.list_runs, inner.session
        self.content = inner.content
        self.named, self.entries, self.counter = inner.named, inner.entries, inner.counter
        self.remove_ended, self.remove = inner.remove_ended, inner.remove
        self.space, self.close = inner.space, inner.close

    @property
    def head(self) -> int:
        """See the port."""
        return self._inner.head

    def append(
        self,
        run: RunKey,
        records: Sequence[Record],
        *,
        after: int,
        contents: Sequence[Content],
        snapshot: RunState,
        side_rows: Sequence[SideRow] = (),
    ) -> Appending:
        """See the port. An observer that fails is logged: what is durable stays so."""
        begun = monotonic()
        appending = self._append(run, records, after=after, contents=contents, snapshot=snapshot, side_rows=side_rows)
        self._waiting[appending] = begun

        def settled(_: Appending) -> None:
            del self._waiting[appending]
            if appending.exception() is not None or not isinstance(appending.result(), Appended):
                return
            try:
                for observer in self.observers:
                    observer.appended(run, records, snapshot, monotonic() - begun)
            except Exception as error:  # noqa: BLE001 - the append stands, whatever telemetry makes of it
                StandardLog().error("telemetry failed", error, run_id=run.run_id)

        appending.add_done_callback(settled)  # before whoever waits for it
        return appending

    def oldest_wait(self) -> float:
        """For how many seconds the oldest append that is not durable yet has waited; 0 when none does. Any thread."""
        waiting = list(self._waiting.values())
        return monotonic() - waiting[0] if waiting else 0.0
