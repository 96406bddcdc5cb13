"""`runwright run --approve`: whoever started a run is asked, in the same terminal, for what the run wants approved."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NoReturn

import typer

from runwright._gen.runwright.v1 import approval_pb2, event_pb2, run_pb2
from runwright._gen.runwright.v1 import approval_service_pb2 as pb
from runwright.cli import edited_arguments
from runwright.cli.approval_text import SHOWN, approval_event, approvers, difference_lines, question_lines
from runwright.cli.client import Client
from runwright.cli.commands import command
from runwright.cli.decisions import (
    ABORT_RUN,
    APPROVE,
    APPROVE_WITH_EDITS,
    DENY,
    PENDING,
    RESPOND,
    decision_on,
    edits_on,
    is_allowed,
    outcome_line,
)
from runwright.cli.errors import ExitCode, Problem
from runwright.cli.escapes import escaped, json_lines
from runwright.cli.grant_words import HOW, parse_grant
from runwright.cli.line_terminal import LineTerminal
from runwright.cli.previous_text import FEW
from runwright.cli.run_feed import Item, RunFeed
from runwright.cli.view import View
from runwright.cli.watch import followed
from runwright.wire.snapshots import inline_bytes

_CLOSING = ("approval_decided", "approval_expired", "approval_withdrawn", "approval_superseded")
_KEYS_SHOWN = (  # key, what the question calls it, what it does
    ("a", "approve", "what is shown is done, exactly so"),
    ("d", "deny", "it is not done; the model is told so, with what you say"),
    ("r", "respond", "the call is not made; what you say is its result"),
    ("e", "edit", "the call is made with other arguments, which you write in your editor"),
    ("g", "grant", "it is done, and with the grant that you give such calls need nobody from now on"),
    ("s", "skip", "not now: it goes on waiting, for you or somebody else"),
    ("x", "end the run", "it is not done, and the run ends as failed"),
    ("v", "view", "shows it again, with all of its arguments"),
)
_WORDS = ("approve", "deny", "respond", "edit", "grant", "skip", "view")
_KEYS = {"x": "x", **{word[0]: word[0] for word in _WORDS}, **{word: word[0] for word in _WORDS}}
_VERDICTS = {"a": APPROVE, "d": DENY, "r": RESPOND, "e": APPROVE_WITH_EDITS, "g": APPROVE, "x": ABORT_RUN}
_TEXTS = {"d": "what the model is told (Enter: nothing): ", "r": "the result of the call (Enter: none, ask again): "}
_TEXTS["g"] = f"{HOW} (Enter: run): "
_MOST_LINES, _MOST_CHARACTERS = 40, 4000  # of arguments at first sight


class _Closed(Exception):
    """Nobody can answer a question any more: it was decided elsewhere, or the run or its stream has ended."""


def watch_and_ask(client: Client, run_id: str, view: View, terminal: LineTerminal) -> run_pb2.RunSnapshot:
    """Shows a run until it has ended or needs repair, asks for what is to be approved, and returns it as it stands.

    On Ctrl-C it prints how to decide later and how to come back, and exits; the run is not cancelled.
    """
    view.tree.run_id = run_id
    asking = _Asking(client, run_id, view, terminal)
    try:
        return asking.until_the_end()
    except (KeyboardInterrupt, EOFError):
        asking.leave()


class _Asking:
    def __init__(self, client: Client, run_id: str, view: View, terminal: LineTerminal) -> None:
        self._client, self._view, self._terminal = client, view, terminal
        self._run_id = run_id
        self._open: dict[str, event_pb2.ApprovalRequested] = {}  # by id, what nobody has answered here, in order
        self._waiting: dict[str, None] = {}  # ids of everything that is pending, what was skipped too
        self._is_lost = False  # a call has failed in a way that passes: asked again once the stream says something
        self._feed = RunFeed(lambda intake: followed(client, run_id, "", intake, deltas=True))

    def until_the_end(self) -> run_pb2.RunSnapshot:
        """Takes in what comes; asks when there is something to ask and nothing more has come."""
        while True:
            item = self._feed.next_now()
            if item is None and self._open and not self._is_lost:
                self._ask(next(iter(self._open)))
                continue
            self._is_lost = False
            match item or self._feed.next():
                case run_pb2.RunSnapshot() as ended:
                    return ended
                case Problem() as problem:
                    raise problem
                case str(notice):
                    self._view.notice(notice)
                case frame:
                    self._view.take(frame)
                    self._note(frame.event)

    def leave(self) -> NoReturn:
        """Says how to come back, and ends the program."""
        options, waiting = self._client.options, list(self._waiting)
        self._terminal.say(f"\nleft; the run goes on{' waiting' if waiting else ''}.")
        if waiting:
            words = [command(options, "approvals", word, waiting[0]) for word in ("show", "approve", "deny")]
            self._terminal.say("To decide:\n" + "\n".join(f"  {line}" for line in words))
        cursor = self._view.tree.cursor
        back = ["watch", self._run_id, *(["--from", cursor] if cursor else [])]
        self._terminal.say(f"To come back:\n  {command(options, *back)}")
        raise typer.Exit(ExitCode.INTERRUPTED) from None

    def _note(self, event: event_pb2.Event) -> None:
        """Keeps what is pending up to date with an event."""
        body = event.WhichOneof("body") or ""
        if body == "approval_requested":
            asked = event.approval_requested
            approval_id = f"{event.run_id}/{asked.approval_id}"
            self._open[approval_id], self._waiting[approval_id] = asked, None
        elif body in _CLOSING:
            self._forget(f"{event.run_id}/{getattr(event, body).approval_id}")

    def _forget(self, approval_id: str) -> None:
        self._open.pop(approval_id, None)
        self._waiting.pop(approval_id, None)

    def _ask(self, approval_id: str) -> None:
        """Asks for one, until it is answered here, or by somebody else, or put off."""
        asked = self._open[approval_id]
        try:
            shown = self._client.approval(approval_id).approval
        except Problem as problem:
            if problem.passing:
                self._lose(problem)
                return
            whom = f"it waits for {approvers(asked.sets[0])}" if asked.sets else "it waits"
            self._put_off(approval_id, f"{problem}\n{approval_id} cannot be shown here; {escaped(whom)}")
            return
        if shown.state != PENDING:
            self._forget(approval_id)  # the event that says so is on its way
            return
        question = _Question(shown, self._terminal)
        question.show()
        self._terminal.discard()
        try:
            self._answer(question)
        except _Closed:
            return
        except Problem as problem:
            if problem.passing:
                self._lose(problem)
                return
            self._put_off(approval_id, f"error: {problem}\n{approval_id} was not decided here")

    def _answer(self, question: _Question) -> None:
        """Reads until there is a decision, and makes it; or puts the question off."""
        shown, prompt = question.shown, prompt_for(question.shown)
        while True:
            match key := _KEYS.get(self._typed(shown.approval_id, prompt).strip().lower(), ""):
                case "s":
                    self._put_off(shown.approval_id, f"{shown.approval_id} goes on waiting")
                    return
                case "v":
                    question.show(all_of_it=True)
                case "a" | "g" if not question.is_whole:
                    question.refuse_unseen()
                case "g" if not shown.HasField("grants"):
                    self._terminal.say("no grant is offered here")
                case "a" | "d" | "r" | "g" | "x" if is_allowed(shown, _VERDICTS[key]):
                    if (decision := self._decision(shown, key)) is not None:
                        self._terminal.say(outcome_line(self._client.decide(decision)))
                        self._forget(shown.approval_id)
                        return
                case "e" if is_allowed(shown, APPROVE_WITH_EDITS):
                    if self._edit(shown):
                        self._forget(shown.approval_id)
                        return
                case "r" | "e":
                    self._terminal.say("only calls of tools are responded to, or edited")
                case _:
                    self._terminal.say(help_for(shown))

    def _edit(self, shown: approval_pb2.Approval) -> bool:
        """Approves with what somebody writes in the editor, if they do; what is refused comes back into it."""
        try:
            text = edited_arguments.pending(shown)
            while True:
                text = edited_arguments.written(text)
                try:
                    self._terminal.say(outcome_line(self._client.decide(edits_on(shown, text))))
                    return True
                except Problem as problem:
                    if problem.reason != "APPROVAL_EDIT_INVALID":
                        raise
                    self._terminal.say(str(problem))
        except Problem as problem:
            if problem.reason != edited_arguments.NOT_DECIDED:
                raise
            self._terminal.say(str(problem))
            return False

    def _decision(self, shown: approval_pb2.Approval, key: str) -> pb.DecisionRequest | None:
        """The decision that a key stands for, with what is typed for it; None for none."""
        text = self._typed(shown.approval_id, _TEXTS[key]) if key in _TEXTS else ""
        if key != "g":
            return None if key == "r" and not text else decision_on(shown, _VERDICTS[key], text)
        grant = parse_grant(text, shown.grants)
        if isinstance(grant, str):
            self._terminal.say(escaped(grant))
            return None
        return decision_on(shown, APPROVE, grant=grant)

    def _typed(self, approval_id: str, prompt: str) -> str:
        """A line that somebody types. Raises _Closed when the question is answered elsewhere before."""
        self._terminal.prompt(prompt)
        while (typed := self._terminal.line(self._feed)) is None:
            items = self._feed.new()
            self._feed.give_back(items)
            for item in items:
                self._look(approval_id, item, prompt)
        return typed

    def _look(self, approval_id: str, item: Item, prompt: str) -> None:
        """Says at once what concerns the question; everything is shown in its order afterwards."""
        if isinstance(item, run_pb2.RunSnapshot | Problem):
            self._terminal.say("")
            self._forget(approval_id)
            raise _Closed
        if isinstance(item, str):
            self._terminal.say(f"\n-- {item}")
            self._terminal.prompt(prompt)
            return
        event, body = item.event, item.event.WhichOneof("body") or ""
        if not body.startswith("approval_") or f"{event.run_id}/{getattr(event, body).approval_id}" != approval_id:
            return
        if (said := approval_event(event)) is None:  # who is told of it changes nothing of the question
            return
        self._terminal.say(f"\nmeanwhile: {escaped(said)}")
        if body in _CLOSING:
            self._forget(approval_id)
            raise _Closed
        self._terminal.prompt(prompt)

    def _lose(self, problem: Problem) -> None:
        self._terminal.say(f"error: {problem}")
        self._is_lost = True

    def _put_off(self, approval_id: str, why: str) -> None:
        self._open.pop(approval_id, None)
        self._terminal.say(f"{why}. To decide later: {command(self._client.options, 'approvals', 'show', approval_id)}")


def _keys_for(shown: approval_pb2.Approval) -> list[tuple[str, str, str]]:
    """The keys that can answer a question: what nobody may decide on this approval is not among them."""
    verdicts = {**_VERDICTS, "g": APPROVE if shown.HasField("grants") else None}
    return [
        (key, word, does)
        for key, word, does in _KEYS_SHOWN
        if key not in verdicts or ((verdict := verdicts[key]) is not None and is_allowed(shown, verdict))
    ]


def prompt_for(shown: approval_pb2.Approval) -> str:
    """The keys that can answer a question, in one line."""
    keys = [f"{word} ({key})" for key, word, _ in _keys_for(shown)]
    return ", ".join([*keys, "help (?): "])


def help_for(shown: approval_pb2.Approval) -> str:
    """The same with what each does, one a line."""
    keys = [f"  {key}  {does}" for key, _, does in _keys_for(shown)]
    return "\n".join([*keys, "Ctrl-C leaves; the run goes on waiting."])


class _Question:
    """What is shown of an approval; `is_whole` once all that would run was on the screen."""

    def __init__(
        self, shown: approval_pb2.Approval, terminal: LineTerminal, clock: Callable[[], float] = time.time
    ) -> None:
        self.shown, self.is_whole = shown, False
        self._terminal, self._clock = terminal, clock

    def show(self, *, all_of_it: bool = False) -> None:
        """Writes what a decision rests on, the arguments last; long ones not whole unless that is asked for."""
        say, content = self._terminal.say, self.shown.arguments_content
        facts = question_lines(self.shown, self._clock())
        say("\n" + "\n".join([*facts, *difference_lines(self.shown, None if all_of_it else FEW)]))
        say(SHOWN.get(self.shown.kind, "arguments"))
        if content.omitted:
            say(f"  ({content.ref.size} bytes, too many to show here)")
            return
        lines = json_lines(inline_bytes(content).decode("utf-8", "replace"))
        self.is_whole = all_of_it or (len(lines) <= _MOST_LINES and sum(map(len, lines)) <= _MOST_CHARACTERS)
        if not self.is_whole:
            lines = [line[:200] + ("..." if line[200:] else "") for line in lines[: _MOST_LINES // 2]]
        for line in lines:
            say(f"  {line}")
        if not self.is_whole:
            say(f"NOT ALL IS SHOWN of {content.ref.size} bytes; v shows them all")

    def refuse_unseen(self) -> None:
        """Says why nothing is approved that was not on the screen, and what to do."""
        if not self.shown.arguments_content.omitted:
            self.show(all_of_it=True)
            return
        self._terminal.say(
            "What cannot be shown is not approved here. `runwright export` has the arguments; "
            f"`runwright approvals approve --digest` approves {self.shown.digest}."
        )
