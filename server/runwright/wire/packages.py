"""RuntimePackage ⇄ `runwright.v1.RuntimePackage`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from runwright._gen.runwright.v1 import approval_pb2, policy_pb2
from runwright._gen.runwright.v1 import package_pb2 as pb
from runwright.core.approval_rules import EXPIRIES, ApprovalSpec, EscalationSpec
from runwright.core.fingerprint import PACKAGE_TAG, canonical_json
from runwright.core.package import (
    DEFAULT_MODEL_ATTEMPTS,
    DEFAULT_RECONCILE_FOR,
    NO_ARGUMENTS,
    AgentSpec,
    BudgetSpec,
    ContextPolicy,
    EffectClass,
    PackageFormat,
    ProviderRoute,
    RuntimePackage,
    ToolSpec,
)
from runwright.core.policy import PolicyRef
from runwright.core.policy_rules import STAGES, VERDICTS, PolicyMode, PolicySpec
from runwright.wire.grant_offers import put_offer, to_grants_spec

EFFECTS: Mapping[str, pb.EffectClass.ValueType] = {
    EffectClass.READ.value: pb.EFFECT_CLASS_READ,
    EffectClass.WRITE.value: pb.EFFECT_CLASS_WRITE,
    EffectClass.PROCESS.value: pb.EFFECT_CLASS_PROCESS,
    EffectClass.NETWORK.value: pb.EFFECT_CLASS_NETWORK,
}
EFFECT_NAMES: Mapping[int, str] = {number: name for name, number in EFFECTS.items()}


def package(value: RuntimePackage) -> pb.RuntimePackage:
    """core → proto."""
    return pb.RuntimePackage(
        format=value.format,
        package_id=value.id,
        agent=pb.Agent(agent_id=value.agent.id, name=value.agent.name, instructions=value.agent.instructions),
        provider=_route(value.provider),
        policy=value.policy.value,
        budget=pb.Budget(
            rounds=value.budget.rounds,
            tool_calls=value.budget.tool_calls,
            parallel_calls=value.budget.parallel_calls,
        ),
        tools=[_tool(value, tool) for tool in value.tools],
        context=pb.ContextPolicy(session_turns=value.context.session_turns, session_bytes=value.context.session_bytes),
        fallbacks=[_route(route) for route in value.fallbacks],
        policies=[_policy(policy) for policy in value.policies],
        approvals=[_approval(name, spec) for name, spec in sorted(value.approvals.items())],
    )


def to_package(message: pb.RuntimePackage) -> RuntimePackage:
    """proto → core: the same package, so the same fingerprint.

    The server only sends packages so far; this is how a reader checks a fingerprint, and how the tests show that
    the message leaves nothing out.
    """
    return RuntimePackage(
        format=cast("PackageFormat", message.format or PACKAGE_TAG),
        id=message.package_id,
        agent=AgentSpec(id=message.agent.agent_id, name=message.agent.name, instructions=message.agent.instructions),
        provider=_to_route(message.provider),
        fallbacks=tuple(_to_route(route) for route in message.fallbacks),
        policy=PolicyRef(message.policy),
        policies=tuple(_to_policy(policy) for policy in message.policies),
        approvals={each.name: _to_approval(each) for each in message.approvals},
        budget=BudgetSpec(
            rounds=message.budget.rounds,
            tool_calls=message.budget.tool_calls,
            parallel_calls=message.budget.parallel_calls,
        ),
        tools=tuple(
            ToolSpec(
                name=tool.name,
                description=tool.description,
                parameters=json.loads(tool.parameters_schema_json) if not tool.schema_digest else dict(NO_ARGUMENTS),
                executor=tool.executor,
                effect=EffectClass(EFFECT_NAMES[tool.effect]),
                idempotent=tool.idempotent,
                timeout_ms=tool.timeout_ms,
                unavailable_timeout_ms=tool.unavailable_timeout_ms,
                max_attempts=tool.max_attempts,
                risk=tool.risk or None,  # type: ignore[arg-type] # one of the words that the package has
                untrusted=tool.untrusted,
                reconcilable=tool.reconcilable,
                reconcile_for=tool.reconcile_for or DEFAULT_RECONCILE_FOR,
                schema_digest=tool.schema_digest or None,
                model_view=json.loads(tool.model_view_json) if tool.model_view_json else None,
                grantable=tool.grantable if tool.HasField("grantable") else True,
                summary=tool.summary,
                reversible=tool.reversible,
                highlight=tuple(tool.highlight),
            )
            for tool in message.tools
        ),
        sidecars={
            tool.schema_digest: json.loads(tool.parameters_schema_json) for tool in message.tools if tool.schema_digest
        },
        context=ContextPolicy(session_turns=message.context.session_turns, session_bytes=message.context.session_bytes)
        if message.HasField("context")
        else ContextPolicy(),
    )


def _route(route: ProviderRoute) -> pb.ProviderRoute:
    return pb.ProviderRoute(
        adapter=route.adapter,
        model=route.model,
        parameters_json=canonical_json(route.parameters),
        max_attempts=route.max_attempts,
    )


def _to_route(message: pb.ProviderRoute) -> ProviderRoute:
    return ProviderRoute(
        adapter=message.adapter,
        model=message.model,
        parameters=json.loads(message.parameters_json),
        max_attempts=message.max_attempts or DEFAULT_MODEL_ATTEMPTS,
    )


def _tool(package: RuntimePackage, tool: ToolSpec) -> pb.Tool:
    return pb.Tool(
        name=tool.name,
        description=tool.description,
        parameters_schema_json=canonical_json(package.arguments_schema(tool)),
        executor=tool.executor,
        effect=EFFECTS[tool.effect.value],
        idempotent=tool.idempotent,
        timeout_ms=tool.timeout_ms,
        unavailable_timeout_ms=tool.unavailable_timeout_ms,
        max_attempts=tool.max_attempts,
        risk=tool.risk or "",
        untrusted=tool.untrusted,
        reconcilable=tool.reconcilable,
        reconcile_for=tool.reconcile_for,
        schema_digest=tool.schema_digest or "",
        model_view_json=b"" if tool.model_view is None else canonical_json(tool.model_view),
        grantable=None if tool.grantable else False,
        summary=tool.summary,
        reversible=tool.reversible,
        highlight=tool.highlight,
    )


def _approval(name: str, spec: ApprovalSpec) -> approval_pb2.ApprovalRule:
    message = approval_pb2.ApprovalRule(
        name=name,
        sets=[
            approval_pb2.ApproverSetRule(
                roles=[role.value for role in each.roles], principals=each.principals, turn=each.turn or ""
            )
            for each in spec.sets
        ],
        expires=spec.expires,
        on_expiry=_expiry(spec.on_expiry),
        four_eyes=spec.four_eyes,
        delegates=spec.delegates,
        escalate=_escalation(spec.escalate) if spec.escalate else None,
        dispatchers=spec.dispatchers,
    )
    if spec.grants is not None:
        put_offer(message.grants, spec.grants.offer)
    return message


def _escalation(spec: EscalationSpec) -> approval_pb2.ApprovalEscalation:
    return approval_pb2.ApprovalEscalation(
        roles=[role.value for role in spec.roles], principals=spec.principals, turn=spec.turn, then=_expiry(spec.then)
    )


def _expiry(name: str) -> approval_pb2.ApprovalExpiry.ValueType:
    return approval_pb2.ApprovalExpiry.ValueType(EXPIRIES[name].value)


def _to_approval(message: approval_pb2.ApprovalRule) -> ApprovalSpec:
    expiries = {expiry.value: name for name, expiry in EXPIRIES.items()}
    fields = {
        "sets": [
            {"roles": list(each.roles), "principals": list(each.principals), "for": each.turn or None}
            for each in message.sets
        ],
        "expires": message.expires,
        "on_expiry": expiries[message.on_expiry],
        "four_eyes": message.four_eyes,
        "delegates": list(message.delegates),
        "grants": to_grants_spec(message.grants) if message.HasField("grants") else None,
        "dispatchers": list(message.dispatchers),
    }
    if message.HasField("escalate"):
        then = message.escalate
        fields["escalate"] = {
            "roles": list(then.roles),
            "principals": list(then.principals),
            "for": then.turn,
            "then": expiries[then.then],
        }
    return ApprovalSpec.model_validate(fields)


def _policy(policy: PolicySpec) -> policy_pb2.Policy:
    return policy_pb2.Policy(
        builtin=policy.ref.value if policy.ref else "",
        rules=[
            policy_pb2.PolicyRule(
                stage=policy_pb2.PolicyStage.ValueType(rule.at.value),
                when=rule.when,
                then=policy_pb2.PolicyVerdict.ValueType(rule.verdict.value),
                code=rule.code or "",
                message=rule.message,
                approval=rule.approval or "",
            )
            for rule in policy.rules
        ],
        shadow=policy.mode is PolicyMode.SHADOW,
        **_remote(policy),
    )


def _remote(policy: PolicySpec) -> dict[str, Any]:
    """What only a remote policy has."""
    if policy.remote is None:
        return {}
    return {
        "remote": policy.remote,
        "stages": [policy_pb2.PolicyStage.ValueType(STAGES[stage].value) for stage in policy.stages],
        "timeout_ms": policy.timeout_ms,
        "max_attempts": policy.max_attempts,
        "unavailable_timeout_ms": policy.unavailable_timeout_ms,
        "cache": policy.cache,
    }


def _to_policy(message: policy_pb2.Policy) -> PolicySpec:
    stages = {stage.value: name for name, stage in STAGES.items()}
    verdicts = {verdict.value: name for name, verdict in VERDICTS.items()}
    fields: dict[str, Any] = {
        "builtin": message.builtin.partition(":")[2] or None,
        "rules": [
            {
                "stage": stages[rule.stage],
                "when": rule.when,
                "then": verdicts[rule.then],
                "code": rule.code or None,
                "message": rule.message,
                "approval": rule.approval or None,
            }
            for rule in message.rules
        ],
        "mode": PolicyMode.SHADOW if message.shadow else PolicyMode.ENFORCE,
    }
    if message.remote:
        fields |= {
            "remote": message.remote,
            "stages": [stages[stage] for stage in message.stages],
            "timeout_ms": message.timeout_ms,
            "max_attempts": message.max_attempts,
            "unavailable_timeout_ms": message.unavailable_timeout_ms,
            "cache": message.cache,
        }
    return PolicySpec.model_validate(fields)
