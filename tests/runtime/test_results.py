"""Results that await their release: nothing of them is lost, whatever ends the server in the middle."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TypeAlias

import pytest
from runwright.adapters.cel_conditions import MAX_WAITING, CelConditions
from runwright.adapters.memory.journal import MemoryJournal
from runwright.adapters.sqlite.journal import SqliteJournal
from runwright.core import records as r
from runwright.core.ids import DEFAULT_NAMESPACE, Namespace
from runwright.core.outcomes import ResultRelease, RunStatus
from runwright.core.package import RuntimePackage
from runwright.core.policy import Verdict
from runwright.core.policy_chain import OperatorRules, Outcome
from runwright.core.policy_rules import PolicySpec
from runwright.ports.conditions import ConditionQuestion
from runwright.ports.journal import Journal
from runwright.ports.remote_policies import NoRemotePolicies, PolicyReply, PolicyReplyKind, PolicyRequest
from runwright.runtime.policies import RESULTS_AT_ONCE
from runwright.testing import FunctionTools

from tests import builders as b
from tests.runtime.journals import PowerCut
from tests.runtime.watching import abandoned, records_of, stood_still

AnyJournal: TypeAlias = MemoryJournal | SqliteJournal
COMMITS = 5  # start, call, result, its release with the next request, answer
RULE = {"stage": "post_tool", "when": 'result.text.contains("secret")', "then": "deny", "code": "secret"}
CUTS = [(appends, answered) for appends in range(1, COMMITS + 1) for answered in (False, True)]


class Outside(CelConditions):
    """Conditions of which nothing is known at once, nor later unless it `answers`."""

    def __init__(self, *, answers: bool) -> None:
        super().__init__()
        self.asked, self.answers = asyncio.Event(), asyncio.Event()
        self.looking_at = self.most = 0
        if answers:
            self.answers.set()

    def evaluate_at_once(self, questions: Sequence[ConditionQuestion]) -> None:
        """See the port."""
        return

    async def evaluate(self, questions: Sequence[ConditionQuestion]) -> list[tuple[Outcome, ...]]:
        """See the port."""
        self.asked.set()
        self.looking_at += 1
        self.most = max(self.most, self.looking_at)
        await self.answers.wait()
        self.looking_at -= 1
        return [
            tuple(Outcome.HOLDS if "secret" in str(each.variables) else Outcome.DOES_NOT_HOLD for _ in each.conditions)
            for each in questions
        ]


def gated(*script: object, **fields: object) -> RuntimePackage:
    """A package with a tool that writes, whose results are looked at."""
    policies = [{"builtin": "allow-declared"}, {"rules": [RULE]}]
    tools = (b.writing_tool(),)
    return b.package(*script, tools=tools, policy="builtin:read-only", policies=policies, **fields)


WRITING = gated(b.asks("write"), b.says("told {results}"))


def bench(journal: Journal, answer: str = "a secret", *, answers: bool = False) -> tuple[b.Bench, Outside]:
    """A bench whose conditions are found out outside."""
    conditions = Outside(answers=answers)
    return b.Bench(journal=journal, tools=FunctionTools({"write": lambda _: answer}), conditions=conditions), conditions


@pytest.mark.parametrize(("appends", "answered"), CUTS)
async def test_the_power_may_go_after_any_commit_and_no_result_is_lost_or_shown(
    any_journal: AnyJournal, appends: int, answered: bool
) -> None:
    parts, _ = bench(any_journal, answers=True)
    async with abandoned():
        cut = PowerCut(any_journal, appends, last_is_answered=answered)
        first = parts.runtime(WRITING, journal=cut)
        ending = asyncio.create_task(first.run_text(b.request()))
        dark = asyncio.create_task(cut.is_off.wait())
        await asyncio.wait({ending, dark}, return_when=asyncio.FIRST_COMPLETED)
    before = await records_of(any_journal, r.ToolCompleted)

    second = parts.runtime(WRITING)
    await second.recover()
    ended = await stood_still(second)

    completed = await records_of(any_journal, r.ToolCompleted)
    if appends == 2:
        assert ended.status is RunStatus.REPAIR_NEEDED, "the call may have been made"
    else:
        assert ended.status is RunStatus.COMPLETED
        assert ended.text is not None and "withheld by policy policies.1 (secret)" in ended.text
        assert [record.release for record in await records_of(any_journal, r.ToolResultReleased)] == [
            ResultRelease.WITHHELD
        ]
    assert completed[: len(before)] == before, "what was on record stays as it was"
    assert len(parts.function_tools.ledger) == (0 if (appends, answered) == (2, False) else 1)


async def test_a_run_that_is_cancelled_meanwhile_ends_without_waiting_for_policies() -> None:
    journal = MemoryJournal()
    parts, conditions = bench(journal)
    runtime = parts.runtime(WRITING)
    handle, _ = await runtime.start_run(b.request())
    await conditions.asked.wait()
    assert len(await records_of(journal, r.ToolCompleted)) == 1, "it is durable before anybody looks at it"

    await runtime.cancel_run("run-1")
    ended = await handle.wait()

    assert ended.status is RunStatus.CANCELLED
    [completed] = await records_of(journal, r.ToolCompleted)
    assert completed.awaits_release
    assert await records_of(journal, r.ToolResultReleased) == []


async def test_a_server_that_stops_leaves_the_release_to_the_next_start() -> None:
    journal = MemoryJournal()
    parts, conditions = bench(journal)
    runtime = parts.runtime(WRITING)
    await runtime.start_run(b.request())
    await conditions.asked.wait()
    assert len(await records_of(journal, r.ToolCompleted)) == 1, "it is durable before anybody looks at it"

    await runtime.drain(0)
    conditions.answers.set()
    second = parts.runtime(WRITING)
    await second.recover()
    ended = await stood_still(second)

    assert ended.status is RunStatus.COMPLETED
    assert ended.text is not None and "(secret)" in ended.text
    assert len(parts.function_tools.ledger) == 1


async def test_rules_that_the_operator_changes_meanwhile_are_those_that_count() -> None:
    journal = MemoryJournal()
    parts, conditions = bench(journal, "a lamp")
    package = b.package(
        b.asks("write"), b.says("told {results}"), tools=(b.writing_tool(),), policy="builtin:allow-declared"
    )
    runtime = parts.runtime(package)

    def rule(then: str) -> dict[str, OperatorRules]:
        always = {"stage": "post_tool", "when": "result.ok", "then": then, "code": f"then_{then}"}
        spec = PolicySpec.model_validate({"rules": [always]})
        return {DEFAULT_NAMESPACE: OperatorRules((spec,), then)}

    runtime.ports.policies.replace_operator_rules(rule("allow"))
    handle, _ = await runtime.start_run(b.request())
    await conditions.asked.wait()
    runtime.ports.policies.replace_operator_rules({})
    conditions.answers.set()
    ended = await handle.wait()

    [released] = await records_of(journal, r.ToolResultReleased)
    assert released.release is ResultRelease.RELEASED, "nobody objects any more"
    assert ended.text == 'told "a lamp"'


async def test_many_results_at_once_wait_for_one_another_and_none_is_withheld_for_that() -> None:
    parts, conditions = bench(MemoryJournal(), "a lamp")
    runtime = parts.runtime(WRITING)
    handles = [(await runtime.start_run(b.request(f"run-{number}")))[0] for number in range(3 * RESULTS_AT_ONCE)]
    await conditions.asked.wait()
    for _ in range(500):
        await asyncio.sleep(0)

    assert conditions.most == RESULTS_AT_ONCE <= MAX_WAITING // 2
    conditions.answers.set()
    ended = [await handle.wait() for handle in handles]

    assert {snapshot.text for snapshot in ended} == {'told "a lamp"'}
    assert conditions.most == RESULTS_AT_ONCE


@pytest.mark.parametrize("calls", [1, 4], ids=["in memory", "from the journal"])
async def test_what_is_withheld_takes_nothing_of_what_a_request_may_hold(calls: int) -> None:
    journal = MemoryJournal()
    parts, _ = bench(journal, "a secret " + "x" * 200_000, answers=True)
    parts.conversation_memory = 400_000
    runtime = parts.runtime(gated(b.asks(*["write"] * calls), b.says("told {results}")))
    memory = runtime.ports.memory
    assert memory.request_limit < 200_000 < memory.run_limit < 800_000

    ended = await runtime.run_text(b.request())

    assert ended.status is RunStatus.COMPLETED
    assert ended.text is not None and ended.text.count("(secret)") == calls


class Masking(NoRemotePolicies):
    """A remote policy that puts a few words in the place of every result."""

    def is_there(self, namespace: Namespace, policy: str) -> bool:
        """See the port."""
        return True

    async def decide(self, request: PolicyRequest) -> PolicyReply:
        """See the port."""
        assert request.result is not None
        is_there = request.result.data == b"nothing of interest"
        return PolicyReply(
            kind=PolicyReplyKind.ANSWERED,
            subject_digest=request.subject_digest,
            verdict=Verdict.ALLOW if is_there else Verdict.MODIFY,
            text=None if is_there else "nothing of interest",
        )


@pytest.mark.parametrize("memory", [400_000, 0], ids=["in memory", "from the journal"])
async def test_of_a_replaced_result_a_request_holds_what_stands_there_alone(memory: int) -> None:
    parts, _ = bench(MemoryJournal(), "a secret " + "x" * 200_000, answers=True)
    parts.conversation_memory = memory or 20_000
    parts.remote_policies = Masking()
    remote = {"remote": "masking", "stages": ["post_tool"]}
    tools = (b.writing_tool(),)
    chain = [{"builtin": "allow-declared"}, remote]
    package = b.package(
        b.asks("write"), b.says("told {results}"), tools=tools, policy="builtin:read-only", policies=chain
    )

    ended = await parts.runtime(package).run_text(b.request())

    assert (ended.status, ended.text) == (RunStatus.COMPLETED, "told nothing of interest")
