"""AgentRuntimeBuilder: ports by keyword, the missing ones named, the defaults explicit."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from msgspec import Struct, field

from runwright.core.approval_policy import NO_APPROVAL_POLICY, ApprovalPolicy
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.ids import Namespace
from runwright.core.package import RuntimePackage
from runwright.ports.approval_dispatchers import ApprovalDispatchers
from runwright.ports.approvers import Approvers, NoSeparation
from runwright.ports.audit import Audit, NoAudit
from runwright.ports.clock import Clock
from runwright.ports.conditions import (
    CONDITION_REMEDY,
    SUMMARY_REMEDY,
    ConditionEvaluator,
    NoConditions,
    condition_problems,
)
from runwright.ports.function_dispatcher import DispatchFunction, dispatchers_of
from runwright.ports.ids import IdSource
from runwright.ports.journal import Journal
from runwright.ports.log import OperatorLog
from runwright.ports.packages import PackageReader, PackageStore
from runwright.ports.provider import Provider
from runwright.ports.recovery import RecoveryLog
from runwright.ports.remote_policies import NoRemotePolicies, RemotePolicies
from runwright.ports.schemas import SchemaChecker
from runwright.ports.tools import ToolExecutors
from runwright.runtime.conversations.conversation_memory import DEFAULT_MEMORY_BYTES, ConversationMemory
from runwright.runtime.packages import PackageCatalogue
from runwright.runtime.policies import EVERY_NAMESPACE, Policies
from runwright.runtime.ports import Ports
from runwright.runtime.runtime import AgentRuntime


class AgentRuntimeBuilder(Struct, kw_only=True):
    """What a runtime is made of. A port that is left out is named by `build`.

    Only `audit`, `recovery`, `conditions`, `remote_policies`, those about approvals and the two about
    packages may be left out: what belongs to no run is then not written down, starts that a run has ended
    are not counted, a package with conditions is refused, remote policies deny, approvals are only listed,
    and there are only the packages it is built with. The runtime closes an `approval_dispatcher`, and not a
    `shared_approval_dispatcher`, which others may use as well. A package belongs to
    every namespace, unless `package_namespaces` names those that see it, by its id.
    """

    journal: Journal | None = None
    clock: Clock | None = None
    ids: IdSource | None = None
    tools: ToolExecutors | None = None
    schemas: SchemaChecker | None = None
    conditions: ConditionEvaluator | None = None
    log: OperatorLog | None = None
    audit: Audit | None = None
    recovery: RecoveryLog | None = None
    approvers: Approvers | None = None
    package_store: PackageStore | None = None
    package_reader: PackageReader | None = None
    remote_policies: RemotePolicies | None = None
    approval_dispatcher: ApprovalDispatchers | DispatchFunction | None = None
    shared_approval_dispatcher: ApprovalDispatchers | DispatchFunction | None = None
    approval_policy: ApprovalPolicy = NO_APPROVAL_POLICY
    providers: Mapping[str, Provider] = field(default_factory=dict)
    packages: Sequence[RuntimePackage] = ()
    default_package_id: str | None = None
    package_namespaces: Mapping[str, Collection[str]] = field(default_factory=dict)
    traces: bool = False
    conversation_memory: int = DEFAULT_MEMORY_BYTES

    def build(self) -> AgentRuntime:
        """Makes the runtime.

        Raises PORT_MISSING naming every port that is missing, PACKAGE_INVALID
        for a package that cannot run, PACKAGE_NOT_FOUND for an unknown default.
        Call `recover` on the result before anything else.
        """
        if (
            self.journal is None
            or self.clock is None
            or self.ids is None
            or self.tools is None
            or self.schemas is None
            or self.log is None
        ):
            required = ("journal", "clock", "ids", "tools", "schemas", "log")
            missing = ", ".join(port for port in required if getattr(self, port) is None)
            raise AgentError(
                ErrorReason.PORT_MISSING, f"The runtime was built without: {missing}.", metadata={"port": missing}
            )
        catalogue = PackageCatalogue(self.packages, self.default_package_id, self.package_namespaces)
        for package in self.packages:
            check_schemas(package, self.schemas)
            check_conditions(package, self.conditions)
            check_summaries(package, self.conditions)
        ports = Ports(
            journal=self.journal,
            clock=self.clock,
            ids=self.ids,
            providers=dict(self.providers),
            tools=self.tools,
            schemas=self.schemas,
            log=self.log,
            traces=self.traces,
            audit=self.audit or NoAudit(),
            memory=ConversationMemory(self.conversation_memory),
            recovery=self.recovery,
            approvers=self.approvers or NoSeparation(),
            policies=self._policies(),
            remote_policies=self.remote_policies or NoRemotePolicies(),
            dispatchers=dispatchers_of(self.approval_dispatcher, self.shared_approval_dispatcher),
            approval_policy=self.approval_policy,
            package_store=self.package_store,
            package_reader=self.package_reader,
        )
        return AgentRuntime(ports, catalogue)

    def _policies(self) -> Policies:
        """Raises PACKAGE_INVALID for a condition of the approval policy that cannot be used."""
        policies, rules = Policies(self.conditions or NoConditions()), self.approval_policy.operator_rules()
        for _, problem in condition_problems(rules.policies, policies.conditions.problem):
            message = f"approval_policy.ask_when: the condition cannot be used: {problem}."
            metadata = {"package": "", "path": "approval_policy.ask_when", "rule": problem}
            raise AgentError(ErrorReason.PACKAGE_INVALID, message, metadata=metadata, remedy=CONDITION_REMEDY)
        if rules.policies:
            policies.replace_operator_rules({Namespace(EVERY_NAMESPACE): rules})
        return policies


def check_schemas(package: RuntimePackage, schemas: SchemaChecker) -> None:
    """Raises PACKAGE_INVALID for the first tool whose schema cannot be used, with its path."""
    for index, tool in enumerate(package.tools):
        name = "parameters" if tool.schema_digest is None else "schema_digest"
        written = {name: package.arguments_schema(tool), "model_view": tool.model_view}
        for name, schema in written.items():
            problem = schemas.schema_problem(schema) if schema is not None else None
            if problem:
                raise AgentError(
                    ErrorReason.PACKAGE_INVALID,
                    f"Package {package.id}, tools.{index}.{name}: the schema cannot be used: {problem}",
                    metadata={"package": package.id, "path": f"tools.{index}.{name}", "rule": problem},
                    remedy=f"Write the {name} of tool {tool.name} as JSON Schema, draft 2020-12.",
                )


def check_summaries(package: RuntimePackage, conditions: ConditionEvaluator | None) -> None:
    """Raises PACKAGE_INVALID for the first tool whose summary cannot be used, with its path."""
    for index, tool in enumerate(package.tools):
        problem = (conditions or NoConditions()).summary_problem(tool.summary) if tool.summary else None
        if problem:
            where = f"tools.{index}.summary"
            raise AgentError(
                ErrorReason.PACKAGE_INVALID,
                f"Package {package.id}, {where}: the summary cannot be used: {problem}.",
                metadata={"package": package.id, "path": where, "rule": problem},
                remedy=SUMMARY_REMEDY,
            )


def check_conditions(package: RuntimePackage, conditions: ConditionEvaluator | None) -> None:
    """Raises PACKAGE_INVALID for the first condition of its policies that cannot be used, with its path."""
    for path, problem in condition_problems(package.policies, (conditions or NoConditions()).problem):
        where = ".".join(map(str, ("policies", *path)))
        raise AgentError(
            ErrorReason.PACKAGE_INVALID,
            f"Package {package.id}, {where}: the condition cannot be used: {problem}.",
            metadata={"package": package.id, "path": where, "rule": problem},
            remedy=CONDITION_REMEDY,
        )
