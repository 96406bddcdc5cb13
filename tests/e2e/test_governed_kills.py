"""A governed run of a stored package, its server killed at many points: no effect without an allow on record, ever.

The package's rules are heard at the start, before calls and over the answer, the operator's beside them, and what is
asked for after an untrusted page is tainted. After each restart the run ends as if nothing had happened, and every
decision that stood before the kill stands.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest
import pytest_asyncio
from runwright._gen.runwright.v1 import event_pb2, policy_pb2, run_pb2
from runwright._gen.runwright.v1 import package_service_pb2 as pb
from runwright._gen.runwright.v1.package_service_pb2_grpc import PackageServiceStub

from tests.e2e.client import SECONDS, answer, run_request
from tests.e2e.conftest import SOAK
from tests.e2e.executor import EXECUTOR, Executor, StartCaller, pass_by, running_executor
from tests.e2e.kills import Victim
from tests.e2e.packages import BOOK, LOOK, Spec, asks, package, says, tool
from tests.e2e.server_process import Server
from tests.e2e.test_kill_matrix import at, strike

pytestmark = pytest.mark.asyncio(loop_scope="module")
_ALLOW, _DENY = policy_pb2.POLICY_VERDICT_ALLOW, policy_pb2.POLICY_VERDICT_DENY
_DECIDED = event_pb2.EVENT_KIND_POLICY_DECIDED
FETCH = tool("fetch", "network", untrusted=True, idempotent=True)
OPERATOR = """format: runwright-policies-v0
namespaces:
  "*":
    - rules:
        - {when: 'args.at == "forbidden"', then: deny, code: operator_says_no}
