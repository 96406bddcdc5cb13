"""The approval at the end of the demo: asked for in the terminal, or given by a second key where there is none."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from demo_programs import DemoFailed, environment, program, say

SECONDS = 30.0


class Keys:
    """A new file with two keys: yours starts runs and may approve, the second one only approves."""

    def __init__(self, file: Path) -> None:
        self.file = file
        file.unlink(missing_ok=True)
        self.yours = self._add("you", "caller", "approver")
        self.second = self._add("second", "approver")

    def _add(self, name: str, *roles: str) -> str:
        words = [word for role in roles for word in ("--role", role)]
        return called("keys", "add", name, "--file", str(self.file), *words).strip()


class Approval:
    """What the run asks for, and who answers. `words` are the options of `runwright run`."""

    def __init__(self, key: str, server: str, run_id: str) -> None:
        self.words = ["--approve"] if is_interactive() else []
        self._key, self._server, self._run_id = key, server, run_id
        self._watch: subprocess.Popen[str] | None = None
        self._approved_here = ""  # by the second key

    def begin(self) -> None:
        """Where nobody can be asked: waits beside the run for what it wants approved, and approves it."""
        if self.words:
            return
        words = ["--server", self._server, "approvals", "watch", "-o", "json"]
        self._watch = subprocess.Popen(
            [sys.executable, "-m", "runwright", *words],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        threading.Thread(target=self._decide, args=(self._watch,), daemon=True).start()

    def end(self) -> None:
        """Waits no longer."""
        if self._watch is not None:
            self._watch.kill()
            self._watch.wait()

    def what_was_written(self, file: Path) -> str:
        """A comparison of the file with the arguments that were approved; nothing where nothing was.

        Raises DemoFailed when they differ.
        """
        approved = self._approved_here
        if self.words:
            listed = self._asked("ls", "--run", self._run_id, "--state", "approved").get("approvals", [])
            approved = listed[0]["approval_id"] if listed else ""
        if not approved:
            return ""
        shown = self._asked("show", approved)
        text = json.loads(shown["arguments_content"]["text"])["text"].encode()
        if not file.is_file() or file.read_bytes() != text:
            raise DemoFailed(f"{file} is not what was approved: {shown['digest']}")
        by = shown["decision"]["decided_by"]
        return (
            f"What {by} approved is what was written: {file.name}, {len(text)} bytes, "
            f"sha256 {hashlib.sha256(text).hexdigest()[:16]}..., byte for byte the text in\n"
            f"the approval {shown['approval_id']} with the digest\n{shown['digest']}."
        )

    def _decide(self, watch: subprocess.Popen[str]) -> None:
        assert watch.stdout is not None
        for line in watch.stdout:
            approval = json.loads(line).get("approval", {})
            if approval.get("run_id") == self._run_id and approval["state"] == "APPROVAL_STATE_PENDING":
                try:
                    self._approve(approval["approval_id"])
                except DemoFailed as failure:
                    say(f"demo: {failure}")
                    os.kill(os.getpid(), signal.SIGTERM)  # the run would wait for hours
                return

    def _approve(self, approval_id: str) -> None:
        shown = self._asked("show", approval_id)
        words = ["--server", self._server, "approvals", "approve", approval_id, "--digest", shown["digest"]]
        text = called("--server", self._server, "approvals", "show", approval_id, env=self._environment)
        say("\nNobody can be asked here. What is to be approved:\n")
        say("".join(f"  {line}\n" for line in text.splitlines()))
        say(f"A second key, in RUNWRIGHT_KEY, approves exactly that:\n\n  {shlex.join([*program(), *words])}")
        say(f"  {called(*words, env=self._environment)}")
        self._approved_here = approval_id

    @property
    def _environment(self) -> dict[str, str]:
        return {**environment(), "RUNWRIGHT_KEY": self._key}

    def _asked(self, *words: str) -> dict:
        return json.loads(called("--server", self._server, "approvals", *words, "-o", "json", env=self._environment))


@contextmanager
def approving(keys: Keys, server: str, run_id: str) -> Iterator[Approval]:
    """What the run asks for is answered until the block ends."""
    approval = Approval(keys.second, server, run_id)
    approval.begin()
    try:
        yield approval
    finally:
        approval.end()


def is_interactive() -> bool:
    """True when somebody is there to be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty() and not os.environ.get("CI")


def called(*words: str, env: Mapping[str, str] | None = None) -> str:
    """What a command of ours prints. Raises DemoFailed with what it says when it fails."""
    ended = subprocess.run(
        [sys.executable, "-m", "runwright", *words],
        env=env or environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    if ended.returncode != 0:
        raise DemoFailed(f"`runwright {shlex.join(words)}` failed: {ended.stderr.strip()}")
    return ended.stdout
