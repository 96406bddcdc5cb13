"""The inbox in a terminal: its keys, and the calls that they lead to, each in a thread so that the screen goes on."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from prompt_toolkit.application import Application, run_in_terminal
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.filters import Condition
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys
from prompt_toolkit.layout import BufferControl, ConditionalContainer, FormattedTextControl, HSplit, Layout, Window
from prompt_toolkit.output import create_output

from runwright._gen.runwright.v1 import approval_pb2
from runwright._gen.runwright.v1 import approval_service_pb2 as pb
from runwright.cli import names
from runwright.cli.approval_feed import approval_updates
from runwright.cli.client import Client
from runwright.cli.decisions import ABORT_RUN, APPROVE, DENY, RESPOND, outcome_line
from runwright.cli.edited_arguments import pending, written
from runwright.cli.errors import Problem
from runwright.cli.inbox.drawing import Drawing, draw
from runwright.cli.inbox.state import Inbox, Intent, Mode
from runwright.cli.standard_streams import raw

_VERDICTS = {"a": APPROVE, "d": DENY, "r": RESPOND, "x": ABORT_RUN, "g": APPROVE}
_MOVES = {"j": 1, "k": -1, "down": 1, "up": -1, "home": -1_000_000, "end": 1_000_000}
_Result = TypeVar("_Result")


class InboxScreen:
    """A screen over `Inbox`, for as long as somebody looks at it."""

    def __init__(self, client: Client, *, mine: bool) -> None:
        self._client, self._mine = client, mine
        self._inbox = Inbox()
        self._drawing = Drawing([], 1, 0, frozenset())
        self._edited: dict[str, str] = {}
        self._is_fetching = self._is_deciding = False
        self._typed = Buffer(multiline=False, accept_handler=self._accept)
        is_typing = Condition(lambda: self._inbox.mode is Mode.TYPING)
        typing = Window(BufferControl(self._typed), height=1)
        main = Window(FormattedTextControl(self._text, focusable=True, show_cursor=False))
        self._main, self._typing = main, typing
        self._application: Application[None] = Application(
            layout=Layout(HSplit([main, ConditionalContainer(typing, is_typing)]), focused_element=main),
            key_bindings=self._keys(is_typing),
            full_screen=True,
            refresh_interval=1.0,  # deadlines count down
            min_redraw_interval=0.05,
            output=create_output(stdout=raw(sys.stdout)),
        )
        self._application.ttimeoutlen = 0.05  # Esc is a key here

    def run(self) -> None:
        """Shows it until somebody leaves. Raises Problem for a failure that does not pass."""
        self._application.run(pre_run=self._follow)

    # What comes

    def _follow(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._in_thread(self._read, self._end)

    def _read(self) -> Problem:
        try:
            for update in approval_updates(self._client, mine=self._mine, notice=self._notice):
                if update.HasField("approval"):
                    self._on_screen(self._take, update.approval)
        except Problem as problem:
            return problem
        return Problem("UNAVAILABLE", "The server has ended the list.", "Start the inbox again.", passing=True)

    def _end(self, problem: Problem) -> None:
        if self._application.is_running:
            self._application.exit(exception=problem)

    def _notice(self, text: str) -> None:
        def show() -> None:
            self._inbox.connection = "" if text == "connected again" else text
            self._changed()

        self._on_screen(lambda _: show(), None)

    def _take(self, approval: approval_pb2.Approval) -> None:
        self._inbox.take(approval)
        self._changed()

    def _changed(self) -> None:
        """Asks for the arguments that are looked at and not there, one call at a time, and draws."""
        lacking = self._inbox.lacking()
        if lacking and not self._is_fetching:
            self._is_fetching = True
            self._in_thread(lambda: _result(lambda: self._client.approval(lacking).approval), self._fetched)
        if self._inbox.mode is not Mode.TYPING and self._application.layout.has_focus(self._typing):
            self._application.layout.focus(self._main)
        self._application.invalidate()

    def _fetched(self, found: approval_pb2.Approval | Problem) -> None:
        self._is_fetching = False
        if isinstance(found, Problem):
            self._inbox.message = str(found)  # asked for again when something changes
            self._application.invalidate()
            return
        self._inbox.take_details(found)
        self._changed()

    # What is seen

    def _text(self) -> StyleAndTextTuples:
        size = self._application.output.get_size()
        rows = size.rows - (self._inbox.mode is Mode.TYPING)
        self._drawing = draw(self._inbox, size.columns, rows, time.time())
        self._inbox.scroll = self._drawing.scroll
        self._inbox.seen |= self._drawing.seen
        text: StyleAndTextTuples = []
        for line in self._drawing.lines:
            text += [(line.style, line.text), ("", "\n")]
        return text[:-1]

    # What is pressed

    def _keys(self, is_typing: Condition) -> KeyBindings:
        keys = KeyBindings()
        keys.add("escape", filter=is_typing, eager=True)(lambda _: self._leave_typing())
        keys.add("c-c")(lambda event: event.app.exit())
        keys.add(Keys.Any, filter=~is_typing)(lambda event: self._press(event, event.data))
        for name in ("up", "down", "home", "end", "pageup", "pagedown", "escape", "enter"):
            keys.add(name, filter=~is_typing)(lambda event, name=name: self._press(event, name))
        return keys

    def _press(self, event: KeyPressEvent, key: str) -> None:
        inbox = self._inbox
        if inbox.mode is Mode.CONFIRM:
            intent = inbox.intent
            inbox.drop_intent()
            inbox.report = []
            if key in ("y", "Y") and intent is not None:
                self._decide(intent, "")
        elif inbox.mode is Mode.HELP:
            inbox.mode, inbox.scroll = Mode.LIST, 0
        elif key == "q":
            event.app.exit()
        else:
            inbox.message, inbox.report = "", []
            self._act(key)
        self._changed()

    def _act(self, key: str) -> None:
        inbox = self._inbox
        match key:
            case "a" | "d" | "r" | "x" | "g" | "e" if self._is_deciding:
                inbox.message = "the last decision is not answered yet"
            case "a" | "d" | "r" | "x" | "g":
                inbox.begin(_VERDICTS[key], grants=key == "g")
                if inbox.mode is Mode.TYPING:
                    self._typed.reset()
                    self._application.layout.focus(self._typing)
            case "e":
                if (shown := inbox.begin_edit()) is not None:
                    self._application.create_background_task(self._edit(shown))
            case "b":
                inbox.begin_batch()
            case "m":
                inbox.toggle()
            case "escape":
                inbox.end_batch()
            case "?":
                inbox.mode, inbox.scroll = Mode.HELP, 0
            case " " | "pagedown":
                inbox.scroll = self._drawing.scroll + max(1, self._drawing.page - 1)
            case "pageup":
                inbox.scroll = max(0, self._drawing.scroll - max(1, self._drawing.page - 1))
            case _ if key in _MOVES:
                inbox.move(_MOVES[key])

    async def _edit(self, shown: approval_pb2.Approval) -> None:
        """Gives the terminal to the editor, and asks whether what was written there is approved."""
        before = self._edited.get(shown.digest)

        def write() -> str | Problem:
            return _result(lambda: written(before or pending(shown)))

        text = await run_in_terminal(write, in_executor=False)
        if isinstance(text, Problem):
            self._inbox.message = str(text)
        else:
            self._edited = {shown.digest: text}  # for another try, if the server refuses it
            self._inbox.take_edit(shown, text)
        self._changed()

    def _leave_typing(self) -> None:
        self._inbox.drop_intent()
        self._changed()

    def _accept(self, typed: Buffer) -> bool:
        intent, text = self._inbox.intent, typed.text
        self._inbox.drop_intent()
        if intent is not None and (text or intent.verdict != RESPOND):
            self._decide(intent, text)
        self._changed()
        return False

    # What is decided

    def _decide(self, intent: Intent, message: str) -> None:
        decisions = intent.decisions(message)
        if isinstance(decisions, str):
            self._inbox.message = decisions
            return
        self._is_deciding = True
        self._inbox.message = f"{intent.words}: sent"
        if len(decisions) == 1:
            self._in_thread(lambda: _result(lambda: self._client.decide(decisions[0])), self._decided)
        else:
            self._in_thread(lambda: _result(lambda: self._client.decide_batch(decisions)), self._batch_decided)

    def _decided(self, response: pb.DecideApprovalResponse | Problem) -> None:
        self._is_deciding = False
        if isinstance(response, Problem):
            self._inbox.message = str(response)
        else:
            self._inbox.take(response.approval)
            self._inbox.message = outcome_line(response)
        self._changed()

    def _batch_decided(self, response: pb.BatchDecideResponse | Problem) -> None:
        self._is_deciding = False
        if isinstance(response, Problem):
            self._inbox.message = str(response)
            self._changed()
            return
        failed = [result for result in response.results if result.HasField("error")]
        for result in response.results:
            if result.HasField("decided"):
                self._inbox.take(result.decided.approval)
        self._inbox.end_batch()
        decided = len(response.results) - len(failed)
        self._inbox.message = f"{decided} decided" + (f", {len(failed)} not" if failed else "")
        self._inbox.report = [f"not decided: {one.approval_id}: {names.failure(one.error)}" for one in failed]
        self._changed()

    def _in_thread(self, call: Callable[[], _Result], then: Callable[[_Result], None]) -> None:
        """Makes a call beside the screen, and hands its result to the screen. Leaving does not wait for it."""

        def make() -> None:
            self._on_screen(then, call())

        threading.Thread(target=make, daemon=True).start()

    def _on_screen(self, then: Callable[[_Result], None], result: _Result) -> None:
        """Hands something to the screen's thread; after somebody has left there is none, and nothing to do."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(then, result)


def _result(call: Callable[[], _Result]) -> _Result | Problem:
    try:
        return call()
    except Problem as problem:
        return problem
