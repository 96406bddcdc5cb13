"""Which package answers: a file of the server's, or one that was put into the namespace."""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from pydantic import ValidationError

from runwright.core.content import JSON, Content
from runwright.core.errors import MEANINGS, AgentError, ErrorReason
from runwright.core.ids import Namespace
from runwright.core.near import MOST_KNOWN, did_you_mean
from runwright.core.package import RuntimePackage
from runwright.core.stored_packages import StoredPackage
from runwright.ports.packages import PackageStore
from runwright.runtime.packages import CataloguedPackage, PackageCatalogue, Selector, not_found

READ_INLINE_BYTES = 64 * 1024  # of a canonical form, in some milliseconds on the loop; more on another thread
MAX_CACHED_BYTES = 16 * 1024 * 1024  # of canonical forms


class PackageLookup:
    """Finds packages by id, tag or fingerprint. What was put is immutable, so those used last stay in memory."""

    def __init__(self, files: PackageCatalogue, store: PackageStore | None) -> None:
        self._files = files
        self._store = store
        self._cached: OrderedDict[tuple[Namespace, str], CataloguedPackage] = OrderedDict()
        self._bytes = 0

    async def resolve(self, namespace: Namespace, wanted: Selector, agent_id: str = "") -> CataloguedPackage:
        """The package that is selected, or the default.

        Raises PACKAGE_NOT_FOUND, AGENT_MISMATCH when another agent is expected, PACKAGE_INVALID for one that was put
        under rules that have become stricter, and the journal's errors. Files are found without waiting.
        """
        found = self._files.of(namespace).find(wanted)
        if found is None and self._store is not None:
            found = await self._stored(namespace, wanted, self._store)
        if found is None:
            raise await self.missing(namespace, wanted.name, is_tag=bool(wanted.tag))
        if agent_id and agent_id != found.package.agent.id:
            package = found.package
            raise AgentError(
                ErrorReason.AGENT_MISMATCH,
                f"Package {package.id} is agent {package.agent.id}, not {agent_id}.",
                metadata={"agent_id": agent_id, "expected": package.agent.id},
                remedy=self._for_agent(namespace, agent_id),
            )
        return found

    async def missing(self, namespace: Namespace, name: str, *, is_tag: bool = False) -> AgentError:
        """PACKAGE_NOT_FOUND, with what may have been meant."""
        if is_tag:
            return not_found(name, (), "tag")
        put = await self._store.names(namespace, limit=MOST_KNOWN) if self._store is not None else ()
        return not_found(name, (*self._files.of(namespace).ids, *put))

    async def _stored(self, namespace: Namespace, wanted: Selector, store: PackageStore) -> CataloguedPackage | None:
        fingerprint = wanted.fingerprint
        if wanted.tag:
            fingerprint = await store.tagged(namespace, wanted.tag)
        elif wanted.package_id:
            fingerprint = await store.latest(namespace, wanted.package_id)
        if not fingerprint:
            return None
        if (known := self._cached.get((namespace, fingerprint))) is not None:
            self._cached.move_to_end((namespace, fingerprint))
            return known
        stored = await store.get(namespace, fingerprint)
        if stored is None:
            return None
        if len(stored.canonical) > READ_INLINE_BYTES:
            return self._cache(namespace, await asyncio.to_thread(catalogued, stored))
        return self._cache(namespace, catalogued(stored))

    def _cache(self, namespace: Namespace, found: CataloguedPackage) -> CataloguedPackage:
        key = (namespace, found.fingerprint)
        if key not in self._cached:  # two may have read it at once
            self._cached[key] = found
            self._bytes += len(found.content.data)
        while self._bytes > MAX_CACHED_BYTES:
            _, least = self._cached.popitem(last=False)
            self._bytes -= len(least.content.data)
        return found

    def _for_agent(self, namespace: Namespace, agent_id: str) -> str:
        """How to reach an agent that is not the one of the package that was selected."""
        known = {entry.package.agent.id: entry.package.id for entry in self._files.of(namespace)}
        if agent_id in known:
            return f"Select package {known[agent_id]}, which is that agent, or leave agent_id out."
        return did_you_mean(agent_id, known) + MEANINGS[ErrorReason.AGENT_MISMATCH].remedy


def catalogued(stored: StoredPackage) -> CataloguedPackage:
    """A package that was put, made ready. Raises PACKAGE_INVALID when this version takes it no more."""
    try:
        package = RuntimePackage.model_validate_json(stored.canonical)
    except ValidationError as error:
        path = ".".join(str(step) for step in error.errors(include_url=False)[0]["loc"])
        raise AgentError(
            ErrorReason.PACKAGE_INVALID,
            f"Package {stored.fingerprint} was put, and this version of Runwright takes it no more.",
            metadata={"package": stored.package_id, "path": path, "rule": "a package that is valid in this version"},
            remedy="Get it, mend it and put it again: runwright package get, runwright package put.",
        ) from None
    return CataloguedPackage(package, Content.of(stored.canonical, JSON), stored.fingerprint)