"""
RULES = [
    {"stage": "run_start", "when": "run.labels.size() == 0", "then": "allow", "code": "plain"},
    {"when": 'tool.name in ["look", "fetch"]', "then": "allow", "code": "reads"},
    {"when": 'tool.name == "book" && !call.tainted', "then": "allow", "code": "not_tainted"},
    {"when": 'tool.name == "book" && call.tainted', "then": "deny", "code": "tainted"},
    {"stage": "output", "when": 'output.text.contains("done")', "then": "allow", "code": "has_an_end"},
]
SCRIPT = [
    asks(("book", {"at": "a"})),
    asks(("look", {"at": "b"}), ("look", {"at": "forbidden"})),
    asks(("fetch", {"at": "c"})),
    asks(("book", {"at": "d"}), ("look", {"at": "e"})),
    says("done: {results}"),
]
DENIED = {"c2.2": "operator_says_no", "c4.1": "tainted"}
CALLED = ("c1.1", "c2.1", "c3.1", "c4.2")
WRITE = "c1.1"
EVENTS = 38
STRUCK = range(1, EVENTS + 1, 1 if SOAK else 5)


def edition(text: str = "done: {results}") -> Spec:
    """The governed package; under other words it is another edition of it."""
    spec = package("governed", [*SCRIPT[:-1], says(text)], BOOK, LOOK, FETCH)
    del spec["policy"]
    return {**spec, "policies": [{"rules": RULES}]}


@dataclass
class Governed:
    """The one server of all cases, its executor, and how an undisturbed run went."""

    server: Server
    executor: Executor
    directory: Path
    numbers: count[int]
    undisturbed: str = ""
    decisions: Sequence[tuple[object, ...]] = ()

    async def put(self, spec: Spec, expected: str | None = None) -> str:
        """Puts an edition under the tag `prod`. Returns its fingerprint."""
        request = pb.PutPackageRequest(document=json.dumps(spec), tag="prod", expected_previous_fingerprint=expected)
        put = await PackageServiceStub(self.server.call.channel).PutPackage(request, timeout=SECONDS)
        return put.package.fingerprint

    async def victim(self) -> Victim:
        """A new run by tag, with a server that is up."""
        self.executor.before = self.executor.after = pass_by
        if not self.server.is_running:
            await self.server.start()
        await self.put(edition())
        run_id = f"run-{next(self.numbers)}"
        request = run_request(run_id, package=run_pb2.PackageSelector(tag="prod"))
        return Victim(self.server, self.executor, self.directory, run_id, request)

    async def check_next_life(self, victim: Victim) -> None:
        """What the kill has left is held to the promise, also by a life in which the tag means something else."""
        at_death = await victim.at_death()
        await self.server.start()
        if at_death.events:
            await self.put(edition("done, and otherwise: {results}"))
        await victim.check(at_death, self.undisturbed)
        events = [frame.event for frame in await self.server.call.frames(victim.run_id)]
        check_governed(self.executor, victim.run_id, events)
        decided = decisions(events)
        assert decided[: len(decisions(at_death.events))] == decisions(at_death.events)
        if not at_death.open_writes:
            assert sorted(map(str, decided)) == sorted(map(str, self.decisions)), "none is lost, and none is new"


def decisions(events: Sequence[event_pb2.Event]) -> list[tuple[object, ...]]:
    """What was decided, without what differs between two runs."""
    found = []
    for event in events:
        if event.kind == _DECIDED:
            said = event.policy_decided
            digest = said.subject_digest if event.effect_id else ""
            found.append((said.stage, event.effect_id, said.verdict, said.code, said.rule, said.decider, digest))
    return found


def check_governed(executor: Executor, run_id: str, events: Sequence[event_pb2.Event]) -> None:
    """Nothing was begun, and nothing reached the executor, without an allow before it over the same arguments."""
    allowed: dict[str, str] = {}
    begun: set[tuple[str, int]] = set()
    for event in events:
        if event.kind == _DECIDED and event.effect_id:
            said = event.policy_decided
            assert said.operator_digest, "the operator's rules were heard"
            if said.verdict == _ALLOW:
                allowed[event.effect_id] = said.subject_digest
        elif event.kind == event_pb2.EVENT_KIND_TOOL_STARTED:
            assert allowed.get(event.effect_id) == event.tool_started.arguments_digest
            begun.add((event.effect_id, event.attempt))
    reached = {(requested.call_id, requested.attempt) for requested in executor.calls_of(run_id)}
    assert reached <= begun
    assert not {call_id for call_id, _ in reached} & DENIED.keys()
    denied = {event.effect_id: event.tool_denied.code for event in events if event.HasField("tool_denied")}
    assert denied.items() <= DENIED.items()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def governed(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Governed]:
    directory = tmp_path_factory.mktemp("governed")
    rules = directory / "policies.yaml"
    rules.write_text(OPERATOR)
    async with running_executor() as executor:
        server = Server(directory / "data", [], {EXECUTOR: executor.address}, "--policies", str(rules))
        made = Governed(server, executor, directory, count(1))
        try:
            run = await made.victim()
            await server.call.send(run.request)
            made.undisturbed = answer(await server.call.settled(run.run_id))
            made.decisions = decisions([frame.event for frame in await server.call.frames(run.run_id)])
            yield made
        finally:
            await server.close()
    assert server.foreign_output() == []
    assert executor.refused == []


async def test_the_cases_cover_every_call_decision_and_event_of_the_run(governed: Governed) -> None:
    run = await governed.victim()
    await run.server.call.send(run.request)
    await run.server.call.settled(run.run_id)

    events = [frame.event for frame in await run.server.call.frames(run.run_id)]
    check_governed(governed.executor, run.run_id, events)
    assert len(events) == EVENTS
    assert sorted(requested.call_id for requested in governed.executor.calls_of(run.run_id)) == list(CALLED)
    denied = {event.effect_id: event.tool_denied.code for event in events if event.HasField("tool_denied")}
    assert denied == DENIED
    assert {said[0] for said in decisions(events)} == {
        policy_pb2.POLICY_STAGE_RUN_START,
        policy_pb2.POLICY_STAGE_PRE_TOOL,
        policy_pb2.POLICY_STAGE_OUTPUT,
    }
    assert {said[5] for said in decisions(events)} == {"package", "operator"}


@pytest.mark.parametrize("seq", STRUCK)
async def test_the_server_is_killed_when_a_subscriber_sees_event(governed: Governed, seq: int) -> None:
    victim = await governed.victim()
    governed.executor.before = at(victim, "", pass_by)
    victim.reader.on_event = lambda event: event.seq == seq and victim.server.is_running and victim.server.kill()
    at_death = await victim.run_to_death()
    victim.reader.on_event = None

    assert len(at_death.events) >= seq, "what a subscriber has seen is on disk"
    await governed.check_next_life(victim)


@pytest.mark.parametrize("call_id", CALLED if SOAK else CALLED[::3])
@pytest.mark.parametrize("moment", ["before", "after"])
async def test_the_server_is_killed_around_the_effect_of(governed: Governed, moment: str, call_id: str) -> None:
    victim = await governed.victim()
    setattr(governed.executor, moment, at(victim, call_id, strike(victim)))
    at_death = await victim.run_to_death()

    assert at_death.open_writes == ({WRITE} if call_id == WRITE else set())
    await governed.check_next_life(victim)


async def test_the_server_is_killed_under_many_runs_at_once(governed: Governed) -> None:
    victims = [await governed.victim() for _ in range(12)]
    chosen = len(governed.executor.requested) + 17

    async def struck(_: StartCaller) -> None:
        if len(governed.executor.requested) >= chosen:
            governed.server.kill()

    governed.executor.before = struck
    await asyncio.gather(*(victim.start() for victim in victims))
    await governed.server.ended()
    governed.executor.before = pass_by
    deaths = [await victim.at_death() for victim in victims]
    await governed.server.start()

    await asyncio.gather(
        *(victim.check(death, governed.undisturbed) for victim, death in zip(victims, deaths, strict=True))
    )
    for victim in victims:
        events = [frame.event for frame in await governed.server.call.frames(victim.run_id)]
        check_governed(governed.executor, victim.run_id, events)
