"""Whose the names of executors are: of two hosts with one name only those may get calls whom the name belongs to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct, field

from runwright.core.ids import LOCAL_PRINCIPAL, Namespace


class ConfiguredExecutor(Struct, frozen=True):
    """Where the operator says that an executor is, and whose it is."""

    principal: str
    address: str

    @classmethod
    def parse(cls, text: str) -> ConfiguredExecutor:
        """Of `[PRINCIPAL@]HOST:PORT`; without one it is the operator's own, `local`."""
        principal, _, address = text.rpartition("@")
        return cls(principal or LOCAL_PRINCIPAL, address)


class ExecutorNames(Struct, frozen=True):
    """What the operator says of names.

    `owners` are principals by `name` or `namespace/name`, of which the latter
    counts alone where it is given; `configured` are principals by name. Of any
    other name nothing is said: it belongs to whoever holds a lease under it.
    """

    owners: Mapping[str, Sequence[str]] = field(default_factory=dict)
    configured: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, owners: Mapping[str, Sequence[str]], addresses: Mapping[str, str]) -> ExecutorNames:
        """From the settings `executor_owners` and `executors`."""
        return cls(owners, {name: ConfiguredExecutor.parse(address).principal for name, address in addresses.items()})

    def principals(self, namespace: Namespace, executor: str) -> Sequence[str]:
        """Who may register the name in the namespace; nobody in particular when it is empty."""
        for name in (f"{namespace}/{executor}", executor):
            if name in self.owners:
                return self.owners[name]
        return (self.configured[executor],) if executor in self.configured else ()
