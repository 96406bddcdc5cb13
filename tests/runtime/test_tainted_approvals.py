"""By which calls an approval is tainted: what the model had been told when it asked, and nothing else."""

from __future__ import annotations

from runwright.adapters.sqlite import SqliteJournal
from runwright.core import records as r
from runwright.core.approval_rows import RequestedApproval
from runwright.core.approvals import ApprovalVerdict
from runwright.core.kinds import EventKind
from runwright.core.package import RuntimePackage
from runwright.runtime import AgentRuntime

from tests import builders as b
from tests.ports.stores import AnyJournal
from tests.runtime.approving import ANN, BOB, decide, person, separated, shown
from tests.runtime.tainting import ASKS, SEND, named, reading_and_sending, reading_tools
from tests.runtime.watching import key, reached, records_of, stood_still

SECOND_ROUND = "run-1/a2.1.1"
# Another approval is asked for where it is for Eve.
FOR_EVE = {"when": 'tool.name == "send" && args.to == "eve"', "then": "ask", "approval": "others", "code": "eve"}
FOR_OTHERS = {**ASKS, "when": 'tool.effect == "write" && args.to != "eve"'}


async def asks(bench: b.Bench, package: RuntimePackage) -> AgentRuntime:
    """A runtime with a run that asks."""
    bench.packages, bench.tools = (package,), reading_tools()
    runtime = bench.runtime()
    await runtime.start_run(b.request())
    await reached(runtime, EventKind.APPROVAL_REQUESTED)
    return runtime


async def asked(runtime: AgentRuntime, approval_id: str = SECOND_ROUND) -> RequestedApproval:
    """What was asked for."""
    return (await shown(runtime, approval_id=approval_id)).asked


async def test_twenty_untrusted_results_are_sixteen_calls_and_four_more(bench: b.Bench) -> None:
    many = {"budget": {"tool_calls": 50, "parallel_calls": 4}}
    runtime = await asks(bench, reading_and_sending(b.asks(*["page", "note"] * 20), b.asks(SEND), **many))

    taint = (await asked(runtime)).tainted_by

    assert taint is not None
    numbers = [call.seq for call in taint.calls]
    told = [each for each in await records_of(bench.journal, r.ToolCompleted) if each.tool == "page"]
    assert [call.effect_id for call in taint.calls] == [each.call_id for each in told[:16]], "the oldest"
    assert (numbers, taint.more) == (sorted(numbers), 4)


async def test_what_comes_of_other_calls_of_the_same_round_is_not_named(bench: b.Bench) -> None:
    package = reading_and_sending(b.asks("page"), b.asks(SEND, "page"), b.says("done"), rules=(FOR_OTHERS, FOR_EVE))
    runtime = await asks(bench, package)
    await reached(runtime, EventKind.TOOL_COMPLETED, times=2)

    await decide(runtime, ApprovalVerdict.APPROVE_WITH_EDITS, approval_id=SECOND_ROUND, arguments_json=b'{"to":"eve"}')

    second = await asked(runtime, "run-1/a2.1.2")
    assert (second.approval, named(second.tainted_by)) == ("others", ["c1.1"])


async def test_a_call_that_was_not_tainted_when_it_was_requested_never_is(bench: b.Bench) -> None:
    package = reading_and_sending(b.asks(SEND, "page"), b.asks(SEND), b.says("done"), rules=(FOR_OTHERS, FOR_EVE))
    runtime = await asks(bench, package)
    await reached(runtime, EventKind.TOOL_COMPLETED)

    await decide(
        runtime, ApprovalVerdict.APPROVE_WITH_EDITS, approval_id="run-1/a1.1.1", arguments_json=b'{"to":"eve"}'
    )
    first, second = [await asked(runtime, f"run-1/a1.1.{number}") for number in (1, 2)]
    await decide(runtime, approval_id="run-1/a1.1.2", request_id="d-2")
    await reached(runtime, EventKind.APPROVAL_REQUESTED, times=3)

    assert [(each.tainted, each.tainted_by) for each in (first, second)] == [(False, None)] * 2
    assert named((await asked(runtime)).tainted_by) == ["c1.2"]


