"""A condition of an append that does not hold: its input is decided on once more, and nobody else is the worse for it.

No kind of record has a condition yet. These tests give one to records that are there, and to `decide` another answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import pytest
from msgspec.structs import replace
from runwright.core import inputs as i
from runwright.core import kinds
from runwright.core import records as r
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.ids import EffectId, RunKey
from runwright.core.machine import advance
from runwright.core.outcomes import RunStatus
from runwright.core.package import RuntimePackage
from runwright.core.records import Record
from runwright.core.side_rows import EntryIs, PutEntry, SetCounter, SideRow, Spend
from runwright.core.state import RunState
from runwright.ports.journal import Appended, AppendOutcome, Entry, Journal
from runwright.runtime.runs import decisions
from runwright.testing import FunctionTools

from tests import builders as b
from tests.ports.journal_builders import state, turn
from tests.runtime.journals import JournalWrapper
from tests.runtime.parts import HeldTool
from tests.runtime.watching import eventually, key, records, stood_still

FIRST, SECOND = EffectId("c1.1"), EffectId("c1.2")
PERMIT = EntryIs("permits", "one")
TWO_CALLS = b.package(b.asks("look", "look"), b.says("{results}"), tools=(b.tool(),), budget={"parallel_calls": 2})
SideRowsOf: TypeAlias = Callable[[Any], Sequence[SideRow]]


class Appends(JournalWrapper):
    """Remembers what each append was of, and whether it stands."""

    def __init__(self, inner: Journal) -> None:
        super().__init__(inner)
        self.seen: list[tuple[list[str], bool]] = []

    async def written(self, run: RunKey, records: Any, **rest: Any) -> AppendOutcome:
        """See the class."""
        outcome = await self.inner.append(run, records, **rest)
        self.seen.append(([type(record).__name__ for record in records], isinstance(outcome, Appended)))
        return outcome


@pytest.fixture
def beside(monkeypatch: pytest.MonkeyPatch) -> Callable[[type[Record], SideRowsOf], None]:
    """Gives a kind of record side rows."""
    return lambda record, rows: monkeypatch.setitem(kinds._SIDE_ROWS, record, lambda _, one: rows(one))


@pytest.fixture
def failed(monkeypatch: pytest.MonkeyPatch) -> list[i.ConditionFailed]:
    """Makes `decide` take a result whose conditions fail for a failure of the tool; what it was given."""
    given: list[i.ConditionFailed] = []

    def doing_without(package: RuntimePackage, state: RunState, input_: i.Input) -> tuple[list[Record], RunState]:
        if isinstance(input_, i.ConditionFailed):
            given.append(input_)
            assert isinstance(input_.of, i.ToolReturned)
            input_ = replace(input_.of, ok=False)
        return advance(package, state, input_)

    monkeypatch.setattr(decisions, "advance", doing_without)
    return given


async def play(bench: b.Bench, journal: Journal) -> Any:
    """A run whose two calls are answered at the same moment, to its end."""
    tool = HeldTool("a lamp")
    bench.packages, bench.tools = (TWO_CALLS,), FunctionTools({"look": tool})
    runtime = bench.runtime(journal=journal)
    await runtime.start_run(b.request())
    await eventually(lambda: tool.running == 2)
    tool.let_go.set()
    return await stood_still(runtime)


async def holding(journal: Journal, row: SideRow) -> None:
    """Another run that has the side row."""
    other = key("other")
    await journal.append(other, [turn()], after=0, contents=(), snapshot=state(other, 1), side_rows=[row])


def of_first(*rows: SideRow) -> SideRowsOf:
    """Side rows of the first call's result alone."""
    return lambda record: rows if record.call_id == FIRST else ()


@pytest.mark.parametrize(("at_fault", "other"), [(FIRST, SECOND), (SECOND, FIRST)])
async def test_the_input_is_decided_on_once_more_and_the_others_of_its_append_stand(
    any_journal: Journal, beside: Any, failed: list[i.ConditionFailed], at_fault: EffectId, other: EffectId
) -> None:
    rows = {at_fault: (PERMIT, PutEntry("used", at_fault)), other: (PutEntry("used", other),)}
    beside(r.ToolCompleted, lambda record: rows[record.call_id])
    journal = Appends(any_journal)

    ended = await play(b.Bench(), journal)

    assert ended.status is RunStatus.COMPLETED
    results = [each for each in await records(any_journal) if isinstance(each, r.ToolCompleted | r.ToolFailed)]
    on_record = {result.call_id: type(result) for result in results}
    assert on_record == {at_fault: r.ToolFailed, other: r.ToolCompleted}
    assert [(given.conditions, type(given.of)) for given in failed] == [((PERMIT,), i.ToolReturned)]
    refused = [number for number, (_, stands) in enumerate(journal.seen) if not stands]
    assert [journal.seen[number][0][:2] for number in refused] == [["ToolCompleted", "ToolCompleted"]]
    assert sorted(journal.seen[refused[0] + 1][0][:2]) == ["ToolCompleted", "ToolFailed"], "one append, as it was"
    used = await any_journal.entries(key().namespace, "used", limit=9)
    assert [each.key for each in used if isinstance(each, Entry)] == [other]


async def test_a_condition_that_holds_costs_no_append_more(
    any_journal: Journal, beside: Any, failed: list[i.ConditionFailed]
) -> None:
    beside(r.ToolCompleted, of_first(PERMIT, PutEntry("used", "c1.1")))
    await any_journal.append(
        key("other"),
        [turn()],
        after=0,
        contents=(),
        snapshot=state(key("other"), 1),
        side_rows=[PutEntry("permits", "one")],
    )
    journal = Appends(any_journal)

    ended = await play(b.Bench(), journal)

    assert (ended.status, failed) == (RunStatus.COMPLETED, [])
    assert [stands for _, stands in journal.seen] == [True] * 4
    (used,) = await any_journal.named(key().namespace, ("used", "c1.1"))
    assert used is not None
    assert used.run == key()


async def test_what_is_decided_under_a_condition_that_is_known_to_fail_ends_the_run_with_an_incident(
    bench: b.Bench, beside: Any
) -> None:
    beside(r.ToolCompleted, of_first(PERMIT))

    ended = await play(bench, bench.journal)

    assert ended.status is RunStatus.FAILED
    assert ended.state.error is not None
    assert ended.state.error.reason is ErrorReason.INTERNAL
    assert not [record for record in await records(bench.journal) if isinstance(record, r.ToolCompleted)]


async def test_starts_spend_what_there_is_and_one_too_many_leaves_nothing(any_journal: Journal, beside: Any) -> None:
    await holding(any_journal, SetCounter("starts", 2))
    beside(r.RunStarted, lambda _: (Spend("starts"),))
    runtime = b.Bench(journal=any_journal).runtime()

    for name in ("one", "two"):
        await runtime.start_run(b.request(name))
        assert (await stood_still(runtime, name)).status is RunStatus.COMPLETED
    with pytest.raises(AgentError) as refused:
        await runtime.start_run(b.request("three"))

    assert refused.value.reason is ErrorReason.INTERNAL
    assert await any_journal.load(key("three")) is None
    assert await any_journal.counter(key().namespace, "starts") == 0
    await runtime.drain(0)
