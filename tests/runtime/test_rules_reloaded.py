"""The operator's rules become others while a run is held by those before: it goes on by the new ones, on record."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from runwright.core import records as r
from runwright.core.content import digest
from runwright.core.fingerprint import canonical_json
from runwright.core.ids import Namespace
from runwright.core.outcomes import RunStatus
from runwright.core.policy import NO_OBJECTION, PolicyStage, Verdict
from runwright.core.policy_chain import OperatorRules
from runwright.core.policy_rules import PolicySpec
from runwright.core.request import Budget
from runwright.ports.remote_policies import PolicyReply, PolicyReplyKind, PolicyRequest, PolicyWait
from runwright.runtime import AgentRuntime
from runwright.testing import FunctionTools

from tests import builders as b
from tests.runtime.watching import pass_time, quiet, records_of, stood_still

STAGES = {
    "run_start": PolicyStage.RUN_START,
    "input": PolicyStage.INPUT,
    "pre_tool": PolicyStage.PRE_TOOL,
    "output": PolicyStage.OUTPUT,
}
_SAID: dict[Verdict, dict[str, Any]] = {Verdict.DEFER: {"defer_for": 60 * b.SECOND}}
_REPLACED: dict[str, dict[str, Any]] = {
    "run_start": {"budget": Budget(rounds=3)},
    "input": {"text": "Something else."},
    "pre_tool": {"arguments_json": b'{"n":1}'},
    "output": {"text": "Something else."},
}


class SlowHost:
    """A host that answers every question so, once it is let go."""

    def __init__(self, verdict: Verdict = Verdict.ALLOW, **said: Any) -> None:
        self.asked: list[PolicyRequest] = []
        self.let_go = asyncio.Event()
        self.answers(verdict, **said)

    def answers(self, verdict: Verdict, **said: Any) -> None:
        """Answers so from now on."""
        self._said = {"verdict": verdict, **said}

    def is_there(self, namespace: Namespace, policy: str) -> bool:
        """See the port."""
        return True

    def wait_for_host(self, namespace: Namespace, policy: str, there: Callable[[], None]) -> PolicyWait:
        """See the port."""
        raise AssertionError("a host is there")

    async def decide(self, request: PolicyRequest) -> PolicyReply:
        """See the port."""
        self.asked.append(request)
        await self.let_go.wait()
        return PolicyReply(kind=PolicyReplyKind.ANSWERED, subject_digest=request.subject_digest, **self._said)

    async def close(self) -> None:
        """See the port."""


def replace_rules(runtime: AgentRuntime, *policies: dict[str, Any]) -> None:
    """What a reload of the operator's file does."""
    specs = tuple(PolicySpec.model_validate(policy) for policy in policies)
    rules = OperatorRules(specs, digest(canonical_json(list(policies))))
    runtime.ports.policies.replace_operator_rules({Namespace("*"): rules} if specs else {})


class Hosts(SlowHost):
    """Hosts by the names of their policies."""

    def __init__(self, hosts: Mapping[str, SlowHost]) -> None:
        super().__init__()
        self._hosts = hosts

    async def decide(self, request: PolicyRequest) -> PolicyReply:
        """See the port."""
        return await self._hosts[request.remote.policy].decide(request)


@pytest.mark.parametrize("verdict", [Verdict.ALLOW, Verdict.DENY, Verdict.DEFER, Verdict.MODIFY])
@pytest.mark.parametrize("stage", STAGES)
async def test_a_remote_policy_taken_away_while_it_is_asked_holds_nobody(stage: str, verdict: Verdict) -> None:
    host = SlowHost(verdict, **_SAID.get(verdict, {}), **(_REPLACED[stage] if verdict is Verdict.MODIFY else {}))
    bench = b.Bench(tools=FunctionTools({"look": b.look}), remote_policies=host)
    runtime = bench.runtime()
    replace_rules(runtime, {"remote": "compliance", "stages": [stage]})
    await runtime.start_run(b.request())
    await quiet()
    assert len(host.asked) == 1

    replace_rules(runtime)
    host.let_go.set()
    async with asyncio.timeout(20):
        await pass_time(bench, runtime)

    assert (await stood_still(runtime)).status is RunStatus.COMPLETED
    decided = await records_of(bench.journal, r.PolicyDecided)
    [at_stage] = [each for each in decided if each.stage is STAGES[stage]]
    assert at_stage.decision.verdict is Verdict.ALLOW
    assert at_stage.operator_digest == ""
    # What it has put there is in the place of what it was asked about; nothing else that it says counts.
    assert (at_stage.subject_digest == host.asked[0].subject_digest) is (verdict is not Verdict.MODIFY)
    if stage != "pre_tool":
        assert at_stage.decision.code == NO_OBJECTION


@pytest.mark.parametrize("stage", ["input", "pre_tool"])
async def test_what_one_defers_and_one_that_is_taken_away_replaces_goes_on(stage: str) -> None:
    hosts = {
        "first": SlowHost(Verdict.DEFER, defer_for=60 * b.SECOND),
        "second": SlowHost(Verdict.MODIFY, **_REPLACED[stage]),
    }
    hosts["first"].let_go.set()
    asking = {"remote": "first", "stages": [stage]}
    package = b.package(
        b.asks("look"),
        b.says("{results}"),
        tools=(b.tool(),),
        policy="builtin:read-only",
        policies=[{"builtin": "allow-declared"}, asking],
    )
    bench = b.Bench(packages=(package,), tools=FunctionTools({"look": b.look}), remote_policies=Hosts(hosts))
    runtime = bench.runtime()
    replace_rules(runtime, {"remote": "second", "stages": [stage]})
    await runtime.start_run(b.request())
    await quiet()
    assert len(hosts["second"].asked) == 1

    replace_rules(runtime)
    hosts["first"].answers(Verdict.ALLOW)
    hosts["second"].let_go.set()
    async with asyncio.timeout(20):
        await pass_time(bench, runtime)

    assert (await stood_still(runtime)).status is RunStatus.COMPLETED
    [replaced] = await records_of(bench.journal, r.SubjectReplaced)
    assert replaced.replaced_digest == hosts["second"].asked[0].subject_digest
    assert hosts["first"].asked[-1].subject_digest != replaced.replaced_digest, "it is asked about what is there now"
