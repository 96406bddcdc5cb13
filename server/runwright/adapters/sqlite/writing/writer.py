"""Writer: the thread that owns the writing connection; whoever waits meanwhile shares the next commit."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Sequence
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

import apsw
from msgspec import Struct

from runwright.adapters import journal_rules as rules
from runwright.adapters.sqlite.failures import translate
from runwright.adapters.sqlite.opening import usage
from runwright.adapters.sqlite.opening.schema import Identity
from runwright.adapters.sqlite.opening.transactions import Transactions
from runwright.adapters.sqlite.writing.batch import Batch, Outcome
from runwright.adapters.sqlite.writing.commit import GroupCommit
from runwright.core.errors import AgentError
from runwright.ports.journal import Appended, Listener

T = TypeVar("T")
# When so many shared the last commit, the next one waits a moment for company. Whatever a commit wakes it wakes once,
# so the event loop gets a fifth more of such appends done; few callers would only wait, and many have gathered anyway.
DELAYED_GROUPS = range(4, 24)
GROUP_COMMIT_DELAY_SECONDS = 0.002


class _Job(Struct, frozen=True, eq=False):
    """Anything else to be done with the connection, in its turn."""

    act: Callable[[apsw.Connection], Any]
    answer: asyncio.Future[Any] | None
    is_last: bool = False


class Writer:
    """Commits what is submitted, in order, as fast as the disk allows.

    While one commit is under way the next group gathers: the more callers
    there are, the fewer commits each costs. A few callers never wait for a
    group to fill; see DELAYED_GROUPS.
    """

    def __init__(
        self, transactions: Transactions, identity: Identity, committed: Callable[[], None] = lambda: None
    ) -> None:
        """`committed` is called by the writing thread after every commit, before its callers are told: it is brief."""
        self.group = GroupCommit(transactions, identity.head, identity.head_hash)
        self._transactions = transactions
        self._committed = committed
        self.listeners: list[Listener] = []  # touched on the loop only
        self._db = transactions.db
        self._incoming: SimpleQueue[Batch | _Job] = SimpleQueue()
        # A daemon: a journal that nobody closed must not keep its process from ending.
        self._shared_by = 0  # how many the last commit was for
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="runwright-journal-writer", daemon=True)
        self._thread.start()

    def submit(self, batch: Batch) -> None:
        """Queues the batch; its future is settled once it is durable or has failed."""
        self._incoming.put(batch)

    async def perform(self, act: Callable[[apsw.Connection], T]) -> T:
        """Does something with the connection, after what was queued before."""
        answer: T = await self._queue(act, is_last=False)
        return answer

    async def transact(self, act: Callable[[apsw.Connection], T], *, needed: int = 0) -> T:
        """Does something in a transaction of its own, after what was queued before; `needed` as in Transactions."""
        return await self.perform(lambda _: self.group.alone(act, needed=needed))

    def post(self, act: Callable[[apsw.Connection], None], failed: Callable[[], None], *, needed: int = 0) -> None:
        """Does something in a transaction of its own when its turn comes; nobody waits. Of any thread."""

        def attempt(_: apsw.Connection) -> None:
            try:
                self.group.alone(act, needed=needed)
            except AgentError:
                failed()

        self.hand_over(attempt)

    def hand_over(self, act: Callable[[apsw.Connection], None]) -> None:
        """Does something that is no transaction when its turn comes; nobody waits. Of any thread."""
        self._incoming.put(_Job(act, None))

    async def close(self) -> None:
        """Finishes what is queued, then closes the connection and ends the thread."""
        self._closing.set()
        await self._queue(self._close, is_last=True)
        self._thread.join()

    def abandon(self) -> None:
        """Ends the thread and closes nothing, for a journal that could not be opened as a whole."""
        self._closing.set()
        self._incoming.put(_Job(lambda _: None, None, is_last=True))
        self._thread.join()

    def _queue(self, act: Callable[[apsw.Connection], Any], *, is_last: bool) -> asyncio.Future[Any]:
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if self._closing.is_set() and not is_last:
            raise rules.closed()  # nobody would come to it behind the last job
        self._incoming.put(_Job(act, answer, is_last))
        return answer

    def _serve(self) -> None:
        job: _Job | None = None
        while job is None or not job.is_last:
            group, job = self._take()
            self._shared_by = len(group)
            if group:
                outcomes = self.group.commit(group)
                self._committed()
                _settle([batch.answer for batch in group], outcomes, partial(self._announce, outcomes))
            if job:
                outcome = self._run(job)
                if job.answer is not None:
                    _settle([job.answer], [outcome])

    def _announce(self, outcomes: Sequence[Outcome]) -> None:
        """One commit as a whole, before any of its callers hears of it: commits reach the loop in their order."""
        stored = [event for outcome in outcomes if isinstance(outcome, Appended) for event in outcome.events]
        if stored:
            for listener in tuple(self.listeners):
                listener(stored)

    def _take(self) -> tuple[list[Batch], _Job | None]:
        """Everything that waits, up to the next job."""
        group: list[Batch] = []
        item = self._incoming.get()
        if self._shared_by in DELAYED_GROUPS and isinstance(item, Batch):
            self._closing.wait(GROUP_COMMIT_DELAY_SECONDS)
        while isinstance(item, Batch):
            group.append(item)
            try:
                item = self._incoming.get_nowait()
            except Empty:
                return group, None
        return group, item

    def _run(self, job: _Job) -> Any:
        try:
            return job.act(self._db)
        except AgentError as error:
            return error
        except Exception as error:  # noqa: BLE001 - the thread must live on, and the caller must hear of it
            failure = translate(error, self._db.system_errno)
            failure.__cause__ = error
            return failure

    def _close(self, _: apsw.Connection) -> None:
        usage.close(self._transactions)


def _settle(
    answers: list[asyncio.Future[T]], outcomes: list[T | AgentError], first: Callable[[], None] = lambda: None
) -> None:
    """Wakes the event loop once, however many wait."""

    def tell() -> None:
        try:
            first()
        finally:  # whatever a listener does with a commit: what is durable is answered
            answer_all()

    def answer_all() -> None:
        for answer, outcome in zip(answers, outcomes, strict=True):
            if answer.done():  # its caller was cancelled; the append stands
                continue
            if isinstance(outcome, AgentError):
                answer.set_exception(outcome)
            else:
                answer.set_result(outcome)

    with contextlib.suppress(RuntimeError):  # the loop has gone, and with it everybody who could be told
        answers[0].get_loop().call_soon_threadsafe(tell)
