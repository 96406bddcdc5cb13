"""The container image: its Dockerfile is followed to the letter, and what it makes is called from outside."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from runwright.settings.model import Settings

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


def started(*options: str) -> subprocess.CompletedProcess[str]:
    """The image's entry point with these options, from this checkout."""
    *_, image = read(ROOT / "Dockerfile")
    words = [sys.executable, "-m", *image.entrypoint, *options]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RUNWRIGHT_")}
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=60, env=environment)


@pytest.mark.parametrize(
    "missing", [("--keys", "--tls-cert", "--tls-key"), ("--keys",), ("--tls-cert", "--tls-key")], ids=" ".join
)
def test_the_image_does_not_start_without_keys_and_tls(tmp_path: Path, missing: tuple[str, ...]) -> None:
    value = {name: tmp_path / name for name in ("--keys", "--tls-cert", "--tls-key") if name not in missing}

    ended = started(*(word for name, path in value.items() for word in (name, str(path))))

    assert (ended.returncode, ended.stdout) == (2, "")
    assert "a loopback address, unless --keys and --tls-cert are given" in ended.stderr


def test_compose_gives_the_image_its_keys_and_a_certificate() -> None:
    file = ROOT / "deploy" / "compose.yaml"
    service = yaml.safe_load(file.read_text())["services"]["runwright"]
    *_, image = read(ROOT / "Dockerfile")
    flags, files = service["command"][::2], service["command"][1::2]

    assert flags == ["--keys", "--tls-cert", "--tls-key"]
    assert {Path(path).parent for path in files} == {Path("/etc/runwright")}
    assert (file.parent / service["build"] / "Dockerfile").samefile(ROOT / "Dockerfile")
    assert service["ports"] == [f"{image.last('EXPOSE')}:{image.last('EXPOSE')}"]
    assert [volume.split(":")[1] for volume in service["volumes"]] == [image.last("VOLUME"), "/etc/runwright"]
    assert int(service["stop_grace_period"].removesuffix("s")) >= Settings(data=Path("d")).drain_grace_seconds + 10
    stated = {Path(path).name for path in files} | {"package.yaml"}
    comment = [line.split()[1] for line in file.read_text().splitlines() if line.startswith("#   ")]
    assert set(comment) == stated, "what must be there before is said"


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
    message = json.loads(built.stdout.splitlines()[-1])
    assert message["said"] == "runwright serving on 0.0.0.0:7760"
    assert message["uid"] == "10001"
    assert message["ran"][0] == 0, message["ran"]
    assert "it works" in message["ran"][1]
    assert "UNAUTHENTICATED" in message["stranger"][1]
    assert message["plain"] != 0, "without TLS nobody gets in"
    assert message["code"] == 0
    assert (message["mode"], "journal.db" in message["files"]) == ("0o700", True)
