"""What policies say, found out at the edge: conditions need bytes, which the run machine does not see."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress

from msgspec import Struct
from pydantic import JsonValue

from runwright.core.content import JSON, ContentRef
from runwright.core.ids import Namespace
from runwright.core.outcomes import Usage
from runwright.core.package import RuntimePackage, ToolSpec
from runwright.core.policy import PolicyFindings, PolicyStage
from runwright.core.policy_chain import NO_OPERATOR, OperatorRules, Outcome, PolicyChain
from runwright.core.state import RunState
from runwright.ports.conditions import ConditionEvaluator, ConditionQuestion

MAX_RESULT_VALUE_BYTES = 64 * 1024  # to read more than that takes time on the event loop
# Results that are looked at outside at a time: they are on record, so the others wait, and none is withheld for that.
RESULTS_AT_ONCE = 16


class PolicySubject(Struct, frozen=True):
    """One thing to decide on: its digest, the effect class of its tool if it is a call, and what conditions see."""

    digest: str
    effect: str
    variables: Mapping[str, JsonValue]
    size: int


class RunFacts(Struct, frozen=True):
    """What conditions see of a run, whatever they decide on."""

    labels: Mapping[str, str]
    session_id: str
    agent_id: str
    principal: str
    roles: Sequence[str]
    usage: Usage = Usage()

    @classmethod
    def of(cls, state: RunState) -> RunFacts:
        """The facts of a run that has begun."""
        of_whom = (state.principal, state.principal_roles)
        return cls(state.labels, state.session_id, state.agent_id, *of_whom, state.usage)

    def variables(self) -> dict[str, JsonValue]:
        """The variables `run`, `principal` and `usage`."""
        return {
            "run": {"labels": dict(self.labels), "session_id": self.session_id, "agent_id": self.agent_id},
            "principal": {"name": self.principal, "roles": list(self.roles)},
            "usage": {
                "rounds": self.usage.rounds,
                "tool_calls": self.usage.tool_calls,
                "input_tokens": self.usage.input_tokens,
                "output_tokens": self.usage.output_tokens,
            },
        }


class Result(Struct, frozen=True):
    """What came of a call: its result, or with `ok` False what is said of its failure."""

    ok: bool
    ref: ContentRef
    data: bytes


class CallFacts(Struct, frozen=True):
    """What conditions see of a call beside its run."""

    round: int
    index: int
    tainted: bool
    arguments: ContentRef


def subject_of_call(run: RunFacts, tool: ToolSpec, call: CallFacts, arguments: JsonValue) -> PolicySubject:
    """A call with its arguments, as read from their bytes."""
    variables = run.variables() | {
        "tool": {
            "name": tool.name,
            "effect": tool.effect.value,
            "risk": tool.risk or "",
            "executor": tool.executor,
            "idempotent": tool.idempotent,
        },
        "args": arguments,
        "call": {"round": call.round, "index": call.index, "tainted": call.tainted},
    }
    return PolicySubject(call.arguments.digest, tool.effect.value, variables, call.arguments.size)


def subject_of_result(asked: PolicySubject, result: Result) -> PolicySubject:
    """A call, as it was asked for, with what came of it; `result.json` is there for JSON of a size that rules bear."""
    said: dict[str, JsonValue] = {
        "ok": result.ok,
        "media_type": result.ref.media_type,
        "size": result.ref.size,
        "text": result.data.decode("utf-8", "replace"),
    }
    if result.ref.media_type == JSON and result.ref.size <= MAX_RESULT_VALUE_BYTES:
        with suppress(ValueError, RecursionError):  # an executor may call anything JSON
            said["json"] = json.loads(result.data)
    return PolicySubject(
        result.ref.digest, asked.effect, {**asked.variables, "result": said}, asked.size + result.ref.size
    )


def subject_of_text(run: RunFacts, name: str, texts: Sequence[str], digest: str) -> PolicySubject:
    """The run with what it is told (`input`) or answers (`output`): `NAME.text`, its texts below one another."""
    text = "\n".join(texts)
    variables: dict[str, JsonValue] = {**run.variables(), name: {"text": text}}
    return PolicySubject(digest, "", variables, len(text))


class Policies:
    """Finds out what the policies of packages and of the operator say.

    The operator's rules are by namespace; they may be replaced at any time and count from the next walk.
    """

    def __init__(self, conditions: ConditionEvaluator) -> None:
        self.conditions = conditions
        self.room_for_results = asyncio.Semaphore(RESULTS_AT_ONCE)
        self._operator: Mapping[Namespace, OperatorRules] = {}

    def replace_operator_rules(self, rules: Mapping[Namespace, OperatorRules]) -> None:
        """Takes over the operator's rules, which were examined before; those of `*` are for namespaces not named."""
        self._operator = dict(rules)

    def operator_rules(self, namespace: Namespace) -> OperatorRules:
        """The operator's rules in a namespace, as they are now."""
        return self._operator.get(namespace) or self._operator.get(EVERY_NAMESPACE, NO_OPERATOR)

    def is_used(self, package: RuntimePackage, namespace: Namespace, stage: PolicyStage) -> bool:
        """True when something must be found out for this stage."""
        chain = package.chain(stage, self.operator_rules(namespace))
        return chain.needs_findings if stage is PolicyStage.PRE_TOOL else chain.is_used

    def may_hold_answer(self, package: RuntimePackage, namespace: Namespace) -> bool:
        """True when a person or a remote policy may be asked about an answer before it is published."""
        return package.chain(PolicyStage.OUTPUT, self.operator_rules(namespace)).may_hold

    def are_heard_of_results(self, namespace: Namespace) -> bool:
        """True when the operator has policies for POST_TOOL; what a package has, the run machine knows itself."""
        stage = PolicyStage.POST_TOOL
        return any(policy.is_heard_at(stage) for policy in self.operator_rules(namespace).policies)

    async def find(
        self, package: RuntimePackage, namespace: Namespace, stage: PolicyStage, subjects: Sequence[PolicySubject]
    ) -> list[PolicyFindings]:
        """What is said of each subject. Made again when the operator's rules were replaced meanwhile."""
        while True:
            operator = self.operator_rules(namespace)
            chain = package.chain(stage, operator)
            asked = _questions(chain, subjects)
            outcomes = await self.conditions.evaluate(asked) if asked else [()] * len(subjects)
            if operator.digest == self.operator_rules(namespace).digest:
                return _findings(chain, subjects, outcomes)

    def find_at_once(
        self, package: RuntimePackage, namespace: Namespace, stage: PolicyStage, subjects: Sequence[PolicySubject]
    ) -> list[PolicyFindings] | None:
        """As `find`, without waiting for anything; None when somebody has to wait for it."""
        chain = package.chain(stage, self.operator_rules(namespace))
        asked = _questions(chain, subjects)
        outcomes = self.conditions.evaluate_at_once(asked) if asked else [()] * len(subjects)
        return None if outcomes is None else _findings(chain, subjects, outcomes)


def _questions(chain: PolicyChain, subjects: Sequence[PolicySubject]) -> list[ConditionQuestion]:
    conditions = chain.conditions
    return [ConditionQuestion(conditions, each.variables, each.size) for each in subjects] if conditions else []


def _findings(
    chain: PolicyChain, subjects: Sequence[PolicySubject], outcomes: Sequence[Sequence[Outcome]]
) -> list[PolicyFindings]:
    return [
        chain.findings(subject.effect, subject.digest, found) for subject, found in zip(subjects, outcomes, strict=True)
    ]


EVERY_NAMESPACE = Namespace("*")


def arguments_of(data: bytes) -> JsonValue:
    """Arguments as conditions see them, from their canonical bytes."""
    value: JsonValue = json.loads(data)
    return value
