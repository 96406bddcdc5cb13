"""The data directory: that it is there, that nobody else reads it, that it has room and a quick disk."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from runwright.cli.checks.check import Check, fail, ok, warn
from runwright.core.space import LeastSpace

FILES = ("journal.db", "journal.db-wal", "journal.db-shm", "journal.head", "LOCK")
SLOW_FSYNC_MS = 20.0
FSYNCS = 40
LONGEST_MEASURE_SECONDS = 3.0
_BLOCK = b"\0" * 4096


def check_directory(data: Path, least: LeastSpace) -> Iterator[Check]:
    """Everything about the directory; nothing more than its absence when it is not there."""
    if not data.is_dir():
        what = "is not a directory" if data.exists() else "does not exist"
        remedy = "`runwright serve` makes it. If there was a journal: check the path, and that its disk is mounted."
        yield fail("data directory", f"{data} {what}", remedy)
        return
    yield _modes(data)
    if not os.access(data, os.R_OK | os.W_OK | os.X_OK):
        yield fail("data directory", f"{data} is not writable for this user", "Run as the user of the server.")
        return
    yield ok("data directory", str(data))
    usage = shutil.disk_usage(data)
    yield check_space(usage.free, usage.total, least)
    yield _fsync(data)


def _modes(data: Path) -> Check:
    """Files that others can use are a failure: they hold what agents were told, and the key of the cursors."""
    files = [data / name for name in FILES if (data / name).exists()]
    open_files = [path.name for path in files if _others(path)]
    if open_files:
        names = " ".join(str(data / name) for name in open_files)
        return fail("permissions", f"others may use {', '.join(open_files)}", f"chmod 600 {names}")
    beyond = _others(data)
    if beyond & (stat.S_IWGRP | stat.S_IWOTH):
        return fail("permissions", f"others may write to {data} ({_octal(data)})", f"chmod 700 {data}")
    if beyond:
        return warn("permissions", f"others may look into {data} ({_octal(data)})", f"chmod 700 {data}")
    return ok("permissions", "only the owner may use the directory and its files")


def _others(path: Path) -> int:
    return path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)


def _octal(path: Path) -> str:
    return f"{stat.S_IMODE(path.stat().st_mode):04o}"


def check_space(free: int, total: int, least: LeastSpace) -> Check:
    """Whether there is room for more runs; the sizes are in bytes."""
    share = free / total if total else 0.0
    text = f"{free / 1024**3:.1f} GiB free ({share:.0%})"
    if least.of_disk(free, total):
        return warn("disk space", text, "Free some; a full disk stops every run until there is room again.")
    return ok("disk space", text)


def _fsync(data: Path) -> Check:
    try:
        return check_fsync(_measure(data))
    except OSError as error:
        return fail("fsync", f"cannot write to {data}: {error.strerror}", "Check the disk, its quota and its mount.")


def check_fsync(milliseconds: float) -> Check:
    """Whether a commit is quick enough: every step of a run waits for one."""
    text = f"p50 {milliseconds:.2f} ms"
    if milliseconds > SLOW_FSYNC_MS:
        return warn("fsync", text, f"Above {SLOW_FSYNC_MS:g} ms each step of a run is slow; use a local SSD.")
    return ok("fsync", text)


def _measure(data: Path) -> float:
    took: list[float] = []
    with tempfile.NamedTemporaryFile(dir=data, prefix="doctor-", buffering=0) as file:
        began = time.perf_counter()
        while len(took) < FSYNCS and time.perf_counter() - began < LONGEST_MEASURE_SECONDS:
            before = time.perf_counter()
            file.write(_BLOCK)
            os.fsync(file.fileno())
            took.append((time.perf_counter() - before) * 1000)
    return median(took)
