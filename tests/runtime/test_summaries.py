"""The call in one line: found with the call, on record with what is asked, and never a reason to wait or to fail."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from runwright.adapters.cel_conditions import CelConditions
from runwright.core import records as r
from runwright.core.approvals import ApprovalVerdict
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.kinds import EventKind
from runwright.ports.conditions import SummaryQuestion

from tests import builders as b
from tests.runtime.approving import BOB, ID, SHOWN, WRITES, asking, decide, shown, waiting
from tests.runtime.watching import reached, records_of


class Asked(CelConditions):
    """Notes what it was asked to put into words; says nothing when it is `silent`."""

    def __init__(self, *, silent: bool = False) -> None:
        super().__init__()
        self.asked: list[SummaryQuestion] = []
        self._silent = silent

    async def summaries(self, questions: Sequence[SummaryQuestion]) -> list[str]:
        """Of a call each."""
        self.asked += questions
        return [""] * len(questions) if self._silent else await super().summaries(questions)


async def test_the_summary_is_on_record_with_what_is_asked(bench: b.Bench) -> None:
    runtime, _ = await waiting(bench)

    [asked] = await records_of(bench.journal, r.ApprovalRequested)

    assert asked.summary == 'Send to "bob"'
    assert (await shown(runtime)).asked.summary == 'Send to "bob"'


async def test_a_call_without_a_summary_waits_for_somebody_all_the_same(bench: b.Bench) -> None:
    bench.conditions = Asked(silent=True)

    runtime, sent = await waiting(bench)
    assert (await shown(runtime)).asked.summary == ""
    await decide(runtime)
    await reached(runtime, EventKind.RUN_COMPLETED)

    assert sent.calls == [{"to": "bob"}]


async def test_only_what_somebody_may_be_asked_about_is_put_into_words(bench: b.Bench) -> None:
    conditions = bench.conditions = Asked()
    package = asking("look", {"tool": "send", "arguments": {"to": "bob"}}, {"tool": "send", "arguments": {"to": "cy"}})

    tools = [tool.model_copy(update={"summary": SHOWN["summary"]}) for tool in package.tools]

    runtime, _ = await waiting(bench, package.model_copy(update={"tools": tuple(tools)}))

    assert [question.variables["args"] for question in conditions.asked] == [{"to": "bob"}, {"to": "cy"}]
    assert (await shown(runtime, BOB, ID.replace("1.1.1", "1.3.1"))).asked.summary == 'Send to "cy"'


def test_a_package_whose_summary_cannot_be_one_is_refused(bench: b.Bench) -> None:
    tool: dict[str, Any] = {**b.writing_tool("send"), "summary": '"Send to " + run.session_id'}
    package = b.package(b.says("done"), tools=(tool,))

    with pytest.raises(AgentError) as refused:
        bench.runtime(package)

    assert refused.value.reason is ErrorReason.PACKAGE_INVALID
    assert dict(refused.value.metadata)["path"] == "tools.0.summary"


async def test_what_is_asked_of_edited_arguments_is_said_of_those(bench: b.Bench) -> None:
    rules = [
        {"when": 'args.to == "bob"', "then": "ask", "approval": "writes", "code": "writes"},
        {"when": 'args.to == "eve"', "then": "ask", "approval": "strangers", "code": "strangers"},
    ]
    package = b.package(
        b.asks({"tool": "send", "arguments": {"to": "bob"}}),
        b.says("done"),
        tools=({**b.writing_tool("send"), **SHOWN},),
        policy="builtin:read-only",
        policies=[{"rules": rules}],
        approvals={"writes": WRITES, "strangers": WRITES},
    )
    runtime, _ = await waiting(bench, package)

    await decide(runtime, ApprovalVerdict.APPROVE_WITH_EDITS, arguments_json=b'{"to": "eve"}')

    first, second = await records_of(bench.journal, r.ApprovalRequested)
    assert (first.summary, second.summary) == ('Send to "bob"', 'Send to "eve"')
