"""The ports of one runtime, together."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, field

from runwright.core.approval_policy import NO_APPROVAL_POLICY, ApprovalPolicy
from runwright.core.errors import MEANINGS, AgentError, ErrorReason
from runwright.core.near import did_you_mean
from runwright.ports.approval_dispatchers import ApprovalDispatchers, NoDispatchers
from runwright.ports.approvers import Approvers, NoSeparation
from runwright.ports.audit import Audit, NoAudit
from runwright.ports.clock import Clock
from runwright.ports.ids import IdSource
from runwright.ports.journal import Journal
from runwright.ports.log import OperatorLog
from runwright.ports.packages import PackageReader, PackageStore
from runwright.ports.provider import ClosableProvider, PreparableProvider, Provider
from runwright.ports.recovery import RecoveryLog
from runwright.ports.remote_policies import NoRemotePolicies, RemotePolicies
from runwright.ports.schemas import SchemaChecker
from runwright.ports.tools import ToolExecutors
from runwright.runtime.conversations.conversation_memory import ConversationMemory
from runwright.runtime.policies import Policies


class Ports(Struct, frozen=True, kw_only=True):
    """Everything outside that a runtime was built with."""

    journal: Journal
    clock: Clock
    ids: IdSource
    providers: Mapping[str, Provider]
    tools: ToolExecutors
    schemas: SchemaChecker
    log: OperatorLog
    traces: bool = False  # somebody makes spans of what runs do
    audit: Audit = field(default_factory=NoAudit)
    memory: ConversationMemory = field(default_factory=ConversationMemory)
    policies: Policies
    remote_policies: RemotePolicies = field(default_factory=NoRemotePolicies)
    dispatchers: ApprovalDispatchers = field(default_factory=NoDispatchers)
    approval_policy: ApprovalPolicy = NO_APPROVAL_POLICY
    package_store: PackageStore | None = None  # without one, no packages are put
    package_reader: PackageReader | None = None
    approvers: Approvers = field(default_factory=NoSeparation)
    recovery: RecoveryLog | None = None  # without one, starts are not counted

    def provider(self, adapter: str) -> Provider:
        """The provider adapter of that name. Raises PROVIDER_MISSING naming those there are."""
        found = self.providers.get(adapter)
        if found is None:
            known = ", ".join(sorted(self.providers)) or "none"
            raise AgentError(
                ErrorReason.PROVIDER_MISSING,
                f"No provider adapter is called {adapter}; known: {known}.",
                metadata={"adapter": adapter, "known": known},
                remedy=did_you_mean(adapter, self.providers) + MEANINGS[ErrorReason.PROVIDER_MISSING].remedy,
            )
        return found

    async def prepare_providers(self) -> None:
        """Has every provider load what it needs, so that no request is begun that only waits for a library.

        How long that took is logged. One that fails is logged too: its requests will say what is wrong.
        """
        for adapter, provider in self.providers.items():
            if isinstance(provider, PreparableProvider):
                began = self.clock.now()
                try:
                    await provider.prepare()
                    self.log.info("provider is ready", adapter=adapter, ms=(self.clock.now() - began) // 1000)
                except Exception as error:  # noqa: BLE001 - an adapter's own failure must not keep the server down
                    self.log.error("provider is not ready", error, adapter=adapter)

    async def close_providers(self) -> None:
        """Closes every provider that can be. One that fails is logged: the others and the journal are closed all the
        same."""
        for adapter, provider in self.providers.items():
            if isinstance(provider, ClosableProvider):
                try:
                    await provider.close()
                except Exception as error:  # noqa: BLE001 - an adapter's own failure must not keep the server up
                    self.log.error("provider did not close", error, adapter=adapter)
