"""Packages: where those that are put are kept, and how a text becomes one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from runwright.core.ids import Namespace
from runwright.core.package_findings import PackageFinding
from runwright.core.stored_packages import ChangeAnswer, PackageChange, StoredPackage, WantedChange

MOST_PACKAGES = 10_000  # of one namespace
MOST_SIDECAR_BYTES = 1024 * 1024  # of one package
MOST_TAGS = 1_000  # of one namespace; each can be moved as often as anybody wants


class PackageNames(Struct, frozen=True):
    """What a package is called."""

    package_id: str
    agent_id: str
    fingerprint: str


class ReadPackage(Struct, frozen=True):
    """The package of a text by its names, and what is to be kept of it; or everything that is wrong with it."""

    names: PackageNames | None
    findings: Sequence[PackageFinding]
    stored: bytes = b""


class PackageReader(Protocol):
    """Reads packages as their authors write them."""

    async def read(self, document: str, sidecars: Sequence[bytes] = ()) -> ReadPackage:
        """The package, its conditions and schemas examined, those among `sidecars` (JSON) that it names by digest too.

        The event loop goes on meanwhile, whatever the text is. Raises OVERLOADED while nothing can be read.
        """


class PackageStore(Protocol):
    """Packages that outlive the process, by namespace: immutable ones, and changes that say what ids and tags mean.

    Failures are the journal's errors; what is not as it was written is JOURNAL_CORRUPT.
    """

    async def change(self, wanted: WantedChange) -> ChangeAnswer:
        """Makes the change unless something speaks against it, in one step; durable on return."""

    async def get(self, namespace: Namespace, fingerprint: str) -> StoredPackage | None:
        """The package, if it was put."""

    async def tagged(self, namespace: Namespace, tag: str) -> str:
        """The fingerprint that a tag points to; empty for nowhere."""

    async def latest(self, namespace: Namespace, package_id: str) -> str:
        """The fingerprint that was last put under an id; empty when there is none."""

    async def page(
        self, namespace: Namespace, *, package_id: str = "", after: str = "", limit: int
    ) -> list[StoredPackage]:
        """At most `limit` packages, of that id or of all, newest first, their canonical bytes left out.

        `after` is the fingerprint of the last one of the page before; nothing follows one that was never put.
        """

    async def tags(self, namespace: Namespace, fingerprints: Sequence[str]) -> Mapping[str, Sequence[str]]:
        """The tags that point to each of these, in ascending order; without those that have none."""

    async def history(self, namespace: Namespace, tag: str, *, before: int | None, limit: int) -> list[PackageChange]:
        """At most `limit` changes of a tag with a number below `before`, newest first."""

    async def names(self, namespace: Namespace, *, limit: int) -> Sequence[str]:
        """Ids and tags that mean something, at most so many: what somebody may have meant who wrote another."""
