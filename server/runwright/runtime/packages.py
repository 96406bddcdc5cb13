"""The packages a runtime was started with, and how one is named."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

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


def not_found(name: str, known: Iterable[str]) -> AgentError:
    """PACKAGE_NOT_FOUND, with what may have been meant."""
    remedy = did_you_mean(name, known) + MEANINGS[ErrorReason.PACKAGE_NOT_FOUND].remedy
    message = f"There is no package {name}."
    return AgentError(ErrorReason.PACKAGE_NOT_FOUND, message, metadata={"package": name}, remedy=remedy)


class PackageCatalogue:
    """Packages of files, by id and by fingerprint; one of them is the default. They belong to every namespace."""

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
            raise not_found(default_id, self._by_id)
        self.default_id = default_id or (packages[0].id if packages else None)

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
