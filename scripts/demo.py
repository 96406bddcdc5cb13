"""One agent run with real processes: a tool executor and a server are started, a run is watched, both are ended.

`python scripts/demo.py [--dir DIR] [--ask TEXT] [--crash]`. When the agent wants
to write its report, somebody has to approve: you, if this is a terminal; else
`demo_approval.py` does it with a second key. The journal stays in
`.runwright/demo`, so the run can be looked at again with the commands that are
printed at the end. With `--crash` the model takes its time, so that somebody can
kill the server meanwhile, as often as they like: it is started again each time.
"""

from __future__ import annotations

import argparse
import queue
import re
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from demo_approval import Keys, approving
from demo_programs import ROOT, DemoFailed, environment, interpreter, program, say, shown

TOOLS = ROOT / "examples" / "workspace" / "workspace_tools.py"
PACKAGE = ROOT / "examples" / "workspace" / "package.yaml"
REPORTER = ROOT / "examples" / "workspace" / "reporter.yaml"
ASK = "What is in here, and what should I read first?"
ASK_FOR_A_REPORT = f"{ASK} Write a report."
# Where the printed commands serve; the demo itself takes free ports.
SERVER, EXECUTOR = "127.0.0.1:7760", "127.0.0.1:7761"
READY_SECONDS = 30.0
STOP_SECONDS = 20.0
INTERRUPTED = 130
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Child:
    """A process of the demo. It has a session of its own, so that Ctrl-C ends it through us and not under us."""

    def __init__(self, name: str, arguments: list[str], log: Path, *, mode: str = "w") -> None:
        self.name = name
        self.log = log
        self.address = ""  # where it serves, once it has said so
        self._lines: queue.Queue[str | None] = queue.Queue()
        with log.open(mode) as errors:
            self.process = subprocess.Popen(
                [sys.executable, *arguments],
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
            )
        self.arguments = arguments
        threading.Thread(target=self._read, daemon=True).start()

    @property
    def was_killed(self) -> bool:
        """True when somebody ended the process with `kill -9`."""
        return self.process.poll() == -signal.SIGKILL

    def again(self) -> Child:
        """The same process once more, where it served before."""
        words = list(self.arguments)
        words[words.index("--listen") + 1] = self.address
        return Child(self.name, words, self.log, mode="a")

    def ready(self) -> None:
        """Waits for the line that says where it serves. Raises DemoFailed when it does not come."""
        due = time.monotonic() + READY_SECONDS
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, due - time.monotonic()))
            except queue.Empty:
                raise DemoFailed(
                    f"The {self.name} did not become ready in {READY_SECONDS:.0f} s.{self.tail()}"
                ) from None
            if line is None:
                code = self.process.wait()
                raise DemoFailed(f"The {self.name} ended with code {code} before it was ready.{self.tail()}")
            if found := re.fullmatch(r"\w+ serving on (\S+:\d+)", line.strip()):
                self.address = found[1]
                return

    def check(self) -> None:
        """Raises DemoFailed when the process has ended."""
        if self.process.poll() is not None:
            raise DemoFailed(f"The {self.name} ended with code {self.process.returncode}.{self.tail()}")

    def stop(self) -> int:
        """Ends the process, by SIGTERM if it listens to it, and returns its exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def tail(self) -> str:
        """The last lines of its log, for a message."""
        lines = self.log.read_text(errors="replace").splitlines()[-5:]
        return "".join(f"\n  {line}" for line in [f"Its log ({shown(self.log)}) ends with:", *lines] if lines)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put(None)


def main() -> int:
    """Runs the demo and returns the exit code: that of the run, unless the demo itself failed."""
    options = parse()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    run_id = f"demo-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
    children: list[Child] = []
    keys: Keys | None = None
    code = 1
    try:
        options.data.parent.mkdir(parents=True, exist_ok=True)
        keys = Keys(Path(f"{options.data.parent / options.data.name}-keys.json"))
        code = perform(options, run_id, children, keys)
    except DemoFailed as failure:
        print(f"demo: {failure}", file=sys.stderr)
    except KeyboardInterrupt:
        code = INTERRUPTED
    finally:
        for number in STOPS:
            signal.signal(number, signal.SIG_IGN)  # a second Ctrl-C must not leave a process behind
        begun = has_begun(run_id, children, keys)
        clean = end(children)
    if begun is False:
        say(f"\nThe run {run_id} has not begun: there is nothing to look at again.")
    elif len(children) > 1 and children[1].address:
        say(look_again(options, run_id, begun=begun))
    return code if clean else code or 1


def parse() -> argparse.Namespace:
    """The command line. Empty words, as `make` may pass them, stand for the defaults."""
    parser = argparse.ArgumentParser(description="Runs the demo agent over a directory.")
    parser.add_argument("--dir", default="", help="directory the agent looks at (default: this checkout)")
    parser.add_argument("--ask", default="", help=f"what to ask (default: {ASK_FOR_A_REPORT})")
    parser.add_argument("--data", default="", help="data directory (default: .runwright/demo of this checkout)")
    parser.add_argument("--crash", action="store_true", help="a slow run, and a server that may be killed meanwhile")
    parser.add_argument("--words", type=int, default=3, help="how many words a second make it slow (default: 3)")
    options = parser.parse_args()
    options.dir = Path(options.dir or ROOT).resolve()
    options.ask = options.ask.strip() or (ASK if options.crash else ASK_FOR_A_REPORT)
    options.data = Path(options.data or ROOT / ".runwright" / "demo").resolve()
    if not options.dir.is_dir():
        parser.error(f"{options.dir} is not a directory")
    return options


def has_begun(run_id: str, children: list[Child], keys: Keys | None) -> bool | None:
    """Whether the server has the run in its journal; None when it does not say."""
    if keys is None or len(children) < 2 or not children[1].address:
        return None
    words = [sys.executable, "-m", "runwright", "--server", children[1].address, "get", run_id]
    try:
        environ = {**environment(), "RUNWRIGHT_KEY": keys.yours}
        found = subprocess.run(words, env=environ, capture_output=True, text=True, timeout=STOP_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return None
    return True if found.returncode == 0 else False if "RUN_NOT_FOUND" in found.stderr else None


def perform(options: argparse.Namespace, run_id: str, children: list[Child], keys: Keys) -> int:
    """Starts the two processes, then the run, and returns the exit code of the run."""
    log = options.data.parent / options.data.name
    say(f"1. tool executor over {options.dir}")
    with unstoppable():
        children.append(Child("executor", [str(TOOLS), str(options.dir), "127.0.0.1:0"], Path(f"{log}-executor.log")))
    children[0].ready()
    tools = children[0].address
    say(f"   pid {children[0].process.pid}, {tools}\n2. server with its journal in {shown(options.data)}")
    package = slow_package(log, options.words) if options.crash else REPORTER
    serve = ["--data", str(options.data), "--listen", "127.0.0.1:0", "--package", str(package), "--grace", "5"]
    serve += ["--executor", f"workspace={tools}", "--keys", str(keys.file)]
    with unstoppable():
        children.append(Child("server", ["-m", "runwright", "serve", *serve], Path(f"{log}-server.log")))
    children[1].ready()
    server = children[1].address
    say(f"   pid {children[1].process.pid}, {server}\n3. run {run_id}: {options.ask}\n")
    pid_file = Path(f"{log}-server.pid") if options.crash else None
    if pid_file is not None:
        pid_file.write_text(f"{children[1].process.pid}\n")
        kill = f"kill -9 $(cat {shlex.quote(shown(pid_file))})"
        say(f"Now kill the server, in another terminal, as often as you like:\n\n  {kill}\n")
    with approving(keys, server, run_id) as approval:
        words = ["--server", server, "run", *approval.words, "--id", run_id, "--", options.ask]
        code = follow(words, children, key=keys.yours, revived=pid_file)
    if written := approval.what_was_written(options.dir / "runwright-report.md"):
        say(f"\n{written}")
    return code


def slow_package(log: Path, words: int) -> Path:
    """The package with a model that says a few words a second."""
    text = PACKAGE.read_text()
    model = "  model: demo-1\n"
    assert text.count(model) == 1, "the package names its model once"
    slow = Path(f"{log}-slow.yaml")
    slow.write_text(text.replace(model, f"{model}  parameters: {{words_per_second: {words}}}\n"))
    return slow


def follow(words: list[str], children: list[Child], *, key: str, revived: Path | None) -> int:
    """Runs the command line client until it ends; gives up when a process that it needs ends before.

    A server that was killed is started again if there is a file for its new pid, `revived`.
    """
    client: subprocess.Popen[bytes] | None = None
    killed = 0
    try:
        with unstoppable():
            environ = {**environment(), "RUNWRIGHT_KEY": key}
            client = subprocess.Popen([sys.executable, "-m", "runwright", *words], env=environ)
        while True:
            try:
                code = client.wait(timeout=0.5)
                if revived is not None:
                    times = {0: "not killed", 1: "killed once"}.get(killed, f"killed {killed} times")
                    say(f"\nThe server was {times}; the run is one, and every event above came once.")
                return code
            except subprocess.TimeoutExpired:
                if revived is not None and children[1].was_killed:
                    killed += 1
                    with unstoppable():
                        children[1] = children[1].again()
                    children[1].ready()
                    revived.write_text(f"{children[1].process.pid}\n")
                    if not sys.stdout.isatty():  # there the live view tells it, and would be torn
                        say("-- the server was killed and is started again; the same command kills it once more")
                for child in children:
                    child.check()
    finally:
        if client is not None:
            leave(client)


def leave(client: subprocess.Popen[bytes]) -> None:
    """Lets the client end. Ctrl-C has reached it as well; it says then how to come back."""
    for number in (None, signal.SIGINT, signal.SIGKILL):
        if number is not None and client.poll() is None:
            client.send_signal(number)
        try:
            client.wait(timeout=2)
            return
        except subprocess.TimeoutExpired:
            continue


@contextmanager
def unstoppable() -> Iterator[None]:
    """Holds signals back while a process is started: one that is not yet known to us would never be ended."""
    held: list[int] = []
    usual = {number: signal.signal(number, lambda number, _: held.append(number)) for number in STOPS}
    try:
        yield
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)
        if held:
            signal.raise_signal(held[0])


def end(children: list[Child]) -> bool:
    """Ends the processes, the last one first. True when all of them ended as they should."""
    codes = [(child, child.stop()) for child in reversed(children)]
    if codes:
        say("\n4. ended: " + ", ".join(f"{child.name} (code {code})" for child, code in codes))
    return all(code == 0 for _, code in codes)


def look_again(options: argparse.Namespace, run_id: str, *, begun: bool | None) -> str:
    """Commands that work when pasted, from the directory the demo was started in."""
    runwright = program()
    grpcurl = shutil.which("grpcurl") or ROOT / ".cache" / "bin" / "grpcurl"
    grpcurl = "grpcurl" if shutil.which("grpcurl") or not Path(grpcurl).exists() else shown(Path(grpcurl))
    log = options.data.parent / options.data.name
    package = Path(f"{log}-slow.yaml") if options.crash else REPORTER
    serve = ["serve", "--data", shown(options.data), "--package", shown(package), "--listen", SERVER]
    subject = f'{{"run_id": "{run_id}"}}'
    said = "The run is in the journal." if begun else "Nobody could say whether the run has begun."
    lines = [
        f"\n{said} To look at it again, start the server on the same data:\n",
        shlex.join([*runwright, *serve, "--executor", f"workspace={EXECUTOR}"]),
        "\nand in another terminal:\n",
        *(shlex.join([*runwright, word, run_id]) for word in ("get", "watch", "events")),
        shlex.join([grpcurl, "-plaintext", "-d", subject, SERVER, "runwright.v1.RuntimeService/Snapshot"]),
        "\nNew runs there need the executor as well:\n",
        shlex.join([*interpreter(), shown(TOOLS), shown(options.dir), EXECUTOR]),
        shlex.join([*runwright, "run", options.ask]),
    ]
    return "\n".join(line if line.endswith(":\n") else f"  {line}" for line in lines)


if __name__ == "__main__":
    sys.exit(main())
