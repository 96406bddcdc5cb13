"""Whose the names of callbacks are, of whatever kind, as the operator says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct, field

from runwright.core.ids import Namespace


class NameOwners(Struct, frozen=True):
    """What the operator says of the names of one kind.

    `owners` are principals by `name` or `namespace/name`, of which the latter
    counts alone where it is given. Of any other name nothing is said: it
    belongs to whoever holds a lease under it.
    """

    owners: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def principals(self, namespace: Namespace, name: str) -> Sequence[str]:
        """Who may register the name in the namespace; nobody in particular when it is empty."""
        for key in (f"{namespace}/{name}", name):
            if key in self.owners:
                return self.owners[key]
        return ()
