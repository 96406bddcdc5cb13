"""The C++ programs of `clients/other-languages/cpp`, built once for each state of what they are made of."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

from tests.e2e.server_process import ROOT

SOURCE = ROOT / "clients/other-languages/cpp"
PROGRAMS = ("follow", "tool")
BUILD_SECONDS = 900  # two minutes on two busy cores
_TOOLS = ("make", "g++", "protoc", "grpc_cpp_plugin", "pkg-config")
_LIBRARIES = ("grpc++", "protobuf")
_PACKAGES = "apt-get install g++ make pkg-config protobuf-compiler-grpc libgrpc++-dev libprotobuf-dev"


def what_is_missing() -> str:
    """Why the programs cannot be built here, in one line; empty when they can."""
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if "pkg-config" not in missing:
        known = [subprocess.run(["pkg-config", "--exists", name], check=False).returncode == 0 for name in _LIBRARIES]
        missing += [name for name, is_known in zip(_LIBRARIES, known, strict=True) if not is_known]
    return f"no C++ without {', '.join(missing)}; on Debian: {_PACKAGES}" if missing else ""


def built(scratch: Path) -> Path:
    """The folder of the programs: an earlier one of the same contents, or a new one, made in `scratch`."""
    retained = ROOT / ".cache/clients-cpp" / _digest()
    if retained.exists():
        return retained
    command = ["make", "-C", str(SOURCE), "-j2", f"OUT={scratch / 'build'}", "CXXFLAGS=-O0 -Wall -Wextra"]
    made = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False)
    assert made.returncode == 0, made.stderr
    assert str(SOURCE) not in made.stderr, f"warnings about our own files:\n{made.stderr}"
    programs = scratch / "programs"
    programs.mkdir()
    for name in PROGRAMS:
        shutil.move(scratch / "build" / name, programs / name)
    return _keep(programs, retained)


def _keep(programs: Path, retained: Path) -> Path:
    """Puts the programs where the next tests find them, whole or not at all, also beside others who do the same."""
    retained.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(
        shutil.copytree(programs, retained.with_name(f"{retained.name}.{programs.parent.name}"), dirs_exist_ok=True)
    )
    try:
        beside.rename(retained)
    except OSError:  # somebody was faster, with the same programs
        shutil.rmtree(beside)
    return retained


def _digest() -> str:
    """Over everything that goes into the programs, the versions of tools and libraries with it."""
    digest = hashlib.sha256()
    for path in [*sorted(SOURCE.iterdir()), *sorted((ROOT / "proto/runwright").rglob("*.proto"))]:
        if path.is_file():
            digest.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes() + b"\0")
    for command in (["g++", "--version"], ["protoc", "--version"], ["pkg-config", "--modversion", *_LIBRARIES]):
        digest.update(subprocess.run(command, capture_output=True, check=True).stdout)
    return digest.hexdigest()[:16]
