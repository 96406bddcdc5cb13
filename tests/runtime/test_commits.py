"""What a run costs the disk."""

from __future__ import annotations

import asyncio

from runwright.adapters.condition_worker import compiled
from runwright.adapters.memory.journal import MemoryJournal
from runwright.adapters.sqlite.journal import SqliteJournal
from runwright.core.ids import DEFAULT_NAMESPACE
from runwright.core.outcomes import RunStatus
from runwright.core.package import RuntimePackage
from runwright.core.policy_chain import OperatorRules
from runwright.core.policy_rules import PolicySpec

from tests import builders as b


async def test_a_lone_run_with_one_tool_call_is_four_commits(any_journal: MemoryJournal | SqliteJournal) -> None:
    runtime = b.Bench(journal=any_journal).runtime(b.one_call_package())

    ended = await runtime.run_text(b.request())

    assert ended.status is RunStatus.COMPLETED
    assert ended.text == 'found "a lamp"'
    assert any_journal.commits == 4


async def test_a_governed_run_alone_is_four_commits_too(any_journal: MemoryJournal | SqliteJournal) -> None:
    stages = [{"stage": stage, "then": "allow"} for stage in ("run_start", "input", "pre_tool", "post_tool", "output")]
    conditions = [{"when": "size(args) > 5 || call.tainted", "then": "deny"}] * 10
    package = b.one_call_package().model_dump(mode="json")
    conditions += [{**rule, "stage": "post_tool"} for rule in conditions]
    package |= {"policy": "builtin:read-only", "policies": [{"rules": [*stages, *conditions]}]}
    bench = b.Bench(journal=any_journal)
    compiled(
        "true"
    )  # a library that is not there yet is loaded beside the loop, and what waits for that costs a commit
    runtime = bench.runtime(RuntimePackage.model_validate(package))
    rules = OperatorRules((PolicySpec(builtin="read-only"),), "sha256:operator")
    runtime.ports.policies.replace_operator_rules({DEFAULT_NAMESPACE: rules})

    ended = await runtime.run_text(b.request())

    assert (ended.status, ended.text) == (RunStatus.COMPLETED, 'found "a lamp"')
    assert any_journal.commits == 4


async def test_runs_side_by_side_share_their_commits(sqlite: SqliteJournal) -> None:
    runtime = b.Bench(journal=sqlite).runtime(b.one_call_package())
    requests = [b.request(f"run-{number}") for number in range(200)]

    ended = await asyncio.gather(*(runtime.run_text(request) for request in requests))

    assert {snapshot.status for snapshot in ended} == {RunStatus.COMPLETED}
    assert sqlite.commits <= 1.5 * len(requests)


async def test_results_that_come_together_share_a_commit(bench: b.Bench) -> None:
    script = b.asks("look", "look", "look"), b.says("{results}")
    runtime = bench.runtime(b.package(*script, tools=(b.tool(),)))

    ended = await runtime.run_text(b.request())

    assert ended.text == '"a lamp" | "a lamp" | "a lamp"'
    assert isinstance(bench.journal, MemoryJournal)
    assert bench.journal.commits == 4


async def test_looking_at_a_run_writes_nothing(bench: b.Bench) -> None:
    runtime = bench.runtime()
    handle, _ = await runtime.start_run(b.request())
    ended = await handle.wait()
    assert isinstance(bench.journal, MemoryJournal)
    before = bench.journal.commits

    again = await handle.snapshot()
    await handle.wait()
    await runtime.list_events("run-1")
    await runtime.cancel_run("run-1")

    assert again == ended
    assert bench.journal.commits == before
