"""Versions: of Python and of the two libraries that can lose data or calls."""

from __future__ import annotations

import platform
import sys

import apsw
import grpc

from runwright.cli.checks.check import Check, fail, ok

OLDEST_PYTHON = (3, 11)
OLDEST_GRPC = (1, 85, 1)
OLDEST_SQLITE = (3, 51, 3)  # the first without the WAL-reset bug, which can damage a journal (sqlite.org/wal.html)


def check_versions(sqlite: str = "", grpcio: str = "") -> list[Check]:
    """Python, grpcio and SQLite; as installed, unless others are named."""
    sqlite = sqlite or apsw.sqlite_lib_version()
    grpcio = grpcio or grpc.__version__
    return [
        _at_least("python", platform.python_version(), tuple(sys.version_info[:2]), OLDEST_PYTHON, "Install Python"),
        _at_least("grpcio", grpcio, _numbers(grpcio), OLDEST_GRPC, "Install grpcio"),
        _at_least("sqlite", sqlite, _numbers(sqlite), OLDEST_SQLITE, "Install an apsw with SQLite"),
    ]


def _at_least(name: str, version: str, found: tuple[int, ...], oldest: tuple[int, ...], remedy: str) -> Check:
    if found >= oldest:
        return ok(name, version)
    text = ".".join(str(number) for number in oldest)
    return fail(name, f"{version} is older than {text}", f"{remedy} {text} or later.")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) if part.isdigit() else 0 for part in version.split("."))
