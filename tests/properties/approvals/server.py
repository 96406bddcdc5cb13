"""A server without its network: every request goes by credentials, roles and handlers as over gRPC.

It lives until it crashes; the next life knows what is in the journal. Callers of a life that ends hear nothing.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf.message import Message
from runwright._gen.runwright.v1 import error_pb2, event_pb2, runtime_service_pb2
from runwright.adapters.cel_conditions import CelConditions
from runwright.adapters.condition_worker import load
from runwright.adapters.ids import RandomIds
from runwright.adapters.json_schema import JsonSchemaChecker
from runwright.adapters.key_approvers import KeyApprovers
from runwright.adapters.memory.audit import MemoryAudit
from runwright.adapters.memory.journal import MemoryJournal
from runwright.adapters.providers.scripted import ScriptedProvider
from runwright.adapters.sqlite.journal import SqliteJournal
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.executor_names import ExecutorNames
from runwright.core.ids import DEFAULT_NAMESPACE, Namespace, RunId, RunKey
from runwright.core.principal import Principal, Role
from runwright.ports.access import Credentials
from runwright.runtime import AgentRuntime, AgentRuntimeBuilder
from runwright.testing import ManualClock
from runwright.transport.access import Access
from runwright.transport.approval_service import ApprovalService
from runwright.transport.method import Shape
from runwright.transport.methods import APPROVALS, METHODS, RUNTIME
from runwright.transport.runtime_service import RuntimeService
from runwright.transport.streams import EventStreams
from runwright.wire.values import agent_error

from tests import builders as b
from tests.properties.approvals.dispatchers import Dispatchers
from tests.properties.approvals.faulty_journal import FaultyJournal
from tests.properties.approvals.hosts import Hosts
from tests.properties.approvals.idle_loop import IdleLoop
from tests.properties.approvals.people import ELSEWHERE, FOREIGN, People
from tests.properties.approvals.read_run import Stored
from tests.properties.approvals.scene import Scene, as_rules

_ROWS = {method.path: method for method in METHODS}
_CONDITIONS = CelConditions()
_SCHEMAS = JsonSchemaChecker()


class Keys:
    """The keys file of a world: a key is the name of whoever holds it."""

    def __init__(self, people: People) -> None:
        self._people = people

    def principal(self, name: str) -> Principal | None:
        """Whoever holds that key; None when it does not hold."""
        if name == FOREIGN:
            return Principal(name, Namespace(ELSEWHERE), frozenset({Role.ADMIN}), name)
        if name in self._people.revoked or name not in self._people.roles:
            return None
        roles = frozenset(Role(role) for role in self._people.roles[name])
        return Principal(name, Namespace(DEFAULT_NAMESPACE), roles, name)

    def principals(self) -> list[Principal]:
        """Everybody whose key holds."""
        return [found for name in (*self._people.roles, FOREIGN) if (found := self.principal(name)) is not None]

    def authenticate(self, credentials: Credentials) -> Principal:
        """See Authenticator."""
        found = self.principal(credentials.bearer or "")
        if found is None:
            expected = "a key that holds"
            raise AgentError(
                ErrorReason.UNAUTHENTICATED, "The call is not authenticated.", metadata={"expected": expected}
            )
        return found

    def is_current(self, principal: Principal) -> bool:
        """See Authenticator."""
        return self.principal(principal.name) == principal


class _Context:
    """A call's headers."""

    def __init__(self, key: str) -> None:
        self._key = key

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        """The key."""
        return (("authorization", f"Bearer {self._key}"),)

    def peer(self) -> str:
        """Somewhere."""
        return "ipv4:127.0.0.1:1"

    def auth_context(self) -> dict[str, list[bytes]]:
        """No certificate."""
        return {}


@dataclass
class Answer:
    """What became of a request; neither of the two when its caller has heard nothing."""

    response: Any = None
    error: error_pb2.AgentError | None = None

    @property
    def reason(self) -> str:
        """The reason of a refusal; empty for none."""
        return error_pb2.ErrorReason.Name(self.error.reason).removeprefix("ERROR_REASON_") if self.error else ""

    @property
    def is_heard(self) -> bool:
        """False when the server died before it answered."""
        return self.response is not None or self.error is not None


class _Sender:
    def __init__(self) -> None:
        self.sent: list[Any] = []

    async def write(self, message: Message) -> None:
        """Takes what is streamed."""
        self.sent.append(message)


