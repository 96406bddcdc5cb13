"""The inbox in a terminal, against a service that plays: much that is pending, hostile texts, sizes, failed batches."""

from __future__ import annotations

import shutil
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from runwright._gen.runwright.v1 import approval_pb2, error_pb2
from runwright._gen.runwright.v1 import approval_service_pb2 as pb

from tests.cli.test_approvals import FakeApprovals, serving
from tests.cli.test_inbox import HOSTILE, ended, one, without_arguments
from tests.e2e.server_process import ROOT
from tests.e2e.terminal import Terminal, in_terminal
from tests.e2e.tmux import Tmux


class ManyApprovals(FakeApprovals):
    """Knows many; `news` is what comes after them."""

    def __init__(self, *approvals: approval_pb2.Approval) -> None:
        super().__init__()
        self.known = {approval.approval_id: approval for approval in approvals}
        self.batches: list[pb.BatchDecideRequest] = []
        self.left = threading.Event()

    def GetApproval(self, request: pb.GetApprovalRequest, context: grpc.ServicerContext) -> pb.GetApprovalResponse:
        """With its arguments."""
        return pb.GetApprovalResponse(approval=self.known[request.approval_id])

    def WatchApprovals(self, request: pb.WatchApprovalsRequest, context: grpc.ServicerContext) -> Iterator[object]:
        """All of them, then nothing until whoever reads has left."""
        context.add_callback(self.left.set)
        for approval in self.known.values():
            yield pb.WatchApprovalsResponse(cursor="cursor-1", approval=without_arguments(approval))
        self.left.wait()

    def BatchDecide(self, request: pb.BatchDecideRequest, context: grpc.ServicerContext) -> pb.BatchDecideResponse:
        """Every tenth was decided by somebody before."""
        self.batches.append(request)
        response = pb.BatchDecideResponse()
        for at, decision in enumerate(request.decisions):
            result = response.results.add(approval_id=decision.approval_id)
            if at % 10 == 9:
                result.error.reason = error_pb2.ERROR_REASON_APPROVAL_ALREADY_DECIDED
                result.error.message = f"ann has denied it.{HOSTILE}"
            else:
                result.decided.approval.CopyFrom(ended(self.known[decision.approval_id]))
                result.decided.decided = True
        return response


def far(number: int, arguments: str = '{"to":"bob"}', **fields: Any) -> approval_pb2.Approval:
    """One with a deadline that does not come while a test runs."""
    approval = one(number, arguments, **fields)
    for time in (approval.expires_at, *(each.until for each in approval.sets)):
        time.FromSeconds(4_000_000_000)
    return approval


def inbox(server: str, **size: int) -> Any:
    """The inbox in a terminal."""
    return in_terminal("--server", server, "approvals", "inbox", **size)


async def pressed(terminal: Terminal, key: str, *wanted: str) -> None:
    """A key, and what is to be seen then."""
    terminal.type(key)
    await terminal.until(lambda screen: all(one in screen for one in wanted))


async def test_ten_thousand_that_are_pending_are_listed_and_walked_through() -> None:
    approvals = ManyApprovals(*(far(number) for number in range(1, 10_001)))
    with serving(approvals) as server:
        async with inbox(server) as terminal:
            await terminal.until("10000 calls pending", '"to": "bob"')
            await pressed(terminal, "\x1b[F", "> ", "run-10000/a1.1.1", "approval   run-10000/a1.1.1")
            await pressed(terminal, "k", "approval   run-9999/a1.1.1", '"to": "bob"')
            await pressed(terminal, "b", "100 marked")
            terminal.type("q")
            assert await terminal.ended() == 0


@pytest.mark.parametrize(("columns", "rows"), [(40, 10), (100, 40)])
async def test_hostile_texts_move_nothing_and_are_seen(columns: int, rows: int) -> None:
    evil = far(1, f'{{"x":"{HOSTILE}"}}', tool=HOSTILE, agent_id=HOSTILE, message=HOSTILE, started_by=HOSTILE)
    with serving(ManyApprovals(evil, far(2))) as server:
        async with inbox(server, columns=columns, rows=rows) as terminal:
            await terminal.until("2 calls pending", "approval   run-1/a1.1.1")
            seen = terminal.screen
            while "more lines below" in terminal.screen:
                before = terminal.screen
                terminal.type(" ")
                await terminal.until(lambda screen, before=before: screen != before)
                seen += terminal.screen
                assert terminal.screen.startswith("2 calls pending"), "the first line is where it was"

    assert "\\u001b[2J" in seen.replace("\n", "")
    assert "\\u202e" in seen
    assert not {"\u202e", "\u200b", "\x9b"} & set(terminal.text)
    assert "\x1b]0;t" not in terminal.text


