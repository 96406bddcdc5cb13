"""Keys file, certificate and private key: whether a server could use them, and who else may."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from runwright.adapters.keys import read_keys
from runwright.adapters.private_files import exposure
from runwright.cli.checks.check import Check, fail, ok, warn
from runwright.core.errors import AgentError
from runwright.transport.tls import TlsFiles


def check_keys(path: Path) -> Iterator[Check]:
    """The keys file of the principals."""
    try:
        known = len(read_keys(path).keys)
    except AgentError as error:
        yield fail("keys file", error.message, "Correct the path, its permissions, or the file.")
        return
    yield _exposed("keys file", path) or ok("keys file", f"{path}: {known} principal{'s' if known != 1 else ''}")


def check_tls(certificate: Path, key: Path, client_ca: Path | None) -> Iterator[Check]:
    """Certificate and private key, as the server would load them."""
    try:
        TlsFiles(certificate, key, client_ca).credentials()
    except AgentError as error:
        yield fail("tls", error.message, "Give the files that belong together, in PEM form.")
    yield _exposed("private key", key) or ok("private key", f"only its owner may read {key}")


def _exposed(name: str, path: Path) -> Check | None:
    what = exposure(path)
    return warn(name, what, f"chmod 600 {path}") if what else None
