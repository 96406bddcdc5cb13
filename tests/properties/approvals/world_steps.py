"""What the world does: time passes and is set back, rules, keys and hosts change, and the server crashes."""

from __future__ import annotations

from runwright._gen.runwright.v1 import run_pb2, runtime_service_pb2
from runwright.transport.methods import RUNTIME

from tests.properties.approvals.people import EVERYBODY
from tests.properties.approvals.people_steps import PeopleSteps
from tests.properties.approvals.read_run import APPROVED
from tests.properties.approvals.scene import random_operator
from tests.properties.approvals.world import MILLISECOND, SECOND, World

EXECUTORS = ("mail", "disk")


class WorldSteps:
    """Each method is a step."""

    def __init__(self, world: World, people: PeopleSteps) -> None:
        self._world = world
        self._rng = world.rng
        self._people = people

    def time(self) -> None:
        """Some time passes."""
        seconds = [SECOND, 3 * SECOND, 10 * SECOND, 61 * SECOND, 600 * SECOND]
        self._world.pass_time(self._rng.choice([0, 1, MILLISECOND, *seconds]))

    def deadline(self) -> None:
        """To a moment before, at, or after a turn, an approval or a grant ends; somebody may decide at that moment."""
        world, rng, now = self._world, self._rng, self._world.server.clock.now()
        found = world.reading.pending()
        if not found:
            return
        name = rng.choice([*found])
        run, asked = found[name]
        due = [asked.at + end for end in asked.spec.ends() if asked.at + end > now]
        if not due:
            return
        at = rng.choice(due) + rng.choice([-MILLISECOND, -1, 0, MILLISECOND])
        if rng.random() < 0.6:
            self._people.send(self._people.somebody(run, asked), self._people.decision(name, asked))
        world.pass_time(max(0, at - now))

    def set_back(self) -> None:
        """The clock is set back."""
        self._world.pass_time(-self._rng.choice([MILLISECOND, SECOND, 15 * SECOND, 3600 * SECOND]))

    def reload(self) -> None:
        """The operator has other rules."""
        self._world.scene.operator = random_operator(self._rng)
        self._world.server.follow_operator()

    def host(self) -> None:
        """A host comes, goes, is found well again, or does not know any more what it did; or the dispatcher does."""
        hosts, dice = self._world.hosts, self._rng.random()
        if hosts.up and dice < 0.3:
            hosts.close(self._rng.choice(hosts.up))
        elif dice < 0.5:
            hosts.mend()
        elif dice < 0.6:
            hosts.knows_nothing = not hosts.knows_nothing
        elif dice < 0.7:
            self._world.dispatchers.come_or_go()
        else:
            self.open_host()

    def open_host(self) -> None:
        """Another host, of somebody who may serve its executor."""
        people, executor = self._world.scene.people, self._rng.choice(EXECUTORS)
        may = [name for name in people.roles if people.may_serve(name, executor)] if people.keys else ["local"]
        if may:
            self._world.hosts.open(executor, self._rng.choice(may), self._rng.randint(1, 2))

    def let_go(self) -> None:
        """Hosts and the dispatcher answer what they have not yet."""
        self._world.dispatchers.let_go()
        for host in self._world.hosts.up:
            host.let_go()

    def people(self) -> None:
        """Keys and roles change, and whose names of executors are; a host that may not serve any more is gone."""
        world, rng, people = self._world, self._rng, self._world.scene.people
        if not people.keys:
            return
        issuers = [given.grant.issuer for given in world.reading.grants.given.values()]
        dice, name = rng.random(), rng.choice(["ann", "bob", "hal", "cal", *issuers])
        if dice < 0.3:
            people.revoked ^= {name}
        elif dice < 0.6:
            before, changed = people.roles[name], rng.choice(["executor", "approver"])
            roles = tuple(role for role in before if role != changed) if changed in before else (*before, changed)
            people.roles[name] = roles or ("observer",)
        elif dice < 0.7:
            people.roles.update(EVERYBODY)
            people.revoked.clear()
        elif "mail" not in people.configured:
            people.owners["mail"] = rng.choice([["hal"], ["ivy"], ["ann", "ivy"], ["bob"]])
        for host in list(world.hosts.up):
            if not people.may_serve(host.callback.owner, host.callback.name):
                world.hosts.close(host)

    def approver_serves(self) -> None:
        """Somebody who has approved a call that still waits comes to serve its executor, and has a host at once."""
        world, people = self._world, self._world.scene.people
        waiting = [
            asked
            for _, asked in world.reading.everything().values()
            if asked.call and asked.state == APPROVED and not asked.is_spent
        ]
        if not waiting or not people.keys:
            return
        asked = self._rng.choice(waiting)
        name, executor = asked.decided_by, asked.event.executor
        people.roles[name] = tuple({*people.roles[name], "executor"})
        if executor not in people.configured:
            people.owners[executor] = [*people.owners.get(executor, ["ivy"]), name]
        if people.may_serve(name, executor):
            world.hosts.open(executor, name, 2)

    def mend_everything(self) -> None:
        """From here on nothing goes wrong any more, and for every executor there are hosts of all who may serve it."""
        world, people = self._world, self._world.scene.people
        world.is_over = world.dispatchers.is_over = True
        if not world.dispatchers.is_up:
            world.dispatchers.come_or_go()
        if people.keys:
            people.revoked.clear()
            people.roles.update(EVERYBODY)
        for executor in EXECUTORS:
            for name in [name for name in people.roles if not people.keys or people.may_serve(name, executor)]:
                world.hosts.open(executor, name, 8)

    def bring_to_end(self) -> None:
        """Whatever a run waits for comes: hosts, somebody who knows, and time."""
        world = self._world
        world.hosts.mend()
        self.let_go()
        self._people.resolve((run_pb2.RESOLUTION_FAILED,))
        for run in world.reading.runs.values():
            if world.had_faults and not run.ended_by:
                request = runtime_service_pb2.ReleaseRunRequest(run_id=run.id)
                world.ask(world.one_of("root"), RUNTIME, "ReleaseRun", request)
        if waiting := world.server.clock.waiting:
            world.pass_time(waiting[0] - world.server.clock.now())
