"""Gates: the stages at which it is decided whether a run or a call goes on, and what is looked at there in turn.

A walk takes a subject through the checks of the stages it has come to, until one turns it away or needs an answer
from outside. Which of the two is in the state then, and by what the subject is held in `holds`. The answer is an
ordinary input. It starts the walk anew with what was found, and a check whose answer is on record is passed without
a word; so a walk needs no place of its own to go on from, and a restart is nothing new to it.

A stage without a row is not walked; one at which no policy is heard leaves no record.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import TypeAlias

from msgspec import Struct

from runwright.core.errors import ErrorReason
from runwright.core.ids import EffectId
from runwright.core.inputs import Availability, Findings
from runwright.core.machine import approvals, calls, grants, policies
from runwright.core.machine.step import Step
from runwright.core.outcomes import CallPhase, RunPhase
from runwright.core.policy import PolicyStage
from runwright.core.state import NO_POLICY, RunState

# True when the subject goes on. Else the check has written down why not, or the world is still to answer.
Check: TypeAlias = Callable[[Step, EffectId, Findings], bool]


class Subject(Enum):
    """Who comes to a gate: one of the run's calls, by its effect id, or the run itself, by an empty one."""

    RUN = "run"
    CALL = "call"


class Gate(Struct, frozen=True):
    """A stage: whose it is, when that subject is there (`is_at`), and what is looked at, in this order."""

    subject: Subject
    is_at: Callable[[RunState, EffectId], bool]
    checks: tuple[Check, ...]


def walk(step: Step, subject: EffectId, found: Findings) -> bool:
    """Takes a subject through the gates it is at, with what was found for it. True when it has passed them.

    Checks ask for nothing and wait for nothing: what they need is in the state or in `found`.
    """
    kind = Subject.CALL if subject else Subject.RUN
    for gate in GATES.values():
        is_there = gate.subject is kind and gate.is_at(step.state, subject)
        if is_there and not all(check(step, subject, found) for check in gate.checks):
            return False
    return True


def _is_requested(state: RunState, subject: EffectId) -> bool:
    """A call is at PRE_TOOL until its first intent, and again whenever another attempt waits for an executor."""
    call = state.call(subject)
    return call is not None and call.phase is CallPhase.REQUESTED


def _is_sound(step: Step, subject: EffectId, found: Findings) -> bool:
    """Whether the edge found nothing wrong with it; else the model is told what."""
    if found.problem is None:
        return True
    calls.fail(step, step.call(subject), found.problem, found.problem_text)
    return False


def _is_allowed(step: Step, subject: EffectId, found: Findings) -> bool:
    """Whether the policies allow it; on record either way. Heard again only where the operator's rules have changed."""
    call = step.call(subject)
    said = found.said_at(PolicyStage.PRE_TOOL)
    if call.passed is PolicyStage.PRE_TOOL and (
        said is None or said.operator_digest == (call.policy or NO_POLICY).operator_digest
    ):
        return True
    return policies.allow_call(step, call, said)


def _awaits_release(state: RunState, subject: EffectId) -> bool:
    """A call is at POST_TOOL with what came of it, until the model may go on with that or with less."""
    call = state.call(subject)
    return call is not None and call.awaits_release and state.phase is RunPhase.RUNNING


def _is_released(step: Step, subject: EffectId, found: Findings) -> bool:
    """Whether the model is told something; held while nobody has found out what policies say, or one is asked."""
    said = found.said_at(PolicyStage.POST_TOOL)
    if said is None:
        return False
    return policies.release(step, step.call(subject), said)


def _starts(state: RunState, _: EffectId) -> bool:
    """The run is at RUN_START and INPUT with its first input, before the model is asked."""
    return state.round == 0


def _may_start(step: Step, _: EffectId, found: Findings) -> bool:
    return policies.allow_run(step, PolicyStage.RUN_START, found)


def _may_begin_turn(step: Step, _: EffectId, found: Findings) -> bool:
    return policies.allow_run(step, PolicyStage.INPUT, found)


def _has_answer(state: RunState, _: EffectId) -> bool:
    """The run is at OUTPUT with the model's last message, before its turn ends."""
    return state.round > 0 and not state.calls and state.result is not None and not state.turn_ended


def _may_answer(step: Step, _: EffectId, found: Findings) -> bool:
    return policies.allow_run(step, PolicyStage.OUTPUT, found)


def _is_affordable(step: Step, subject: EffectId, _: Findings) -> bool:
    """Whether the budget has a call left, beside those of this round that are approved, or may be, and not started."""
    state = step.state
    others = sum(
        call.phase is CallPhase.REQUESTED
        and (call.passed is PolicyStage.PRE_TOOL or call.is_pending)
        and not call.attempt
        and call.call_id != subject
        for call in state.calls
    )
    if step.call(subject).attempt or state.usage.tool_calls + others < state.budget.tool_calls:
        return True
    calls.fail(step, step.call(subject), ErrorReason.BUDGET_EXHAUSTED)
    return False


def _is_approved(step: Step, subject: EffectId, found: Findings) -> bool:
    """Whether it needs no approval, has it, or a grant answers. Else somebody is asked, and it is held until then."""
    call = step.call(subject)
    if call.passed is PolicyStage.PRE_TOOL:
        return True
    if call.is_pending:
        return False
    if grants.use(step, call, step.asking[subject], step.answering[subject]):
        if step.call(subject).not_performed_by != found.not_by:
            step.places -= {subject}  # it may be at an executor of whoever issued the grant: another one is waited for
        return True
    approvals.request(step, call, step.asking[subject])
    return False


def _has_executor(step: Step, subject: EffectId, found: Findings) -> bool:
    """Whether a place at its executor is held for it. Else it is held by the executor; its absence is on record once.

    An executor that is still away when that wait is over is given up.
    """
    if found.availability is not Availability.AWAY:
        return found.availability is Availability.HELD
    call = step.call(subject)
    if call.give_up_at:
        calls.give_up(step, call)
    else:
        # Everybody can see the wait, and its end is the same after a restart.
        calls.retry(step, call, ErrorReason.EXECUTOR_UNAVAILABLE, after_us=0)
    return False


_OF_CALL: tuple[Check, ...] = (_is_sound, _is_allowed, _is_affordable, _is_approved, _has_executor)

GATES: Mapping[PolicyStage, Gate] = {
    PolicyStage.RUN_START: Gate(Subject.RUN, _starts, (_may_start,)),
    PolicyStage.INPUT: Gate(Subject.RUN, _starts, (_may_begin_turn,)),
    PolicyStage.PRE_TOOL: Gate(Subject.CALL, _is_requested, _OF_CALL),
    PolicyStage.POST_TOOL: Gate(Subject.CALL, _awaits_release, (_is_released,)),
    PolicyStage.OUTPUT: Gate(Subject.RUN, _has_answer, (_may_answer,)),
}
