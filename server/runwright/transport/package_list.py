"""The packages that GetServerInfo shows: a page of the caller's; instructions only to those who may start runs."""

from __future__ import annotations

from itertools import dropwhile, islice

from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright.core.errors import invalid_request
from runwright.core.principal import Principal
from runwright.runtime.packages import CataloguedPackage, NamespacePackages
from runwright.transport.access import STARTS_RUNS
from runwright.transport.usage import PAGE_BYTES
from runwright.wire import packages
from runwright.wire.requests import page_size


def put_packages(
    response: pb.GetServerInfoResponse, request: pb.GetServerInfoRequest, visible: NamespacePackages, asks: Principal
) -> None:
    """Puts one page into the response, 1 MiB at most beyond the first package. Raises INVALID_REQUEST."""
    left = iter(visible)
    if request.page_token:
        left = dropwhile(lambda known: known.package.id != request.page_token, left)
        if next(left, None) is None:
            raise invalid_request(
                "page_token", "the next_page_token of a response of this server", "Leave it out to begin again."
            )
    hides = not asks.has_any(STARTS_RUNS)
    size = 0
    for known in islice(left, page_size(request.page_size)):
        info = _info(known, is_default=known.package.id == visible.default_id, hides=hides)
        size += info.ByteSize()
        if response.packages and size > PAGE_BYTES:
            response.next_page_token = response.packages[-1].package.package_id
            return
        response.packages.append(info)
    if next(left, None) is not None:
        response.next_page_token = response.packages[-1].package.package_id


def _info(known: CataloguedPackage, *, is_default: bool, hides: bool) -> pb.PackageInfo:
    info = pb.PackageInfo(
        fingerprint=known.fingerprint,
        is_default=is_default,
        package=packages.package(known.package),
        instructions_hidden=hides,
    )
    if hides:
        info.package.agent.ClearField("instructions")
    return info
