"""Runs whose calls a remote policy decides on, played without a host."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec.structs import replace
from runwright.core import inputs as i
from runwright.core import records as r
from runwright.core.content import ContentRef
from runwright.core.errors import ErrorReason, Failure
from runwright.core.ids import EffectId
from runwright.core.outcomes import FinishReason
from runwright.core.package import RuntimePackage
from runwright.core.policy import PolicyFindings, PolicyOpinion, PolicyStage, RemotePolicy, Verdict
from runwright.core.policy_walk import PolicyAnswer
from runwright.core.request import Budget

from tests.core import builders as b

ASKED = EffectId("p1.1.1")
AGAIN = EffectId("p1.1.2")
ARGUMENTS = b.json_text("{}")
OTHER = b.json_text('{"city":"Bern"}')
RUN = EffectId("")


def package(*stages: str, **fields: Any) -> RuntimePackage:
    """A package with one remote policy, and a tool to read and one to write with."""
    remote = {"remote": "compliance", "stages": stages or ("pre_tool",), **fields}
    tools = (b.tool("lookup"), b.tool("send", effect="write"))
    return b.package(*tools, policy="builtin:read-only", policies=[remote])


def found(
    *opinions: PolicyOpinion,
    digest: str = ARGUMENTS.digest,
    stage: PolicyStage = PolicyStage.PRE_TOOL,
    remotes: tuple[RemotePolicy, ...] | None = None,
) -> tuple[PolicyFindings, ...]:
    """What the edge finds for one subject."""
    asked = (b.remote_policy(cache=False),) if remotes is None else remotes
    return (PolicyFindings(stage, digest, "", opinions, (), asked),)


def started(pinned: RuntimePackage, policies: tuple[PolicyFindings, ...]) -> i.StartRequested:
    """Somebody asks for a run, of whose start or input a remote policy is asked."""
    return replace(b.started(pinned), policies=policies)


def says(words: str, policies: tuple[PolicyFindings, ...]) -> i.ModelReplied:
    """The model answers, and a remote policy is asked about it."""
    return i.ModelReplied(
        at=b.at(1), round=1, attempt=1, text=b.text(words), finish=FinishReason.STOP, policies=policies
    )


def asks(*tools: str, policies: tuple[PolicyFindings, ...] = (), round: int = 1) -> i.ModelReplied:
    """The model asks for calls that all have the same arguments."""
    findings = i.Findings(availability=i.Availability.HELD, policies=policies or found())
    calls = tuple(i.RequestedCall(tool, f"p-{number}", ARGUMENTS, findings) for number, tool in enumerate(tools))
    return i.ModelReplied(at=b.at(1), round=round, attempt=1, text=None, finish=FinishReason.TOOL_CALLS, calls=calls)


def answer(
    verdict: Verdict,
    question: EffectId = ASKED,
    attempt: int = 1,
    *,
    at: float = 2,
    policies: tuple[PolicyFindings, ...] | None = None,
    replacement: ContentRef | None = None,
    budget: Budget | None = None,
    until: float | None = None,
) -> i.PolicyReplied:
    """A host answers."""
    said = () if verdict is Verdict.MODIFY else found() if policies is None else policies
    return i.PolicyReplied(
        at=b.at(at),
        effect_id=question,
        attempt=attempt,
        answer=PolicyAnswer(
            verdict,
            f"remote.{verdict.name.lower()}",
            "",
            replacement,
            budget,
            None if until is None else b.at(until),
        ),
        policies=said,
    )


def fails(
    reason: ErrorReason,
    question: EffectId = ASKED,
    attempt: int = 1,
    *,
    at: float = 2,
    policies: tuple[PolicyFindings, ...] | None = None,
) -> i.PolicyReplied:
    """An attempt comes to nothing."""
    error = Failure(reason, "It does not say.", (("policy", "compliance"),))
    said = found() if policies is None else policies
    return i.PolicyReplied(at=b.at(at), effect_id=question, attempt=attempt, error=error, policies=said)


def heard(
    step: int, subject: EffectId = b.FIRST_CALL, *, at: float = 3, policies: tuple[PolicyFindings, ...] | None = None
) -> i.PoliciesHeard:
    """The edge has looked again."""
    return i.PoliciesHeard(at=b.at(at), subject=subject, step=step, policies=policies or found())


def awaited(question: EffectId = ASKED, attempt: int = 1, *, is_there: bool, at: float = 3) -> i.PolicyAwaited:
    """A wait for a host is over."""
    return i.PolicyAwaited(at=b.at(at), effect_id=question, attempt=attempt, is_there=is_there)


def resumed(question: EffectId = ASKED, *, at: float = 3, **fields: Any) -> i.ResumeRequested:
    """What is deferred goes on."""
    return i.ResumeRequested(at=b.at(at), effect_id=question, **fields)


RESULT, OTHER_RESULT = b.text("what came of it"), b.text("something else")
OF_RESULT = PolicyStage.POST_TOOL


def of_results(**fields: Any) -> RuntimePackage:
    """A package whose calls are all made, and of whose results a remote policy is asked."""
    remote = {"remote": "compliance", "stages": ["post_tool"], **fields}
    tools = (b.tool("lookup", untrusted=True), b.tool("send", effect="write"))
    return b.package(*tools, policy="builtin:read-only", policies=[{"builtin": "allow-declared"}, remote])


def asked_of(*opinions: PolicyOpinion, digest: str = RESULT.digest, **fields: Any) -> tuple[PolicyFindings, ...]:
    """What the edge finds for a result."""
    remote = b.remote_policy(policy_ref="policies.1", **{"cache": False, **fields})
    return found(*opinions, digest=digest, stage=OF_RESULT, remotes=(remote,))


def sent(tool: str = "send") -> i.ModelReplied:
    """The model asks for a call that is sent at once."""
    allowed = PolicyOpinion(Verdict.ALLOW, "policies.0", "", "tool.declared", "package")
    return asks(tool, policies=found(allowed, remotes=()))


def came(*, ok: bool = True, policies: tuple[PolicyFindings, ...] | None = None) -> i.ToolReturned:
    """A call comes to something, of which the policy is asked at once."""
    said = asked_of() if policies is None else policies
    return i.ToolReturned(at=b.at(2), call_id=b.FIRST_CALL, attempt=1, ok=ok, result=RESULT, policies=said)


def histories() -> Iterator[list[r.Record]]:
    """What records there are of questions: replaced arguments, another attempt, and a cancel with a question out."""
    for ok in (True, False):
        pinned, other = of_results(), asked_of(digest=OTHER_RESULT.digest)
        _, records = b.play(
            pinned,
            b.started(pinned),
            sent(),
            came(ok=ok),
            fails(ErrorReason.POLICY_LOST, policies=asked_of()),
            awaited(is_there=True),
            answer(Verdict.MODIFY, attempt=2, at=4, replacement=OTHER_RESULT),
            heard(1, at=5, policies=asked_of()),
            heard(2, at=5, policies=other),
            answer(Verdict.DEFER, AGAIN, at=5, until=9, policies=other),
            resumed(AGAIN, at=6),
            heard(3, at=6, policies=other),
            answer(Verdict.ALLOW, EffectId("p1.1.3"), at=7, policies=other),
        )
        yield records
    governed = package()
    _, records = b.play(
        governed,
        b.started(governed),
        asks("send"),
        fails(ErrorReason.POLICY_LOST),
        awaited(is_there=True),
        answer(Verdict.MODIFY, attempt=2, at=4, replacement=OTHER),
        heard(1, at=5),
        heard(2, at=5, policies=found(digest=OTHER.digest)),
        answer(Verdict.DEFER, AGAIN, at=5, until=9, policies=found(digest=OTHER.digest)),
        resumed(AGAIN, at=6),
        heard(3, at=6, policies=found(digest=OTHER.digest)),
        b.cancelled(),
    )
    yield records
