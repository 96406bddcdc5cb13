"""Packages that are kept by the service, and the changes that say what ids and tags mean."""

from __future__ import annotations

from enum import Enum

from msgspec import Struct

from runwright.core.ids import Namespace
from runwright.core.units import Micros


class StoredPackage(Struct, frozen=True, kw_only=True):
    """A package as it was put first: immutable.

    `canonical` are the bytes that the fingerprint is made of; of a package with sidecars `RuntimePackage.stored`.
    """

    namespace: Namespace
    fingerprint: str
    package_id: str
    agent_id: str
    put_by: str
    put_at: Micros
    canonical: bytes


class PackageChange(Struct, frozen=True, kw_only=True):
    """One change of what an id or a tag means.

    A put makes its package what the id means; with a tag, or without a put, the tag points to it since. `previous` is
    where the tag pointed before, empty for nowhere. `created` says that the put brought the package.
    """

    namespace: Namespace
    package_id: str
    fingerprint: str
    tag: str = ""
    previous: str = ""
    is_put: bool = False
    created: bool = False
    request_id: str = ""
    principal: str = ""
    at: Micros = 0
    number: int = 0  # of the store, ascending

    def is_of(self, wanted: WantedChange) -> bool:
        """True when this is what a request asked for."""
        return (self.is_put, self.fingerprint, self.tag) == (wanted.is_put, wanted.fingerprint, wanted.tag)


class WantedChange(Struct, frozen=True, kw_only=True):
    """What somebody asks a store to change. With a package it is a put, else a move of the tag.

    `expected` is where the tag must point before, empty for nowhere; None: wherever it does.
    """

    namespace: Namespace
    fingerprint: str
    principal: str
    at: Micros
    package: StoredPackage | None = None
    tag: str = ""
    expected: str | None = None
    request_id: str = ""

    @property
    def is_put(self) -> bool:
        """True when a package comes with it."""
        return self.package is not None


class ChangeOutcome(Enum):
    """What became of a wanted change."""

    MADE = 1
    UNCHANGED = 2  # it says what is so already, or its request was carried out before
    NOT_THERE = 3  # no package that was put has the fingerprint
    TAG_ELSEWHERE = 4  # `previous` is where the tag points
    REQUEST_TAKEN = 5  # the request id belongs to another request
    FULL = 6  # the namespace has as many packages as it may
    TAGS_FULL = 7  # the tag is new, and there are as many as there may be


class ChangeAnswer(Struct, frozen=True):
    """What became of a wanted change, and where its tag pointed before. `most`: how many there may be."""

    outcome: ChangeOutcome
    created: bool = False
    previous: str = ""
    most: int = 0
