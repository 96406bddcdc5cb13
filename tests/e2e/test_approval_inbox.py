"""`runwright approvals inbox` in a terminal, against a real server."""

from __future__ import annotations

from runwright._gen.runwright.v1 import approval_pb2, event_pb2

from tests.e2e.conftest import MakeServer
from tests.e2e.executor import Executor
from tests.e2e.server_process import Server
from tests.e2e.terminal import Terminal, in_terminal
from tests.e2e.test_approval_kills import DENY, decide, pending
from tests.e2e.test_approve_in_terminal import served


def inbox(server: Server, **size: int) -> object:
    """The inbox in a terminal."""
    return in_terminal("--server", server.address, "approvals", "inbox", **size)


async def started(make_server: MakeServer, *arguments: dict[str, object], runs: int = 1) -> Server:
    """A server with runs that wait for somebody."""
    server = await served(make_server, *arguments)
    for number in range(1, runs + 1):
        await server.call.start(f"run-{number}")
        await pending(server.call, f"run-{number}")
    return server


async def pressed(terminal: Terminal, key: str, *wanted: str) -> None:
    """A key, and what is to be seen then."""
    terminal.type(key)
    await terminal.until(lambda screen: all(one in screen for one in wanted))


async def test_what_is_pending_is_seen_whole_and_approved(make_server: MakeServer, executor: Executor) -> None:
    server = await started(make_server, runs=2)
    async with inbox(server) as terminal:
        await terminal.until("2 calls pending", '"to": "ann"', "policies.0.rules.0", "59m", "role approver")
        await pressed(terminal, "a", "approve run-1/a1.1.1 (send)? y: yes")
        assert executor.requested == []
        await pressed(terminal, "y", "run-1/a1.1.1 is APPROVED, by local", "1 call pending", "run-2/a1.1.1")
        await server.call.settled("run-1")
        await pressed(terminal, "a", "approve run-2/a1.1.1 (send)? y: yes")
        await pressed(terminal, "n", "q quit")
        terminal.type("q")
        assert await terminal.ended() == 0

    assert [one.run_id for one in executor.requested] == ["run-1"]
    assert len(await pending(server.call, "run-2")) == 1


async def test_other_answers_are_typed_or_confirmed_and_esc_decides_nothing(
    make_server: MakeServer, executor: Executor
) -> None:
    server = await started(make_server, runs=3)
    async with inbox(server) as terminal:
        await terminal.until("3 calls pending", '"to": "ann"')
        await pressed(terminal, "d", "deny run-1/a1.1.1 (send): type the text")
        terminal.type("no\x1b")
        await terminal.until(lambda screen: "q quit" in screen and "type the text" not in screen)
        assert len(await pending(server.call, "run-1")) == 1
        await pressed(terminal, "d", "type the text")
        await pressed(
            terminal, "Not on a Friday.\r", "run-1/a1.1.1 is DENIED, by local", "2 calls pending", '"to": "ann"'
        )
        await pressed(terminal, "r", "respond to run-2/a1.1.1 (send): type the text")
        await pressed(terminal, "I sent it myself.\r", "run-2/a1.1.1 is RESPONDED", "1 call pending", '"to": "ann"')
        await pressed(terminal, "x", "end the run of run-3/a1.1.1 (send)? y")
        await pressed(terminal, "y", "run-3/a1.1.1 is ABORTED", "no call pending")

    results = [(await server.call.settled(f"run-{number}")).result for number in (1, 2)]
    assert ["Not on a Friday." in str(results[0]), "I sent it myself." in str(results[1])] == [True, True]
    assert executor.requested == []


