"""Conditions of rules, behind a port: the language is a foreign library with bounds of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol, TypeAlias

from msgspec import Struct
from pydantic import JsonValue

from runwright.core.policy import PolicyStage
from runwright.core.policy_chain import Outcome
from runwright.core.policy_rules import PolicySpec

SUMMARY_REMEDY = "Write it in CEL over tool and args, texts with + between them, as docs/approvals.md shows."
CONDITION_REMEDY = "Write it in CEL over the variables of its stage, as docs/policy.md shows."
_COMMON = ("run", "principal", "usage")
# What the conditions of a stage may speak of.
VARIABLES: Mapping[PolicyStage, tuple[str, ...]] = {
    PolicyStage.RUN_START: (*_COMMON, "input"),
    PolicyStage.INPUT: (*_COMMON, "input"),
    PolicyStage.PRE_TOOL: (*_COMMON, "tool", "args", "call"),
    PolicyStage.POST_TOOL: (*_COMMON, "tool", "args", "call", "result"),
    PolicyStage.OUTPUT: (*_COMMON, "output"),
}
SUMMARY_VARIABLES = ("tool", "args")
# What is in those whose shape does not depend on the tool or the caller, as `runtime/policies.py` makes them.
FIELDS: Mapping[str, tuple[str, ...]] = {
    "run": ("labels", "session_id", "agent_id"),
    "principal": ("name", "roles"),
    "usage": ("rounds", "tool_calls", "input_tokens", "output_tokens"),
    "tool": ("name", "effect", "risk", "executor", "idempotent"),
    "call": ("round", "index", "tainted"),
    "result": ("ok", "text", "size", "media_type", "json"),
    "input": ("text",),
    "output": ("text",),
}
Path: TypeAlias = tuple[int | str, ...]


class ConditionQuestion(Struct, frozen=True):
    """Conditions over one set of variables. `size` is about how many bytes these are as JSON."""

    conditions: tuple[str, ...]
    variables: Mapping[str, JsonValue]
    size: int


class SummaryQuestion(Struct, frozen=True):
    """The summary of a tool over the variables `SUMMARY_VARIABLES` of a call. `size` is that of its arguments."""

    expression: str
    variables: Mapping[str, JsonValue]
    size: int


class ConditionEvaluator(Protocol):
    """Evaluates conditions in CEL, and the summaries of tools."""

    def problem(self, condition: str, variables: Sequence[str]) -> str | None:
        """What is wrong with a condition that may use these variables, in one sentence; None when nothing is.

        It blocks: not for the event loop of a server that serves.
        """

    def evaluate_at_once(self, questions: Sequence[ConditionQuestion]) -> list[tuple[Outcome, ...]] | None:
        """As `evaluate`, without waiting for anything; None when that would keep the event loop."""

    async def evaluate(self, questions: Sequence[ConditionQuestion]) -> list[tuple[Outcome, ...]]:
        """What comes of each condition of each question; all of them together are bounded in time and memory.

        The event loop goes on meanwhile. What cannot be found out within the bounds has FAILED.
        """

    def summary_problem(self, expression: str) -> str | None:
        """What is wrong with a summary, in one sentence; None when nothing is. It blocks, as `problem` does."""

    async def summaries(self, questions: Sequence[SummaryQuestion]) -> list[str]:
        """Each call in one line, by `core/summaries.py`; empty where that fails, takes too long, or is no text.

        All of them together are bounded in time and memory. The event loop goes on meanwhile, and no condition waits.
        """

    async def close(self) -> None:
        """Releases what conditions were evaluated with."""


class NoConditions:
    """For a runtime that was built without an evaluator: no condition can be used."""

    def problem(self, condition: str, variables: Sequence[str]) -> str | None:
        """See the port."""
        return "this runtime was built without an evaluator of conditions"

    def evaluate_at_once(self, questions: Sequence[ConditionQuestion]) -> list[tuple[Outcome, ...]]:
        """See the port."""
        return [(Outcome.FAILED,) * len(question.conditions) for question in questions]

    async def evaluate(self, questions: Sequence[ConditionQuestion]) -> list[tuple[Outcome, ...]]:
        """See the port."""
        return self.evaluate_at_once(questions)

    def summary_problem(self, expression: str) -> str | None:
        """See the port."""
        return self.problem(expression, SUMMARY_VARIABLES)

    async def summaries(self, questions: Sequence[SummaryQuestion]) -> list[str]:
        """See the port."""
        return [""] * len(questions)

    async def close(self) -> None:
        """See the port."""


def condition_problems(
    policies: Sequence[PolicySpec], problem: Callable[[str, Sequence[str]], str | None]
) -> Iterator[tuple[Path, str]]:
    """Where in these policies a condition cannot be used, and why, as `problem` says. It blocks."""
    for index, policy in enumerate(policies):
        for number, rule in enumerate(policy.rules):
            found = problem(rule.when, VARIABLES[rule.at]) if rule.when else None
            if found:
                yield (index, "rules", number, "when"), found
