"""The chain of policies: made once for each rules of the operator, and what it says once for the same outcomes."""

from __future__ import annotations

from typing import Any

from runwright.core.package import RuntimePackage
from runwright.core.policy import PolicyStage, Verdict
from runwright.core.policy_chain import OperatorRules, Outcome, PolicyChain
from runwright.core.policy_rules import PolicySpec

HOLDS, NOT, FAILED = Outcome.HOLDS, Outcome.DOES_NOT_HOLD, Outcome.FAILED
STAGE = PolicyStage.PRE_TOOL


def policy(*rules: dict[str, Any], mode: str = "enforce") -> PolicySpec:
    """A policy of rules."""
    return PolicySpec.model_validate({"rules": rules, "mode": mode})


def package(*policies: PolicySpec) -> RuntimePackage:
    """A package with these policies."""
    agent = {"id": "agent", "instructions": "Look."}
    of = [each.model_dump(mode="json", exclude_unset=True) for each in policies]
    spec = {"format": "runwright-package-v1-draft", "id": "p", "agent": agent, "policies": of}
    return RuntimePackage.model_validate({**spec, "provider": {"adapter": "scripted", "model": "m"}})


def test_rules_of_two_namespaces_each_have_their_chain_and_it_stays() -> None:
    of, denies = package(policy({"when": "true", "then": "allow"})), policy({"when": "true", "then": "deny"})
    ours, theirs = OperatorRules((denies,), "sha256:a"), OperatorRules((), "sha256:b")
    first = of.chain(STAGE, ours)
    assert of.chain(STAGE, theirs).operator is theirs
    assert of.chain(STAGE, ours) is first
    assert first.operator is ours


def test_rules_that_are_reloaded_again_and_again_are_not_all_held() -> None:
    of = package(policy({"when": "true", "then": "allow"}))
    for number in range(200):
        rules = OperatorRules((), f"sha256:{number}")
        assert of.chain(STAGE, rules).operator is rules
    assert len(of._chains) <= 64


def test_what_is_said_follows_the_outcomes_however_often_others_came_before() -> None:
    chain = PolicyChain(
        STAGE,
        (
            policy({"when": "args.a", "then": "allow"}, {"when": "args.b", "then": "deny", "code": "b"}),
            policy({"when": "args.b", "then": "interrupt"}, mode="shadow"),
        ),
        OperatorRules(),
    )
    wanted = {
        (NOT, NOT): ([], []),
        (HOLDS, NOT): ([Verdict.ALLOW], []),
        (HOLDS, HOLDS): ([Verdict.ALLOW, Verdict.DENY], [Verdict.INTERRUPT]),
        (NOT, FAILED): ([Verdict.DENY], [Verdict.DENY]),
    }
    for effect, digest in (("read", "sha256:1"), ("write", "sha256:2"), ("read", "sha256:3")):
        for outcomes, (enforced, shadow) in wanted.items():
            found = chain.findings(effect, digest, outcomes)
            assert [each.verdict for each in found.opinions] == enforced
            assert [each.verdict for each in found.shadow] == shadow
            assert found.subject_digest == digest


def test_a_built_in_policy_is_heard_by_the_effect_of_the_call_at_hand() -> None:
    chain = PolicyChain(STAGE, (PolicySpec(builtin="read-only"),), OperatorRules())
    said = [[each.verdict for each in chain.findings(effect, "", ()).opinions] for effect in ("read", "write", "read")]
    assert said[0] == said[2] == [Verdict.ALLOW] != said[1]


def test_its_approvals_are_those_that_enforced_rules_ask_for_at_its_stage() -> None:
    chain = PolicyChain(
        STAGE,
        (
            policy({"when": "args.a", "then": "ask", "approval": "writes"}, {"when": "args.b", "then": "ask"}),
            policy({"when": "args.c", "then": "ask", "approval": "writes"}),
            policy({"when": "args.d", "then": "ask", "approval": "tried"}, mode="shadow"),
            policy({"when": "args.d", "then": "deny"}),
        ),
        OperatorRules((policy({"when": "args.e", "then": "ask", "approval": "theirs"}),), "sha256:a"),
    )
    assert chain.approvals == ("writes", "", "theirs")
