"""PackageService: core ⇄ proto."""

from __future__ import annotations

from runwright._gen.runwright.v1 import package_service_pb2 as pb
from runwright._gen.runwright.v1 import run_pb2
from runwright.core.errors import invalid_request
from runwright.core.ids import check_caller_id
from runwright.core.package_findings import PackageFinding
from runwright.core.request import is_fingerprint
from runwright.core.stored_packages import PackageChange
from runwright.wire.values import put_timestamp


def check_selector(message: run_pb2.PackageSelector, *, required: bool) -> None:
    """Raises INVALID_REQUEST for a selector that can name nothing, or for none where one is required."""
    chosen = message.WhichOneof("selector")
    if (chosen and not getattr(message, chosen)) or (required and not chosen):
        raise invalid_request(
            "package",
            "a package_id, tag or fingerprint that is not empty",
            "Name one that ListPackages shows.",
        )
    for name in ("package_id", "tag"):
        if chosen == name:
            check_caller_id(f"package.{name}", getattr(message, name))
    if chosen == "fingerprint" and not is_fingerprint(message.fingerprint):
        raise invalid_request("package.fingerprint", "sha256:TAG:HEX", "Copy it from `runwright package ls`.")


def finding(value: PackageFinding) -> pb.PackageFinding:
    """core → proto."""
    return pb.PackageFinding(
        path=value.path,
        line=value.line,
        column=value.column,
        rule=value.rule.value,
        expected=value.expected,
        remedy=value.remedy,
        did_you_mean=value.meant,
    )


def move(value: PackageChange) -> pb.TagMove:
    """core → proto."""
    message = pb.TagMove(
        fingerprint=value.fingerprint,
        package_id=value.package_id,
        previous_fingerprint=value.previous,
        moved_by=value.principal,
    )
    put_timestamp(message.time, value.at)
    return message
