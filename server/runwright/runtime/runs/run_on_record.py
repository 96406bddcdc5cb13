"""RunOnRecord: what one run has in the journal, what of that is in memory, and how more is appended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from msgspec import Struct

from runwright.core import effects as e
from runwright.core.content import Content
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.ids import RunKey
from runwright.core.kinds import OUTCOMES, side_rows
from runwright.core.machine import intent
from runwright.core.outcomes import RunPhase
from runwright.core.records import Record
from runwright.core.side_rows import FailedCondition
from runwright.core.state import RunState
from runwright.ports.journal import Appending, LoadedRun, StoredEvent
from runwright.runtime.conversations.conversation import Conversation
from runwright.runtime.ports import Ports
from runwright.runtime.runs.tail import RunTail
from runwright.runtime.waiting import Notifier

# How often an append is tried again while the disk is full or the file is held.
APPEND_RETRY_US = 500_000
_MAY_PASS = (ErrorReason.JOURNAL_FULL, ErrorReason.JOURNAL_BUSY)


class Change(Struct, frozen=True):
    """What one decision appends: records, the contents they refer to, and the state after them."""

    records: Sequence[Record]
    state: RunState
    contents: Sequence[Content] = ()


class AppendResult(Struct, frozen=True):
    """How an append came out.

    `error` is why it is not durable; of one that is, what ended the wait for it:
    its caller is cancelled, and what was appended is true all the same. `failed`
    is the condition of its records that did not hold: whoever decided on them
    decides again.
    """

    is_durable: bool
    error: BaseException | None = None
    failed: FailedCondition | None = None

    def or_raise(self) -> None:
        """Raises the error, if there is one, or that a condition failed of what nobody can decide on again."""
        if self.error is not None:
            raise self.error
        if self.failed is not None:
            raise RuntimeError(f"{self.failed.condition} does not hold")


class RunOnRecord:
    """One run as it is known here. `state` and `position` are always those of its last durable event."""

    def __init__(
        self,
        ports: Ports,
        stored: LoadedRun,
        tail: RunTail,
        *,
        settled: Callable[[RunKey], None] | None = None,
    ) -> None:
        """`settled` is called, once, when an effect has an outcome on record."""
        self.state = stored.state
        self.position = stored.last_position
        self.begun = Notifier()  # notifies once the first append is durable, or the run is let go
        self.blocked_by: ErrorReason | None = None  # why the journal takes nothing at the moment
        self.first: Appending | None = None  # the append that begins the run, while it is on its way
        self.conversation = Conversation(ports.journal, ports.memory, self.state.key, is_stored=self.state.seq > 0)
        # What was made durable here and not settled. Whatever the state says, nothing else is ever sent:
        # of what was under way before, only its record of recovery can tell whether it may be sent again.
        self.intents: set[e.EffectKey] = set()
        self._ports = ports
        self._tail = tail
        self._settled = settled
        tail.covers_from(self.position)

    @property
    def stored(self) -> LoadedRun:
        """What the journal would say of the run now."""
        return LoadedRun(self.state, self.position)

    def begin(self, change: Change, then: Callable[[AppendResult], None]) -> None:
        """Appends how the run begins, without waiting: `then` hears how that came out. Raises if nothing is on its way.

        A start would otherwise wait for its turn of the event loop twice more.
        """

        def ended(append: Appending) -> None:
            self.first = None
            then(self._noted(append, change))

        append = self._append(change)
        self.first = append
        append.add_done_callback(ended)

    async def append(
        self,
        change: Change,
        *,
        holds_on: Callable[[], bool] = lambda: True,
        held_up: Callable[[ErrorReason], None] = lambda _: None,
    ) -> AppendResult:
        """Makes a change durable and says whether it is. Raises nothing: also a cancel is in the answer.

        While the disk is full or the file is held, a run that has begun waits and
        tries again, as long as `holds_on`; `held_up` hears of every refusal.
        """
        while True:
            result = await self._once(change)
            error = result.error
            if result.is_durable or not isinstance(error, AgentError) or error.reason not in _MAY_PASS:
                return result
            if self.state.phase is RunPhase.NEW or not holds_on():
                return result
            if self.blocked_by is None:
                run_id, trace_id = self.state.key.run_id, self.state.trace_id
                self._ports.log.error("journal takes nothing", error, run_id=run_id, trace_id=trace_id)
            self.blocked_by = error.reason
            held_up(error.reason)
            try:
                await self._ports.clock.sleep_until(self._ports.clock.now() + APPEND_RETRY_US)
            except asyncio.CancelledError as cancel:
                return AppendResult(is_durable=False, error=cancel)

    def let_go(self) -> None:
        """Nobody drives the run any more: nothing of it is held in memory."""
        self.conversation.close()
        self.begun.notify()

    async def _once(self, change: Change) -> AppendResult:
        """One append. A cancel of its caller does not take it back: its outcome is waited for."""
        try:
            append = self._append(change)
        except Exception as error:  # noqa: BLE001 - whatever it was is the answer
            return AppendResult(is_durable=False, error=error)
        cancel: BaseException | None = None
        try:
            await append
        except asyncio.CancelledError as error:
            cancel = error
            if not append.done():
                return AppendResult(is_durable=False, error=cancel)
        except Exception:  # noqa: BLE001, S110 - the append has it, and says more than its error
            pass
        result = self._noted(append, change)
        return result if cancel is None else AppendResult(result.is_durable, cancel)

    def _append(self, change: Change) -> Appending:
        return self._ports.journal.append(
            self.state.key,
            change.records,
            after=self.state.seq,
            contents=change.contents,
            snapshot=change.state,
            side_rows=[row for record in change.records for row in side_rows(change.state, record)],
        )

    def _noted(self, append: Appending, change: Change) -> AppendResult:
        """Takes note of an append that has come to its end."""
        if append.cancelled():
            return AppendResult(is_durable=False, error=asyncio.CancelledError())
        if (error := append.exception()) is not None:
            return AppendResult(is_durable=False, error=error)
        outcome = append.result()
        if isinstance(outcome, FailedCondition):
            return AppendResult(is_durable=False, failed=outcome)
        self._stored(outcome.events, change)
        return AppendResult(is_durable=True)

    def _stored(self, stored: Sequence[StoredEvent], change: Change) -> None:
        """Takes note of what has become durable, and passes it on."""
        self.blocked_by = None
        self.state = change.state
        self.position = stored[-1].position
        self._tail.publish(stored)
        self.begun.notify()
        for record in change.records:
            if key := intent(record):
                self.intents.add(key)
        self.conversation.extend(change.records, change.contents)
        if self._settled is not None and any(isinstance(record, OUTCOMES) for record in change.records):
            self._settled(self.state.key)
            self._settled = None
