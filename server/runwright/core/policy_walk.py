"""How far a subject has come through its policies, once remote ones are asked: what they have said, and who is asked.

Policies that are not remote are heard anew whenever a walk goes on, so nothing of what they say is held here.
"""

from __future__ import annotations

from msgspec import Struct

from runwright.core.content import ContentRef
from runwright.core.errors import ErrorReason
from runwright.core.ids import EffectId
from runwright.core.policy import PolicyOpinion, PolicyStage, RemotePolicy, Verdict
from runwright.core.request import Budget
from runwright.core.units import Micros

MAX_REPLACEMENTS = 3  # in one walk
MAX_DEFERS = 10  # in one walk
MAX_DEFER_US = 7 * 24 * 3600 * 1_000_000
MAX_CACHED = 64  # answers held for one run
TOO_MANY_REPLACEMENTS = "policy.too_many_replacements"
TOO_MANY_DEFERS = "policy.too_many_defers"
# The codes of a policy of which nobody knows what it says: it denies.
FAILURE_CODES = {
    ErrorReason.POLICY_UNAVAILABLE: "policy.unavailable",
    ErrorReason.POLICY_LOST: "policy.lost",
    ErrorReason.POLICY_TIMED_OUT: "policy.timed_out",
    ErrorReason.POLICY_ANSWER_INVALID: "policy.answer_invalid",
}


class PolicyAnswer(Struct, frozen=True):
    """What a remote policy says.

    With MODIFY there is a `replacement`, at RUN_START a `budget`; with DEFER until when it is held.
    """

    verdict: Verdict
    code: str
    message: str = ""
    replacement: ContentRef | None = None
    budget: Budget | None = None
    defer_until: Micros | None = None


class SettledAnswer(Struct, frozen=True):
    """An answer with whose it is, which question it settles, and when it was given."""

    remote: RemotePolicy
    answer: PolicyAnswer
    question: EffectId
    at: Micros

    def opinion(self) -> PolicyOpinion:
        """As it is heard beside what other policies say."""
        said, remote = self.answer, self.remote
        return PolicyOpinion(said.verdict, remote.policy_ref, "", said.code, remote.decider, said.message)


class CachedAnswer(Struct, frozen=True):
    """An answer that counts again in its run: for the same policy, stage, tool and digest. `question` gave it.

    What was said of a call that was not `tainted` does not count for one that is: the policy is told, and may mind.
    Of a result the digest is followed by that of the arguments, which were seen with it.
    """

    policy: str
    stage: PolicyStage
    tool: str
    digest: str
    question: str
    answer: PolicyAnswer
    tainted: bool = False

    def is_of(self, remote: RemotePolicy, stage: PolicyStage, tool: str, digest: str, *, tainted: bool = False) -> bool:
        """True when it answers the question."""
        asked = (remote.policy, stage, tool, digest, tainted)
        return (self.policy, self.stage, self.tool, self.digest, self.tainted) == asked


class PolicyQuestion(Struct, frozen=True):
    """The question that is not settled. Times are microseconds.

    `is_open`: its latest attempt is under way; else the next one waits for `not_before` and a host of the policy,
    until `give_up_at`. `failures` are attempts that reached a host and were not answered.
    """

    effect_id: EffectId
    remote: RemotePolicy
    attempt: int
    subject_digest: str
    since: Micros
    deadline: Micros
    is_open: bool = True
    failures: int = 0
    not_before: Micros = 0
    give_up_at: Micros = 0


class PolicyWalk(Struct, frozen=True):
    """Of a call, or of the run. `stage` is where it is held; None: nowhere, what was asked has been decided.

    `questions`, `replacements` and `defers` count what has been asked, replaced and deferred. `answers` is what counts
    for the subject as it is now, `passed` the last stage of the run that was walked so.
    """

    stage: PolicyStage | None = None
    questions: int = 0
    replacements: int = 0
    defers: int = 0
    answers: tuple[SettledAnswer, ...] = ()
    question: PolicyQuestion | None = None
    passed: PolicyStage | None = None

    @property
    def step(self) -> int:
        """How much has happened to it: never the same twice."""
        return self.questions + self.replacements

    @property
    def deferred(self) -> tuple[SettledAnswer, ...]:
        """What holds it until a time: nothing while somebody is asked, or something else is to be put in its place."""
        if self.question is not None or any(each.answer.verdict is Verdict.MODIFY for each in self.enforced):
            return ()
        return tuple(each for each in self.enforced if each.answer.verdict is Verdict.DEFER)

    @property
    def enforced(self) -> tuple[SettledAnswer, ...]:
        """The answers of those that are not in shadow mode."""
        return tuple(each for each in self.answers if not each.remote.shadow)

    @property
    def shadow(self) -> tuple[PolicyOpinion, ...]:
        """What those in shadow mode would have said of the subject as it is now."""
        return tuple(each.opinion() for each in self.answers if each.remote.shadow)

    def answer_of(self, remote: RemotePolicy) -> SettledAnswer | None:
        """What that policy has said of the subject as it is now."""
        mine = (remote.policy, remote.policy_ref)
        return next((each for each in self.answers if (each.remote.policy, each.remote.policy_ref) == mine), None)

    def has_passed(self, stage: PolicyStage) -> bool:
        """True when the run is beyond the stage. A run comes to its stages in the order of their numbers."""
        if self.stage is not None:
            return stage.value < self.stage.value
        return self.passed is not None and stage.value <= self.passed.value

    def decided(self, passed: PolicyStage | None) -> PolicyWalk:
        """The walk after a decision: only its counts are left, so that no question gets the id of another one."""
        return PolicyWalk(questions=self.questions, passed=passed)


NO_WALK = PolicyWalk()
