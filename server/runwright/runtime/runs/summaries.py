"""Calls in one line, for whoever is asked about them: found where their bytes are, to ride on the input that asks."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from runwright.core.package import ToolSpec
from runwright.core.policy import PolicyFindings, Verdict, decided
from runwright.ports.conditions import SUMMARY_VARIABLES, ConditionEvaluator, SummaryQuestion
from runwright.runtime.policies import PolicySubject


async def with_summaries(
    conditions: ConditionEvaluator,
    called: Sequence[tuple[ToolSpec, PolicySubject]],
    found: Sequence[PolicyFindings],
) -> list[PolicyFindings]:
    """What is said of calls, each of those that somebody may be asked about with its summary, if its tool has one."""
    asked = {
        place: _question(tool, subject)
        for place, ((tool, subject), said) in enumerate(zip(called, found, strict=True))
        if tool.summary and _may_ask(said)
    }
    if not asked:
        return list(found)
    made = dict(zip(asked, await conditions.summaries(list(asked.values())), strict=True))
    return [replace(said, summary=made[place]) if made.get(place) else said for place, said in enumerate(found)]


def _may_ask(said: PolicyFindings) -> bool:
    """True when somebody is asked, or a remote policy is heard first, which may want that."""
    return bool(said.remotes) or decided(said.stage, said.opinions).verdict is Verdict.ASK


def _question(tool: ToolSpec, subject: PolicySubject) -> SummaryQuestion:
    variables = {name: subject.variables[name] for name in SUMMARY_VARIABLES}
    return SummaryQuestion(tool.summary, variables, subject.size)
