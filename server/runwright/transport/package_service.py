"""The handlers of PackageService: a request is read, the registry asked, its answer put into a response.

Messages of whole packages are made on another thread: the canonical form of a large schema takes a while.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from runwright._gen.runwright.v1 import package_service_pb2 as pb
from runwright._gen.runwright.v1 import run_pb2
from runwright.core.audit import AuditEntry, AuditKind
from runwright.core.error_kinds import RetryClass
from runwright.core.errors import AgentError
from runwright.core.fingerprint import canonical_json
from runwright.core.ids import check_caller_id
from runwright.ports.audit import Audit
from runwright.ports.provider import ToolSpecification
from runwright.runtime.package_registry import PackageOutline, PackageRegistry, PackageTag
from runwright.runtime.packages import CataloguedPackage, Selector
from runwright.transport.access import principal
from runwright.wire import package_service as wire
from runwright.wire.packages import package
from runwright.wire.requests import page_size
from runwright.wire.values import put_timestamp, to_budget


class PackageService:
    """`runwright.v1.PackageService` over a PackageRegistry."""

    def __init__(self, registry: PackageRegistry, audit: Audit) -> None:
        self._registry = registry
        self._audit = audit

    async def PutPackage(self, request: pb.PutPackageRequest) -> pb.PutPackageResponse:
        """Keeps a package; durable before the reply."""
        try:
            changed = await self._registry.put(principal(), request.document, _tagged(request), request.sidecars)
        except AgentError as error:
            self._refused((request.tag,), error)
            raise
        return pb.PutPackageResponse(
            package=_summary(changed.outline), created=changed.created, previous_fingerprint=changed.previous
        )

    async def GetPackage(self, request: pb.GetPackageRequest) -> pb.GetPackageResponse:
        """A package, whole."""
        wire.check_selector(request.package, required=True)
        outline, found = await self._registry.get(principal().namespace, _selector(request.package))
        return await asyncio.to_thread(_whole, outline, found)

    async def ListPackages(self, request: pb.ListPackagesRequest) -> pb.ListPackagesResponse:
        """One page of packages in outline."""
        if request.package_id:
            check_caller_id("package_id", request.package_id)
        page = await self._registry.page(
            principal().namespace,
            package_id=request.package_id,
            token=request.page_token,
            limit=page_size(request.page_size),
        )
        return pb.ListPackagesResponse(
            packages=[_summary(outline) for outline in page.packages], next_page_token=page.next_token
        )

    async def TagPackage(self, request: pb.TagPackageRequest) -> pb.TagPackageResponse:
        """Moves a tag; durable before the reply."""
        try:
            changed = await self._registry.tag(principal(), request.fingerprint, _tagged(request))
        except AgentError as error:
            self._refused((request.tag, request.fingerprint), error)
            raise
        return pb.TagPackageResponse(package=_summary(changed.outline), previous_fingerprint=changed.previous)

    async def ListTagHistory(self, request: pb.ListTagHistoryRequest) -> pb.ListTagHistoryResponse:
        """One page of a tag's moves, newest first."""
        found = await self._registry.history(
            principal().namespace, request.tag, token=request.page_token, limit=page_size(request.page_size)
        )
        return pb.ListTagHistoryResponse(
            moves=[wire.move(change) for change in found.moves], next_page_token=found.next_token
        )

    async def ValidatePackage(self, request: pb.ValidatePackageRequest) -> pb.ValidatePackageResponse:
        """Everything that is wrong with a package."""
        read = await self._registry.validate(request.document, request.sidecars)
        if read.names is None:
            return pb.ValidatePackageResponse(findings=[wire.finding(finding) for finding in read.findings])
        return pb.ValidatePackageResponse(package_id=read.names.package_id, fingerprint=read.names.fingerprint)

    async def ResolvePackage(self, request: pb.ResolvePackageRequest) -> pb.ResolvePackageResponse:
        """What a run of a package would be."""
        wire.check_selector(request.package, required=False)
        if request.agent_id:
            check_caller_id("agent_id", request.agent_id)
        found = await self._registry.resolve(
            principal().namespace,
            _selector(request.package),
            budget=to_budget(request.budget),
            agent_id=request.agent_id,
        )
        return pb.ResolvePackageResponse(
            summary=_summary(found.outline),
            effective=await asyncio.to_thread(package, found.effective),
            model_tools=await asyncio.to_thread(_model_tools, found.tools),
            missing_executors=found.missing_executors,
            missing_adapters=found.missing_adapters,
        )

    def _refused(self, subjects: Sequence[str], error: AgentError) -> None:
        """Notes who was refused what, and why; not what the same request may get a moment later."""
        if error.meaning.retry is RetryClass.RETRYABLE:
            return
        asks = principal()
        self._audit.note(
            AuditEntry(
                kind=AuditKind.PACKAGE_REFUSED,
                principal=asks.name,
                namespace=asks.namespace,
                reason=error.reason.name,
                subjects=tuple(subject for subject in subjects if subject),
            )
        )


def _whole(outline: PackageOutline, found: CataloguedPackage) -> pb.GetPackageResponse:
    sidecars = sorted(found.package.sidecars.items())
    return pb.GetPackageResponse(
        summary=_summary(outline),
        package=package(found.package),
        canonical_json=found.package.canonical() if sidecars else found.content.data,
        sidecars=[canonical_json(schema) for _, schema in sidecars],
    )


def _model_tools(tools: Sequence[ToolSpecification]) -> list[pb.ModelTool]:
    return [
        pb.ModelTool(
            name=tool.name,
            description=tool.description,
            parameters_schema_json=canonical_json(tool.parameters_schema),
        )
        for tool in tools
    ]


def _tagged(request: pb.PutPackageRequest | pb.TagPackageRequest) -> PackageTag:
    has_condition = request.HasField("expected_previous_fingerprint")
    return PackageTag(
        tag=request.tag,
        expected=request.expected_previous_fingerprint if has_condition else None,
        request_id=request.request_id,
    )


def _selector(message: run_pb2.PackageSelector) -> Selector:
    return Selector(message.package_id, message.fingerprint, message.tag)


def _summary(outline: PackageOutline) -> pb.PackageSummary:
    summary = pb.PackageSummary(
        package_id=outline.package_id,
        fingerprint=outline.fingerprint,
        agent_id=outline.agent_id,
        source=pb.PACKAGE_SOURCE_STORED if outline.put_at else pb.PACKAGE_SOURCE_FILE,
        tags=outline.tags,
        put_by=outline.put_by,
    )
    if outline.put_at:
        put_timestamp(summary.put_time, outline.put_at)
    return summary
