"""`runwright run --approve` in a terminal, against a real server: what is shown, what is answered, what is run."""

from __future__ import annotations

import subprocess
import sys

import pytest
from runwright._gen.runwright.v1 import run_pb2
from runwright.cli.decisions import ABORT_RUN, DENY, RESPOND

from tests.e2e.conftest import MakeServer
from tests.e2e.executor import Executor
from tests.e2e.packages import Spec, asks, package, says, tool
from tests.e2e.server_process import Server
from tests.e2e.terminal import Terminal, in_terminal
from tests.e2e.test_approval_kills import decide, pending

SEND = tool("send", "write", idempotent=True, risk="high")
PROMPT = "approve (a), deny (d)"


def asking(*arguments: Spec, expires: str = "1h") -> Spec:
    """Sends as often, side by side, if somebody approves."""
    spec = package("asking", [asks(*(("send", one) for one in arguments)), says("done: {results}")], SEND)
    del spec["policy"]
    rules = [{"rules": [{"then": "ask", "approval": "writes", "code": "writes", "message": "It is sent for good."}]}]
    return {**spec, "policies": rules, "approvals": {"writes": {"expires": expires}}}


async def served(make_server: MakeServer, *arguments: Spec, **more: str) -> Server:
    """A server whose package asks for these calls."""
    server = make_server(asking(*arguments or ({"to": "ann"},), **more))
    await server.start()
    return server


def approving(server: Server, *words: str) -> tuple[str, ...]:
    """The command line."""
    return ("--server", server.address, "run", "--approve", "--id", "run-1", *words, "Send it.")


async def answered(terminal: Terminal, keys: str, *wanted: str) -> str:
    """What is written after the keys, once it has all that is wanted."""
    since = len(terminal.written)
    terminal.type(keys)
    await terminal.until(*wanted, since=since)
    return terminal.written[since:].decode()


async def test_a_run_is_approved_where_it_was_started(make_server: MakeServer, executor: Executor) -> None:
    server = await served(make_server)
    async with in_terminal(*approving(server)) as terminal:
        shown = await terminal.until(PROMPT)
        [asked] = await pending(server.call)
        assert executor.requested == []
        terminal.type("a\n")
        code = await terminal.ended()
        seen = await terminal.until("run run-1 completed", "done: ")

    for fact in ("run-1/a1.1.1", "send, executor", "risk high", '"to": "ann"', "policies.0.rules.0", "time left  59m"):
        assert fact in shown
    assert asked.digest in shown
    assert code == 0
    assert "run-1/a1.1.1 is APPROVED, by local" in seen
    assert [one.run_id for one in executor.requested] == ["run-1"]


async def test_every_answer_is_what_the_run_goes_on_with(make_server: MakeServer, executor: Executor) -> None:
    server = await served(make_server, {"to": "ann"}, {"to": "bob"}, {"to": "cal"})
    async with in_terminal(*approving(server)) as terminal:
        await terminal.until(PROMPT)
        await answered(terminal, "abort\n", "what is shown is done, exactly so", PROMPT)  # the help, no approval
        await answered(terminal, "d\n", "what the model is told (Enter: nothing)")
        await answered(terminal, "Not on a Friday.\n", "run-1/a1.1.1 is DENIED, by local", PROMPT)
        await answered(terminal, "r\n", "the result of the call (Enter: none, ask again)")
        await answered(terminal, "\n", PROMPT)
        await answered(terminal, "respond\n", "the result of the call")
        await answered(terminal, "I sent it myself.\n", "run-1/a1.2.1 is RESPONDED, by local", PROMPT)
        await answered(terminal, "x\n", "run-1/a1.3.1 is ABORTED, by local")
        assert await terminal.ended() == 1

    frames = await server.call.frames("run-1")
    decided = [frame.event.approval_decided for frame in frames if frame.event.HasField("approval_decided")]
    assert [one.verdict for one in decided] == [DENY, RESPOND, ABORT_RUN]
    assert decided[0].message == "Not on a Friday."
    assert terminal.text.count("I sent it myself.") == 2, "typed once, and once the result of the call"
    assert executor.requested == []


