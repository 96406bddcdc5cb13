"""The call that was approved last: which one that is, over denials, edits, removals and restarts, and who sees it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import apsw
import pytest
from runwright.adapters.sqlite import SqliteJournal
from runwright.core.approvals import ApprovalVerdict
from runwright.core.approved_call_rows import APPROVED_CALLS, approved_call, approved_calls_of
from runwright.core.argument_changes import ArgumentChanges, argument_changes
from runwright.core.grants import GrantMatcher, GrantRequest, GrantScope
from runwright.core.ids import DEFAULT_NAMESPACE, Namespace
from runwright.core.kinds import EventKind
from runwright.core.package import RuntimePackage
from runwright.core.previous_approvals import ApprovalComparison, PreviousApproval
from runwright.core.principal import Principal
from runwright.core.side_rows import DeleteEntry
from runwright.runtime import AgentRuntime, previous_approvals
from runwright.runtime.previous_approvals import LOOKED_AT, PreviousApprovals
from runwright.testing import FunctionTools, ManualClock

from tests import builders as b
from tests.ports.stores import AnyJournal
from tests.runtime.approving import ANN, BOB, Sent, person, separated
from tests.runtime.approving import decide as decide_at_once
from tests.runtime.sending_calls import ASKS, FIRST, SECOND, THIRD, sending
from tests.runtime.watching import abandoned, key, quiet, reached, stood_still

COMPARED, FIRST_CALL = ApprovalComparison.COMPARED, ApprovalComparison.FIRST
NOT_VISIBLE, UNAVAILABLE = ApprovalComparison.NOT_VISIBLE, ApprovalComparison.UNAVAILABLE
TO_ANN, TO_BOB, TO_EVE = {"to": "ann"}, {"to": "bob"}, {"to": "eve"}
EDIT, DENY, RESPOND = ApprovalVerdict.APPROVE_WITH_EDITS, ApprovalVerdict.DENY, ApprovalVerdict.RESPOND
WRITES_TO_BOB = {
    "provider": {
        "adapter": "scripted",
        "model": "model-1",
        "parameters": {"script": [b.asks({"tool": "write", "arguments": TO_BOB}), b.says("done")]},
    }
}
SESSION_CALLS = approved_calls_of("", "s", "helper", "send")


def serving(bench: b.Bench, *packages: RuntimePackage) -> AgentRuntime:
    """A runtime of these packages, whose approvers are told from others."""
    bench.packages, bench.tools = packages, FunctionTools({"send": Sent(), "write": Sent()})
    return separated(bench, ANN, BOB, person("eve", namespace="other")).runtime()


async def asked(runtime: AgentRuntime, run_id: str = "run-1", times: int = 1, **fields: Any) -> str:
    """Starts a run unless it has asked before; the id of its approval once it has asked so often."""
    if times == 1:
        await runtime.start_run(b.request(run_id, **fields), principal="cal")
    await reached(runtime, EventKind.APPROVAL_REQUESTED, run_id, times=times)
    return f"{run_id}/a{times}.1.1"


async def decide(runtime: AgentRuntime, *args: Any, **fields: Any) -> None:
    """Somebody decides, a while after the one before."""
    clock = runtime.ports.clock
    assert isinstance(clock, ManualClock)
    clock.advance(1_000_000)
    await decide_at_once(runtime, *args, **fields)


async def compared(runtime: AgentRuntime, approval_id: str, who: Principal = BOB) -> PreviousApproval:
    """What a call is compared with, as somebody sees it."""
    standing = await runtime.approvals.get(who, approval_id)
    arguments = await runtime.approvals.arguments(who.namespace, standing.asked, standing.asked.arguments)
    found = await PreviousApprovals(runtime.ports, runtime.approvals).of(who, standing, arguments)
    assert found is not None
    return found


def told(found: PreviousApproval) -> tuple[ApprovalComparison, str, list[tuple[str, str]]]:
    """What came of it, the earlier approval, and what was and is."""
    changes = found.changes.changes if found.changes else ()
    return found.comparison, found.earlier.asked.id if found.earlier else "", [(c.before, c.after) for c in changes]


async def three_of_a_session(bench: b.Bench, package: RuntimePackage | None = None) -> AgentRuntime:
    """Two runs of a session that have ended, whose calls were approved with other arguments, and one that waits."""
    runtime = serving(bench, package or sending(TO_BOB))
    for number, to in (1, b"ann"), (2, b"dan"):
        approval_id = await asked(runtime, f"run-{number}", session_id="s")
        await decide(runtime, EDIT, approval_id=approval_id, arguments_json=b'{"to":"%s"}' % to)
        await stood_still(runtime, f"run-{number}")
    await asked(runtime, "run-3", session_id="s")
    return runtime


async def test_each_call_is_compared_with_the_one_approved_before_it_also_once_it_was_decided(
    any_journal: AnyJournal,
) -> None:
    runtime = serving(b.Bench(journal=any_journal), sending(TO_ANN, TO_BOB, TO_EVE))
    await asked(runtime)
    await decide(runtime)
    await asked(runtime, times=2)
    second = told(await compared(runtime, SECOND))
    await decide(runtime, approval_id=SECOND)
    await asked(runtime, times=3)

    assert second == (COMPARED, FIRST, [('"ann"', '"bob"')])
    assert told(await compared(runtime, THIRD)) == (COMPARED, SECOND, [('"bob"', '"eve"')])
    await decide(runtime, DENY, approval_id=THIRD)
    assert told(await compared(runtime, THIRD)) == (COMPARED, SECOND, [('"bob"', '"eve"')])
    assert told(await compared(runtime, SECOND)) == second
    assert told(await compared(runtime, FIRST)) == (FIRST_CALL, "", [])


@pytest.mark.parametrize(("verdict", "fields"), [(DENY, {}), (RESPOND, {"message": "sent it"})])
async def test_a_call_that_was_not_approved_does_not_count(
    bench: b.Bench, verdict: ApprovalVerdict, fields: dict[str, str]
) -> None:
    runtime = serving(bench, sending(TO_ANN, TO_BOB))
    await asked(runtime)
    await decide(runtime, verdict, **fields)
    await asked(runtime, times=2)

    assert told(await compared(runtime, SECOND)) == (FIRST_CALL, "", [])


async def test_a_call_that_a_grant_answered_does_not_count(bench: b.Bench) -> None:
    offered = {"scopes": ["run"], "max_uses": 1, "max_time": "1h"}
    offers = {"writes": {"sets": [{"roles": ["approver"]}], "expires": "1h", "grants": offered}}
    runtime = serving(bench, sending(TO_ANN, TO_EVE, TO_ANN, TO_BOB, approvals=offers))
    await asked(runtime)
    exact = GrantRequest(GrantScope.RUN, GrantMatcher.EXACT_ARGUMENTS, uses=1, valid_for="1h")
    await decide(runtime, grant=exact)
    await asked(runtime, times=2)
    await decide(runtime, approval_id=SECOND)

    await reached(runtime, EventKind.GRANT_USED)
    await reached(runtime, EventKind.APPROVAL_REQUESTED, times=3)

    assert told(await compared(runtime, "run-1/a4.1.1")) == (COMPARED, SECOND, [('"eve"', '"bob"')])


async def test_a_call_of_another_session_namespace_agent_or_tool_is_not_compared_with(bench: b.Bench) -> None:
    other_agent = sending(TO_BOB, id="other-package", agent={"id": "other", "instructions": ""})
    other_tool = sending(TO_BOB, id="tool-package", tools=(b.writing_tool("write"),), **WRITES_TO_BOB)
    runtime = serving(bench, sending(TO_BOB), other_agent, other_tool)
    await decide(runtime, approval_id=await asked(runtime, session_id="s", package_id="helper-package"))

    session = await asked(runtime, "run-2", session_id="t", package_id="helper-package")
    agent = await asked(runtime, "run-3", session_id="s", package_id="other-package")
    tool = await asked(runtime, "run-4", session_id="s", package_id="tool-package")
    await decide(runtime, approval_id=await asked(runtime, "run-5", package_id="helper-package"))
    without = await asked(runtime, "run-7", package_id="helper-package")
    named_like_it = await asked(runtime, "s", package_id="helper-package")
    alike = await asked(runtime, "run-6", session_id="s", package_id="helper-package")
    elsewhere = Namespace("other")
    await runtime.start_run(
        b.request("run-1", session_id="s", package_id="helper-package"), namespace=elsewhere, principal="cal"
    )
    eve = person("eve", namespace="other")
    await quiet()

    for approval_id in (session, agent, tool, without, named_like_it):
        assert told(await compared(runtime, approval_id)) == (FIRST_CALL, "", []), approval_id
    assert told(await compared(runtime, FIRST, eve)) == (FIRST_CALL, "", [])
    assert told(await compared(runtime, alike))[:2] == (COMPARED, FIRST)


async def test_an_approval_that_was_superseded_does_not_count_nor_does_another_of_the_same_call(bench: b.Bench) -> None:
    rules = (ASKS, {"when": 'args.to == "eve"', "then": "ask", "approval": "mine"})
    runtime = serving(bench, sending(TO_BOB, TO_ANN, rules=rules))
    await asked(runtime)
    await decide(runtime, EDIT, arguments_json=b'{"to": "eve"}')
    await reached(runtime, EventKind.APPROVAL_REQUESTED, times=2)

    over = told(await compared(runtime, "run-1/a1.1.2", ANN))
    await decide(runtime, DENY, who=ANN, approval_id="run-1/a1.1.2")
    await reached(runtime, EventKind.APPROVAL_REQUESTED, times=3)

    assert over == (FIRST_CALL, "", [])
    assert told(await compared(runtime, SECOND)) == (FIRST_CALL, "", []), "what was given of the first counts no more"


async def test_nothing_is_said_of_an_approval_that_the_reader_does_not_see(bench: b.Bench) -> None:
    rules = ({"when": 'args.to == "bob"', "then": "ask", "approval": "mine"}, ASKS)
    runtime = serving(bench, sending(TO_ANN, TO_BOB, TO_EVE, rules=rules))
    await asked(runtime)
    await decide(runtime)
    await asked(runtime, times=2)
    await decide(runtime, approval_id=SECOND, who=ANN)
    await asked(runtime, times=3)

    assert await compared(runtime, THIRD, BOB) == PreviousApproval(NOT_VISIBLE), "not the one before it either"
    assert told(await compared(runtime, THIRD, ANN)) == (COMPARED, SECOND, [('"bob"', '"eve"')])


async def test_when_its_run_was_removed_the_one_before_it_counts_and_then_it_says_so(any_journal: AnyJournal) -> None:
    bench = b.Bench(journal=any_journal)
    runtime = await three_of_a_session(bench)
    waiting = "run-3/a1.1.1"
    assert told(await compared(runtime, waiting)) == (COMPARED, "run-2/a1.1.1", [('"dan"', '"bob"')])

    await any_journal.remove(key("run-2"), now=bench.manual_clock.now())
    assert told(await compared(runtime, waiting)) == (COMPARED, FIRST, [('"ann"', '"bob"')])
    await any_journal.remove(key("run-1"), now=bench.manual_clock.now())

    assert told(await compared(runtime, waiting)) == (UNAVAILABLE, "", [])
    left = await any_journal.entries(DEFAULT_NAMESPACE, APPROVED_CALLS, limit=9)
    assert left == []


async def test_a_restart_changes_nothing(any_journal: AnyJournal) -> None:
    bench = b.Bench(journal=any_journal)
    async with abandoned():
        before = told(await compared(await three_of_a_session(bench), "run-3/a1.1.1"))

    runtime = bench.runtime()

    assert before == told(await compared(runtime, "run-3/a1.1.1")) == (COMPARED, "run-2/a1.1.1", [('"dan"', '"bob"')])


async def test_in_a_journal_of_before_there_is_nothing_to_compare_with_and_no_error(bench: b.Bench) -> None:
    runtime = await three_of_a_session(bench)
    rows = await bench.journal.entries(DEFAULT_NAMESPACE, APPROVED_CALLS, limit=9)
    for row in rows:
        assert not isinstance(row, Exception)
        await bench.journal.change_beside(row.run, (DeleteEntry(APPROVED_CALLS, row.key),))

    assert told(await compared(runtime, "run-3/a1.1.1")) == (FIRST_CALL, "", [])


async def test_a_row_that_leads_to_another_tool_or_to_nothing_is_not_believed(bench: b.Bench) -> None:
    other = sending(TO_EVE, id="tool-package", tools=(b.writing_tool("write"),), **WRITES_TO_BOB)
    runtime = serving(bench, sending(TO_BOB), other)
    of_write = await asked(runtime, "run-1", session_id="s", package_id="tool-package")
    await decide(runtime, approval_id=of_write)
    pending = await asked(runtime, "run-2", session_id="s", package_id="helper-package")

    await bench.journal.change_beside(key("run-2"), (approved_call(SESSION_CALLS, 1, of_write),))
    assert told(await compared(runtime, pending)) == (FIRST_CALL, "", [])
    await bench.journal.change_beside(key("run-2"), (approved_call(SESSION_CALLS, 2, "run-9/a1.1.1"),))
    assert told(await compared(runtime, pending)) == (UNAVAILABLE, "", [])


async def test_no_more_are_looked_at_than_there_is_a_bound_for(bench: b.Bench) -> None:
    runtime = await three_of_a_session(bench)
    itself = [approved_call(SESSION_CALLS, (1 << 62) + number, "run-3/a1.1.1") for number in range(LOOKED_AT)]

    await bench.journal.change_beside(key("run-3"), itself[1:])
    assert told(await compared(runtime, "run-3/a1.1.1"))[:2] == (COMPARED, "run-2/a1.1.1")
    await bench.journal.change_beside(key("run-3"), itself[:1])

    assert told(await compared(runtime, "run-3/a1.1.1")) == (UNAVAILABLE, "", [])


@pytest.mark.parametrize(
    "damage",
    [
        f"UPDATE entries SET value = x'00' WHERE index_name = '{APPROVED_CALLS}'",
        "UPDATE entries SET value = x'00' WHERE index_name = 'approval' AND key = 'run-2/a1.1.1'",
        """UPDATE contents SET data = CAST('{"to":"dam"}' AS BLOB) WHERE data = CAST('{"to":"dan"}' AS BLOB)""",
        """DELETE FROM contents WHERE data = CAST('{"to":"dan"}' AS BLOB)""",
    ],
)
async def test_what_is_damaged_is_not_compared_with_and_hides_nothing_that_is_asked_for(
    tmp_path: Path, damage: str
) -> None:
    bench = b.Bench(journal=SqliteJournal.open(tmp_path))
    runtime = await three_of_a_session(bench)
    db = apsw.Connection(str(tmp_path / "journal.db"))
    db.execute(damage)
    db.close()

    assert told(await compared(runtime, "run-3/a1.1.1")) == (UNAVAILABLE, "", [])
    await runtime.close()


@pytest.mark.parametrize(("size", "is_elsewhere"), [(10, False), (100_000, True)])
async def test_large_arguments_are_compared_on_another_thread(
    bench: b.Bench, monkeypatch: pytest.MonkeyPatch, size: int, is_elsewhere: bool
) -> None:
    threads: list[threading.Thread] = []

    def noted(before: bytes, after: bytes, highlight: Sequence[str]) -> ArgumentChanges | None:
        threads.append(threading.current_thread())
        return argument_changes(before, after, highlight)

    monkeypatch.setattr(previous_approvals, "argument_changes", noted)
    runtime = serving(bench, sending({"text": "x" * size}, {"text": "x" * size + "y"}))
    await asked(runtime)
    await decide(runtime)
    await asked(runtime, times=2)

    found = await compared(runtime, SECOND)

    assert (found.comparison, found.changes and len(found.changes.changes)) == (COMPARED, 1)
    assert [thread is not threading.main_thread() for thread in threads] == [is_elsewhere]


async def test_what_cannot_be_arguments_of_a_call_is_not_compared(bench: b.Bench) -> None:
    runtime = serving(bench, sending(TO_BOB, TO_EVE))
    await asked(runtime)
    await decide(runtime)
    await asked(runtime, times=2)
    standing = await runtime.approvals.get(BOB, SECOND)

    deep = b'{"a":' * 20_000 + b"1" + b"}" * 20_000
    found = await PreviousApprovals(runtime.ports, runtime.approvals).of(BOB, standing, deep)

    assert found == PreviousApproval(UNAVAILABLE)
