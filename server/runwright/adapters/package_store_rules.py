"""What speaks for and against a change of the kept packages: the same for every store."""

from __future__ import annotations

from typing import Protocol

from runwright.core.stored_packages import ChangeAnswer, ChangeOutcome, PackageChange, WantedChange
from runwright.ports.packages import MOST_PACKAGES, MOST_TAGS


class KnownPackages(Protocol):
    """What a namespace has at the moment of a change."""

    def count(self) -> int:
        """How many packages there are."""

    def count_tags(self) -> int:
        """How many tags there are."""

    def package_id(self, fingerprint: str) -> str:
        """The id of a package; empty when it was never put."""

    def tagged(self, tag: str) -> str:
        """Where a tag points; empty for nowhere."""

    def latest(self, package_id: str) -> str:
        """What was last put under an id; empty for nothing."""

    def of_request(self, request_id: str) -> PackageChange | None:
        """The change that a request has made."""


def judged(
    wanted: WantedChange, known: KnownPackages, *, most: int = MOST_PACKAGES, most_tags: int = MOST_TAGS
) -> ChangeAnswer | PackageChange:
    """The change to write, or the answer where there is nothing to write.

    A request that was carried out gets the answer it had, whatever has happened since. A change that says what is so
    already is written only where a request id must be remembered.
    """
    if wanted.request_id and (before := known.of_request(wanted.request_id)) is not None:
        if before.is_of(wanted):
            return ChangeAnswer(ChangeOutcome.UNCHANGED, before.created, before.previous)
        return ChangeAnswer(ChangeOutcome.REQUEST_TAKEN)
    there = known.package_id(wanted.fingerprint)
    package_id = there or (wanted.package.package_id if wanted.package is not None else "")
    if not package_id:
        return ChangeAnswer(ChangeOutcome.NOT_THERE)
    previous = known.tagged(wanted.tag) if wanted.tag else ""
    if wanted.expected is not None and wanted.expected != previous:
        return ChangeAnswer(ChangeOutcome.TAG_ELSEWHERE, previous=previous)
    if not there and known.count() >= most:
        return ChangeAnswer(ChangeOutcome.FULL, most=most)
    if wanted.tag and not previous and known.count_tags() >= most_tags:
        return ChangeAnswer(ChangeOutcome.TAGS_FULL, most=most_tags)
    is_so = (not wanted.tag or previous == wanted.fingerprint) and (
        not wanted.is_put or known.latest(package_id) == wanted.fingerprint
    )
    if is_so and not wanted.request_id:
        return ChangeAnswer(ChangeOutcome.UNCHANGED, previous=previous)
    return PackageChange(
        namespace=wanted.namespace,
        package_id=package_id,
        fingerprint=wanted.fingerprint,
        tag=wanted.tag,
        previous=previous,
        is_put=wanted.is_put,
        created=not there,
        request_id=wanted.request_id,
        principal=wanted.principal,
        at=wanted.at,
    )


def answer_of(change: PackageChange) -> ChangeAnswer:
    """The answer for a change that was written."""
    return ChangeAnswer(ChangeOutcome.MADE, change.created, change.previous)
