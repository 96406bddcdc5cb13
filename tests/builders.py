"""What the tests of the runtime and of its faces are made of: scripted packages, and runtimes that play them."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from runwright.adapters.cel_conditions import CelConditions
from runwright.adapters.clock import SystemClock
from runwright.adapters.ids import RandomIds
from runwright.adapters.json_schema import JsonSchemaChecker
from runwright.adapters.memory.journal import MemoryJournal
from runwright.adapters.memory.packages import MemoryPackages
from runwright.adapters.package_reader import DocumentReader
from runwright.adapters.providers.scripted import ScriptedProvider
from runwright.core.approval_policy import NO_APPROVAL_POLICY, ApprovalPolicy
from runwright.core.images import Image
from runwright.core.package import RuntimePackage
from runwright.core.request import RunRequest
from runwright.ports.approval_dispatchers import ApprovalDispatchers
from runwright.ports.approvers import Approvers
from runwright.ports.audit import Audit
from runwright.ports.clock import Clock
from runwright.ports.conditions import ConditionEvaluator
from runwright.ports.journal import Journal
from runwright.ports.packages import PackageReader, PackageStore
from runwright.ports.provider import Provider
from runwright.ports.recovery import RecoveryLog
from runwright.ports.remote_policies import RemotePolicies
from runwright.ports.schemas import SchemaChecker
from runwright.ports.tools import ToolExecutors
from runwright.runtime import AgentRuntime, AgentRuntimeBuilder
from runwright.runtime.conversations.conversation_memory import DEFAULT_MEMORY_BYTES
from runwright.testing import FunctionTools, ManualClock

SECOND = 1_000_000
# One transparent pixel.
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)
ANY_ARGUMENTS = {"type": "object"}
Fields = dict[str, Any]


def tool(name: str = "look", **fields: Any) -> Fields:
    """A tool as a package file has it: it only reads, and takes any arguments, unless the fields say otherwise."""
    return {"name": name, "executor": "tools", "effect": "read", "parameters": ANY_ARGUMENTS, **fields}


def writing_tool(name: str = "write", **fields: Any) -> Fields:
    """A tool whose calls must not be repeated."""
    return tool(name, effect="write", **fields)


def says(text: str, **fields: Any) -> Fields:
    """A scripted answer. `{results}` in the text becomes the tool results so far."""
    return {"text": text, **fields}


def asks(*calls: str | Fields, **fields: Any) -> Fields:
    """A scripted request for tool calls, each a tool's name or a whole scripted call."""
    return {"calls": [{"tool": call} if isinstance(call, str) else call for call in calls], **fields}


def package(*script: Fields, tools: tuple[Fields, ...] = (), **fields: Any) -> RuntimePackage:
    """A package whose model follows the script; it allows what it declares unless the fields say otherwise."""
    return RuntimePackage.model_validate(
        {
            "format": "runwright-package-v0",
            "id": "helper-package",
            "agent": {"id": "helper", "instructions": "Help."},
            "provider": {"adapter": "scripted", "model": "model-1", "parameters": {"script": list(script)}},
            "policy": "builtin:allow-declared",
            "tools": list(tools),
            **fields,
        }
    )


def one_call_package() -> RuntimePackage:
    """One round with one call of `look`, then the answer."""
    return package(asks("look"), says("found {results}"), tools=(tool(),))


def request(run_id: str = "run-1", *input: str | Image, **fields: Any) -> RunRequest:
    """A request for a run of the default package."""
    return RunRequest(run_id=run_id, input=input or ("What is there?",), **fields)


async def look(arguments: Mapping[str, Any]) -> str:
    """A tool that answers at once."""
    return "a lamp"


@dataclass(frozen=True)
class LogLine:
    """One line of the operator's log."""

    event: str
    error: BaseException | None
    fields: Mapping[str, object]


