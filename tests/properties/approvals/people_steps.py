"""What people do: they start runs, decide, contradict and repeat each other, cancel, resolve, and take grants back."""

from __future__ import annotations

from typing import Any

from runwright._gen.runwright.v1 import approval_pb2, approval_service_pb2, grant_pb2, run_pb2, runtime_service_pb2
from runwright.transport.methods import APPROVALS, RUNTIME

from tests.properties.approvals.answers import Sent
from tests.properties.approvals.people import DECIDES
from tests.properties.approvals.read_run import PENDING, Asked, ReadRun
from tests.properties.approvals.rules import OF_ARGUMENTS, Package
from tests.properties.approvals.scene import MATCHERS, PATHS, SCOPES
from tests.properties.approvals.server import Answer
from tests.properties.approvals.world import World

_OTHER_DIGEST = "sha256:runwright-approval-v1:" + "0" * 64
APPROVE, DENY = approval_pb2.APPROVAL_VERDICT_APPROVE, approval_pb2.APPROVAL_VERDICT_DENY
RESPOND, ABORT = approval_pb2.APPROVAL_VERDICT_RESPOND, approval_pb2.APPROVAL_VERDICT_ABORT_RUN
EDIT, DELEGATE = approval_pb2.APPROVAL_VERDICT_APPROVE_WITH_EDITS, approval_pb2.APPROVAL_VERDICT_DELEGATE
_VERDICTS = (*[APPROVE] * 7, *[EDIT] * 3, DELEGATE, DELEGATE, DENY, DENY, RESPOND, RESPOND, ABORT)
_RESOLUTIONS = (
    run_pb2.RESOLUTION_HAPPENED,
    run_pb2.RESOLUTION_FAILED,
    run_pb2.RESOLUTION_TRY_AGAIN,
    run_pb2.RESOLUTION_TRY_AGAIN,
    run_pb2.RESOLUTION_END_RUN,
)