async def test_with_a_grant_the_next_such_calls_ask_nobody(make_server: MakeServer, executor: Executor) -> None:
    spec = asking()
    call = asks(("send", {"to": "ann"}))
    spec["provider"]["parameters"]["script"] = [call, call, call, says("done")]
    spec["approvals"]["writes"]["grants"] = {
        "scopes": ["run"], "matchers": ["exact_arguments"], "max_uses": 9, "max_time": "8h"
    }  # fmt: skip
    server = make_server(spec)
    await server.start()
    async with in_terminal(*approving(server)) as terminal:
        await terminal.until("grants     run; exact_arguments", PROMPT)
        await answered(terminal, "g\n", "run, session, agent_and_principal or namespace")
        await answered(terminal, "for ever\n", "'for' is none of", PROMPT)
        await answered(terminal, "g\n", "(Enter: run)")
        await answered(terminal, "run 5 1h\n", "is APPROVED, by local", "permitted by grant")
        assert await terminal.ended() == 0

    assert len(executor.requested) == 3
    assert terminal.text.count("is APPROVED") == 1


async def test_a_call_is_approved_with_what_was_written_in_the_editor(
    make_server: MakeServer, executor: Executor
) -> None:
    server = await served(make_server)
    async with in_terminal(*approving(server), environment={"EDITOR": "sed -i s/ann/bob/", "VISUAL": ""}) as terminal:
        await terminal.until(PROMPT)
        await answered(terminal, "e\n", "is APPROVED, by local", '"to":"bob"')
        assert await terminal.ended() == 0

    assert len(executor.requested) == 1


async def test_the_start_of_a_run_and_its_answer_are_asked_for_too(make_server: MakeServer) -> None:
    spec = asking()
    spec["provider"]["parameters"]["script"] = [says("The answer is 42.")]
    spec["policies"] = [
        {"rules": [{"stage": stage, "then": "ask", "code": stage} for stage in ("run_start", "output")]}
    ]
    spec["tools"], spec["approvals"] = [], {}
    server = make_server(spec)
    await server.start()
    async with in_terminal(*approving(server)) as terminal:
        await terminal.until("the start of the run", "Send it.", PROMPT)
        await answered(terminal, "r\n", "only calls of tools are responded to, or edited", PROMPT)
        await answered(terminal, "a\n", "the answer of the run", "\nanswer\n", "The answer is 42.", PROMPT)
        await answered(terminal, "a\n", "is APPROVED", "run run-1 completed")
        assert await terminal.ended() == 0


async def test_what_was_typed_before_a_question_does_not_answer_it(make_server: MakeServer, executor: Executor) -> None:
    server = await served(make_server, {"to": "ann"}, {"to": "bob"})
    async with in_terminal(*approving(server)) as terminal:
        await terminal.until(PROMPT)
        since = len(terminal.written)
        terminal.type("d\nnot her\na\n")
        await terminal.until("a1.1.1 is DENIED", '"to": "bob"', PROMPT, since=since)
        assert [one.approval_id for one in await pending(server.call)] == ["run-1/a1.2.1"]
        assert executor.requested == []


async def test_an_answer_of_somebody_else_is_said_and_the_run_goes_on(
    make_server: MakeServer, executor: Executor
) -> None:
    server = await served(make_server, {"to": "ann"}, {"to": "bob"})
    async with in_terminal(*approving(server)) as terminal:
        await terminal.until(PROMPT, "run-1/a1.1.1")
        first, second = await pending(server.call)
        since = len(terminal.written)
        await decide(server.call, first, DENY)
        await terminal.until("meanwhile: a1.1.1: DENY by local", '"to": "bob"', PROMPT, since=since)
        await answered(terminal, "s\n", f"{second.approval_id} goes on waiting")
        await decide(server.call, second, request_id="decision-2")
        assert await terminal.ended() == 0

    assert len(executor.requested) == 1


