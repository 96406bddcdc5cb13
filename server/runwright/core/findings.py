"""What the edge found out about a call, for the machine to decide with: a part of `core/inputs.py`."""

from __future__ import annotations

from enum import Enum

from msgspec import Struct

from runwright.core.content import ContentRef
from runwright.core.errors import ErrorReason
from runwright.core.policy import PolicyFindings, PolicyStage


class Availability(Enum):
    """What the edge found when it tried to take a place for a call at its executor."""

    HELD = "held"  # a place is held for the call: it may be sent
    BUSY = "busy"  # an executor is there, and all its places are taken
    AWAY = "away"  # no executor that performs the tool is there


class Findings(Struct, frozen=True):
    """What the edge found out about a call, because it takes its bytes or the world; `decide` sees neither.

    `problem` is what is wrong with the call; `problem_text` says it in words, where the reason alone does not.
    `policies` is what policies say, a value for each stage at which more is heard than built-in ones.
    """

    problem: ErrorReason | None = None
    problem_text: ContentRef | None = None
    availability: Availability = Availability.BUSY
    policies: tuple[PolicyFindings, ...] = ()
    not_by: str = ""  # the principal at whose executors the place that is held is certainly not; empty: not looked at

    def said_at(self, stage: PolicyStage) -> PolicyFindings | None:
        """What policies say at a stage, if that was found out."""
        return next((found for found in self.policies if found.stage is stage), None)


class RequestedCall(Struct, frozen=True):
    """A tool call as the model asked for it, and what was found for these arguments."""

    tool: str
    provider_call_id: str
    arguments: ContentRef
    findings: Findings = Findings()