class PeopleSteps:
    """Each method is a step. Of the one that is under way `sent` are the decisions, `revoked` the grants that somebody
    wants back, and `started` the packages of which somebody starts a run."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._rng = world.rng
        self.sent: list[Sent] = []
        self.revoked: list[tuple[str, str, Answer]] = []
        self.started: list[tuple[str, Package, Answer]] = []

    def start(self) -> None:
        """One run, or several at once."""
        world = self._world
        for _ in range(self._rng.choice([1, 1, 2, 3])):
            world.runs += 1
            request = runtime_service_pb2.StartRunRequest()
            request.run.run_id = f"run-{world.runs}"
            request.run.input.add().text = "Go."
            grant = self._open_grant() if self._rng.random() < 0.6 else None
            packages = world.scene.packages
            alike = [each for each in packages if grant and each.known.fingerprint == grant.package_fingerprint]
            made = self._rng.choice(alike or packages)
            request.run.package.package_id = made.package.id
            if self._rng.random() < 0.3:
                request.run.session_id = self._rng.choice(["session-1", "session-2"])
            who = grant.principal if grant else world.one_of("cal", "cal", "cid", "root")
            self.started.append((who, made.known, world.ask(who, RUNTIME, "StartRun", request)))

    def _open_grant(self) -> Any:
        """One that may answer for calls of another run; None without any."""
        now = self._world.server.clock.now()
        found = [each.grant for each in self._world.reading.grants.given.values() if each.is_open(now)]
        return self._rng.choice(found) if found else None

    def issuer_leaves(self) -> None:
        """The key of somebody who gave a grant holds no more, and calls come that the grant would answer for."""
        if (grant := self._open_grant()) is not None and self._world.scene.people.keys:
            self._world.scene.people.revoked.add(grant.issuer)
            self.start()

    def decide(self) -> None:
        """Somebody decides on something."""
        if (found := self._some_approval()) is not None:
            name, run, asked = found
            if self._rng.random() < 0.03:
                name = "run-99/a1.1.1"
            self.send(self.somebody(run, asked), self.decision(name, asked))

    def contradict(self) -> None:
        """Several decide at once, on one or on several; perhaps the run is cancelled meanwhile."""
        for _ in range(2):
            if (found := self._some_approval()) is None:
                return
            name, run, asked = found
            for _ in range(self._rng.randint(1, 4)):
                self.send(self.somebody(run, asked), self.decision(name, asked))
        if self._rng.random() < 0.2:
            self.cancel()

    def batch(self) -> None:
        """Somebody decides on several with one request."""
        who, request = self._world.one_of(*DECIDES), approval_service_pb2.BatchDecideRequest()
        for name, (_, asked) in [*self._world.reading.everything().items()][:6]:
            request.decisions.append(self.decision(name, asked))
        if request.decisions:
            batch = self._world.ask(who, APPROVALS, "BatchDecide", request)
            for number, decision in enumerate(request.decisions):
                self._note(who, decision, _OfBatch(batch, number))

    def repeat(self) -> None:
        """The same once more, or something else under the same id, or the same by somebody else."""
        if not self._world.sent:
            return
        sent = self._rng.choice(self._world.sent[-6:])
        request, who = approval_service_pb2.DecisionRequest(), sent.who
        request.CopyFrom(sent.request)
        dice = self._rng.random()
        if dice < 0.2:
            request.note = "and a note"
        elif dice < 0.4:
            who = self._world.one_of(*DECIDES)
        self.send(who, request)

    def cancel(self) -> None:
        """Somebody cancels a run."""
        world = self._world
        request = runtime_service_pb2.CancelRequest(run_id=f"run-{self._rng.randint(1, world.runs)}")
        request.grace.seconds = self._rng.choice([0, 10])
        world.ask(world.one_of("cal", "root"), RUNTIME, "Cancel", request)

    def resolve(self, resolutions: tuple[Any, ...] = _RESOLUTIONS) -> None:
        """Somebody says what became of the calls of unknown outcome."""
        world = self._world
        for run in world.reading.runs.values():
            for call, attempt in run.unknown.items():
                request = runtime_service_pb2.ResolveEffectRequest(
                    run_id=run.id, effect_id=call, attempt=attempt, request_id=world.request_id()
                )
                request.resolution = self._rng.choice(resolutions)
                if request.resolution == run_pb2.RESOLUTION_HAPPENED:
                    request.result.data = b'"found"'
                world.ask(world.one_of("rex", "root"), RUNTIME, "ResolveEffect", request)

    def revoke(self) -> None:
        """Somebody wants a grant back; a run may ask for it at the same time."""
        world, given = self._world, self._world.reading.grants.given
        if not given:
            return
        name = self._rng.choice([*given])
        who = world.one_of(given[name].grant.issuer, "root", *DECIDES)
        request = approval_service_pb2.RevokeGrantRequest(grant_id=name)
        self.revoked.append((who, name, world.ask(who, APPROVALS, "RevokeGrant", request)))
        if self._rng.random() < 0.4:
            self.start()

    def send(self, who: str, request: Any) -> None:
        """Somebody decides."""
        sent = approval_service_pb2.DecideApprovalRequest(decision=request)
        self._note(who, request, self._world.ask(who, APPROVALS, "DecideApproval", sent))

    def decision(self, name: str, asked: Asked) -> Any:
        """Something that somebody may decide on an approval; now and then on what it is not."""
        rng, request_id = self._rng, self._world.request_id()
        digest, verdict = asked.event.digest, rng.choice(_VERDICTS)
        if rng.random() < 0.08:
            others = [each.event.digest for _, each in self._world.reading.everything().values()]
            digest = rng.choice([*(other for other in others if other != digest), _OTHER_DIGEST])
        request = approval_service_pb2.DecisionRequest(
            approval_id=name, digest=digest, verdict=verdict, request_id=request_id
        )
        if verdict == RESPOND:
            request.message = f"answer to {request_id}"
        if verdict == EDIT:
            request.arguments_json = self._edited()
        if verdict == DELEGATE:
            request.delegate_to = rng.choice([*asked.spec.delegates, *DECIDES])
        is_given = verdict in (APPROVE, EDIT) and asked.call
        if is_given and rng.random() < (0.6 if asked.spec.grants else 0.05):
            request.grant.CopyFrom(self._grant(asked))
        if rng.random() < 0.2:
            request.on_behalf_of = "ann"
        return request

    def _edited(self) -> bytes:
        """Arguments, most of them such as a call can have, in one spelling or another."""
        path, size = self._rng.choice(PATHS), self._rng.choice([1, 9])
        spellings = [f'{{"path": "{path}", "size": {size}}}', f'{{"size":{size},\n"path":"{path}"}}', "[]", "{"]
        return self._rng.choices(spellings, [8, 8, 1, 1])[0].encode()

    def _grant(self, asked: Asked) -> Any:
        """A grant, mostly one that is offered."""
        rng, offer = self._rng, asked.spec.grants if self._rng.random() < 0.85 else None
        scope, matcher = (
            rng.choice(offer.scopes if offer else SCOPES),
            rng.choice(offer.matchers if offer else MATCHERS),
        )
        return grant_pb2.GrantRequest(
            scope=grant_pb2.GrantScope.Value(f"GRANT_SCOPE_{scope.upper()}"),
            matcher=grant_pb2.GrantMatcher.Value(f"GRANT_MATCHER_{matcher.upper()}"),
            condition=rng.choice([*OF_ARGUMENTS]) if matcher == "constraints" else "",
            uses=rng.randint(1, offer.max_uses) if offer else rng.choice([1, 9]),
            valid_for=rng.choice(["10s", offer.max_time if offer else "20m"]),
            tainted=rng.random() < 0.4 and (offer is None or offer.tainted),
        )

    def somebody(self, run: ReadRun, asked: Asked) -> str:
        """Somebody who may decide, as often as not."""
        world, people = self._world, self._world.scene.people
        if people.keys and self._rng.random() < 0.75:
            approvers = asked.approvers(world.server.clock.now())
            four_eyes, executor = asked.spec.four_eyes, asked.event.executor
            may = [
                who for who in DECIDES if not people.why_not(who, approvers, executor, run.starter, four_eyes=four_eyes)
            ]
            if may:
                return self._rng.choice(may)
        return world.one_of(*DECIDES)

    def _some_approval(self) -> tuple[str, ReadRun, Asked] | None:
        """Mostly one that is pending."""
        found = self._world.reading.pending()
        if not found or self._rng.random() < 0.1:
            found = self._world.reading.everything()
        if not found:
            return None
        name = self._rng.choice([*found])
        return name, *found[name]

    def _note(self, who: str, request: Any, answer: Answer) -> None:
        run, asked = self._world.reading.everything().get(request.approval_id, (None, None))
        is_pending = asked is not None and asked.state == PENDING
        turn = asked.current if asked is not None else 0
        sent = Sent(who, request, answer, run.time if run is not None else 0, is_pending, turn)
        self._world.sent.append(sent)
        self.sent.append(sent)


class _OfBatch(Answer):
    """The answer to one decision of a batch."""

    def __init__(self, batch: Answer, number: int) -> None:
        self._batch = batch
        self._number = number

    def _result(self) -> Any:
        return self._batch.response.results[self._number] if self._batch.response is not None else None

    @property
    def response(self) -> Any:  # type: ignore[override]
        """What was decided; None for a refusal."""
        result = self._result()
        return result.decided if result is not None and result.WhichOneof("result") == "decided" else None

    @property
    def error(self) -> Any:  # type: ignore[override]
        """What this one, or all of them, were refused with."""
        result = self._result()
        if result is None:
            return self._batch.error
        return result.error if result.WhichOneof("result") == "error" else None
