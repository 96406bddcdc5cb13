"""What a server is started with and talks to: its settings, its packages, its executors."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import grpc

from runwright.adapters.json_schema import JsonSchemaChecker
from runwright.adapters.package_files import examine_package
from runwright.adapters.remote.doors import DIAL_OPTIONS
from runwright.cli.checks.check import Check, fail, ok
from runwright.core.callbacks import ConfiguredExecutor
from runwright.settings import Loaded

DIAL_SECONDS = 2.0  # for all executors together


def check_settings(loaded: Loaded) -> Iterator[Check]:
    """The settings that were given; those that only `serve` needs may be missing."""
    wrong = [finding for finding in loaded.findings if not finding.is_missing]
    for finding in wrong:
        yield fail("configuration", finding.message, finding.remedy or "Correct it there.")
    if not wrong:
        yield ok("configuration", str(loaded.config or "no file; flags, environment and defaults"))


def check_packages(paths: tuple[Path, ...]) -> Iterator[Check]:
    """Every package file, every finding."""
    for path in paths:
        package, errors = examine_package(path, JsonSchemaChecker())
        for error in errors:
            remedy = "Correct the file; `runwright package validate` checks it."
            yield fail("package", error.message.rstrip("."), remedy)
        if package is not None and not errors:
            yield ok("package", f"{path}: {package.id}")


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
