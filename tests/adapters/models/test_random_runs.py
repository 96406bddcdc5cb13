"""Whatever becomes of runs, the vendors are told only what they take: random runs against both strict fakes.

Tools and their failures, blanks, odd names and ids, thoughts, retries, fallbacks from one vendor to the other, turns
of a session, cancels and restarts.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from typing import Any

from runwright.adapters.memory.journal import MemoryJournal
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.outcomes import RunStatus
from runwright.core.package import RuntimePackage
from runwright.ports.tools import ToolOutcome, ToolOutcomeKind
from runwright.runtime import AgentRuntime, RunSnapshot
from runwright.testing import FunctionTools

from tests import builders as b
from tests.adapters.models.asking import provider_at
from tests.adapters.models.fake_vendor import Answer, FakeVendor, StartCaller, fake_vendor
from tests.adapters.models.seeds import seeds
from tests.adapters.models.test_random_histories import ARGUMENTS, IDS, NAMES, PICTURE, RESULTS, TEXTS
from tests.adapters.models.thoughts import thinks
from tests.adapters.models.wires import ANTHROPIC, OPENAI, Call, Wire
from tests.runtime.watching import CAP_SECONDS

MAX_ROUNDS = 6
ENDED = {RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED, RunStatus.REPAIR_NEEDED}
BROKEN: list[Answer] = [
    Answer({"error": {"type": "rate_limit_error", "message": "slow down"}}, status=429),
    Answer({"error": {"type": "api_error", "message": "oops"}}, status=500),
    Answer({"error": {"type": "authentication_error", "message": "who?"}}, status=401),
    Answer({"error": {"type": "not_found_error", "message": "no such model"}}, status=404),
    Answer({"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}),
    Answer(b"", cut=True),
    Answer(b"<html>", status=502, media_type="text/html"),
]
WORDS = [None, None, None, "eos", "length", "error", "content_filter"]


class Story:
    """One seed: what the vendors answer, what the tools do, and when somebody steps in."""

    def __init__(self, number: int) -> None:
        self.seed = random.Random(f"runs {number}")
        self.requested = 0
        self.interruption = self.seed.choice([0, 0, 1, 2, 3])  # the request during which somebody steps in; 0: none
        self.interrupted = asyncio.Event()

    def answers(self, wire: Wire) -> Any:
        """What a vendor of that kind says to a request."""

        def play(requested: StartCaller) -> Answer:
            self.requested += 1
            if self.requested == self.interruption:
                self.interrupted.set()
            return self._answer(wire)

        return play

    def _answer(self, wire: Wire) -> Answer:
        seed, roll = self.seed, self.seed.random()
        text, finish = seed.choice([None, *TEXTS]), seed.choice(WORDS)
        if roll < 0.2:
            return seed.choice(BROKEN)
        if roll < 0.4:
            return wire.answer(text or "so", finish=finish)
        calls = [self._call(wire) for _ in range(seed.randint(1, 4))]
        if roll < 0.7 or finish:
            made = wire.answer(text, calls, finish=finish)
            return Answer(made.body, stream=made.stream, is_retained=not finish)
        # The vendor knows what it needs back by the ids of calls, which therefore are no other answer's.
        return thinks(
            wire, self.requested, [(f"{each}{self.requested}", tool, made) for each, tool, made in calls], text
        )

    def _call(self, wire: Wire) -> Call:
        tool = self.seed.choice([*NAMES, "look", "look", "write", "write"])
        made = self.seed.choice(ARGUMENTS if wire.kind == "openai" else [{}, {"n": 1}, {"deep": [{}]}])
        return self.seed.choice(IDS), tool, made

    async def tool(self, arguments: Mapping[str, Any]) -> ToolOutcome:
        """Any result, any failure, and any time to it."""
        for _ in range(self.seed.choice([0, 0, 3, 30])):
            await asyncio.sleep(0)
        kind = self.seed.choice([ToolOutcomeKind.RESULT] * 4 + [ToolOutcomeKind.ERROR, ToolOutcomeKind.LOST])
        return ToolOutcome(kind, self.seed.choice([*RESULTS, "\ufeff\x00"]).encode())

    def package(self) -> RuntimePackage:
        """Two to four ways to a model, in any order, and two tools."""
        seed = self.seed
        routes = [
            {
                "adapter": seed.choice(["openai", "anthropic"]),
                "model": f"m-{at}",
                "max_attempts": seed.randint(1, 2),
                "parameters": {"stream": seed.random() < 0.5},
            }
            for at in range(seed.randint(2, 4))
        ]
        tools = (b.tool(max_attempts=2), b.writing_tool())
        budget = {"rounds": MAX_ROUNDS}
        agent = {"id": "helper", "instructions": seed.choice(["", " ", "Help."])}
        policy = {} if seed.random() < 0.5 else {"policy": "builtin:read-only"}
        return b.package(provider=routes[0], fallbacks=routes[1:], tools=tools, budget=budget, agent=agent, **policy)


async def test_no_run_tells_a_vendor_what_it_refuses() -> None:
    async with (
        fake_vendor() as openai,
        fake_vendor() as anthropic,
        provider_at(openai, "openai") as first,
        provider_at(anthropic, "anthropic") as second,
    ):
        for number in seeds(20, 2_000):
            story = Story(number)
            for vendor, wire in ((openai, OPENAI), (anthropic, ANTHROPIC)):
                vendor.forget()
                vendor.play = story.answers(wire)
            bench = b.Bench(
                journal=MemoryJournal(),
                tools=FunctionTools({"look": story.tool, "write": story.tool}),
                providers={"openai": first, "anthropic": second},
                packages=(story.package(),),
            )
            ended = await live(story, bench)
            refused(number, openai, anthropic)
            for run in ended:
                assert run.status in ENDED, (number, run)
                error = run.state.error
                assert error is None or error.reason is not ErrorReason.INTERNAL, (number, error)
            assert [line for line in bench.log.lines if line.error] == [], number


def refused(number: int, *vendors: FakeVendor) -> None:
    """Fails if a vendor refused anything."""
    for vendor in vendors:
        assert vendor.refused == [], f"seed {number}: {vendor.requested[-1].body}"


async def live(story: Story, bench: b.Bench) -> list[RunSnapshot]:
    """One to three turns of a session, with somebody who steps in once."""
    runtime, ended = bench.runtime(), []
    for turn in range(story.seed.randint(1, 3)):
        name = f"run-{turn}"
        said = tuple(story.seed.choice(["What?", "a ", "🙂", PICTURE]) for _ in range(story.seed.randint(1, 2)))
        try:
            await runtime.start_run(b.request(name, *said, session_id="s"))
        except AgentError as error:
            assert error.reason is ErrorReason.SESSION_BUSY, error  # a turn that needs repair holds up the next
            break
        runtime = await watched(story, bench, runtime, name)
        ended.append(await runtime.run_snapshot(name))
    await runtime.drain(0)
    return ended


async def watched(story: Story, bench: b.Bench, runtime: AgentRuntime, name: str) -> AgentRuntime:
    """The run until it stands still, with the clock turned to whatever is waited for; the runtime that it ended in."""
    async with asyncio.timeout(CAP_SECONDS):
        while (await runtime.run_snapshot(name)).status not in ENDED:
            if story.interrupted.is_set():
                story.interrupted.clear()
                for _ in range(story.seed.choice([0, 5, 50])):
                    await asyncio.sleep(0)
                if story.seed.random() < 0.5:
                    await runtime.cancel_run(name)
                else:
                    await runtime.drain(0)
                    runtime = bench.runtime()
                    await runtime.recover()
            if waiting := bench.manual_clock.waiting:
                bench.manual_clock.advance(waiting[0] - bench.manual_clock.now())
            await asyncio.sleep(0)
    return runtime
