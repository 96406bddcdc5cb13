"""RunDriver: the loop of one live run, and the only writer of its journal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from runwright.core import effects as e
from runwright.core import inputs as i
from runwright.core.content import Content
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.ids import EffectId, RunKey
from runwright.core.kinds import OUTCOMES
from runwright.core.machine import advance, intent, pending
from runwright.core.outcomes import RunPhase
from runwright.core.package import RuntimePackage
from runwright.core.records import Record
from runwright.core.state import RunState
from runwright.ports.audit import ignored_answer
from runwright.ports.journal import Appended, Appending, AppendOutcome
from runwright.runtime.conversations.conversation import Conversation
from runwright.runtime.ports import Ports
from runwright.runtime.runs.inbox import Delivery, Inbox
from runwright.runtime.runs.live_text import LiveTexts
from runwright.runtime.runs.performer import Performer
from runwright.runtime.runs.refusals import does_not_fit, draining, held_up
from runwright.runtime.runs.tail import RunTail
from runwright.runtime.waiting import Notifier

# How often an append is tried again while the disk is full or the file is held.
APPEND_RETRY_US = 500_000
_MAY_PASS = (ErrorReason.JOURNAL_FULL, ErrorReason.JOURNAL_BUSY)


class RunDriver:
    """Drives one run: inputs in, records down, effects out.

    One decision is one atomic append; an effect starts only after its intent is
    durable. The loop ends when the run is terminal, parked (nothing is wanted
    of the world) or drained.
    """

    def __init__(
        self,
        ports: Ports,
        package: RuntimePackage,
        state: RunState,
        tail: RunTail,
        *,
        texts: LiveTexts,
        settled: Callable[[RunKey], None] | None = None,
    ) -> None:
        """`settled` is told, once, when an effect has an outcome on record."""
        self.state = state
        self.last_position = 0
        self.closed = False
        self.begun = Notifier()  # notifies once the first append is durable, or the loop has ended
        self.blocked_by: ErrorReason | None = None  # why the journal takes nothing at the moment
        self.incident = ""  # names a fault of ours that ended the loop
        self.faulted = False
        self._ports = ports
        self._package = package
        self.conversation = Conversation(ports.journal, ports.memory, state.key, is_stored=state.seq > 0)
        self._tail = tail
        self._performer = Performer(ports, package, self.conversation, texts)
        # Not bounded by size but by its writers: one input per running effect, and cancels,
        # of which only those before the first one is durable get here.
        # None only wakes the loop.
        self._inbox: Inbox[Delivery | None] = Inbox()
        self._tasks: dict[e.EffectKey, asyncio.Task[None]] = {}
        # What this driver has made durable and has not settled. Whatever the state says, nothing else is ever sent:
        # of what was under way before, only its record of recovery can tell whether it may be sent again.
        self._intents: set[e.EffectKey] = set()
        self._wanted_by: RunState | None = None
        self._wanted_now: dict[e.EffectKey, e.Effect] = {}
        self._draining = False
        self._cancelling = False  # decided, and perhaps not durable yet
        self._settled = settled
        self.first: Appending | None = None  # the append that begins the run, until it is durable
        self._begins: Delivery | None = None

    @property
    def missing_provider(self) -> str:
        """The adapter that the run has to ask and this server does not have; empty while there is none."""
        return self._performer.missing_provider

    def submit(self, input_: i.Input, settles: e.EffectKey | None = None) -> asyncio.Future[list[Record]]:
        """Hands in an input. The future is done once its records are durable; [] means nothing changed."""
        assert not self.closed, "the supervisor revives a run before it submits"
        answer: asyncio.Future[list[Record]] = asyncio.get_running_loop().create_future()
        if self.blocked_by is not None and settles is None:
            answer.set_exception(held_up(self.blocked_by))
            return answer
        if isinstance(input_, i.Recovered):
            input_ = self._performer.recovered(self.state, input_)
        self._inbox.put(Delivery(input_, answer, settles))
        return answer

    def begin(self, input_: i.StartRequested, launch: Callable[[], None]) -> asyncio.Future[list[Record]]:
        """Appends how the run begins, at once, and launches the loop when that is durable or has failed. As `submit`.

        A start would otherwise wait for its turn of the event loop twice more.
        """
        answer: asyncio.Future[list[Record]] = asyncio.get_running_loop().create_future()
        begins, produced = Delivery(input_, answer), list[list[Record]]()

        def settled(append: Appending) -> None:
            if append.exception() is None:
                self.first = None
                self._stored(append.result(), records, input_.contents, state)
                self._tell([begins], produced)
            launch()

        try:
            state = self._decide([begins], produced)
            (records,) = produced
            append = self._ports.journal.append
            self.first = append(state.key, records, after=0, contents=input_.contents, snapshot=state)
        except Exception:  # noqa: BLE001 - the loop will meet it again, and knows what to do about it
            self._inbox.put(begins)
            launch()
        else:
            self._begins = begins
            self.first.add_done_callback(settled)
        return answer

    def drain(self) -> None:
        """Begins to stop: nothing new is started; calls that must not be repeated may still answer."""
        if not self._draining:
            self._draining = True
            self._inbox.put(None)

    def _may_begin(self) -> bool:
        # An intent may stand before the barrier while its call has not been sent: then it is not sent any more.
        return not (self._draining or self._cancelling)

    async def run(self) -> None:
        """Runs until the run ends, parks or is drained. Raises what only the supervisor can handle."""
        try:
            async with asyncio.TaskGroup() as group:
                # Nothing is started before the first input: after a crash it settles what was under way.
                self._take_first(group)
                while not self._is_done():
                    await self._take(await self._arrived())
                    if not self.state.is_terminal:
                        await asyncio.sleep(0)  # readers first: what follows takes longer than passing events on
                        self._reconcile(group)
                self.closed = True
                self._cancel(list(self._tasks))
                self._performer.places.release_all()
        finally:
            self.closed = True
            self._performer.places.release_all()
            self.conversation.close()
            self.begun.notify()
            self._turn_away()

    def _take_first(self, group: asyncio.TaskGroup) -> None:
        """Goes on from the append that began the run, if one did. Raises what it failed with."""
        begins, self._begins = self._begins, None
        if begins is None:
            return
        if self.first is not None and (error := self.first.exception()) is not None:
            self._refuse([begins], error)
            raise error
        self._reconcile(group)

    async def _arrived(self) -> list[Delivery]:
        """All that has come, for one append; waits for the first."""
        arrived = await self._inbox.arrived()
        for delivery in arrived:
            if delivery and delivery.settles and self._is_dropped(delivery.input):
                self._tasks.pop(delivery.settles, None)
                self._performer.places.withdraw(delivery.input)
        return [delivery for delivery in arrived if delivery and not self._is_dropped(delivery.input)]

    def _is_dropped(self, input_: i.Input) -> bool:
        # While draining, an answer that would start something new is left for the next start:
        # models may be asked again, and a wait goes on. `Recovered` is none of these: what it
        # settles must be settled before anything else is said of a call.
        starts_anew = (i.ModelReplied, i.ModelFailed, i.RetryDue, i.ExecutorAwaited)
        return self._draining and isinstance(input_, starts_anew)

    async def _take(self, arrived: list[Delivery]) -> None:
        """Decides on what has come, makes it durable, and tells whoever waits."""
        produced: list[list[Record]] = []
        state = self.state
        try:
            state = self._decide(arrived, produced)
            if any(produced):
                records = [record for new in produced for record in new]
                contents = [
                    part for each, new in zip(arrived, produced, strict=True) if new for part in each.input.contents
                ]
                await self._append(records, contents, state, arrived)
        except BaseException as error:
            if self.state is not state or not any(produced):
                self._refuse(arrived, error)
                raise
            self._tell(arrived, produced)  # the loop is being ended, but what was appended stands
            raise
        self._tell(arrived, produced)

    def _decide(self, arrived: list[Delivery], produced: list[list[Record]]) -> RunState:
        state = self.state
        for delivery in arrived:
            new, state = advance(self._package, state, delivery.input)
            produced.append(new)
            self._cancelling = self._cancelling or state.phase is RunPhase.CANCELLING
        return state

    def _tell(self, arrived: list[Delivery], produced: list[list[Record]]) -> None:
        for delivery, new in zip(arrived, produced, strict=True):
            if self._performer.places:
                self._performer.places.decided(delivery.input)
            if delivery.settles and not new and isinstance(delivery.input, i.ToolReturned):
                input_ = delivery.input
                by = input_.executor_identity.principal if input_.executor_identity else ""
                ignored_answer(self._ports.audit, self.state.key, input_.call_id, self.state.phase.name, by)
            # Only now: an effect whose answer waited for this append must not look missing meanwhile.
            if delivery.settles:
                self._tasks.pop(delivery.settles, None)
                self._intents.discard(delivery.settles)
            if not delivery.answer.done():
                delivery.answer.set_result(new)

    def _refuse(self, arrived: list[Delivery], error: BaseException) -> None:
        if isinstance(error, asyncio.CancelledError) and not self.faulted:
            refusal = draining()
        elif isinstance(error, AgentError) and error.reason is not ErrorReason.INTERNAL:
            refusal = error
        else:
            refusal = self._fault()
        for delivery in arrived:
            delivery.refuse(refusal)

    async def cancel_at_once(self, requested: i.CancelRequested) -> None:
        """Ends a run that nobody drives: what must not be repeated is closed as after a crash, nothing is begun."""
        records, state = advance(self._package, self.state, requested)
        rest, state = advance(self._package, state, i.Recovered(at=requested.at))
        await self.close([*records, *rest], state)

    async def close(self, records: Sequence[Record], state: RunState) -> None:
        """Writes down how the run ends, in `state`; for a driver that does not run."""
        self.closed = True
        await self._append(records, (), state)

    async def _append(
        self,
        records: Sequence[Record],
        contents: Sequence[Content],
        state: RunState,
        arrived: Sequence[Delivery] = (),
    ) -> None:
        """Makes the records durable.

        A run that has begun holds them through a full disk; its callers are told.
        A server that stops holds only what cannot be asked for again.
        """
        while True:
            try:
                await self._hand_over(records, contents, state)
                return
            except AgentError as error:
                if error.reason not in _MAY_PASS or self.state.phase is RunPhase.NEW:
                    raise
                if self._draining and not any(self._is_precious(delivery) for delivery in arrived):
                    raise
                if self.blocked_by is None:
                    self._ports.log.error(
                        "journal takes nothing", error, run_id=state.key.run_id, trace_id=state.trace_id
                    )
                self.blocked_by = error.reason
                for delivery in arrived:
                    if not delivery.settles:
                        delivery.refuse(held_up(error.reason))
                await self._ports.clock.sleep_until(self._ports.clock.now() + APPEND_RETRY_US)

    def _is_precious(self, delivery: Delivery) -> bool:
        """True for what came of a call that must not be repeated."""
        call = self.state.call(EffectId(delivery.settles[0])) if delivery.settles else None
        return call is not None and not call.idempotent

    async def _hand_over(self, records: Sequence[Record], contents: Sequence[Content], state: RunState) -> None:
        """One append. A fault beside it cancels this loop, not the append: its outcome is waited for and kept."""
        self._performer.superseded(state)
        append = self._ports.journal.append(state.key, records, after=self.state.seq, contents=contents, snapshot=state)
        try:
            await append
        finally:
            if append.done() and not append.cancelled() and append.exception() is None:
                self._stored(append.result(), records, contents, state)

    def _stored(
        self, outcome: AppendOutcome, records: Sequence[Record], contents: Sequence[Content], state: RunState
    ) -> None:
        """Takes note of what has become durable, and passes it on."""
        assert isinstance(outcome, Appended), "an append without side rows has no condition"
        stored = outcome.events
        self.blocked_by = None
        self.state = state
        self.last_position = stored[-1].position
        self._tail.publish(stored)
        self.begun.notify()
        for record in records:
            if key := intent(record):
                self._intents.add(key)
        self.conversation.extend(records, contents)
        if self._settled is not None and any(isinstance(record, OUTCOMES) for record in records):
            self._settled(state.key)
            self._settled = None

    def _is_done(self) -> bool:
        if self._inbox:
            return False
        if self.state.is_terminal:
            return True
        if self.state.phase is RunPhase.NEW:
            return False
        if self._draining:
            return not self._tasks
        return not self._wanted()

    def _wanted(self) -> dict[e.EffectKey, e.Effect]:
        """What the state wants of the world; asked for more than once between two appends."""
        if self._wanted_by is not self.state:
            self._wanted_by, self._wanted_now = self.state, pending(self.state)
        return self._wanted_now

    def _reconcile(self, group: asyncio.TaskGroup) -> None:
        """Starts what is wanted and missing, cancels what runs and is no longer wanted."""
        wanted = self._wanted()
        if self._draining:
            wanted = {key: effect for key, effect in wanted.items() if self._must_settle(key, effect)}
        self._cancel([key for key in self._tasks if key not in wanted])
        if self._performer.places:
            called = {EffectId(key[0]) for key, effect in wanted.items() if isinstance(effect, e.CallTool)}
            self._performer.places.keep(called)
        for key, effect in wanted.items():
            if key not in self._tasks:
                self._require_intent(key, effect)
                self._tasks[key] = group.create_task(
                    self._perform(key, effect), name=f"{self.state.key.run_id} {key[0]}"
                )

    def _require_intent(self, key: e.EffectKey, effect: e.Effect) -> None:
        """Raises when something would be sent whose intent this driver has not made durable, or which it has sent."""
        if isinstance(effect, e.CallModel | e.CallTool) and key not in self._intents:
            raise does_not_fit(self.state.key, key)

    def _must_settle(self, key: e.EffectKey, effect: e.Effect) -> bool:
        """While draining: a call under way that must not be repeated, and the deadline of a cancel.

        A call that was decided but not begun is handed back as not sent, so that
        a restart finds no open intent of it.
        """
        if isinstance(effect, e.WaitForCancelDeadline):
            return True
        if not isinstance(effect, e.CallTool) or effect.idempotent:
            return False
        if key in self._tasks:
            return True
        at = self._ports.clock.now()
        self.submit(i.ToolNotSent(at=at, call_id=effect.call_id, attempt=effect.attempt, withdrawn=True))
        return False

    async def _perform(self, key: e.EffectKey, effect: e.Effect) -> None:
        try:
            input_ = await self._performer.perform(self.state, self.last_position, effect, self._may_begin)
        except Exception:
            self.faulted = True  # the group cancels the loop next: whoever waits meets a fault, not a drain
            raise
        if self._tasks.get(key) is asyncio.current_task():
            self.submit(input_, settles=key)
        else:
            self._performer.places.withdraw(input_)

    def _cancel(self, keys: Sequence[e.EffectKey]) -> None:
        for key in keys:
            self._tasks.pop(key).cancel()

    def _fault(self) -> AgentError:
        self.incident = self.incident or self._ports.ids.incident_id()
        message = "The server failed to go on with the run; its log holds the incident."
        return AgentError(ErrorReason.INTERNAL, message, metadata={"incident_id": self.incident})

    def _turn_away(self) -> None:
        """Answers whoever came too late: an ended run is not changed, a drained one cannot be."""
        for late in self._inbox.taken():
            if late is None or late.answer.done():
                continue
            if self.state.is_terminal:
                late.answer.set_result([])
            else:
                late.refuse(draining())
