"""One random history: what people, hosts, clocks, disks and operators do to a server, and what is checked meanwhile.

It follows from its seed alone.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path
from random import Random
from typing import Any

from runwright._gen.runwright.v1 import approval_pb2, approval_service_pb2, run_pb2, runtime_service_pb2
from runwright.transport.methods import APPROVALS, RUNTIME

from tests.properties.approvals.answers import Answers, Sent, Step
from tests.properties.approvals.faulty_journal import Fault
from tests.properties.approvals.hosts import ANSWERS, Hosts
from tests.properties.approvals.idle_loop import IdleLoop
from tests.properties.approvals.people import DECIDES, EVERYBODY
from tests.properties.approvals.reading import PENDING, Asked, Moment, Reading, ReadRun, sha256
from tests.properties.approvals.scene import PATHS, Scene, random_operator
from tests.properties.approvals.server import Answer, Server

MILLISECOND, SECOND = 1_000, 1_000_000
_ARGUMENTS = {
    sha256(json.dumps(arguments, separators=(",", ":"), sort_keys=True).encode()): arguments
    for path in PATHS
    for size in (1, 9)
    for arguments in [{"path": path, "size": size}]
}
_STEPS = {
    "decide": 10,
    "contradict": 3,
    "batch": 1,
    "repeat": 2,
    "time": 4,
    "deadline": 4,
    "set_back": 1,
    "reload": 2,
    "host": 3,
    "let_go": 2,
    "start": 1,
    "cancel": 1,
    "resolve": 2,
    "crash": 2,
    "people": 2,
    "look": 2,
}
_OTHER_DIGEST = "sha256:runwright-approval-v1:" + "0" * 64
_RESOLUTIONS = (
    run_pb2.RESOLUTION_HAPPENED,
    run_pb2.RESOLUTION_FAILED,
    run_pb2.RESOLUTION_TRY_AGAIN,
    run_pb2.RESOLUTION_TRY_AGAIN,
    run_pb2.RESOLUTION_END_RUN,
)
_VERDICTS = (
    approval_pb2.APPROVAL_VERDICT_APPROVE,
    approval_pb2.APPROVAL_VERDICT_APPROVE,
    approval_pb2.APPROVAL_VERDICT_APPROVE,
    approval_pb2.APPROVAL_VERDICT_DENY,
    approval_pb2.APPROVAL_VERDICT_RESPOND,
    approval_pb2.APPROVAL_VERDICT_ABORT_RUN,
)


class History:
    """Plays it. `counts` says what has happened, so that a test can tell a history that is about nothing."""

    def __init__(self, seed: int, loop: IdleLoop, directory: Path | None) -> None:
        self.rng = Random(seed)
        self.scene = Scene.of(self.rng)
        self.hosts = Hosts(self._next_answer)
        self.server = Server(loop, self.scene, self.hosts, directory)
        self.reading = Reading([made.known for made in self.scene.packages], self.scene.people, _ARGUMENTS)
        self.answers = Answers(self.reading, self.scene.people)
        self.counts: Counter[str] = Counter()
        self._loop = loop
        self._sent: list[Sent] = []
        self._now_sent: list[Sent] = []
        self._is_calm = self.rng.random() < 0.4  # hosts answer, and nothing goes wrong with the disk
        self._runs = 0
        self._requests = 0
        self._number = 0
        self._had_faults = False
        self._is_faulty = False
        self._is_over = False

    async def play(self) -> None:
        """From the first start to the end of every run."""
        await self.server.begin()
        for _ in range(2):
            self._open_host()
        await self._step("start", self._start)
        for _ in range(self.rng.randint(8, 24)):
            kind = self.rng.choices([*_STEPS], [*_STEPS.values()])[0]
            await self._step(kind, getattr(self, f"_{kind}"))
        await self._finish()
        for run in self.reading.runs:
            await self._hold_to_export(run)
        await self.server.close()

    async def _step(self, kind: str, act: Callable[[], Coroutine[Any, Any, None] | None]) -> None:
        """Lets something happen and looks at what has come of it once nobody has anything to do."""
        self._number += 1
        try:
            await self._stepped(kind, act)
        except AssertionError as error:
            error.add_note(f"in step {self._number}: {kind}")
            raise

    async def _stepped(self, kind: str, act: Callable[[], Coroutine[Any, Any, None] | None]) -> None:
        self.hosts.step, self._now_sent, self._is_faulty = self._number, [], False
        first, operator = self.server.clock.now(), self.scene.operator
        plans_fault = not self._is_calm and not self._is_over and self.rng.random() < 0.12
        if plans_fault:
            self.server.journal.plan(self.rng.randint(0, 2), self.rng.choice([*Fault]))
        acting = act()
        if acting is not None:
            await acting
        races = kind in ("decide", "contradict") and self.rng.random() < 0.1
        if races:
            self._pass(self.rng.choice([MILLISECOND, SECOND, 20 * SECOND, 180 * SECOND]))
        await self._settle()
        times = (first, self.server.clock.now())
        rules = self.scene.operator if kind == "reload" else operator
        asked = [(sent.who, sent.request) for sent in self._now_sent]
        moment = Moment(self._number, min(times), max(times), rules, asked)
        await self._read(moment)
        if kind != "set_back":
            self._hold_to_clock()
        is_alone = kind in ("decide", "contradict", "batch", "repeat") and not races
        self.answers.judge(Step(moment, self._now_sent, self._is_faulty, is_alone, self._had_faults))
        self.counts[kind] += 1

    async def _settle(self) -> None:
        """Until nobody has anything to do: a disk that was full has room again, a server that died lives again."""
        await self._loop.idle()
        for _ in range(50):
            journal = self.server.journal
            if journal.is_dead:
                self._is_faulty = self._had_faults = True
                await self._live_again()
            elif journal.has_failed:
                self._is_faulty = self._had_faults = True
                journal.has_failed = False
                for _ in range(4):
                    self._pass(SECOND)
                    await self._loop.idle()
            else:
                journal.faults.clear()
                return
        raise AssertionError("the journal is never well again")

    async def _live_again(self) -> None:
        await self.server.crash()
        self.counts["crashes"] += 1
        await self.server.begin()
        await self._loop.idle()

    async def _read(self, moment: Moment) -> None:
        for number in range(1, self._runs + 1):
            run = f"run-{number}"
            known = self.reading.runs.get(run)
            events = await self.server.events(run, known.position if known else 0)
            self.reading.take(moment, run, events)
            self.counts.update(str(event.WhichOneof("body")) for _, event in events)
        self.reading.hold_to_record(self.hosts.ledger)

    def _hold_to_clock(self) -> None:
        if not self._had_faults:  # a run may be held
            self.reading.hold_to_clock(self.server.clock.now())

    # What people do.

    def _start(self) -> None:
        self._runs += 1
        request = runtime_service_pb2.StartRunRequest()
        request.run.run_id = f"run-{self._runs}"
        request.run.input.add().text = "Go."
        made = self.rng.choice(self.scene.packages)
        request.run.package.package_id = made.package.id
        if self.rng.random() < 0.3:
            request.run.session_id = self.rng.choice(["session-1", "session-2"])
        who = self._one_of("cal", "cal", "cid", "root")
        self.server.ask(who, RUNTIME, "StartRun", request)

    def _one_of(self, *names: str) -> str:
        return self.rng.choice(names) if self.scene.people.keys else "local"

    def _some_approval(self) -> tuple[str, ReadRun, Asked] | None:
        """Mostly one that is pending."""
        found = self.reading.pending()
        if not found or self.rng.random() < 0.1:
            found = self.reading.everything()
        if not found:
            return None
        name = self.rng.choice([*found])
        return name, *found[name]

    def _decision(self, name: str, asked: Asked) -> Any:
        self._requests += 1
        verdict = self.rng.choice(_VERDICTS)
        digest = asked.event.digest
        if self.rng.random() < 0.08:
            others = [
                each.event.digest for _, each in self.reading.everything().values() if each.event.digest != digest
            ]
            digest = self.rng.choice([*others, _OTHER_DIGEST])
        request = approval_service_pb2.DecisionRequest(
            approval_id=name, digest=digest, verdict=verdict, request_id=f"request-{self._requests}"
        )
        if verdict == approval_pb2.APPROVAL_VERDICT_RESPOND:
            request.message = f"answer {self._requests}"
        if self.rng.random() < 0.2:
            request.on_behalf_of = "ann"
        return request

    def _send(self, who: str, request: Any) -> None:
        sent = approval_service_pb2.DecideApprovalRequest(decision=request)
        answer = self.server.ask(who, APPROVALS, "DecideApproval", sent)
        self._note(who, request, answer)

    def _note(self, who: str, request: Any, answer: Answer) -> None:
        run, asked = self.reading.everything().get(request.approval_id, (None, None))
        is_pending = asked is not None and asked.state == PENDING
        sent = Sent(who, request, answer, run.time if run is not None else 0, is_pending)
        self._sent.append(sent)
        self._now_sent.append(sent)

    def _somebody(self, run: ReadRun, asked: Asked) -> str:
        """Somebody who may decide, as often as not."""
        if not self.scene.people.keys:
            return "local"
        if self.rng.random() < 0.5:
            approvers = asked.spec.sets[asked.turn(self.server.clock.now())]
            four_eyes, executor = asked.spec.four_eyes, asked.event.executor
            may = [
                who
                for who in DECIDES
                if not self.scene.people.why_not(who, approvers, executor, run.starter, four_eyes=four_eyes)
            ]
            if may:
                return self.rng.choice(may)
        return self.rng.choice(DECIDES)

    def _decide(self) -> None:
        if (found := self._some_approval()) is not None:
            name, run, asked = found
            if self.rng.random() < 0.03:
                name = "run-99/a1.1.1"
            self._send(self._somebody(run, asked), self._decision(name, asked))

    def _contradict(self) -> None:
        """Several decide at once, on one or on several."""
        for _ in range(2):
            if (found := self._some_approval()) is None:
                return
            name, run, asked = found
            for _ in range(self.rng.randint(1, 4)):
                self._send(self._somebody(run, asked), self._decision(name, asked))
        if self.rng.random() < 0.2:
            self._cancel()

    def _batch(self) -> None:
        request, decisions, who = approval_service_pb2.BatchDecideRequest(), [], self._one_of(*DECIDES)
        for name, (_, asked) in [*self.reading.everything().items()][:6]:
            decisions.append(self._decision(name, asked))
            request.decisions.append(decisions[-1])
        if not decisions:
            return
        batch = self.server.ask(who, APPROVALS, "BatchDecide", request)
        for number, decision in enumerate(decisions):
            self._note(who, decision, _OfBatch(batch, number))

    def _repeat(self) -> None:
        """The same once more, or something else under the same id, or the same by somebody else."""
        if not self._sent:
            return
        sent = self.rng.choice(self._sent[-6:])
        request, who = approval_service_pb2.DecisionRequest(), sent.who
        request.CopyFrom(sent.request)
        dice = self.rng.random()
        if dice < 0.2:
            request.note = "and a note"
        elif dice < 0.4:
            who = self._one_of(*DECIDES)
        self._send(who, request)

    def _cancel(self) -> None:
        request = runtime_service_pb2.CancelRequest(run_id=f"run-{self.rng.randint(1, self._runs)}")
        request.grace.seconds = self.rng.choice([0, 10])
        self.server.ask(self._one_of("cal", "root"), RUNTIME, "Cancel", request)

    def _resolve(self, resolutions: tuple[Any, ...] = _RESOLUTIONS) -> None:
        for run in self.reading.runs.values():
            for call, attempt in run.unknown.items():
                self._requests += 1
                request = runtime_service_pb2.ResolveEffectRequest(
                    run_id=run.id, effect_id=call, attempt=attempt, request_id=f"request-{self._requests}"
                )
                request.resolution = self.rng.choice(resolutions)
                if request.resolution == run_pb2.RESOLUTION_HAPPENED:
                    request.result.data = b'"found"'
                self.server.ask(self._one_of("rex", "root"), RUNTIME, "ResolveEffect", request)

    async def _look(self) -> None:
        """Lists show what is pending to whoever may see it, and to nobody else."""
        await self._loop.idle()
        if self._had_faults:
            return
        people, now = self.scene.people, self.server.clock.now()
        who = self._one_of("obi", "ann", "hal", "cal", "root")
        expected = set()
        for name, (_, asked) in self.reading.pending().items():
            sees = (
                not people.keys
                or people.has(who, "observer")
                or any(people.is_in(who, each) for each in asked.spec.sets)
            )
            if sees:
                expected.add(name)
        found, token = set[str](), ""
        while True:
            request = approval_service_pb2.ListApprovalsRequest(page_size=2, page_token=token)
            answer = self.server.ask(who, APPROVALS, "ListApprovals", request)
            await self._loop.idle()
            if answer.response is None:
                assert who in people.revoked or not people.has(who, "approver", "observer"), answer.reason
                return
            found |= {each.approval_id for each in answer.response.approvals}
            token = answer.response.next_page_token
            if not token:
                break
        assert found == expected, f"{who} is shown {found}, not {expected}, at {now}"

    # What the world does.

    def _next_answer(self) -> str:
        if self._is_over or self._is_calm:
            return "result"
        return self.rng.choice(["result"] * 6 + [*ANSWERS])

    def _pass(self, microseconds: int) -> None:
        self.server.clock.advance(microseconds)
        if microseconds > 0:
            self._loop.pass_time(microseconds / SECOND)

    def _time(self) -> None:
        self._pass(self.rng.choice([0, 1, MILLISECOND, SECOND, 3 * SECOND, 10 * SECOND, 61 * SECOND, 600 * SECOND]))

    def _deadline(self) -> None:
        """To a moment before, at, or after a turn or an approval ends; somebody may decide at that moment."""
        found = self.reading.pending()
        if not found:
            return
        name = self.rng.choice([*found])
        run, asked = found[name]
        now = self.server.clock.now()
        due = [asked.at + end for end in asked.spec.ends() if asked.at + end > now]
        if not due:
            return
        at = self.rng.choice(due) + self.rng.choice([-MILLISECOND, -1, 0, MILLISECOND])
        if self.rng.random() < 0.6:
            self._send(self._somebody(run, asked), self._decision(name, asked))
        self._pass(max(0, at - now))

    def _set_back(self) -> None:
        self._pass(-self.rng.choice([MILLISECOND, SECOND, 15 * SECOND, 3600 * SECOND]))

    def _reload(self) -> None:
        self.scene.operator = random_operator(self.rng)
        self.server.follow_operator()

    def _open_host(self) -> None:
        executor = self.rng.choice(["mail", "disk"])
        if not self.scene.people.keys:
            self.hosts.open(executor, "local", self.rng.randint(1, 2))
            return
        may = [name for name in self.scene.people.roles if self.scene.people.may_serve(name, executor)]
        if may:
            self.hosts.open(executor, self.rng.choice(may), self.rng.randint(1, 2))

    def _host(self) -> None:
        dice = self.rng.random()
        if self.hosts.up and dice < 0.3:
            self.hosts.close(self.rng.choice(self.hosts.up))
        elif dice < 0.5:
            self.hosts.mend()
        elif dice < 0.6:
            self.hosts.knows_nothing = not self.hosts.knows_nothing
        else:
            self._open_host()

    def _let_go(self) -> None:
        for host in self.hosts.up:
            host.let_go()

    async def _crash(self) -> None:
        if self._is_calm and self.rng.random() < 0.5:
            return
        await self._live_again()
        self._is_faulty = True

    def _people(self) -> None:
        """Keys and roles change, and whose names of executors are; a host that may not serve any more is gone."""
        people, rng = self.scene.people, self.rng
        if not people.keys:
            return
        dice, name = rng.random(), rng.choice(["ann", "bob", "hal", "cal"])
        if dice < 0.3:
            people.revoked ^= {name}
        elif dice < 0.6:
            before = people.roles[name]
            changed = rng.choice(["executor", "approver"])
            roles = tuple(role for role in before if role != changed) if changed in before else (*before, changed)
            people.roles[name] = roles or ("observer",)
        elif dice < 0.7:
            people.roles.update(EVERYBODY)
            people.revoked.clear()
        elif "mail" not in people.configured:
            people.owners["mail"] = rng.choice([["hal"], ["ivy"], ["ann", "ivy"], ["bob"]])
        for host in list(self.hosts.up):
            if not people.may_serve(host.callback.owner, host.callback.name):
                self.hosts.close(host)

    async def _finish(self) -> None:
        """From here on nothing goes wrong any more: every run comes to its end."""
        self._is_over, people = True, self.scene.people
        if people.keys:
            people.revoked.clear()
            people.roles.update(EVERYBODY)
        for executor in ("mail", "disk"):
            for name in people.roles:
                if people.may_serve(name, executor):
                    self.hosts.open(executor, name, 8)
        for _ in range(200):
            if all(run.ended_by for run in self.reading.runs.values()):
                return
            await self._step("finish", self._bring_to_end)
        left = {run.id: run.unknown for run in self.reading.runs.values() if not run.ended_by}
        raise AssertionError(f"never comes to an end: {left}")

    def _bring_to_end(self) -> None:
        self.hosts.mend()
        self._let_go()
        self._resolve((run_pb2.RESOLUTION_FAILED,))
        if self._had_faults:
            for run in self.reading.runs.values():
                if not run.ended_by:
                    request = runtime_service_pb2.ReleaseRunRequest(run_id=run.id)
                    self.server.ask(self._one_of("root"), RUNTIME, "ReleaseRun", request)
        if waiting := self.server.clock.waiting:
            self._pass(waiting[0] - self.server.clock.now())

    async def _hold_to_export(self, run_id: str) -> None:
        """The export says the same as what was read step by step."""
        who = "obi" if self.scene.people.keys else "local"
        elements = await self.server.export(who, run_id)
        exported = [element.event.position for element in elements if element.WhichOneof("element") == "event"]
        read = [position for position, _ in await self.server.events(run_id, 0)]
        assert exported == read, f"the export of {run_id} is not what was read"


class _OfBatch(Answer):
    """The answer to one decision of a batch."""

    def __init__(self, batch: Answer, number: int) -> None:
        self._batch = batch
        self._number = number

    def _result(self) -> Any:
        return self._batch.response.results[self._number] if self._batch.response is not None else None

    @property
    def response(self) -> Any:  # type: ignore[override]
        result = self._result()
        return result.decided if result is not None and result.WhichOneof("result") == "decided" else None

    @property
    def error(self) -> Any:  # type: ignore[override]
        result = self._result()
        if result is None:
            return self._batch.error
        return result.error if result.WhichOneof("result") == "error" else None
