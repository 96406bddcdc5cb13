"""The operator's rules: walked with the package's, undone by nothing in it, and looked at again before each intent."""

from __future__ import annotations

import asyncio
from typing import Any

from runwright._gen.runwright.v1 import event_pb2, policy_pb2, run_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright.core.ids import DEFAULT_NAMESPACE, Namespace
from runwright.core.policy_chain import OperatorRules
from runwright.core.policy_rules import PolicySpec
from runwright.runtime import AgentRuntime
from runwright.testing import FunctionTools

from tests import builders as b
from tests.runtime.parts import HeldTool
from tests.transport.conftest import Serve
from tests.transport.serving import CALL_SECONDS, Served, refused, run_request

EVERYTHING = b.package(b.asks("look", "write"), b.says("{results}"), tools=(b.tool(), b.writing_tool()))
NO_WRITING = {"when": 'tool.effect == "write"', "then": "deny", "code": "frozen"}


def operator(runtime: AgentRuntime, digest: str, *rules: dict[str, Any], namespace: str = DEFAULT_NAMESPACE) -> None:
    """The operator's rules are these from now on."""
    policies = tuple([PolicySpec.model_validate({"rules": rules})] if rules else [])
    known = {Namespace(namespace): OperatorRules(policies, digest)} if rules else {}
    runtime.ports.policies.replace_operator_rules(known)


async def decisions(served: Served, run_id: str = "run-1") -> list[event_pb2.PolicyDecided]:
    """Every decision of the run."""
    frames = await served.frames(run_id)
    return [frame.event.policy_decided for frame in frames if frame.event.HasField("policy_decided")]


async def test_what_the_operator_denies_no_package_allows_and_its_digest_is_on_record(serve: Serve) -> None:
    tools = FunctionTools(dict.fromkeys(("look", "write"), b.look))
    served = await serve(b.Bench(packages=(EVERYTHING,), tools=tools))
    operator(served.runtime, "sha256:one", NO_WRITING)

    await served.ended()

    assert [call.tool for call in tools.ledger] == ["look"]
    looked, written = await decisions(served)
    assert (looked.verdict, looked.decider, looked.operator_digest) == (
        policy_pb2.POLICY_VERDICT_ALLOW,
        "package",
        "sha256:one",
    )
    assert (written.verdict, written.decider, written.rule, written.code) == (
        policy_pb2.POLICY_VERDICT_DENY,
        "operator",
        "operator.policies.0.rules.0",
        "frozen",
    )


async def test_rules_of_another_namespace_are_not_heard(serve: Serve) -> None:
    served = await serve(b.Bench(packages=(EVERYTHING,), tools=FunctionTools({"look": b.look, "write": b.look})))
    operator(served.runtime, "sha256:one", NO_WRITING, namespace="team-b")

    await served.ended()

    assert [decided.operator_digest for decided in await decisions(served)] == ["", ""]


async def test_a_start_that_the_operator_denies_is_refused(serve: Serve) -> None:
    served = await serve(b.Bench(packages=(EVERYTHING,)))
    operator(served.runtime, "sha256:one", {"stage": "run_start", "then": "interrupt", "code": "closed"})

    refusal = await refused(served.stub.StartRun(pb.StartRunRequest(run=run_request()), timeout=CALL_SECONDS))

    assert (refusal.info.metadata["policy"], refusal.info.metadata["code"]) == ("operator.policies.0", "closed")
    snapshot = await refused(served.stub.Snapshot(pb.SnapshotRequest(run_id="run-1"), timeout=CALL_SECONDS))
    assert snapshot.info.reason == "RUN_NOT_FOUND"


async def test_rules_that_change_while_a_call_waits_are_looked_at_before_it_is_sent(serve: Serve) -> None:
    held = HeldTool()
    tools = FunctionTools({"look": held, "write": b.look})
    package = EVERYTHING.model_copy(update={"budget": EVERYTHING.budget.model_copy(update={"parallel_calls": 1})})
    served = await serve(b.Bench(packages=(package,), tools=tools))
    await served.start()
    await held.begun.wait()

    operator(served.runtime, "sha256:two", NO_WRITING)
    held.let_go.set()
    run = (await served.stub.Wait(pb.WaitRequest(run_id="run-1"), timeout=CALL_SECONDS)).run

    assert run.status == run_pb2.RUN_STATUS_COMPLETED
    assert [call.tool for call in tools.ledger] == ["look"]
    allowed, before, now = await decisions(served)
    assert allowed.operator_digest == before.operator_digest == ""
    assert (before.verdict, now.verdict) == (policy_pb2.POLICY_VERDICT_ALLOW, policy_pb2.POLICY_VERDICT_DENY)
    assert (before.subject_digest, now.operator_digest) == (now.subject_digest, "sha256:two")


async def test_an_interrupt_lets_a_call_that_must_not_be_repeated_answer_and_begins_no_other(serve: Serve) -> None:
    held = HeldTool()
    tools = FunctionTools({"look": b.look, "write": held})
    budget = EVERYTHING.budget.model_copy(update={"parallel_calls": 1})
    script = b.package(b.asks("write", "look"), tools=(b.tool(), b.writing_tool()))
    package = script.model_copy(update={"budget": budget})
    served = await serve(b.Bench(packages=(package,), tools=tools))
    operator(served.runtime, "sha256:one", {"when": "false", "then": "deny"})
    await served.start()
    await held.begun.wait()

    operator(served.runtime, "sha256:two", {"then": "interrupt", "code": "stop_all"})
    held.let_go.set()
    run = (await served.stub.Wait(pb.WaitRequest(run_id="run-1"), timeout=CALL_SECONDS)).run

    assert (run.status, run.stop_reason) == (run_pb2.RUN_STATUS_FAILED, run_pb2.STOP_REASON_POLICY_INTERRUPT)
    assert [call.tool for call in tools.ledger] == ["write"]
    bodies = [frame.event.WhichOneof("body") for frame in await served.frames()]
    assert bodies.count("tool_completed") == 1 and "tool_recovery_required" not in bodies


async def test_after_a_restart_a_lost_call_is_looked_at_again(serve: Serve) -> None:
    held = HeldTool()
    bench = b.Bench(packages=(b.one_call_package(),), tools=FunctionTools({"look": held}))
    served = await serve(bench)
    operator(served.runtime, "sha256:one", {"when": "false", "then": "deny"})
    await served.start()
    await held.begun.wait()
    await served.runtime.drain(0)
    tools = FunctionTools({"look": b.look})
    bench.tools = tools

    runtime = bench.runtime()
    operator(runtime, "sha256:two", {"then": "deny", "code": "closed"})
    await runtime.recover()
    async with asyncio.timeout(CALL_SECONDS):
        snapshot, _ = await runtime.wait_run("run-1")

    assert tools.ledger == []
    assert snapshot.state.usage.tool_calls == 1
    assert snapshot.result is not None and b"may have been performed" in snapshot.result.data
    await runtime.drain(0)