async def test_an_approval_that_expires_under_the_question_ends_it(make_server: MakeServer, executor: Executor) -> None:
    server = await served(make_server, expires="2s")
    async with in_terminal(*approving(server)) as terminal:
        await terminal.until(PROMPT)
        assert await terminal.ended() == 0
        assert "meanwhile: a1.1.1 expired: nobody decided in time" in terminal.text

    assert executor.requested == []


async def test_ctrl_c_leaves_the_run_waiting_and_says_how_to_decide(
    make_server: MakeServer, executor: Executor
) -> None:
    server = await served(make_server)
    async with in_terminal(*approving(server)) as terminal:
        await terminal.until(PROMPT)
        terminal.type("\x03")
        assert await terminal.ended() == 130
        seen = await terminal.until("To decide:", "To come back:")

    run = await server.call.snapshot("run-1")
    assert run.status == run_pb2.RUN_STATUS_WAITING
    command = next(line.strip() for line in seen.splitlines() if "approvals approve" in line)
    assert command.endswith(f"--server {server.address} approvals approve run-1/a1.1.1")
    async with in_terminal(*command.split("runwright ", 1)[1].split()) as terminal:
        assert await terminal.ended() == 0
    await server.call.settled("run-1")
    assert len(executor.requested) == 1


async def test_a_server_that_is_killed_under_the_question_is_asked_again(
    make_server: MakeServer, executor: Executor
) -> None:
    server = await served(make_server)
    async with in_terminal(*approving(server)) as terminal:
        await terminal.until(PROMPT)
        listen = server.address
        server.kill()
        await server.ended()
        await terminal.until("connection lost")
        await answered(terminal, "a\n", "error: UNAVAILABLE")
        since = len(terminal.written)
        await server.start(listen)
        await terminal.until("connected again", '"to": "ann"', PROMPT, since=since)
        await answered(terminal, "a\n", "is APPROVED, by local")
        assert await terminal.ended() == 0

    assert len(executor.requested) == 1


async def test_arguments_that_are_not_all_shown_are_not_approved_at_first_sight(
    make_server: MakeServer, executor: Executor
) -> None:
    hidden = {"to": "ann", "z": ["x" * 100] * 600, "zz": "the end"}
    server = await served(make_server, hidden)
    async with in_terminal(*approving(server)) as terminal:
        first = await terminal.until(PROMPT, "NOT ALL IS SHOWN")
        await answered(terminal, "a\n", "the end", PROMPT)
        assert executor.requested == []
        await answered(terminal, "a\n", "is APPROVED")

    assert "the end" not in first


async def test_hostile_arguments_are_seen_and_do_nothing(make_server: MakeServer) -> None:
    server = await served(make_server, {"to": "bob\x1b[2J\u202egnp\u200b.exe\x9b31m\U000e0041", "wide": "漢字"})
    async with in_terminal(*approving(server)) as terminal:
        shown = await terminal.until(PROMPT)
        assert "漢字" in terminal.screen

    for seen in ("\\u001b[2J", "\\u202egnp\\u200b.exe\\u009b31m\\U000e0041"):
        assert seen in shown
    assert not {"\x1b", "\u202e", "\x9b"} & set(shown)
    assert "\u200b" not in shown.partition("\napproval ")[2], "what is asked about shows every character"


@pytest.mark.parametrize("words", [("--no-watch",), ("-o", "json"), ()], ids=["no watch", "json", "no terminal"])
def test_where_nobody_can_be_asked_no_run_is_started(words: tuple[str, ...]) -> None:
    called = [sys.executable, "-m", "runwright", "--server", "127.0.0.1:1", "run", "--approve", *words, "Send it."]
    ended = subprocess.run(called, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60)

    assert ended.returncode == 2
    assert "--approve: asks in the terminal" in ended.stderr
    assert "runwright approvals" in ended.stderr
