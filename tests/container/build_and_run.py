"""`unshare --mount python -m tests.container.build_and_run FOLDER`: the image without a container engine.

Every step of the Dockerfile is taken in a root of its own: this machine's, read-only, with a layer for what is
written. The server runs there as its user, with the environment of the image and nothing else, in a network of its
own; a client outside of that root calls it. What came of it is printed as one line of JSON.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from tests.container.dockerfile import Stage, read

ADDRESS, NAME = "10.77.0.1", "runwright.internal"
BUILD_SECONDS, CALL_SECONDS = 300, 60
SHELL_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def run(*command: str | Path, **options: object) -> None:
    """Runs a command; what it says goes to standard error."""
    subprocess.run(command, check=True, stdout=sys.stderr, timeout=BUILD_SECONDS, **options)  # type: ignore[call-overload]


class Root:
    """The file system of a stage."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "merged"
        layers = [folder / name for name in ("upper", "work", "merged")]
        for layer in layers:
            layer.mkdir(parents=True)
        options = f"lowerdir=/,upperdir={layers[0]},workdir={layers[1]}"
        run("mount", "-t", "overlay", "overlay", "-o", options, self.path)
        run("mount", "--rbind", "/dev", self.path / "dev")
        run("mount", "--rbind", "/proc", self.path / "proc")
        # The base image's Python is this one, wherever it is: its user must be able to read it.
        for above in Path(sys.base_prefix).parents:
            inside = self.at(str(above))
            inside.chmod(inside.stat().st_mode | 0o011)

    def at(self, path: str) -> Path:
        """A path inside, from outside."""
        return self.path / path.lstrip("/")


def build(stages: list[Stage], context: Path, folder: Path) -> Root:
    """Takes every step of every stage. Returns the root of the last."""
    roots: dict[str, Root] = {}
    for number, stage in enumerate(stages):
        assert stage.base == "python:3.11-slim"
        root = Root(folder / f"stage-{number}")
        here = "/"
        for word, rest in stage.steps:
            if word == "WORKDIR":
                here = rest
                root.at(here).mkdir(parents=True)
            elif word == "COPY":
                copy(rest, roots, root, context, here)
            elif word == "RUN":
                path = f"{sys.base_prefix}/bin:{SHELL_PATH}"
                inside = f"cd {shlex.quote(here)} && {rest}"
                run("chroot", root.path, "/bin/sh", "-ec", inside, env={**os.environ, "PATH": path, "PYTHONPATH": ""})
        roots[stage.name] = root
    return root


def copy(rest: str, roots: dict[str, Root], root: Root, context: Path, here: str) -> None:
    """COPY, from the context or from another stage."""
    words = rest.split()
    option = words.pop(0) if words[0].startswith("--from=") else ""
    *sources, target = words
    into = root.at(target if target.startswith("/") else f"{here}/{target}")
    for source in sources:
        found = roots[option.removeprefix("--from=")].at(source) if option else context / source
        if found.is_dir():
            shutil.copytree(found, into, symlinks=True, dirs_exist_ok=True)
        else:
            into.mkdir(parents=True, exist_ok=True)
            shutil.copy2(found, into)


def serve(stage: Stage, root: Root, options: list[str]) -> subprocess.Popen[str]:
    """Starts the entry point as the image does, in a network whose one address is not loopback."""
    environment = {"PATH": SHELL_PATH, "HOME": "/", **stage.environment}
    environment = {key: value.replace("$PATH", SHELL_PATH) for key, value in environment.items()}
    inside = ["env", "-i", *(f"{key}={value}" for key, value in environment.items()), *stage.entrypoint, *options]
    words = shlex.join(["chroot", f"--userspec={stage.last('USER')}", str(root.path), *inside])
    network = f"ip link set lo up && ip addr add {ADDRESS}/32 dev lo && exec {words}"
    return subprocess.Popen(["unshare", "--net", "sh", "-c", network], stdout=subprocess.PIPE, text=True)


def call(server: subprocess.Popen[str], certificate: Path, key: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Runs the command line of this checkout against the server, from its network."""
    client = [sys.executable, "-m", "runwright", "--server", f"{NAME}:7760", "--tls-ca", str(certificate), *words]
    return subprocess.run(
        ["nsenter", "--net", f"--target={server.pid}", *client],
        capture_output=True,
        text=True,
        check=False,
        timeout=CALL_SECONDS,
        env={**os.environ, "RUNWRIGHT_KEY": key},
    )


def main(folder: Path) -> None:
    """Builds, runs, calls, stops, and says what came of it."""
    run("mount", "-t", "tmpfs", "tmpfs", folder / "stages")
    (folder / "hosts").write_text(f"127.0.0.1 localhost\n{ADDRESS} {NAME}\n")
    stages = read(folder / "context" / "Dockerfile")
    root = build(stages, folder / "context", folder / "stages")
    run("mount", "--bind", folder / "hosts", "/etc/hosts")
    shutil.copytree(folder / "mounted", root.at("/etc/runwright"))
    root.at("/etc/runwright").chmod(0o755)
    options = "--keys /etc/runwright/keys.json --tls-cert /etc/runwright/server.pem --tls-key /etc/runwright/server.key"
    for secret in root.at("/etc/runwright").iterdir():
        run("chroot", root.path, "chown", stages[-1].last("USER"), f"/etc/runwright/{secret.name}")
    server = serve(stages[-1], root, options.split())
    assert server.stdout is not None
    try:
        said = server.stdout.readline().strip()
        status = Path(f"/proc/{server.pid}/status").read_text()
        key, certificate = (folder / "key").read_text(), folder / "mounted" / "server.pem"
        ran = call(server, certificate, key, "run", "hello", "--id", "r1")
        stranger = call(server, certificate, "", "get", "r1")
        plain = subprocess.run(
            [*client_of(server), "get", "r1"], capture_output=True, text=True, check=False, timeout=CALL_SECONDS
        )
        server.send_signal(signal.SIGTERM)
        code = server.wait(CALL_SECONDS)
    finally:
        server.kill()
    data = root.at("/var/lib/runwright/data")
    message = {
        "said": said,
        "uid": next(line.split()[1] for line in status.splitlines() if line.startswith("Uid:")),
        "ran": [ran.returncode, ran.stdout, ran.stderr],
        "stranger": [stranger.returncode, stranger.stderr],
        "plain": plain.returncode,
        "code": code,
        "mode": oct(data.stat().st_mode & 0o777),
        "files": sorted(path.name for path in data.iterdir()),
    }
    print(json.dumps(message))


def client_of(server: subprocess.Popen[str]) -> list[str]:
    """The command line without TLS, on the server's network."""
    return ["nsenter", "--net", f"--target={server.pid}", sys.executable, "-m", "runwright", "--server", f"{NAME}:7760"]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
