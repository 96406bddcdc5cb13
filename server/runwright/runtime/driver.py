"""RunDriver: the loop of one live run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from runwright.core import effects as e
from runwright.core import inputs as i
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.ids import EffectId
from runwright.core.machine import advance, pending
from runwright.core.outcomes import RunPhase
from runwright.core.package import RuntimePackage
from runwright.core.records import Record
from runwright.core.state import RunState
from runwright.ports.audit import ignored_answer
from runwright.runtime.inbox import Delivery, Inbox
from runwright.runtime.live_text import LiveTexts
from runwright.runtime.performer import Performer
from runwright.runtime.refusals import does_not_fit, draining, held_up
from runwright.runtime.run_on_record import Appended, Change, RunOnRecord
from runwright.runtime.timer_queue import Timer
from runwright.runtime.waits import Waits, Wake
from runwright.runtime.world import World

# How long a driver stays although its run only waits: what comes soon finds the run, and what it said, in memory.
PARK_AFTER_US = 2_000_000

Decided = list[list[Record]]  # what each of the inputs has made true


class RunDriver:
    """Drives one run: inputs in, records down, effects out.

    One decision is one atomic append; an effect starts only after its intent is
    durable. The loop ends when the run is terminal or drained, when nothing is
    wanted of the world, or when all that is wanted has only been waited for, for
    a while: the waits go on without a driver.
    """

    def __init__(
        self, world: World, package: RuntimePackage, on_record: RunOnRecord, waits: Waits, texts: LiveTexts
    ) -> None:
        self.on_record = on_record
        self.closed = False
        self.incident = ""  # names a fault of ours that ended the loop
        self._world = world
        self._package = package
        self._waits = waits
        self._performer = Performer(world, package, on_record.conversation, texts)
        # Not bounded by size but by its writers: one input per effect, and cancels,
        # of which only those before the first one is durable get here.
        # None only wakes the loop.
        self._inbox: Inbox[Delivery | None] = Inbox()
        self._tasks: dict[e.EffectKey, asyncio.Task[None]] = {}
        self._waiting: dict[e.EffectKey, e.ParkingEffect] = {}  # until the input that settles it is decided on
        self._wanted_by: RunState | None = None
        self._wanted_now: dict[e.EffectKey, e.Effect] = {}
        self._draining = False
        self._cancelling = False  # decided, and perhaps not durable yet
        self._first: tuple[Delivery, Appended] | None = None  # how the run begins
        self._fault: Exception | None = None  # of a wait of the run
        self._is_faulty = False  # one of its tasks has failed: the group cancels the loop next
        self._parking: Timer | None = None  # runs while the run only waits
        self._may_park = False

    @property
    def state(self) -> RunState:
        """The run as it stands on record."""
        return self.on_record.state

    @property
    def missing_provider(self) -> str:
        """The adapter that the run has to ask and this server does not have; empty while there is none."""
        return self._performer.missing_provider

    def submit(self, given: i.Input, settles: e.Effect | None = None) -> asyncio.Future[list[Record]]:
        """Hands in an input. The future is done once its records are durable; [] means nothing changed."""
        assert not self.closed, "the supervisor revives a run before it submits"
        answer: asyncio.Future[list[Record]] = asyncio.get_running_loop().create_future()
        blocked_by = self.on_record.blocked_by
        if blocked_by is not None and settles is None:
            answer.set_exception(held_up(blocked_by))
            return answer
        if isinstance(given, i.Recovered):
            given = self._performer.recovered(self.state, given)
        self._inbox.put(Delivery(given, answer, settles))
        return answer

    def wake(self, wake: Wake) -> None:
        """Hands in what has ended a wait of the run."""
        if isinstance(wake.outcome, Exception):
            self._fault = wake.outcome
            self._inbox.put(None)
            return
        self._waiting[wake.effect.key] = wake.effect
        if wake.place is not None and isinstance(wake.effect, e.AwaitExecutor):
            self._performer.places.offer(wake.effect.call_id, wake.place)
        self.submit(wake.outcome, settles=wake.effect)

    def begin(self, given: i.StartRequested, launch: Callable[[], None]) -> asyncio.Future[list[Record]]:
        """Appends how the run begins, at once, and launches the loop when that is durable or has failed. As `submit`.

        A start would otherwise wait for its turn of the event loop twice more.
        """
        begins = Delivery(given, asyncio.get_running_loop().create_future())

        def told(appended: Appended) -> None:
            self._first = begins, appended
            if appended.stands:
                self._tell([begins], produced)
            launch()

        try:
            produced, change = self._decide([begins])
            self.on_record.begin(change, told)
        except Exception:  # noqa: BLE001 - the loop will meet it again, and knows what to do about it
            self._inbox.put(begins)
            launch()
        return begins.answer

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
                self._stop(list(self._tasks))
                self._performer.places.release_all()
        finally:
            self.closed = True
            self._performer.places.release_all()
            self._stay()
            if not is_left_waiting:
                self._waits.drop(self.state.key)
            self.on_record.let_go()
            self._turn_away()

    def _take_first(self, group: asyncio.TaskGroup) -> None:
        """Goes on from the append that began the run, if one did. Raises what it failed with."""
        if self._first is None:
            return
        (begins, appended), self._first = self._first, None
        if appended.error is not None:
            self._refuse([begins], appended.error)
            raise appended.error
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
                self._settled(delivery.settles)
                self._performer.places.withdraw(delivery.given)
            else:
                taken.append(delivery)
        return taken

    async def _take(self, arrived: list[Delivery]) -> None:
        """Decides on what has come, makes it durable, and tells whoever waits."""
        if not arrived:
            return
        try:
            produced, change = self._decide(arrived)
            appended = Appended(stands=True)
            if change.records:
                appended = await self._append(change, arrived)
        except BaseException as error:
            self._refuse(arrived, error)
            raise
        if appended.stands:  # perhaps the loop is being ended all the same
            self._tell(arrived, produced)
        elif appended.error is not None:
            self._refuse(arrived, appended.error)
        appended.or_raise()

    def _decide(self, arrived: list[Delivery]) -> tuple[Decided, Change]:
        state, produced = self.state, Decided()
        for delivery in arrived:
            new, state = advance(self._package, state, delivery.given)
            produced.append(new)
            self._cancelling = self._cancelling or state.phase is RunPhase.CANCELLING
        records = [record for new in produced for record in new]
        contents = [part for each, new in zip(arrived, produced, strict=True) if new for part in each.given.contents]
        return produced, Change(records, state, contents)

    async def _append(self, change: Change, arrived: Sequence[Delivery]) -> Appended:
        """Makes the change durable.

        A run that has begun holds it through a full disk; its callers are told.
        A server that stops holds only what cannot be asked for again.
        """
        settled = [delivery.settles for delivery in arrived if delivery.settles]
        is_precious = any(not effect.may_be_repeated for effect in settled)

        def tell_callers(reason: ErrorReason) -> None:
            for delivery in arrived:
                if not delivery.settles:
                    delivery.refuse(held_up(reason))

        self._performer.superseded(change.state)
        return await self.on_record.append(
            change, holds_on=lambda: is_precious or not self._draining, held_up=tell_callers
        )

    def _tell(self, arrived: list[Delivery], produced: Decided) -> None:
        for delivery, new in zip(arrived, produced, strict=True):
            if self._performer.places:
                self._performer.places.decided(delivery.given)
            if delivery.settles and not new and isinstance(delivery.given, i.ToolReturned):
                given = delivery.given
                by = given.executor_identity.principal if given.executor_identity else ""
                ignored_answer(self._world.audit, self.state.key, given.call_id, self.state.phase.name, by)
            # Only now: an effect whose answer waited for this append must not look missing meanwhile.
            if delivery.settles:
                self._settled(delivery.settles)
                self.on_record.intents.discard(delivery.settles.key)
            if not delivery.answer.done():
                delivery.answer.set_result(new)

    def _settled(self, effect: e.Effect) -> None:
        self._tasks.pop(effect.key, None)
        self._waiting.pop(effect.key, None)

    def _refuse(self, arrived: list[Delivery], error: BaseException) -> None:
        if isinstance(error, asyncio.CancelledError) and not self._is_faulty:
            told = draining()
        elif isinstance(error, AgentError) and error.reason is not ErrorReason.INTERNAL:
            told = error
        else:
            told = self._told_fault()
        for delivery in arrived:
            delivery.refuse(told)

    def _is_done(self) -> bool:
        if self._inbox:
            return False
        if self.state.is_terminal:
            return True
        if self.state.phase is RunPhase.NEW:
            return False
        if self._draining:
            return not self._tasks and not any(effect.settles_while_draining for effect in self._waiting.values())
        return self._may_park or not self._wanted()

    def _wanted(self) -> dict[e.EffectKey, e.Effect]:
        """What the state wants of the world; asked for more than once between two appends."""
        if self._wanted_by is not self.state:
            self._wanted_by, self._wanted_now = self.state, pending(self.state)
        return self._wanted_now

    def _reconcile(self, group: asyncio.TaskGroup) -> None:
        """Starts what is wanted and missing, stops what is under way and no longer wanted."""
        wanted = self._wanted()
        if self._draining:
            wanted = {key: effect for key, effect in wanted.items() if self._must_settle(key, effect)}
        self._stop([key for key in (*self._tasks, *self._waiting) if key not in wanted])
        if self._performer.places:
            called = {EffectId(key[0]) for key, effect in wanted.items() if isinstance(effect, e.CallTool)}
            self._performer.places.keep(called)
        for key, effect in wanted.items():
            if key in self._tasks or key in self._waiting:
                continue
            if effect.needs_intent and key not in self.on_record.intents:
                # Something would be sent that this driver has not made durable, or that it has sent.
                raise does_not_fit(self.state.key, key)
            if effect.parks:
                self._waiting[key] = effect
                self._waits.enter(self.state, effect, self._package)
            else:
                name = f"{self.state.key.run_id} {key[0]}"
                self._tasks[key] = group.create_task(self._perform(key, effect), name=name)
        self._stay_or_park()

    def _stay_or_park(self) -> None:
        """A run that only waits may be left to its waits after a while."""
        if self._tasks or not self._waiting or self._draining:
            self._stay()
        elif self._parking is None and not self._may_park:
            self._parking = self._waits.timers.at(self._world.clock.now() + PARK_AFTER_US, self._park)

    def _stay(self) -> None:
        self._may_park = False
        if self._parking is not None:
            self._parking.cancel()
            self._parking = None

    def _park(self) -> None:
        self._may_park, self._parking = True, None
        self._inbox.put(None)

    def _must_settle(self, key: e.EffectKey, effect: e.Effect) -> bool:
        """While draining: what is under way and must not be repeated, and the deadline of a cancel.

        A call that was decided but not begun is handed back as not sent, so that
        a restart finds no open intent of it.
        """
        if not effect.settles_while_draining:
            return False
        if not isinstance(effect, e.CallTool) or key in self._tasks:
            return True
        at = self._world.clock.now()
        self.submit(i.ToolNotSent(at=at, call_id=effect.call_id, attempt=effect.attempt, withdrawn=True))
        return False

    async def _perform(self, key: e.EffectKey, effect: e.RunningEffect) -> None:
        try:
            position = self.on_record.position
            given = await self._performer.perform(self.state, position, effect, self._may_begin)
        except Exception:
            self._is_faulty = True  # whoever waits meets a fault, not a drain
            raise
        if self._tasks.get(key) is asyncio.current_task():
            self.submit(given, settles=effect)
        else:
            self._performer.places.withdraw(given)

    def _stop(self, keys: Sequence[e.EffectKey]) -> None:
        for key in keys:
            if (task := self._tasks.pop(key, None)) is not None:
                task.cancel()
            if self._waiting.pop(key, None) is not None:
                self._waits.leave(self.state.key, key)

    def _told_fault(self) -> AgentError:
        self.incident = self.incident or self._world.ids.incident_id()
        told = "The server failed to go on with the run; its log holds the incident."
        return AgentError(ErrorReason.INTERNAL, told, metadata={"incident_id": self.incident})

    def _turn_away(self) -> None:
        """Answers whoever came too late: an ended run is not changed, a drained one cannot be."""
        for late in self._inbox.taken():
            if late is None or late.answer.done():
                continue
            if self.state.is_terminal:
                late.answer.set_result([])
            else:
                late.refuse(draining())


async def cancel_at_once(on_record: RunOnRecord, package: RuntimePackage, asked: i.CancelRequested) -> None:
    """Ends a run that nobody drives: what must not be repeated is closed as after a crash, nothing is begun."""
    records, state = advance(package, on_record.state, asked)
    rest, state = advance(package, state, i.Recovered(at=asked.at))
    (await on_record.append(Change([*records, *rest], state))).or_raise()
