"""Settings of a server, with units."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from runwright.core.errors import AgentError, ErrorReason

DEFAULT_LISTEN = "127.0.0.1:7760"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a server is started with."""

    data: Path  # the journal's directory
    listen: str = DEFAULT_LISTEN  # host:port; port 0 lets the system choose
    packages: tuple[Path, ...] = ()  # YAML or JSON files
    default_package: str | None = None  # package id; None: the first file's
    executors: Mapping[str, str] = field(default_factory=dict)  # name → host:port
    drain_grace_seconds: float = 20.0  # how long SIGTERM waits for calls that must not be repeated
    stall_seconds: float = 30.0  # how long one write to a subscriber may take
    journal_max_bytes: int | None = None  # bound on the journal's size; None: the disk's
    keys: Path | None = None  # keys file; None: everyone is `local`, on loopback only
    tls_cert: Path | None = None  # certificate chain of the server, PEM
    tls_key: Path | None = None  # its private key, PEM
    tls_client_ca: Path | None = None  # clients must show a certificate of this authority, PEM
    insecure_allow_remote: bool = False  # bind other addresses than loopback although TLS or keys are missing

    def check(self) -> None:
        """Raises INVALID_REQUEST naming the setting that cannot be used."""
        host, _, port = self.listen.rpartition(":")
        if not host or not port.isdigit():
            raise _invalid("--listen", "HOST:PORT")
        if (self.tls_cert is None) != (self.tls_key is None):
            raise _invalid("--tls-cert", "given together with --tls-key")
        if self.tls_client_ca is not None and self.tls_cert is None:
            raise _invalid("--tls-client-ca", "given together with --tls-cert and --tls-key")
        guarded = self.keys is not None and self.tls_cert is not None
        if not (guarded or self.insecure_allow_remote or is_loopback(host)):
            expected = "a loopback address, unless --keys and --tls-cert are given, or --insecure-allow-remote"
            raise _invalid("--listen", expected)
        if not self.packages:
            raise _invalid("--package", "given at least once")


def is_loopback(host: str) -> bool:
    """True for an address that only this machine can reach."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def parse_executors(values: list[str]) -> dict[str, str]:
    """`NAME=HOST:PORT` options as a mapping. Raises INVALID_REQUEST for another form."""
    executors: dict[str, str] = {}
    for value in values:
        name, _, address = value.partition("=")
        if not name or ":" not in address or name in executors:
            raise _invalid("--executor", "NAME=HOST:PORT, each name once")
        executors[name] = address
    return executors


def _invalid(option: str, expected: str) -> AgentError:
    return AgentError(
        ErrorReason.INVALID_REQUEST,
        f"{option} must be {expected}.",
        metadata={"field": option, "expected": expected},
    )
