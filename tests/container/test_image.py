"""The container image: its Dockerfile is followed to the letter, and what it makes is called from outside."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.container.dockerfile import read
from tests.e2e.packages import package, says, write
from tests.transport.known import certificate

ROOT = Path(__file__).parents[2]
SECONDS = 420  # most of it downloads, where nothing is in pip's cache
MAY_MOUNT = """
set -e
mount -t tmpfs tmpfs /mnt
mkdir /mnt/u /mnt/w /mnt/m
mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/u,workdir=/mnt/w /mnt/m
"""


def cannot() -> str:
    """Why this machine cannot make roots and networks of its own; empty where it can."""
    for program in ("unshare", "nsenter", "chroot", "ip"):
        if shutil.which(program) is None:
            return f"{program} is missing"
    tried = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "--net", "sh", "-c", MAY_MOUNT],
        capture_output=True,
        text=True,
        check=False,
    )
    return "" if tried.returncode == 0 else f"no namespaces here: {tried.stderr.strip()}"


def test_the_image_ends_as_a_user_that_is_not_root_with_health_in_reach() -> None:
    *_, image = read(ROOT / "Dockerfile")

    assert image.last("USER") == "runwright"
    assert image.entrypoint[:2] == ["runwright", "serve"]
    assert image.last("EXPOSE") == image.entrypoint[image.entrypoint.index("--listen") + 1].rpartition(":")[2]
    assert image.entrypoint[image.entrypoint.index("--data") + 1].startswith(image.last("VOLUME"))


@pytest.mark.timeout(SECONDS)
def test_the_image_is_built_serves_other_machines_and_stops(tmp_path: Path) -> None:
    if reason := cannot():
        pytest.skip(reason)
    context, mounted = tmp_path / "context", tmp_path / "mounted"
    for folder in (context, mounted, tmp_path / "stages"):
        folder.mkdir()
    archive = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, capture_output=True, check=True).stdout
    subprocess.run(["tar", "-x", "-C", str(context)], input=archive, check=True)
    write(mounted, package("package", [says("it works")]))
    certificate(mounted, "runwright.internal")
    for suffix in ("pem", "key"):
        (mounted / f"runwright.internal.{suffix}").rename(mounted / f"server.{suffix}")
    words = ["keys", "add", "desk", "--file", str(mounted / "keys.json"), "--role", "caller"]
    added = subprocess.run([sys.executable, "-m", "runwright", *words], capture_output=True, text=True, check=True)
    (tmp_path / "key").write_text(added.stdout.strip())

    built = subprocess.run(
        [
            "unshare",
            "--mount",
            "--propagation",
            "private",
            sys.executable,
            "-m",
            "tests.container.build_and_run",
            tmp_path,
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )

    assert built.returncode == 0, built.stderr[-4000:]
    told = json.loads(built.stdout.splitlines()[-1])
    assert told["said"] == "runwright serving on 0.0.0.0:7760"
    assert told["uid"] == "10001"
    assert told["ran"][0] == 0, told["ran"]
    assert "it works" in told["ran"][1]
    assert "UNAUTHENTICATED" in told["stranger"][1]
    assert told["plain"] != 0, "without TLS nobody gets in"
    assert told["code"] == 0
    assert (told["mode"], "journal.db" in told["files"]) == ("0o700", True)