class Server:
    """One server of a world, in one life after another."""

    def __init__(
        self, loop: IdleLoop, scene: Scene, hosts: Hosts, dispatchers: Dispatchers, directory: Path | None
    ) -> None:
        """With a `directory` its journal is a file there, else it is in memory."""
        if not _CONDITIONS_ARE_LOADED:
            load()
            _CONDITIONS_ARE_LOADED.append(True)
        self.clock = ManualClock()
        self.log = b.ListLog()
        self._loop = loop
        self._scene = scene
        self._hosts = hosts
        self._dispatchers = dispatchers
        self._directory = directory
        self._keys = Keys(scene.people)
        self._stored: MemoryJournal | SqliteJournal | None = None
        self.journal: FaultyJournal
        self.runtime: AgentRuntime
        self._services: dict[str, object] = {}
        self._before: set[asyncio.Task[Any]] = set()
        loop.watch(lambda: self.journal.busy > 0)

    async def begin(self) -> None:
        """Begins a life with what is in the journal."""
        if self._stored is None or self._directory is not None:
            self._stored = SqliteJournal.open(self._directory) if self._directory else MemoryJournal()
        self.journal = FaultyJournal(self._stored)
        self._dispatchers.begin()
        self._before = asyncio.all_tasks()
        people, scene = self._scene.people, self._scene
        audit = MemoryAudit(self.clock)
        self.runtime = AgentRuntimeBuilder(
            journal=self.journal,
            clock=self.clock,
            ids=RandomIds(),
            tools=self._hosts.serve(self.clock),
            schemas=_SCHEMAS,
            conditions=_CONDITIONS,
            log=self.log,
            audit=audit,
            shared_approval_dispatcher=self._dispatchers,
            approvers=KeyApprovers(self._keys, ExecutorNames(people.owners, people.configured))
            if people.keys
            else None,
            providers={"scripted": ScriptedProvider()},
            packages=[made.package for made in scene.packages],
        ).build()
        self.follow_operator()
        self._access = Access(self._keys if people.keys else None, audit)
        self._services = {
            RUNTIME: RuntimeService(self.runtime, EventStreams(self.runtime), {}),
            APPROVALS: ApprovalService(self.runtime),
        }
        await self.runtime.recover()
        await self._loop.idle()

    def follow_operator(self) -> None:
        """Takes over the operator's rules as they are now."""
        self.runtime.ports.policies.replace_operator_rules({DEFAULT_NAMESPACE: as_rules(self._scene.operator)})

    async def crash(self) -> None:
        """Ends a life: whatever is in memory is gone, without a chance to tidy up."""
        self.journal.is_dead = True
        # What is cancelled may begin something else.
        while left := asyncio.all_tasks() - self._before - {asyncio.current_task()}:
            for task in left:
                task.cancel()
            await self._loop.idle()
        if self._directory is not None and self._stored is not None:
            await self._stored.close()

    async def close(self) -> None:
        """Lets go of the journal, in a life that is over."""
        if self._directory is None and self._stored is not None:
            await self._stored.close()

    def ask(self, who: str, service: str, method: str, request: Message) -> Answer:
        """Sends a request. The answer fills itself in as the loop goes on."""
        answer = Answer()
        asyncio.get_running_loop().create_task(self._answered(answer, who, f"/{service}/{method}", request))
        return answer

    async def _answered(self, answer: Answer, who: str, path: str, request: Message) -> None:
        row = _ROWS[path]
        try:
            self._access.admit(row, _Context(who))  # type: ignore[arg-type]
            servicer, parsed = self._services[row.service], row.handler.request.FromString(request.SerializeToString())
            if row.handler.shape is Shape.UNARY:
                answer.response = await row.handler.call(servicer, parsed)
            else:
                sender = _Sender()
                await row.handler.call(servicer, parsed, sender)
                answer.response = sender.sent
        except AgentError as error:
            answer.error = agent_error(error)

    async def events(self, run_id: str, after: int) -> list[Stored]:
        """What is on record of a run behind a position."""
        run = RunKey(Namespace(DEFAULT_NAMESPACE), RunId(run_id))
        found = await self.journal.read(run, after=after, limit=1_000_000)
        return [Stored(event.position, event.hash, event_pb2.Event.FromString(event.data)) for event in found]

    async def export(self, who: str, run_id: str) -> list[Any]:
        """The elements of a run's export, as whoever reads it gets them."""
        answer = self.ask(who, RUNTIME, "ExportRun", runtime_service_pb2.ExportRunRequest(run_id=run_id))
        await self._loop.idle()
        assert answer.response is not None, f"{run_id} cannot be exported: {answer.error}"
        found: list[Any] = answer.response
        return found


_CONDITIONS_ARE_LOADED: list[bool] = []
