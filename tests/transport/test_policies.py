"""Policies over the wire: what rules allow is done, what they deny is not, and every decision says who made it."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from runwright._gen.runwright.v1 import event_pb2, policy_pb2, run_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright.adapters.memory.audit import MemoryAudit
from runwright.adapters.package_files import load_package
from runwright.core.content import digest
from runwright.core.package import RuntimePackage
from runwright.testing import FunctionTools

from tests import builders as b
from tests.e2e.server_process import ROOT
from tests.transport.conftest import Serve
from tests.transport.serving import CALL_SECONDS, Served, refused, run_request

INSIDE = {"tool": "write", "arguments": {"path": "/srv/out/a"}}
OUTSIDE = {"tool": "write", "arguments": {"path": "/etc/passwd"}}
BELOW_OUT = {"when": 'tool.name == "write" && args.path.startsWith("/srv/out/")', "then": "allow", "code": "below_out"}


def governed(*script: Any, policies: list[Any], **fields: Any) -> RuntimePackage:
    """A package with tools that read, write and fetch, under these policies."""
    tools = (b.tool(untrusted=True), b.writing_tool(), b.tool("fetch", effect="network", risk="high"))
    return b.package(*script, tools=tools, policy="builtin:read-only", policies=policies, **fields)


async def served_with(serve: Serve, package: RuntimePackage) -> tuple[Served, FunctionTools]:
    """A server of the package, and the tools with their ledger."""
    tools = FunctionTools(dict.fromkeys(("look", "write", "fetch"), b.look))
    bench = b.Bench(packages=(package,), tools=tools)
    bench.audit = MemoryAudit(bench.clock)
    return await serve(bench), tools


async def decisions(served: Served) -> list[event_pb2.PolicyDecided]:
    """Every decision of the run."""
    return [frame.event.policy_decided for frame in await served.frames() if frame.event.HasField("policy_decided")]


async def test_a_rule_allows_what_its_condition_holds_for_and_nothing_else(serve: Serve) -> None:
    policies = [{"builtin": "read-only"}, {"rules": [BELOW_OUT]}]
    served, tools = await served_with(
        serve, governed(b.asks(INSIDE, OUTSIDE, "look"), b.says("{results}"), policies=policies)
    )

    run = await served.ended()

    assert run.status == run_pb2.RUN_STATUS_COMPLETED
    assert [(call.tool, call.arguments) for call in tools.ledger] == [
        ("write", '{"path":"/srv/out/a"}'),
        ("look", "{}"),
    ]
    inside, outside, looked = await decisions(served)
    assert (inside.verdict, inside.policy_ref, inside.rule, inside.code, inside.decider) == (
        policy_pb2.POLICY_VERDICT_ALLOW,
        "policies.1",
        "policies.1.rules.0",
        "below_out",
        "package",
    )
    assert inside.subject_digest == digest(b'{"path":"/srv/out/a"}')
    assert (outside.verdict, outside.code, outside.decider) == (
        policy_pb2.POLICY_VERDICT_DENY,
        "policy.no_allow",
        "server",
    )
    assert looked.policy_ref == "builtin:read-only"


@pytest.mark.parametrize(
    ("rule", "verdict", "code", "told"),
    [
        ({"then": "deny", "code": "not_here", "message": "Try below /srv."}, "DENY", "not_here", "Try below /srv."),
        ({"when": "args.missing == 1", "then": "allow"}, "DENY", "policy.condition_failed", ""),
        ({"when": "args.path", "then": "allow"}, "DENY", "policy.condition_failed", ""),
    ],
    ids=["deny", "fails", "no truth value"],
)
async def test_the_strictest_of_all_rules_counts(
    serve: Serve, rule: dict[str, str], verdict: str, code: str, told: str
) -> None:
    policies = [{"rules": [BELOW_OUT, rule]}, {"builtin": "allow-declared"}]
    served, tools = await served_with(serve, governed(b.asks(INSIDE), b.says("{results}"), policies=policies))

    run = await served.ended()

    assert tools.ledger == []
    [decided] = await decisions(served)
    assert policy_pb2.PolicyVerdict.Name(decided.verdict) == f"POLICY_VERDICT_{verdict}"
    [denied] = [f.event.tool_denied for f in await served.frames() if f.event.HasField("tool_denied")]
    assert denied.code == code
    assert code in run.result.text and told in run.result.text, "the model is told"


async def test_an_interrupt_ends_the_run_before_anything_is_called(serve: Serve) -> None:
    policies = [
        {"builtin": "allow-declared"},
        {"rules": [{"when": 'tool.name == "write"', "then": "interrupt", "code": "no_writing"}]},
    ]
    served, tools = await served_with(serve, governed(b.asks("look", INSIDE, "fetch"), policies=policies))

    run = await served.ended()

    assert (run.status, run.stop_reason) == (run_pb2.RUN_STATUS_FAILED, run_pb2.STOP_REASON_POLICY_INTERRUPT)
    assert (run.error.metadata["policy"], run.error.metadata["code"]) == ("policies.1", "no_writing")
    assert tools.ledger == []
    requested = [f.event.effect_id for f in await served.frames() if f.event.HasField("tool_requested")]
    closed = [
        f.event.effect_id for f in await served.frames() if f.event.WhichOneof("body") in ("tool_denied", "tool_failed")
    ]
    assert sorted(closed) == requested == ["c1.1", "c1.2", "c1.3"], "no call is left open"


async def test_what_is_asked_for_after_an_untrusted_result_is_tainted_also_in_the_next_turn(serve: Serve) -> None:
    policies = [{"builtin": "allow-declared"}, {"rules": [{"when": "call.tainted", "then": "deny", "code": "tainted"}]}]
    script = (b.asks("look", "fetch"), b.asks("fetch"), b.says("{results}"))
    served, tools = await served_with(serve, governed(*script, policies=policies))

    await served.ended("run-1", session_id="s")
    await served.ended("run-2", session_id="s")
    await served.ended("run-3", session_id="other")

    assert [(call.idempotency_key.split("/")[2], call.tool) for call in tools.ledger] == [
        ("run-1", "look"),
        ("run-1", "fetch"),
        ("run-3", "look"),
        ("run-3", "fetch"),
    ]
    requested = [f.event.tool_requested for f in await served.frames() if f.event.HasField("tool_requested")]
    assert [(call.tainted, call.untrusted) for call in requested] == [(False, True), (False, False), (True, False)]


async def test_a_start_that_a_rule_denies_is_refused_and_audited(serve: Serve) -> None:
    rule = {
        "stage": "run_start",
        "when": '!("billing" in principal.roles) && run.labels.team != "blue"',
        "then": "deny",
        "code": "not_billing",
        "message": "Ask for the role billing.",
    }
    served, _ = await served_with(serve, governed(b.says("hello"), policies=[{"rules": [rule]}]))

    refusal = await refused(
        served.stub.StartRun(pb.StartRunRequest(run=run_request(labels={"team": "red"})), timeout=CALL_SECONDS)
    )
    allowed = await served.ended("run-2", labels={"team": "blue"})

    assert refusal.code is grpc.StatusCode.PERMISSION_DENIED
    assert refusal.info.reason == "POLICY_DENIED"
    assert (refusal.info.metadata["policy"], refusal.info.metadata["code"]) == ("policies.0", "not_billing")
    assert "Ask for the role billing." in refusal.text
    assert allowed.status == run_pb2.RUN_STATUS_COMPLETED
    [entry] = (await served.stub.ListAuditEvents(pb.ListAuditEventsRequest(), timeout=CALL_SECONDS)).events
    assert (entry.kind, entry.reason, entry.principal) == (pb.AUDIT_KIND_START_REFUSED, "POLICY_DENIED", "local")
    assert {"policies.0", "not_billing", "policies.0.rules.0"} <= set(entry.subjects)


@pytest.mark.parametrize(("then", "stop"), [("deny", "POLICY_DENIED"), ("interrupt", "POLICY_INTERRUPT")])
async def test_input_that_a_rule_turns_away_is_never_shown_to_the_model(serve: Serve, then: str, stop: str) -> None:
    rule = {"stage": "input", "when": 'input.text.contains("What")', "then": then, "code": "no_questions"}
    served, _ = await served_with(serve, governed(b.says("hello"), policies=[{"rules": [rule]}]))

    run = await served.ended()

    assert run_pb2.StopReason.Name(run.stop_reason) == f"STOP_REASON_{stop}"
    kinds = [frame.event.WhichOneof("body") for frame in await served.frames() if frame.HasField("event")]
    assert kinds == ["run_started", "turn_started", "policy_decided", "turn_failed", "run_failed"]


async def test_an_answer_that_a_rule_denies_is_not_published(serve: Serve) -> None:
    rule = {"stage": "output", "when": 'output.text.matches("[0-9]+-[0-9]+")', "then": "deny", "code": "number"}
    package = governed(b.says("It is 12-34."), policies=[{"rules": [rule]}])
    served, _ = await served_with(serve, package)

    run = await served.ended()

    assert (run.status, run.stop_reason) == (run_pb2.RUN_STATUS_FAILED, run_pb2.STOP_REASON_POLICY_DENIED)
    assert not run.HasField("result")
    [decided] = await decisions(served)
    assert (decided.stage, decided.code) == (policy_pb2.POLICY_STAGE_OUTPUT, "number")
    assert decided.subject_digest == digest(b"It is 12-34.")


async def test_a_policy_in_shadow_mode_is_recorded_and_changes_nothing(serve: Serve) -> None:
    strict = {"mode": "shadow", "rules": [{"then": "interrupt", "code": "would_end"}]}
    served, tools = await served_with(
        serve, governed(b.asks("look"), b.says("done"), policies=[{"builtin": "allow-declared"}, strict])
    )

    run = await served.ended()

    assert run.status == run_pb2.RUN_STATUS_COMPLETED
    assert len(tools.ledger) == 1
    [decided] = await decisions(served)
    [would] = decided.shadow
    assert decided.verdict == policy_pb2.POLICY_VERDICT_ALLOW
    assert (would.verdict, would.rule, would.code) == (
        policy_pb2.POLICY_VERDICT_INTERRUPT,
        "policies.1.rules.0",
        "would_end",
    )


async def test_the_careful_example_does_what_its_page_says(serve: Serve) -> None:
    package = load_package(ROOT / "examples/careful/package.yaml")
    served, tools = await served_with(serve, package)
    tools.tools = {tool.name: b.look for tool in package.tools}

    run = await served.ended(session_id="s")
    await served.ended("run-2", session_id="s")

    first = [(call.tool, call.arguments) for call in tools.ledger if "/run-1/" in call.idempotency_key]
    assert first == [
        ("read_file", '{"path":"notes.txt"}'),
        ("write_file", '{"path":"out/a.txt","text":"a"}'),
        ("fetch_page", '{"url":"http://127.0.0.1:7763/news"}'),
        ("read_file", '{"path":"notes.txt"}'),
    ]
    second = [call.tool for call in tools.ledger if "/run-2/" in call.idempotency_key]
    assert "fetch_page" not in second, "an earlier turn of the session is enough"
    assert "the network is closed for this session" in run.result.text
