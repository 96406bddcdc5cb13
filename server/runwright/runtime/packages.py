"""The packages a runtime was started with, by namespace, and how one is named."""

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
    """A package with what every run of it needs, made once: the bytes that are pinned, and its fingerprint."""

    package: RuntimePackage
    content: Content
    fingerprint: str

    @classmethod
    def of(cls, package: RuntimePackage) -> CataloguedPackage:
        """The package, made ready."""
        stored = package.stored()
        canonical = package.canonical() if package.sidecars else stored
        return cls(package, Content.of(stored, JSON), fingerprint(canonical, package.format))


class Selector(Struct, frozen=True):
    """Which package somebody wants: one of three is set, or none for the default."""

    package_id: str = ""
    fingerprint: str = ""
    tag: str = ""

    @property
    def name(self) -> str:
        """What was named, for people."""
        return self.fingerprint or self.tag or self.package_id or "the default package"

    @classmethod
    def of(cls, request: RunRequest) -> Selector:
        """What a request selects."""
        return cls(request.package_id, request.package_fingerprint, request.package_tag)


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

    def find(self, wanted: Selector) -> CataloguedPackage | None:
        """The file that is selected, or the default; None where no file is."""
        if wanted.tag:
            return None
        if wanted.fingerprint:
            return self._by_fingerprint.get(wanted.fingerprint)
        return self._by_id.get(wanted.package_id or self.default_id or "")

    @property
    def ids(self) -> Sequence[str]:
        """The ids of all files."""
        return tuple(self._by_id)


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