@dataclass
class ListLog:
    """An OperatorLog that keeps its lines."""

    lines: list[LogLine] = field(default_factory=list)

    def info(self, event: str, **fields: object) -> None:
        """Keeps the line."""
        self.lines.append(LogLine(event, None, fields))

    def warning(self, event: str, **fields: object) -> None:
        """Keeps the line."""
        self.lines.append(LogLine(event, None, fields))

    def error(self, event: str, error: BaseException | None = None, **fields: object) -> None:
        """Keeps the line."""
        self.lines.append(LogLine(event, error, fields))

    @property
    def incidents(self) -> set[object]:
        """The incident ids an operator can find here."""
        return {line.fields["incident_id"] for line in self.lines if "incident_id" in line.fields}


@cache
def package_reader() -> DocumentReader:
    """The one of all benches: its process is started once."""
    return DocumentReader()


@dataclass
class Bench:
    """The parts of a runtime, real wherever a real one can run. `runtime` puts them together, as often as asked."""

    journal: Journal = field(default_factory=MemoryJournal)
    clock: Clock = field(default_factory=ManualClock)
    tools: ToolExecutors = field(default_factory=lambda: FunctionTools({"look": look}))
    schemas: SchemaChecker = field(default_factory=JsonSchemaChecker)
    conditions: ConditionEvaluator = field(default_factory=CelConditions)
    log: ListLog = field(default_factory=ListLog)
    audit: Audit | None = None
    recovery: RecoveryLog | None = None
    approvers: Approvers | None = None
    remote_policies: RemotePolicies | None = None
    dispatchers: ApprovalDispatchers | None = None
    shared_dispatchers: ApprovalDispatchers | None = None
    approval_policy: ApprovalPolicy = NO_APPROVAL_POLICY
    package_store: PackageStore = field(default_factory=MemoryPackages)
    package_reader: PackageReader = field(default_factory=package_reader)
    providers: Mapping[str, Provider] = field(default_factory=lambda: {"scripted": ScriptedProvider()})
    packages: tuple[RuntimePackage, ...] = field(default_factory=lambda: (one_call_package(),))
    package_namespaces: Mapping[str, Sequence[str]] = field(default_factory=dict)
    conversation_memory: int = DEFAULT_MEMORY_BYTES

    def runtime(self, *packages: RuntimePackage, journal: Journal | None = None) -> AgentRuntime:
        """A runtime of these parts, like one after a restart: it knows nothing that is not in the journal.

        Packages and journal given here take the place of the bench's own.
        """
        return AgentRuntimeBuilder(
            journal=journal or self.journal,
            clock=self.clock,
            ids=RandomIds(),
            tools=self.tools,
            schemas=self.schemas,
            conditions=self.conditions,
            log=self.log,
            audit=self.audit,
            recovery=self.recovery,
            approvers=self.approvers,
            remote_policies=self.remote_policies,
            approval_dispatcher=self.dispatchers,
            shared_approval_dispatcher=self.shared_dispatchers,
            approval_policy=self.approval_policy,
            package_store=self.package_store,
            package_reader=self.package_reader,
            providers=self.providers,
            packages=packages or self.packages,
            package_namespaces=self.package_namespaces,
            conversation_memory=self.conversation_memory,
        ).build()

    def key(self, call_id: str, run_id: str = "run-1") -> str:
        """The idempotency key of a call of a run that began in the bench's journal."""
        return f"{self.journal.incarnation[:16]}/default/{run_id}/{call_id}"

    @property
    def manual_clock(self) -> ManualClock:
        """The clock, where it is turned by hand."""
        assert isinstance(self.clock, ManualClock)
        return self.clock

    @property
    def function_tools(self) -> FunctionTools:
        """The tools, where they are functions with a ledger."""
        assert isinstance(self.tools, FunctionTools)
        return self.tools


def real_time_bench(**parts: Any) -> Bench:
    """A bench by the system's clock, for runtimes on another thread than the test."""
    return Bench(clock=SystemClock(), **parts)
