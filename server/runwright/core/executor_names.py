"""Whose the names of executors are: an address that the operator configures has an owner, too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct, field

from runwright.core.ids import LOCAL_PRINCIPAL, Namespace
from runwright.core.name_owners import NameOwners


class ConfiguredExecutor(Struct, frozen=True):
    """Where the operator says that an executor is, and whose it is."""

    principal: str
    address: str

    @classmethod
    def parse(cls, text: str) -> ConfiguredExecutor:
        """Of `[PRINCIPAL@]HOST:PORT`; without one it is the operator's own, `local`."""
        principal, _, address = text.rpartition("@")
        return cls(principal or LOCAL_PRINCIPAL, address)


class ExecutorNames(NameOwners, frozen=True):
    """What the operator says of executors' names. `configured` are principals by name, where `owners` says nothing."""

    configured: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, owners: Mapping[str, Sequence[str]], addresses: Mapping[str, str]) -> ExecutorNames:
        """From the settings `executor_owners` and `executors`."""
        return cls(owners, {name: ConfiguredExecutor.parse(address).principal for name, address in addresses.items()})

    def principals(self, namespace: Namespace, name: str) -> Sequence[str]:
        """See NameOwners."""
        configured = (self.configured[name],) if name in self.configured else ()
        return NameOwners.principals(self, namespace, name) or configured
