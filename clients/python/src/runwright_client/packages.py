"""The part of a client that puts packages into a server and reads them there."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, Iterable

from ._gen.runwright.v1 import (
    Budget,
    GetPackageRequest,
    GetPackageResponse,
    ListPackagesRequest,
    ListTagHistoryRequest,
    PackageSelector,
    PackageServiceStub,
    PackageSummary,
    PutPackageRequest,
    PutPackageResponse,
    ResolvePackageRequest,
    ResolvePackageResponse,
    TagMove,
    TagPackageRequest,
    TagPackageResponse,
    ValidatePackageRequest,
    ValidatePackageResponse,
)
from .connection import Connection


class PackageCalls:
    """What `Client` can do with packages. `package` is an id, `@TAG` or a fingerprint."""

    deadline: float

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._packages = PackageServiceStub(connection.channel)

    async def put_package(
        self,
        document: str,
        *,
        tag: str = "",
        expected_previous: str | None = None,
        request_id: str = "",
        sidecars: Iterable[str | bytes] = (),
        deadline: float | None = None,
    ) -> PutPackageResponse:
        """Puts a package, the text of its file; when this returns, it is on disk.

        `sidecars` are the schemas, in JSON, that its tools name by digest (`schema_digest`).

        With a tag, the tag is moved to it; `expected_previous` is the fingerprint it must point to before, empty for
        nowhere. The request id is made here when there is none, so that a call that is repeated moves nothing again.
        """
        request = PutPackageRequest(
            document=document,
            tag=tag,
            expected_previous_fingerprint=expected_previous,
            request_id=request_id or str(uuid.uuid4()),
            sidecars=_bytes(sidecars),
        )
        return await self._connection.unary(
            self._packages.put_package, request, deadline=deadline or self.deadline, safe=True
        )

    async def get_package(self, package: str, *, deadline: float | None = None) -> GetPackageResponse:
        """A package, whole."""
        request = GetPackageRequest(package=selector(package))
        return await self._connection.unary(
            self._packages.get_package, request, deadline=deadline or self.deadline, safe=True
        )

    async def list_packages(self, package_id: str = "", *, page_size: int = 0) -> AsyncGenerator[PackageSummary]:
        """Packages in outline, the server's files first, page by page as they are asked for."""
        request = ListPackagesRequest(package_id=package_id, page_size=page_size)
        while True:
            page = await self._connection.unary(
                self._packages.list_packages, request, deadline=self.deadline, safe=True
            )
            for package in page.packages:
                yield package
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def tag_package(
        self,
        tag: str,
        fingerprint: str,
        *,
        expected_previous: str | None = None,
        request_id: str = "",
        deadline: float | None = None,
    ) -> TagPackageResponse:
        """Points a tag to a package that was put; see `put_package`."""
        request = TagPackageRequest(
            tag=tag,
            fingerprint=fingerprint,
            expected_previous_fingerprint=expected_previous,
            request_id=request_id or str(uuid.uuid4()),
        )
        return await self._connection.unary(
            self._packages.tag_package, request, deadline=deadline or self.deadline, safe=True
        )

    async def tag_history(self, tag: str, *, page_size: int = 0) -> AsyncGenerator[TagMove]:
        """Where a tag points and has pointed, newest first, page by page as it is asked for."""
        request = ListTagHistoryRequest(tag=tag, page_size=page_size)
        while True:
            page = await self._connection.unary(
                self._packages.list_tag_history, request, deadline=self.deadline, safe=True
            )
            for move in page.moves:
                yield move
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def validate_package(
        self, document: str, *, sidecars: Iterable[str | bytes] = (), deadline: float | None = None
    ) -> ValidatePackageResponse:
        """Everything that is wrong with a package, the text of its file, and its sidecars; nothing is kept."""
        request = ValidatePackageRequest(document=document, sidecars=_bytes(sidecars))
        return await self._connection.unary(
            self._packages.validate_package, request, deadline=deadline or self.deadline, safe=True
        )

    async def resolve_package(
        self,
        package: str = "",
        *,
        budget: Budget | None = None,
        agent_id: str = "",
        deadline: float | None = None,
    ) -> ResolvePackageResponse:
        """What a run would be: limits, tools as the model sees them, what is missing in the server."""
        request = ResolvePackageRequest(package=selector(package), budget=budget, agent_id=agent_id)
        return await self._connection.unary(
            self._packages.resolve_package, request, deadline=deadline or self.deadline, safe=True
        )


def _bytes(sidecars: Iterable[str | bytes]) -> list[bytes]:
    return [each.encode() if isinstance(each, str) else each for each in sidecars]


def selector(package: str) -> PackageSelector | None:
    """Which package a word names: by fingerprint, by `@TAG` or by id; None for none."""
    if not package:
        return None
    if package.startswith("@"):
        return PackageSelector(tag=package[1:])
    is_fingerprint = package.startswith("sha256:")
    return PackageSelector(fingerprint=package) if is_fingerprint else PackageSelector(package_id=package)
