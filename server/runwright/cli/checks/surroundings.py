"""What a server is started with and talks to: its settings, its packages, its executors."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import grpc

from runwright.adapters.keys import read_keys
from runwright.adapters.remote.dialer import DIAL_OPTIONS
from runwright.cli.checks.check import Check, fail, ok, warn
from runwright.cli.names import counted
from runwright.core.executor_names import ConfiguredExecutor
from runwright.examination import Examined
from runwright.settings import Loaded

DIAL_SECONDS = 2.0  # for all executors together


def check_findings(examined: Examined) -> Iterator[Check]:
    """What `serve` and `config check` find as well; settings that only a server needs may be missing."""
    for finding in examined.findings:
        if not finding.is_missing:
            made = fail if finding.blocks else warn
            yield made(finding.subject, finding.message, finding.remedy)


def what_is_right(loaded: Loaded, examined: Examined) -> Iterator[Check]:
    """A line for each thing that was looked at and is as it should be."""
    wrong = {finding.subject for finding in examined.findings if not finding.is_missing}
    if "configuration" not in wrong:
        yield ok("configuration", str(loaded.config or "no file; flags, environment and defaults"))
    for package in examined.packages:
        yield ok("package", f"{package.id} of agent {package.agent.id}")
    files = (
        ("keys file", "keys"),
        ("tls", "tls_cert"),
        ("private key", "tls_key"),
        ("callback certificate", "callback_cert"),
        ("callback key", "callback_key"),
    )
    for subject, name in files:
        path = loaded.value(name)
        if isinstance(path, Path) and subject not in wrong:
            yield ok(subject, _right(subject, path))


def _right(subject: str, path: Path) -> str:
    match subject:
        case "keys file":
            return f"{path}: {counted(len(read_keys(path).keys), 'principal')}"
        case "callback certificate":
            return f"{path} can be shown to callbacks"
        case "private key" | "callback key":
            return f"only its owner may read {path}"
        case _:
            return f"{path} can be served with"


def check_executors(addresses: Mapping[str, str]) -> Iterator[Check]:
    """Dials every executor at once; one that speaks no gRPC is as good as none."""
    addresses = {name: ConfiguredExecutor.parse(address).address for name, address in addresses.items()}
    dialled = {name: grpc.insecure_channel(address, options=DIAL_OPTIONS) for name, address in addresses.items()}
    ready = {name: grpc.channel_ready_future(channel) for name, channel in dialled.items()}
    until = time.monotonic() + DIAL_SECONDS
    for name, address in addresses.items():
        try:
            ready[name].result(timeout=max(0.01, until - time.monotonic()))
        except grpc.FutureTimeoutError:
            remedy = f"Start executor {name} there, or correct its address; its calls wait until then."
            yield fail("executor", f"{name} does not answer at {address}", remedy)
        else:
            yield ok("executor", f"{name} answers at {address}")
        finally:
            ready[name].cancel()
            dialled[name].close()
