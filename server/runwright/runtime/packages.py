"""The packages a runtime can run, and which one answers a request."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec import Struct

from runwright.core.content import JSON, Content
from runwright.core.errors import MEANINGS, AgentError, ErrorReason
from runwright.core.fingerprint import fingerprint
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
        return cls(package, content, fingerprint(content.data, package.format))


class PackageCatalogue:
    """Packages by id and by fingerprint; one of them is the default."""

    def __init__(self, packages: Sequence[RuntimePackage], default_id: str | None = None) -> None:
        """Raises PACKAGE_INVALID for two packages with one id, PACKAGE_NOT_FOUND for a default that is not there."""
        self._by_id: dict[str, CataloguedPackage] = {}
        for package in packages:
            if package.id in self._by_id:
                raise AgentError(
                    ErrorReason.PACKAGE_INVALID,
                    f"Two packages are called {package.id}.",
                    metadata={"package": package.id, "path": "id", "rule": "unique"},
                    remedy="Give one of them another id.",
                )
            self._by_id[package.id] = CataloguedPackage.of(package)
        self._by_fingerprint = {known.fingerprint: known for known in self._by_id.values()}
        if default_id is not None and default_id not in self._by_id:
            raise self._not_found(default_id)
        self.default_id = default_id or (packages[0].id if packages else None)

    def __iter__(self) -> Iterator[CataloguedPackage]:
        """Every package, in the order given."""
        return iter(self._by_id.values())

    def resolve(self, request: RunRequest) -> CataloguedPackage:
        """The package a request selects, or the default.

        Raises PACKAGE_NOT_FOUND, or AGENT_MISMATCH when the request names another agent.
        """
        if request.package_fingerprint:
            found = self._by_fingerprint.get(request.package_fingerprint)
        else:
            found = self._by_id.get(request.package_id or self.default_id or "")
        if found is None:
            raise self._not_found(request.package_fingerprint or request.package_id or "the default package")
        package = found.package
        if request.agent_id and request.agent_id != package.agent.id:
            raise AgentError(
                ErrorReason.AGENT_MISMATCH,
                f"Package {package.id} is agent {package.agent.id}, not {request.agent_id}.",
                metadata={"agent_id": request.agent_id, "expected": package.agent.id},
                remedy=self._for_agent(request.agent_id),
            )
        return found

    def _not_found(self, name: str) -> AgentError:
        remedy = did_you_mean(name, self._by_id) + MEANINGS[ErrorReason.PACKAGE_NOT_FOUND].remedy
        message = f"There is no package {name}."
        return AgentError(ErrorReason.PACKAGE_NOT_FOUND, message, metadata={"package": name}, remedy=remedy)

    def _for_agent(self, agent_id: str) -> str:
        """How to reach an agent that is not the one of the package that was selected."""
        known = {entry.package.agent.id: entry.package.id for entry in self}
        if agent_id in known:
            return f"Select package {known[agent_id]}, which is that agent, or leave agent_id out."
        return did_you_mean(agent_id, known) + MEANINGS[ErrorReason.AGENT_MISMATCH].remedy