async def test_arguments_are_edited_in_the_editor_and_made_so_after_a_confirmation(
    make_server: MakeServer, executor: Executor
) -> None:
    server = await started(make_server)
    editor = {"EDITOR": "sed -i s/ann/bob/", "VISUAL": ""}
    words = ("--server", server.address, "approvals", "inbox")
    async with in_terminal(*words, environment=editor) as terminal:
        await terminal.until('"to": "ann"')
        await pressed(terminal, "e", "approve with other arguments run-1/a1.1.1", "to be made with:", '"to": "bob"')
        assert executor.requested == []
        await pressed(terminal, "y", "run-1/a1.1.1 is APPROVED", "no call pending")

    frames = await server.call.frames("run-1")
    assert [frame.event.approval_decided.verdict for frame in frames if frame.event.HasField("approval_decided")] == [
        approval_pb2.APPROVAL_VERDICT_APPROVE_WITH_EDITS
    ]
    await executor.until_asked(1)


async def test_what_somebody_else_decides_under_a_confirmation_is_not_decided_twice(
    make_server: MakeServer, executor: Executor
) -> None:
    server = await started(make_server, runs=2)
    [first] = await pending(server.call, "run-1")
    async with inbox(server) as terminal:
        await terminal.until('"to": "ann"')
        await pressed(terminal, "a", "y: yes")
        await decide(server.call, first, DENY)
        await terminal.until(lambda screen: "run-1/a1.1.1 is DENIED by local" in screen and "1 call pending" in screen)
        await pressed(terminal, "y", "1 call pending")  # the question it answered is no more
        await terminal.until("q quit")

    assert executor.requested == []
    assert len(await pending(server.call, "run-2")) == 1


async def test_a_lost_connection_is_said_and_what_happened_meanwhile_is_seen(
    make_server: MakeServer, executor: Executor
) -> None:
    server = await started(make_server, runs=2)
    async with inbox(server) as terminal:
        await terminal.until("2 calls pending", '"to": "ann"')
        listen = server.address
        server.kill()
        await server.ended()
        await terminal.until(lambda screen: "connection lost" in screen)
        await server.start(listen)
        await server.call.start("run-3")
        await terminal.until(lambda screen: "3 calls pending" in screen and "connection lost" not in screen)
        await pressed(terminal, "a", "y: yes")
        await pressed(terminal, "y", "run-1/a1.1.1 is APPROVED")
        await server.call.settled("run-1")

    assert len(executor.requested) == 1


async def test_several_alike_are_decided_at_once_without_the_one_left_out(
    make_server: MakeServer, executor: Executor
) -> None:
    server = await started(make_server, {"to": "ann"}, {"to": "bob"}, {"to": "cal"})
    async with inbox(server, rows=60) as terminal:
        await terminal.until("3 calls pending", '"to": "ann"')
        await pressed(terminal, "b", "3 marked", '"to": "ann"', '"to": "bob"', '"to": "cal"')
        await pressed(terminal, "j", "> [x]")
        await pressed(terminal, "m", "> [ ]", "2 marked")
        assert '"to": "bob"' not in terminal.screen
        await pressed(terminal, "a", "approve 2 calls of send? y: yes")
        await pressed(terminal, "y", "2 decided", "1 call pending", "run-1/a1.2.1")

    await executor.until_asked(2)
    assert [one.approval_id for one in await pending(server.call)] == ["run-1/a1.2.1"]
    kinds = [frame.event.kind for frame in await server.call.frames("run-1")]
    assert kinds.count(event_pb2.EVENT_KIND_APPROVAL_DECIDED) == 2


async def test_what_was_not_wholly_on_the_screen_is_not_approved(make_server: MakeServer, executor: Executor) -> None:
    server = await started(make_server, {"list": [f"item {number}" for number in range(40)], "then": "the end"})
    async with inbox(server, columns=60, rows=24) as terminal:
        await terminal.until("more lines below", "difference")
        await pressed(terminal, "a", "not all of it was on the screen yet")
        while "more lines below" in terminal.screen:
            before = terminal.screen
            terminal.type(" ")
            await terminal.until(lambda screen, before=before: screen != before)
        assert '"then": "the end"' in terminal.screen
        await pressed(terminal, "a", "y: yes")
        await pressed(terminal, "y", "is APPROVED")

    await executor.until_asked(1)
