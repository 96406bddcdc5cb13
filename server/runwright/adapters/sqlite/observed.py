"""ObservedJournal: the journal of a server with telemetry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from runwright.adapters.clock import monotonic
from runwright.adapters.log import StandardLog
from runwright.adapters.sqlite.journal import SqliteJournal
from runwright.core.content import Content
from runwright.core.ids import RunKey
from runwright.core.records import Record
from runwright.core.state import RunState
from runwright.ports.journal import Appending
from runwright.ports.telemetry import AppendObserver


class ObservedJournal(SqliteJournal):
    """Times appends, and tells observers of what has become durable.

    A class of its own, so that a server without telemetry has not even a check for it on its way.
    """

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self.observers: Sequence[AppendObserver] = ()
        self._waiting: dict[object, float] = {}  # in order of arrival: since when each append has waited

    def append(
        self, run: RunKey, records: Sequence[Record], *, after: int, contents: Sequence[Content], snapshot: RunState
    ) -> Appending:
        """See the port. An observer that fails is logged: what is durable stays so."""
        begun = monotonic()
        appending = super().append(run, records, after=after, contents=contents, snapshot=snapshot)
        self._waiting[appending] = begun

        def tell(_: Appending) -> None:
            del self._waiting[appending]
            if appending.exception() is not None:
                return
            try:
                for observer in self.observers:
                    observer.appended(run, records, snapshot, monotonic() - begun)
            except Exception as error:  # noqa: BLE001 - the append stands, whatever telemetry makes of it
                StandardLog().error("telemetry failed", error, run_id=run.run_id)

        appending.add_done_callback(tell)  # before whoever waits for it
        return appending

    def oldest_wait(self) -> float:
        """For how many seconds the oldest append that is not durable yet has waited; 0 when none does. Any thread."""
        waiting = list(self._waiting.values())
        return monotonic() - waiting[0] if waiting else 0.0