async def test_sixty_four_kibibytes_of_arguments_are_paged_to_their_end() -> None:
    with serving(ManyApprovals(far(1, '{"text":"' + "漢" * 20_000 + 'FINIS"}'))) as server:
        async with inbox(server, columns=200, rows=100) as terminal:
            await terminal.until("more lines below")
            for _ in range(10):
                before = terminal.screen
                terminal.type(" ")
                await terminal.until(lambda screen, before=before: screen != before)
                if "FINIS" in terminal.screen:
                    break
            await pressed(terminal, "a", "y: yes")


async def test_another_size_is_drawn_anew() -> None:
    with serving(ManyApprovals(far(1), far(2))) as server:
        async with inbox(server) as terminal:
            await terminal.until("2 calls pending", '"to": "bob"', "q quit")
            terminal.resize(40, 10)
            await terminal.until(lambda screen: "more lines below" in screen and "a approve" in screen)
            assert len(terminal.screen.split("\n")) == 10
            terminal.resize(120, 50)
            await terminal.until(lambda screen: "more lines below" not in screen and '"to": "bob"' in screen)


async def test_what_of_a_batch_was_not_decided_is_explained() -> None:
    approvals = ManyApprovals(*(far(number, '{"n":1}') for number in range(1, 21)))
    with serving(approvals) as server:
        async with inbox(server, rows=150) as terminal:
            await terminal.until("20 calls pending")
            await pressed(terminal, "b", "20 marked", "arguments of run-20/a1.1.1")
            await terminal.until(lambda screen: "they are asked for" not in screen)
            await pressed(terminal, "d", "deny 20 calls of")
            await pressed(terminal, "not now\r", "18 decided, 2 not", "not decided: run-10/a1.1.1", "ann has denied it")

    [batch] = approvals.batches
    assert {decision.message for decision in batch.decisions} == {"not now"}
    assert [decision.digest for decision in batch.decisions] == [far(number).digest for number in range(1, 21)]


async def test_help_is_there_and_any_key_leads_back() -> None:
    with serving(ManyApprovals(far(1))) as server:
        async with inbox(server) as terminal:
            await terminal.until("1 call pending")
            await pressed(terminal, "?", "leave; nothing is decided by that")
            await pressed(terminal, "j", '"to": "bob"')
            terminal.type("\x03")
            assert await terminal.ended() == 0


async def test_a_server_that_is_not_there_is_said_and_the_terminal_is_as_before() -> None:
    async with inbox("127.0.0.1:1") as terminal:
        assert await terminal.ended() == 5
        await terminal.until("error: ")
        assert "Traceback" not in terminal.text
        assert terminal.text.count("\x1b[?1049l") == 1, "the screen of before is back"


@pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed (Debian: apt-get install tmux)")
async def test_the_inbox_works_in_tmux(tmp_path: Path) -> None:
    with serving(ManyApprovals(far(1, f'{{"x":"{HOSTILE}"}}'), far(2))) as server:
        words = [sys.executable, "-m", "runwright", "--server", server, "approvals", "inbox"]
        async with Tmux.running(tmp_path, words, ROOT, columns=100, rows=30) as tmux:
            await tmux.until("2 calls pending", "\\u001b[2J", "> ")
            tmux.keys("Down")
            await tmux.until('"to": "bob"', "approval   run-2/a1.1.1")
            tmux.keys("a")
            await tmux.until("approve run-2/a1.1.1")
            tmux.keys("y")
            await tmux.until(f"{'run-1'}/a1.1.1")
            tmux.resize(40, 10)
            await tmux.until("more lines below")
            tmux.keys("q")
            await tmux.until("left with 0")
