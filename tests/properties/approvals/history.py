"""One random history: what happens to a server step by step, and what is checked behind each step.

It follows from its seed alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from tests.properties.approvals.answers import Answers, Step
from tests.properties.approvals.faulty_journal import Fault
from tests.properties.approvals.idle_loop import IdleLoop
from tests.properties.approvals.lists import look
from tests.properties.approvals.people_steps import PeopleSteps
from tests.properties.approvals.read_run import Moment, Stored
from tests.properties.approvals.world import MILLISECOND, SECOND, World
from tests.properties.approvals.world_steps import WorldSteps

Act = Callable[[], Coroutine[Any, Any, None] | None]
OF_DECISIONS = ("decide", "contradict", "batch", "repeat")


class History:
    """Plays it. `counts` says what has happened, so that a test can tell a history that is about nothing."""

    def __init__(self, seed: int, loop: IdleLoop, directory: Path | None) -> None:
        self.world = World(seed, loop, directory)
        self._people = people = PeopleSteps(self.world)
        self._others = others = WorldSteps(self.world, people)
        self._answers = Answers(self.world.reading, self.world.scene.people)
        self._number = 0
        self._is_faulty = False
        self._steps: dict[str, tuple[int, Act]] = {
            "decide": (14, people.decide),
            "contradict": (3, people.contradict),
            "batch": (1, people.batch),
            "repeat": (2, people.repeat),
            "start": (3, people.start),
            "cancel": (1, people.cancel),
            "resolve": (2, people.resolve),
            "revoke": (1, people.revoke),
            "issuer_leaves": (1, people.issuer_leaves),
            "time": (4, others.time),
            "deadline": (4, others.deadline),
            "set_back": (1, others.set_back),
            "reload": (2, others.reload),
            "host": (3, others.host),
            "let_go": (2, others.let_go),
            "people": (2, others.people),
            "approver_serves": (3, others.approver_serves),
            "crash": (2, self._crash),
            "look": (2, lambda: look(self.world)),
        }

    @property
    def counts(self) -> Counter[str]:
        """How often each kind of step and of event has happened."""
        return self.world.counts

    async def play(self) -> None:
        """From the first start to the end of every run."""
        await self.world.server.begin()
        for _ in range(2):
            self._others.open_host()
        await self._step("start", self._people.start)
        weights = [weight for weight, _ in self._steps.values()]
        for _ in range(self.world.rng.randint(8, 24)):
            kind = self.world.rng.choices([*self._steps], weights)[0]
            await self._step(kind, self._steps[kind][1])
        await self._finish()
        for run in self.world.reading.runs:
            await self._hold_to_export(run)
        await self.world.server.crash()
        await self.world.server.close()

    async def _step(self, kind: str, act: Act) -> None:
        self._number += 1
        try:
            await self._stepped(kind, act)
        except AssertionError as error:
            error.add_note(f"in step {self._number}: {kind}")
            raise

    async def _stepped(self, kind: str, act: Act) -> None:
        """Lets something happen and looks at what has come of it once nobody has anything to do."""
        world, rng, clock = self.world, self.world.rng, self.world.server.clock
        world.hosts.step, self._is_faulty = self._number, False
        self._people.sent, self._people.revoked, self._people.started, world.dispatchers.said = [], [], [], []
        first = clock.now()
        if not world.is_calm and not world.is_over and rng.random() < 0.12:
            world.server.journal.plan(rng.randint(0, 2), rng.choice([*Fault]))
        acting = act()
        if acting is not None:
            await acting
        races = kind in OF_DECISIONS and rng.random() < 0.1
        if races:
            world.pass_time(rng.choice([MILLISECOND, SECOND, 20 * SECOND, 180 * SECOND]))
        await self._settle()
        times, sent = (first, clock.now()), self._people.sent
        asked = [*((each.who, each.request) for each in sent), *world.dispatchers.said]
        moment = Moment(self._number, min(times), max(times), world.scene.operator, asked)
        await self._read(moment)
        if kind != "set_back" and not world.had_faults:  # a run may be held
            world.reading.hold_to_clock(clock.now())
        is_alone = kind in OF_DECISIONS and not races
        self._answers.judge(Step(moment, sent, self._is_faulty, is_alone, world.had_faults))
        world.counts[kind] += 1

    async def _settle(self) -> None:
        """Until nobody has anything to do: a disk that was full has room again, a server that died lives again."""
        world = self.world
        await world.loop.idle()
        for _ in range(50):
            journal = world.server.journal
            if not (journal.is_dead or journal.has_failed):
                journal.faults.clear()
                return
            self._is_faulty = world.had_faults = True
            if journal.is_dead:
                await self._live_again()
                continue
            journal.has_failed = False
            for _ in range(4):
                world.pass_time(SECOND)
                await world.loop.idle()
        raise AssertionError("the journal is never well again")

    async def _live_again(self) -> None:
        self.world.counts["crashes"] += 1
        await self.world.server.crash()
        await self.world.server.begin()

    async def _crash(self) -> None:
        if self.world.is_calm and self.world.rng.random() < 0.5:
            return
        await self._live_again()
        self._is_faulty = True

    async def _read(self, moment: Moment) -> None:
        world, reading = self.world, self.world.reading
        events: list[Stored] = []
        for number in range(1, world.runs + 1):
            known = reading.runs.get(f"run-{number}")
            events += await world.server.events(f"run-{number}", known.position if known else 0)
        for stored in sorted(events, key=lambda stored: stored.position):
            reading.take(moment, stored)
            world.counts[stored.body] += 1
        for who, name, answer in self._people.revoked:
            self._answers.judge_revocation(moment, who, name, answer)
        for who, package, answer in self._people.started:
            self._answers.judge_start(moment, who, package, answer)
        reading.end_step(moment, is_faulty=self._is_faulty or world.had_faults)
        reading.hold_to_record(world.hosts.ledger)

    async def _finish(self) -> None:
        """From here on nothing goes wrong any more: every run comes to its end."""
        self._others.mend_everything()
        for _ in range(200):
            if all(run.ended_by for run in self.world.reading.runs.values()):
                return
            await self._step("finish", self._others.bring_to_end)
        left = {run.id: run.unknown for run in self.world.reading.runs.values() if not run.ended_by}
        raise AssertionError(f"never comes to an end: {left}")

    async def _hold_to_export(self, run_id: str) -> None:
        """The export says the same as what was read step by step."""
        elements = await self.world.server.export(self.world.one_of("obi"), run_id)
        exported = [element.event.position for element in elements if element.WhichOneof("element") == "event"]
        read = [stored.position for stored in await self.world.server.events(run_id, 0)]
        assert exported == read, f"the export of {run_id} is not what was read"
