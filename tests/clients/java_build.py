"""The Java programs of `clients/other-languages/java`, built once for each state of what they are made of."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

from tests.e2e.server_process import ROOT

SOURCE = ROOT / "clients/other-languages/java"
PROGRAMS = ("Follow", "Tool")
BUILD_SECONDS = 900  # most of them for what Maven fetches the first time
_PACKAGES = "apt-get install default-jdk-headless maven"
_AWAY = ("Could not transfer artifact", "Unknown host", "Connection refused", "is offline")


class OutOfReach(Exception):
    """Maven's repository does not answer."""


def what_is_missing() -> str:
    """Why the programs cannot be built here, in one line; empty when they can."""
    missing = [tool for tool in ("java", "javac", "mvn") if shutil.which(tool) is None]
    return f"no Java without {', '.join(missing)}; on Debian: {_PACKAGES}" if missing else ""


def built(scratch: Path) -> Path:
    """The folder of the programs: an earlier one of the same contents, or a new one, made in `scratch`."""
    retained = ROOT / ".cache/clients-java" / _digest()
    if not retained.exists():
        out = scratch / "build"
        command = ["mvn", "-q", "-B", "-f", str(SOURCE / "pom.xml"), f"-Dout={out}", "package"]
        made = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False)
        if made.returncode != 0 and any(word in made.stdout for word in _AWAY):
            raise OutOfReach("Maven's repository does not answer")
        assert made.returncode == 0, made.stdout + made.stderr
        assert "WARNING" not in made.stdout, made.stdout
        _keep(out, retained)
    return retained


def _keep(out: Path, retained: Path) -> None:
    """Puts the programs where the next tests find them, whole or not at all, also beside others who do the same."""
    retained.parent.mkdir(parents=True, exist_ok=True)
    beside = retained.with_name(f"{retained.name}.{out.parent.name}")
    beside.mkdir()
    shutil.move(out / "example.jar", beside / "example.jar")
    shutil.move(out / "lib", beside / "lib")
    for name in PROGRAMS:
        program = beside / name
        started = f'-XX:TieredStopAtLevel=1 -cp "$(dirname "$0")/example.jar" dev.runwright.example.{name} "$@"'
        program.write_text(f"#!/bin/sh\nexec java {started}\n")
        program.chmod(0o755)
    try:
        beside.rename(retained)
    except OSError:  # somebody was faster, with the same programs
        shutil.rmtree(beside)


def _digest() -> str:
    """Over everything that goes into the programs, the version of the JDK with it."""
    digest = hashlib.sha256()
    for path in sorted([*SOURCE.rglob("*.java"), SOURCE / "pom.xml", *(ROOT / "proto/runwright").rglob("*.proto")]):
        digest.update(str(path.relative_to(ROOT)).encode() + path.read_bytes())
    digest.update(subprocess.run(["javac", "-version"], check=True, capture_output=True).stdout)
    return digest.hexdigest()[:16]
