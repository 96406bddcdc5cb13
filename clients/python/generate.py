"""Generates the messages and stubs of the protos into src/runwright_client/_gen.

`python generate.py` writes them; `--check` writes into a temporary folder and
fails, naming the files, when the committed code differs.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import grpc_tools

HERE = Path(__file__).resolve().parent
PROTO = HERE.parents[1] / "proto"
TARGET = HERE / "src" / "runwright_client" / "_gen"
OPTIONS = ("client_generation=async", "server_generation=none")


def generate(target: Path) -> None:
    """Writes the modules of every proto below `target`."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    beside = Path(sys.executable).parent  # the plugin and the ruff it formats with need not be on the PATH
    command = [sys.executable, "-m", "grpc_tools.protoc"]
    command += [f"--plugin=protoc-gen-python_betterproto2={beside / 'protoc-gen-python_betterproto2'}"]
    command += [f"--proto_path={PROTO}", f"--proto_path={Path(grpc_tools.__file__).parent / '_proto'}"]
    command += [f"--python_betterproto2_opt={option}" for option in OPTIONS]
    command += [f"--python_betterproto2_out={target}"]
    command += sorted(str(path.relative_to(PROTO)) for path in PROTO.rglob("*.proto"))
    path = f"{beside}{os.pathsep}{os.environ['PATH']}"
    # The plugin's formatter must not find a configuration: the code is the same wherever it is made.
    with tempfile.TemporaryDirectory() as empty:
        done = subprocess.run(
            command, cwd=empty, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
        )
    if done.returncode != 0:
        raise SystemExit(f"protoc failed:\n{done.stderr}")


def check() -> None:
    """Fails, naming the files, when the committed code is not what the protos give."""
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder) / "_gen"
        generate(fresh)
        made, retained = _read(fresh), _read(TARGET)
    stale = sorted(name for name in made.keys() | retained.keys() if made.get(name) != retained.get(name))
    if stale:
        raise SystemExit("stale generated code, run `make gen`: " + ", ".join(stale))
    print(f"generated code of the Python client is fresh ({len(made)} files)")


def _read(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.py")}


if __name__ == "__main__":
    if "--check" in sys.argv[1:]:
        check()
    else:
        generate(TARGET)
