"""The packages a runtime can run, by namespace, and which one answers a request."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from msgspec import Struct

from runwright.core.content import JSON, Content
from runwright.core.errors import MEANINGS, AgentError, ErrorReason
from runwright.core.fingerprint import fingerprint
from runwright.core.ids import Namespace
from runwright.core.near import did_you_mean
from runwright.core.package import RuntimePackage
from runwright.core.request import RunRequest


class CataloguedPackage(Struct, frozen=True):
    """A package with what every run of it needs: its canonical bytes and their fingerprint, made once."""

    package: RuntimePackage
    content: Content
    fingerprint: str

    @classmethod
    def of(cls, package: RuntimePackage) -> CataloguedPackage:
        """The package, made ready."""
        content = Content.of(package.canonical(), JSON)
        return cls(package, content, fingerprint(content.data))


class NamespacePackages:
    """What one namespace sees: its packages by id and by fingerprint; one of them may be the default."""

    def __init__(self, packages: Sequence[CataloguedPackage], default_id: str | None) -> None:
        """Of a `default_id` that is not among the packages there is no default."""
        self._by_id = {known.package.id: known for known in packages}
        self._by_fingerprint = {known.fingerprint: known for known in packages}
        self.default_id = default_id if default_id in self._by_id else None

    def __iter__(self) -> Iterator[CataloguedPackage]:
        """Every package, in the order given."""
        return iter(self._by_id.values())

    def find(self, request: RunRequest) -> CataloguedPackage:
        """The package a request selects, or the default.

        Raises PACKAGE_NOT_FOUND, or AGENT_MISMATCH when the request names another agent.
        """
        if request.package_fingerprint:
            found = self._by_fingerprint.get(request.package_fingerprint)
        else:
            found = self._by_id.get(request.package_id or self.default_id or "")
        if found is None:
            name = request.package_fingerprint or request.package_id or "the default package"
            raise not_found(name, self._by_id)
        package = found.package
        if request.agent_id and request.agent_id != package.agent.id:
            raise AgentError(
                ErrorReason.AGENT_MISMATCH,
                f"Package {package.id} is agent {package.agent.id}, not {request.agent_id}.",
                metadata={"agent_id": request.agent_id, "expected": package.agent.id},
                remedy=self._for_agent(request.agent_id),
            )
        return found

    def _for_agent(self, agent_id: str) -> str:
        """How to reach an agent that is not the one of the package that was selected."""
        known = {entry.package.agent.id: entry.package.id for entry in self}
        if agent_id in known:
            return f"Select package {known[agent_id]}, which is that agent, or leave agent_id out."
        return did_you_mean(agent_id, known) + MEANINGS[ErrorReason.AGENT_MISMATCH].remedy


class PackageCatalogue:
    """All packages. A package belongs to every namespace, unless namespaces are named for it."""

    def __init__(
        self,
        packages: Sequence[RuntimePackage],
        default_id: str | None = None,
        namespaces: Mapping[str, Collection[str]] | None = None,
    ) -> None:
        """`namespaces` names, by package id, those that see the package; to others it is not there.

        Without a `default_id` each namespace's default is the first package it sees. Raises PACKAGE_INVALID for two
        packages with one id, PACKAGE_NOT_FOUND for a default, or an id in `namespaces`, that is not there.
        """
        known: dict[str, CataloguedPackage] = {}
        for package in packages:
            if package.id in known:
                raise AgentError(
                    ErrorReason.PACKAGE_INVALID,
                    f"Two packages are called {package.id}.",
                    metadata={"package": package.id, "path": "id", "rule": "unique"},
                    remedy="Give one of them another id.",
                )
            known[package.id] = CataloguedPackage.of(package)
        namespaces = namespaces or {}
        for name in (*([default_id] if default_id is not None else []), *namespaces):
            if name not in known:
                raise not_found(name, known)

        def seen(namespace: str | None) -> NamespacePackages:
            found = [each for name, each in known.items() if name not in namespaces or namespace in namespaces[name]]
            first = found[0].package.id if found else None
            return NamespacePackages(found, first if default_id is None else default_id)

        self._shared = seen(None)
        self._by_namespace = {namespace: seen(namespace) for named in namespaces.values() for namespace in named}

    def of(self, namespace: Namespace) -> NamespacePackages:
        """What the namespace sees."""
        return self._by_namespace.get(namespace, self._shared)


def not_found(name: str, known: Collection[str]) -> AgentError:
    """PACKAGE_NOT_FOUND, which names nothing but what is `known` to whoever asks."""
    remedy = did_you_mean(name, known) + MEANINGS[ErrorReason.PACKAGE_NOT_FOUND].remedy
    message = f"There is no package {name}."
    return AgentError(ErrorReason.PACKAGE_NOT_FOUND, message, metadata={"package": name}, remedy=remedy)