async def test_a_result_that_is_withheld_is_not_named_and_one_that_is_released_is_by_its_release(
    bench: b.Bench,
) -> None:
    secret = {"stage": "post_tool", "when": "call.index == 1", "then": "deny", "code": "secret"}
    runtime = await asks(bench, reading_and_sending(b.asks("page", "page"), b.asks(SEND), rules=(ASKS, secret)))

    taint = (await asked(runtime)).tainted_by

    assert named(taint) == ["c1.2"]
    assert taint is not None
    events = await bench.journal.read(key(), after=taint.calls[0].seq - 1, limit=1)
    assert [event.kind for event in events] == [EventKind.TOOL_RESULT_RELEASED]


async def test_what_somebody_responded_in_the_place_of_an_untrusted_tool_is_not_named(bench: b.Bench) -> None:
    pages = {"when": 'tool.name == "page"', "then": "ask", "approval": "writes"}
    package = reading_and_sending(b.asks("page"), b.asks(SEND), rules=(ASKS, pages))
    runtime = await asks(bench, package)

    await decide(runtime, ApprovalVerdict.RESPOND, approval_id="run-1/a1.1.1", message="Read by hand.")
    await reached(runtime, EventKind.APPROVAL_REQUESTED, times=2)

    second = await asked(runtime)
    assert (second.tainted, second.tainted_by) == (False, None)


async def test_whoever_it_is_delegated_to_reads_the_same(bench: b.Bench) -> None:
    package = reading_and_sending(
        b.asks("page"), b.asks(SEND), approval={"sets": [{"roles": ["approver"]}], "delegates": ["dan"]}
    )
    dan = person("dan")
    runtime = await asks(separated(bench, ANN, BOB, dan), package)

    await decide(runtime, ApprovalVerdict.DELEGATE, approval_id=SECOND_ROUND, delegate_to="dan")

    assert named((await shown(runtime, dan, SECOND_ROUND)).asked.tainted_by) == ["c1.1"]


async def test_an_answer_names_what_it_rests_on_and_a_start_what_its_context_brings(any_journal: AnyJournal) -> None:
    bench = b.Bench(journal=any_journal)
    rules = tuple({"stage": stage, "then": "ask", "approval": "writes"} for stage in ("run_start", "output"))
    bench.packages, bench.tools = (reading_and_sending(b.asks("page"), b.says("42"), rules=rules),), reading_tools()
    runtime = bench.runtime()
    for number in (1, 2):
        run_id = f"run-{number}"
        await runtime.start_run(b.request(run_id, session_id="s"))
        for times, approval_id in enumerate((f"{run_id}/a0.1", f"{run_id}/a2.1"), start=1):
            await reached(runtime, EventKind.APPROVAL_REQUESTED, run_id, times=times)
            await decide(runtime, approval_id=approval_id, request_id=f"{run_id}-{times}")
        await stood_still(runtime, run_id)

    first, answer = [await asked(runtime, f"run-1/a{number}.1") for number in (0, 2)]
    start, second = [await asked(runtime, f"run-2/a{number}.1") for number in (0, 2)]
    assert (first.tainted, first.tainted_by) == (False, None)
    assert named(answer.tainted_by) == ["c1.1"]
    assert named(start.tainted_by) == ["run-1/c1.1"]
    assert named(second.tainted_by) == ["run-1/c1.1", "c1.1"]


async def test_a_restart_before_the_ask_changes_nothing_that_it_names(sqlite: SqliteJournal) -> None:
    undisturbed, interrupted = b.Bench(), b.Bench(journal=sqlite)
    package = reading_and_sending(b.asks("page", "note", "page"), b.asks("note"), b.asks(SEND))
    runtime = await asks(undisturbed, package)
    expected = (await asked(runtime, "run-1/a3.1.1")).tainted_by
    interrupted.packages, interrupted.tools = (package,), reading_tools()
    first = interrupted.runtime()
    await first.start_run(b.request())
    await reached(first, EventKind.TOOL_COMPLETED)
    await first.drain(0)

    second = interrupted.runtime()
    await second.recover()
    await reached(second, EventKind.APPROVAL_REQUESTED)

    assert named((await asked(second, "run-1/a3.1.1")).tainted_by) == named(expected) == ["c1.1", "c1.3"]
