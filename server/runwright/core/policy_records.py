"""What the journal remembers of policies: a part of `core/records.py`.

Where there is no `subject` the run as a whole is meant: its start, its input or its answer.
"""

from __future__ import annotations

from runwright.core.content import ContentRef
from runwright.core.errors import Failure
from runwright.core.ids import EffectId
from runwright.core.policy import Decision, PolicyOpinion, PolicyStage, RemotePolicy
from runwright.core.policy_walk import PolicyAnswer
from runwright.core.record import Record
from runwright.core.request import Budget
from runwright.core.units import Micros


class PolicyDecided(Record, frozen=True):
    """All policies together decided, at a stage of a subject: of a call, or of the run when there is no `subject`.

    `policy_ref` and `rule` name the strictest of them, `approval` what it asks for, if it asks. Older events have no
    digests and say nothing of who decided.
    """

    subject: EffectId | None
    stage: PolicyStage
    policy_ref: str
    decision: Decision
    rule: str = ""
    decider: str = ""
    subject_digest: str = ""
    operator_digest: str = ""
    shadow: tuple[PolicyOpinion, ...] = ()
    approval: str = ""


class PolicyAsked(Record, frozen=True):
    """Intent of one attempt at a question to a remote policy. Whom it is about: `question_subject(effect_id)`."""

    effect_id: EffectId
    attempt: int
    remote: RemotePolicy
    stage: PolicyStage
    subject_digest: str
    deadline: Micros


class PolicyAnswered(Record, frozen=True):
    """Result of a question. With an `answer` it is settled; with an `error` alone, another attempt is planned.

    `cached_from` is the question whose answer was taken again; then there was no attempt.
    """

    effect_id: EffectId
    attempt: int
    remote: RemotePolicy
    subject_digest: str
    answer: PolicyAnswer | None = None
    error: Failure | None = None
    cached_from: str = ""


class PolicyResumed(Record, frozen=True):
    """What the answer to a question deferred goes on: its time has come, or somebody resumed it."""

    effect_id: EffectId
    resumed_by: str = ""
    reason: str = ""
    request_id: str = ""


class SubjectReplaced(Record, frozen=True):
    """A remote policy put something else in the place of what it was asked about: of a call, or of the run.

    Or whoever approved a call put other arguments in the place of its own; `policy_ref` is the approval then.

    One of `replacement` (arguments, or a text) and `budget` (at RUN_START) is there.
    """

    subject: EffectId | None
    stage: PolicyStage
    policy_ref: str
    decider: str
    replaced_digest: str
    replacement: ContentRef | None = None
    budget: Budget | None = None
