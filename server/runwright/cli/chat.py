"""`runwright chat`: a conversation, every line of it a run of one session."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Annotated, TypeVar

import typer

from runwright._gen.runwright.v1 import run_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright.adapters.ids import RandomIds
from runwright.cli import names, outcome, sanitize
from runwright.cli.beside import Beside
from runwright.cli.client import Client
from runwright.cli.commands import command
from runwright.cli.errors import ExitCode, Problem
from runwright.cli.follow import delay
from runwright.cli.input_parts import parts_of
from runwright.cli.output import Format, FormatOption, print_json_line
from runwright.cli.run import new_request
from runwright.cli.talk_view import TalkView
from runwright.cli.tree_update import contents_of, excerpt
from runwright.cli.view import QuietView, View
from runwright.cli.watch import followed
from runwright.core.request import MAX_INPUT_BYTES

T = TypeVar("T")
SHOWN_TURNS = 5
START_SECONDS = 10.0
WIDTH = 80
_OPEN = (run_pb2.RUN_STATUS_RUNNING, run_pb2.RUN_STATUS_WAITING, run_pb2.RUN_STATUS_CANCELLING)


def chat(
    context: typer.Context,
    session: Annotated[str, typer.Option(metavar="ID", help="Session to go on with. [default: a new one]")] = "",
    package: Annotated[str, typer.Option(help="Package that answers: id, @TAG or fingerprint.")] = "",
    output: FormatOption = Format.TEXT,
) -> None:
    """Talks with an agent: each line of input is a turn that sees the earlier ones.

    What the agent says goes to standard output, on a terminal as it comes, else the
    answer alone; everything else goes to standard error. With -o json each turn is
    one line, the run's snapshot. A server that restarts is waited for.
    Ctrl-C cancels the turn, once more it leaves and the turn goes on; the end of
    input leaves. Exit code: that of the last turn, as of `runwright run`.

    \b
    Example:
      runwright chat --session garden
    """
    talk = Talk(Client.of(context), session or RandomIds().session_id(), package, output)
    try:
        talk.come_in()
        code = talk.turns(_typed() if sys.stdin.isatty() else _piped())
    except KeyboardInterrupt:
        code = ExitCode.INTERRUPTED
    talk.leave()
    raise typer.Exit(code)


class Talk:
    """One session at one server, and how the last turn ended."""

    def __init__(
        self,
        client: Client,
        session: str,
        package: str,
        output: Format,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self._session = session
        self._package = package
        self._output = output
        self._wait = wait

    def come_in(self) -> None:
        """Shows the newest turns of the session; one that still goes on is followed to its end."""
        wanted = pb.RunFilter(session_id=self._session)
        runs = [run for page in self._client.runs(wanted, SHOWN_TURNS) for run in page.runs][:SHOWN_TURNS]
        _note(f"session {self._session}: " + ("the newest turns" if runs else "new"))
        for run in reversed(runs):
            self._show_past(run)
        if runs and runs[0].status in _OPEN:
            _note(f"run {runs[0].run_id} goes on")
            self._see(runs[0].run_id, lambda: None)

    def turns(self, lines: Iterator[str]) -> ExitCode:
        """One run for each line that is not blank; the code of the last one.

        A person may try again what the server refused, a program stops there.
        """
        code = ExitCode.COMPLETED
        for line in lines:
            if not line.strip():
                continue
            try:
                code = self._turn(line)
            except Problem as problem:
                if not sys.stdin.isatty():
                    raise
                _note(f"error: {problem}")
                code = ExitCode.CALL_FAILED
        return code

    def leave(self) -> None:
        """Says how to come back."""
        _note(f"to come back: {command(self._client.options, 'chat', '--session', self._session)}")

    def _turn(self, text: str) -> ExitCode:
        request = new_request(parts_of(text), RandomIds().run_id(), self._session, [])
        request.on_busy = run_pb2.ON_BUSY_REJECT
        if self._package:
            request.package.CopyFrom(names.selector(self._package))
        # The same request again starts nothing anew, so it may be sent as often as the server goes away.
        return outcome.exit_code(self._see(request.run_id, lambda: self._client.start(request)))

    def _see(self, run_id: str, start: Callable[[], object]) -> run_pb2.RunSnapshot:
        """The run, started, followed until it has ended or needs repair, and reported."""
        if self._output is Format.JSON:
            snapshot = self._settled(run_id, start, QuietView(), deltas=False)
            print_json_line(self._through(lambda: self._client.snapshot(snapshot.run_id)))
            return snapshot
        streams = sys.stdout.isatty()
        view = TalkView(_say, _note, streams=streams)
        snapshot = self._settled(run_id, start, view, deltas=streams)
        outcome.report(snapshot, self._client, answer=view.answer, note=view.note)
        return snapshot

    def _settled(self, run_id: str, start: Callable[[], object], view: View, *, deltas: bool) -> run_pb2.RunSnapshot:
        view.tree.run_id = run_id
        started = threading.Event()

        def follow() -> run_pb2.RunSnapshot:
            start()
            started.set()
            with view.showing():
                return followed(self._client, run_id, view.tree.cursor, view, self._wait, deltas=deltas)

        turn = Beside(lambda: self._through(follow))
        interrupted = cancels = False
        while True:
            try:
                if cancels:
                    started.wait(START_SECONDS)  # what is not there cannot be cancelled
                    self._cancel(run_id)
                    cancels = False
                return turn.result()
            except KeyboardInterrupt:
                if interrupted:
                    _note(f"left; run {run_id} goes on until it has come to its end")
                    raise
                interrupted = cancels = True
                _note("cancelling the turn; Ctrl-C again leaves")

    def _cancel(self, run_id: str) -> None:
        try:
            self._client.cancel(run_id, "Ctrl-C in chat", None)
        except Problem as problem:
            _note(f"not cancelled: {problem}")

    def _through(self, call: Callable[[], T]) -> T:
        """What `call` returns, tried again for as long as it fails in a way that passes."""
        failures = 0
        while True:
            try:
                return call()
            except Problem as problem:
                if not problem.passing:
                    raise
                if failures == 0:
                    _note(f"-- connection lost ({problem.reason}); trying again")
            self._wait(delay(failures))
            failures += 1

    def _show_past(self, run: run_pb2.RunSnapshot) -> None:
        for frame in self._client.said(run.run_id):
            contents, event = contents_of(frame), frame.event
            match event.WhichOneof("body"):
                case "turn_started":
                    _note(_short("you", " ".join(excerpt(ref, contents) for ref in event.turn_started.input)))
                case "run_completed":
                    _note(_short(run.agent_id, excerpt(event.run_completed.result, contents)))
                case _:
                    _note(_short(run.agent_id, "(no answer: the run failed)"))


def _short(who: str, said: str) -> str:
    return sanitize.fit(f"  {who}: {said}", WIDTH)


def _typed() -> Iterator[str]:
    import readline  # noqa: F401, PLC0415 - only its being there gives the prompt a history

    while True:
        try:
            yield input("> ")
        except EOFError:
            _note("")  # the prompt is left on its line
            return


def _piped() -> Iterator[str]:
    most = MAX_INPUT_BYTES + 2  # and an end of line
    while line := sys.stdin.buffer.readline(most + 1):
        if len(line) > most:
            raise typer.BadParameter(f"a line must have at most {MAX_INPUT_BYTES} bytes", param_hint="standard input")
        try:
            yield line.decode().rstrip("\r\n")
        except UnicodeDecodeError:
            raise typer.BadParameter("must be valid UTF-8", param_hint="standard input") from None


def _say(text: str) -> None:
    print(text, end="", flush=True)


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
