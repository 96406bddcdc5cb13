"""The table of settings: each field with its kind and unit, one sentence and its default."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, field
from pathlib import Path
from typing import Any

from runwright.core.errors import AgentError, ErrorReason
from runwright.settings import kinds
from runwright.settings.kinds import Kind

DEFAULT_LISTEN = "127.0.0.1:7760"


def setting(
    kind: Kind, says: str, default: object = MISSING, *, flag: str = "", absent: str = "", secret: bool = False
) -> Any:  # a field of any type, as dataclasses.field is
    """A row of the table.

    `flag` is for a flag that is not called like the field, `absent` says what
    None or nothing means. A secret's value is never printed.
    """
    row = {"kind": kind, "says": says, "flag": flag, "absent": absent, "secret": secret}
    if isinstance(default, dict):
        return field(default_factory=lambda: dict(default), metadata=row)
    return field(default=default, metadata=row)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a server is started with. Flags, environment, file, their help and docs/configuration.md follow from it."""

    data: Path = setting(kinds.PATH, "Directory of the journal; made if missing.")
    listen: str = setting(kinds.ADDRESS, "Address to serve on; port 0 lets the system choose.", DEFAULT_LISTEN)
    packages: tuple[Path, ...] = setting(
        kinds.PATHS, "Package files (YAML or JSON).", (), flag="--package", absent="required"
    )
    default_package: str | None = setting(
        kinds.TEXT, "Id of the package that answers requests without one.", None, absent="the first package"
    )
    executors: Mapping[str, str] = setting(kinds.ADDRESSES, "Where each executor is.", {}, flag="--executor")
    drain_grace_seconds: float = setting(
        kinds.seconds(0, 3600), "How long SIGTERM waits for calls that must not be repeated.", 20.0, flag="--grace"
    )
    stall_seconds: float = setting(kinds.seconds(0.1, 3600), "How long one write to a subscriber may take.", 30.0)
    journal_max_bytes: int | None = setting(
        kinds.whole("bytes", 65_536), "Bound on the size of the journal's file.", None, absent="the disk"
    )
    insecure_allow_remote: bool = setting(
        kinds.SWITCH, "Bind other addresses than loopback, without TLS and keys.", False
    )

    def problems(self) -> Iterator[tuple[str, str]]:
        """What cannot be used together: the field and what is expected of it."""
        host, _, port = self.listen.rpartition(":")
        if not host or not port.isdigit():
            yield "listen", "HOST:PORT"
        elif not self.insecure_allow_remote and not is_loopback(host):
            yield "listen", "a loopback address, unless --insecure-allow-remote is given"
        if not self.packages:
            yield "packages", "given: at least one package file"

    def check(self) -> None:
        """Raises INVALID_REQUEST naming the setting that cannot be used."""
        for name, expected in self.problems():
            metadata = {"field": name, "expected": expected}
            raise AgentError(ErrorReason.INVALID_REQUEST, f"{name} must be {expected}.", metadata=metadata)


def is_loopback(host: str) -> bool:
    """True for an address that only this machine can reach."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
