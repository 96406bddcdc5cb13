"""RunDriver: the loop of one live run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from msgspec.structs import replace

from runwright.core import effects as e
from runwright.core import inputs as i
from runwright.core.errors import ErrorReason
from runwright.core.machine import pending
from runwright.core.outcomes import RunPhase
from runwright.core.package import RuntimePackage
from runwright.core.records import ApprovalDispatched, Record
from runwright.core.state import RunState
from runwright.ports.audit import ignored_answer, refused_dispatcher
from runwright.runtime.ports import Ports
from runwright.runtime.runs.decisions import DecidedChange, decide_on, once_more, without
from runwright.runtime.runs.effects_under_way import EffectsUnderWay
from runwright.runtime.runs.inbox import Delivery, Inbox, turn_away
from runwright.runtime.runs.live_text import LiveTexts
from runwright.runtime.runs.performer import Performer
from runwright.runtime.runs.refusals import fault, held_up, refusal_of
from runwright.runtime.runs.run_on_record import AppendResult, Change, RunOnRecord
from runwright.runtime.runs.timer_queue import Timer
from runwright.runtime.runs.waits import Waits, Wake

# How long a driver stays although its run only waits: what comes soon finds the run, and what it said, in memory.
PARK_AFTER_US = 2_000_000


class RunDriver:
    """Drives one run: inputs in, records down, effects out.

    One decision is one atomic append; an effect starts only after its intent is
    durable. The loop ends when the run is terminal or drained, when nothing is
    wanted of the world, or when all that is wanted has only been waited for, for
    a while: the waits go on without a driver.
    """

    def __init__(
        self, ports: Ports, package: RuntimePackage, on_record: RunOnRecord, waits: Waits, texts: LiveTexts
    ) -> None:
        self.on_record = on_record
        self.closed = False
        self.incident = ""  # names a fault of ours that ended the loop
        self._ports = ports
        self._package = package = ports.approval_policy.of(package)
        self._waits = waits
        self._performer = Performer(ports, package, on_record.conversation, texts)
        self._effects = EffectsUnderWay(self._performer, on_record, waits, package)
        # Not bounded by size but by its writers: one input per effect, and cancels,
        # of which only those before the first one is durable get here.
        # None only wakes the loop.
        self._inbox: Inbox[Delivery | None] = Inbox()
        self._wanted_by: RunState | None = None
        self._wanted_now: dict[e.EffectKey, e.Effect] = {}
        self._draining = False
        self._cancelling = False  # decided, and perhaps not durable yet
        self._first: tuple[Delivery, AppendResult] | None = None  # how the run begins
        self._fault: Exception | None = None  # of a wait of the run
        self._parking: Timer | None = None  # runs while the run only waits
        self._may_park = False

    @property
    def state(self) -> RunState:
        """The run as it is on record."""
        return self.on_record.state

    @property
    def missing_provider(self) -> str:
        """The adapter that the run has to ask and this server does not have; empty while there is none."""
        return self._performer.missing_provider

    def submit(self, input: i.Input, settles: e.Effect | None = None) -> asyncio.Future[list[Record] | None]:
        """Hands in an input. The future is done once its records are durable; [] means nothing changed.

        None: the driver left before it came to the input. Whoever asks again, once it is gone, finds the run as it is.
        """
        assert not self.closed, "a run is revived before anything is submitted"
        answer: asyncio.Future[list[Record] | None] = asyncio.get_running_loop().create_future()
        blocked_by = self.on_record.blocked_by
        if blocked_by is not None and settles is None:
            answer.set_exception(held_up(blocked_by))
            return answer
        if isinstance(input, i.Recovered):
            input = self._performer.taker.recovered(self.state, input)
        self._inbox.put(Delivery(input, answer, settles))
        return answer

    def wake(self, wake: Wake) -> None:
        """Hands in what has ended a wait of the run."""
        if isinstance(wake.outcome, Exception):
            self._fault = wake.outcome
            self._inbox.put(None)
        else:
            self._effects.woken(wake)
            self.submit(wake.outcome, settles=wake.effect)

    def begin(self, input: i.StartRequested, launch: Callable[[], None]) -> asyncio.Future[list[Record] | None]:
        """Appends how the run begins, at once, and launches the loop when that is durable or has failed. As `submit`.

        A start would otherwise wait for its turn of the event loop twice more.
        """
        begins = Delivery(input, asyncio.get_running_loop().create_future())

        def ended(result: AppendResult) -> None:
            if result.failed is not None:
                self._inbox.put(once_more(begins, result.failed.condition, self._ports.clock.now()))
            else:
                self._first = begins, result
            if result.is_durable:
                self._tell([begins], decision)
            launch()

        try:
            decision = self._decide([begins])
            self.on_record.begin(decision.change, ended)
        except Exception:  # noqa: BLE001 - the loop will meet it again, and knows what to do about it
            self._inbox.put(begins)
            launch()
        return begins.answer

    def drain(self) -> None:
        """Begins to stop: nothing new is started; calls that must not be repeated may still answer."""
        if not self._draining:
            self._draining = True
            self._inbox.put(None)

    def may_begin(self) -> bool:
        """True while a tool call may be sent."""
        # An intent may be there before the barrier while its call has not been sent: then it is not sent any more.
        return not (self._draining or self._cancelling)

    async def run(self) -> None:
        """Runs until the run ends, parks or is drained. Raises what only the supervisor can handle."""
        is_left_waiting = False
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
                is_left_waiting = not (self.state.is_terminal or self._draining)
                self._effects.stop()
                self._performer.places.release_all()
        finally:
            self.closed = True
            self._performer.places.release_all()
            self._stay()
            if not is_left_waiting:
                self._waits.drop(self.state.key)
            self.on_record.let_go()
            turn_away(self._inbox, is_terminal=self.state.is_terminal, is_draining=self._draining)

    def _take_first(self, group: asyncio.TaskGroup) -> None:
        """Goes on from the append that began the run, if one did. Raises what it failed with."""
        if self._first is None:
            return
        (begins, result), self._first = self._first, None
        if result.error is not None:
            self._refuse([begins], result.error)
            raise result.error
        self._reconcile(group)

    async def _arrived(self) -> list[Delivery]:
        """All that has come, for one append; waits for the first. Raises what a wait of the run has failed with."""
        arrived = [delivery for delivery in await self._inbox.arrived() if delivery is not None]
        if self._fault is not None:
            self._refuse(arrived, self._fault)
            raise self._fault
        taken = []
        for delivery in arrived:
            # While draining, an answer that would start something new is left for the next start. `Recovered` settles
            # nothing that this driver has begun, and is none of these: it comes before anything else is said of a call.
            if self._draining and delivery.settles is not None and delivery.settles.is_left_to_restart:
                self._effects.settled(delivery.settles)
                self._performer.places.withdraw(delivery.input)
            else:
                taken.append(delivery)
        return taken

    async def _take(self, arrived: Sequence[Delivery]) -> None:
        """Decides on what has come, makes it durable, and tells whoever waits."""
        if not arrived:
            return
        try:
            arrived = [await self._looked_at_again(delivery) for delivery in arrived]
            decision = self._decide(arrived)
            result = await self._append(decision.change, arrived)
            while result.failed is not None:  # the other inputs are decided on as before
                arrived = without(arrived, decision, result.failed, self._ports.clock.now())
                decision = self._decide(arrived)
                result = await self._append(decision.change, arrived)
        except BaseException as error:
            self._refuse(arrived, error)
            raise
        if result.is_durable:  # perhaps the loop is being ended all the same
            self._tell(arrived, decision)
        elif result.error is not None:
            self._refuse(arrived, result.error)
        result.or_raise()

    async def _looked_at_again(self, delivery: Delivery) -> Delivery:
        """The same, for a call that is about to be sent with what policies say of it now."""
        input = await self._performer.looked_at_again(self.state, delivery.input)
        return delivery if input is delivery.input else replace(delivery, input=input)

    def _decide(self, arrived: Sequence[Delivery]) -> DecidedChange:
        decision = decide_on(self._package, self.state, arrived)
        self._cancelling = self._cancelling or decision.is_cancelling
        return decision

    async def _append(self, change: Change, arrived: Sequence[Delivery]) -> AppendResult:
        """Makes the change durable, if there is one.

        A run that has begun holds it through a full disk; its callers are told.
        A server that stops holds only what cannot be asked for again.
        """
        if not change.records:
            return AppendResult(is_durable=True)
        is_precious = any(not delivery.settles.may_be_repeated for delivery in arrived if delivery.settles)

        def tell_callers(reason: ErrorReason) -> None:
            for delivery in arrived:
                if not delivery.settles:
                    delivery.refuse(held_up(reason))

        self._performer.superseded(change.state)
        return await self.on_record.append(
            change, holds_on=lambda: is_precious or not self._draining, held_up=tell_callers
        )

    def _tell(self, arrived: Sequence[Delivery], decision: DecidedChange) -> None:
        for delivery, new in zip(arrived, decision.produced, strict=True):
            if self._performer.places:
                self._performer.places.decided(delivery.input)
            late = delivery.input
            if delivery.settles and not new and isinstance(late, i.ToolReturned | i.Reconciled) and late.result:
                by = late.executor_identity.principal if late.executor_identity else ""
                ignored_answer(self._ports.audit, self.state.key, late.call_id, self.state.phase.name, by)
            for record in new:
                if isinstance(record, ApprovalDispatched) and record.refusal:
                    refused_dispatcher(self._ports.audit, self.state.key, record)
            if delivery.settles:
                self._effects.settled(delivery.settles)
            if not delivery.answer.done():
                delivery.answer.set_result(new)

    def _refuse(self, arrived: Sequence[Delivery], error: BaseException) -> None:
        refusal = refusal_of(error, is_faulty=self._effects.is_faulty)
        if refusal is None:
            self.incident = self.incident or self._ports.ids.incident_id()
            refusal = fault(self.incident)
        for delivery in arrived:
            delivery.refuse(refusal)

    def _is_done(self) -> bool:
        if self._inbox:
            return False
        phase = self.on_record.state.phase
        if phase.is_terminal:
            return True
        if phase is RunPhase.NEW:
            return False
        if self._draining:
            return not self._effects.is_to_be_settled
        return self._may_park or not self._wanted()

    def _wanted(self) -> dict[e.EffectKey, e.Effect]:
        """What the state wants of the world; asked for more than once between two appends."""
        state = self.on_record.state
        if self._wanted_by is not state:
            self._wanted_by, self._wanted_now = state, pending(state)
        return self._wanted_now

    def _reconcile(self, group: asyncio.TaskGroup) -> None:
        wanted = self._wanted()
        if self._draining:
            wanted = self._effects.settling(self, wanted, self._ports.clock.now())
        self._effects.reconcile(self, group, wanted)
        if self._draining or not self._effects.only_waits:
            self._stay()
        elif self._parking is None and not self._may_park:
            self._parking = self._waits.timers.at(self._ports.clock.now() + PARK_AFTER_US, self._park)

    def _stay(self) -> None:
        self._may_park = False
        if self._parking is not None:
            self._parking.cancel()
            self._parking = None

    def _park(self) -> None:
        self._may_park, self._parking = True, None
        self._inbox.put(None)
