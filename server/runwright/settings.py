"""Settings of a server, with units."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias
from urllib.parse import urlsplit

from runwright.core.errors import AgentError, ErrorReason

DEFAULT_LISTEN = "127.0.0.1:7760"
DEFAULT_PROVIDER_TIMEOUT_SECONDS = 120.0
ProviderKind: TypeAlias = Literal["openai", "anthropic", "ollama"]
_PROVIDER_FORM = "openai=KEYENV[@URL], anthropic=KEYENV[@URL] or ollama=[KEYENV][@URL], each once"
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderSettings:
    """How real models of one kind are reached: what must never be in a package. The key itself is not here."""

    kind: ProviderKind
    base_url: str | None = None  # None: the vendor's own
    key_variable: str | None = None  # name of the environment variable that holds the key
    timeout_seconds: float = DEFAULT_PROVIDER_TIMEOUT_SECONDS  # of one whole request

    def key(self) -> str | None:
        """The key, read from the environment now. Raises INVALID_REQUEST if it is not there."""
        if self.key_variable is None:
            return None
        key = os.environ.get(self.key_variable, "").strip()
        if not key or not key.isascii() or not key.isprintable() or " " in key:
            raise _invalid(
                "--provider", f"given with an environment variable that holds a key; {self.key_variable} does not"
            )
        return key


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a server is started with."""

    data: Path  # the journal's directory
    listen: str = DEFAULT_LISTEN  # host:port; port 0 lets the system choose
    packages: tuple[Path, ...] = ()  # YAML or JSON files
    default_package: str | None = None  # package id; None: the first file's
    executors: Mapping[str, str] = field(default_factory=dict)  # name → host:port
    providers: Mapping[str, ProviderSettings] = field(default_factory=dict)  # adapter name in packages → route
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


def parse_providers(values: list[str], timeout_seconds: float) -> dict[str, ProviderSettings]:
    """`KIND=KEYENV[@URL]` options as a mapping by kind. Raises INVALID_REQUEST for another form.

    The value is never repeated: somebody may have put the key itself there.
    """
    providers: dict[str, ProviderSettings] = {}
    for value in values:
        name, _, rest = value.partition("=")
        variable, at, url = rest.partition("@")
        kind = _kind(name)
        key_is_named = bool(_VARIABLE.fullmatch(variable)) or (kind == "ollama" and not variable)
        if kind is None or kind in providers or not key_is_named or (at and not url):
            raise _invalid("--provider", _PROVIDER_FORM)
        if url and not _may_be_called(url, with_key=bool(variable)):
            raise _invalid(
                "--provider",
                "given an https:// URL without user, query and fragment; http:// goes to loopback, or without a key",
            )
        providers[kind] = ProviderSettings(
            kind=kind, base_url=url or None, key_variable=variable or None, timeout_seconds=timeout_seconds
        )
    return providers


def _kind(name: str) -> ProviderKind | None:
    match name:
        case "openai" | "anthropic" | "ollama":
            return name
        case _:
            return None


def _may_be_called(url: str, *, with_key: bool) -> bool:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return False
    if not host or "@" in url or parts.query or parts.fragment or not url.isprintable():
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and (not with_key or is_loopback(host)))


def _invalid(option: str, expected: str) -> AgentError:
    return AgentError(
        ErrorReason.INVALID_REQUEST,
        f"{option} must be {expected}.",
        metadata={"field": option, "expected": expected},
    )
