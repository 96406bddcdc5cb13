"""Packages in memory: gone with the process."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from runwright.adapters.package_store_rules import answer_of, judged
from runwright.core.ids import Namespace
from runwright.core.stored_packages import ChangeAnswer, PackageChange, StoredPackage, WantedChange
from runwright.ports.packages import MOST_PACKAGES, MOST_TAGS


class _Namespace:
    """What one namespace has; the lookups of `package_store_rules`."""

    def __init__(self) -> None:
        self.packages: dict[str, StoredPackage] = {}
        self.changes: list[PackageChange] = []
        self.tags: dict[str, str] = {}
        self.latest_of: dict[str, str] = {}
        self.requests: dict[str, PackageChange] = {}

    def count(self) -> int:
        return len(self.packages)

    def count_tags(self) -> int:
        return len(self.tags)

    def package_id(self, fingerprint: str) -> str:
        found = self.packages.get(fingerprint)
        return found.package_id if found else ""

    def tagged(self, tag: str) -> str:
        return self.tags.get(tag, "")

    def latest(self, package_id: str) -> str:
        return self.latest_of.get(package_id, "")

    def of_request(self, request_id: str) -> PackageChange | None:
        return self.requests.get(request_id)

    def write(self, change: PackageChange, package: StoredPackage | None) -> None:
        """Makes a change so."""
        if package is not None:
            self.packages.setdefault(package.fingerprint, package)
            self.latest_of[change.package_id] = change.fingerprint
        if change.tag:
            self.tags[change.tag] = change.fingerprint
        if change.request_id:
            self.requests[change.request_id] = change
        self.changes.append(replace(change, number=len(self.changes) + 1))


class MemoryPackages:
    """PackageStore for tests and for library users."""

    def __init__(self, most: int = MOST_PACKAGES, most_tags: int = MOST_TAGS) -> None:
        """How many packages and tags a namespace may have."""
        self._most = most
        self._most_tags = most_tags
        self._of: defaultdict[Namespace, _Namespace] = defaultdict(_Namespace)

    async def change(self, wanted: WantedChange) -> ChangeAnswer:
        """See the port."""
        known = self._of[wanted.namespace]
        found = judged(wanted, known, most=self._most, most_tags=self._most_tags)
        if isinstance(found, ChangeAnswer):
            return found
        known.write(found, wanted.package)
        return answer_of(found)

    async def get(self, namespace: Namespace, fingerprint: str) -> StoredPackage | None:
        """See the port."""
        return self._of[namespace].packages.get(fingerprint)

    async def tagged(self, namespace: Namespace, tag: str) -> str:
        """See the port."""
        return self._of[namespace].tagged(tag)

    async def latest(self, namespace: Namespace, package_id: str) -> str:
        """See the port."""
        return self._of[namespace].latest(package_id)

    async def page(
        self, namespace: Namespace, *, package_id: str = "", after: str = "", limit: int
    ) -> list[StoredPackage]:
        """See the port."""
        newest = [*reversed(self._of[namespace].packages.values())]
        if after:
            names = [package.fingerprint for package in newest]
            newest = newest[names.index(after) + 1 :] if after in names else []
        wanted = [package for package in newest if not package_id or package.package_id == package_id]
        return [replace(package, canonical=b"") for package in wanted[:limit]]

    async def tags(self, namespace: Namespace, fingerprints: Sequence[str]) -> Mapping[str, Sequence[str]]:
        """See the port."""
        found: dict[str, list[str]] = {}
        for tag, fingerprint in sorted(self._of[namespace].tags.items()):
            if fingerprint in fingerprints:
                found.setdefault(fingerprint, []).append(tag)
        return found

    async def history(self, namespace: Namespace, tag: str, *, before: int | None, limit: int) -> list[PackageChange]:
        """See the port."""
        return [
            change
            for change in reversed(self._of[namespace].changes)
            if change.tag == tag and (before is None or change.number < before)
        ][:limit]

    async def names(self, namespace: Namespace, *, limit: int) -> Sequence[str]:
        """See the port."""
        known = self._of[namespace]
        return [*known.tags, *known.latest_of][:limit]
