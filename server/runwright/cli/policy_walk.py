"""Walks through policies without effect: one call, or everything that a past run came to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from msgspec import Struct
from pydantic import JsonValue

from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright.adapters.cel_conditions import CelConditions
from runwright.adapters.operator_policies import read_operator_policies
from runwright.core import records as r
from runwright.core.apply import apply
from runwright.core.content import JSON, TEXT, Content
from runwright.core.fingerprint import canonical_json
from runwright.core.ids import EffectId, Namespace, RunId, RunKey, parse_effect_id
from runwright.core.outcomes import Usage
from runwright.core.package import RuntimePackage
from runwright.core.policy import PolicyFindings, PolicyOpinion, PolicyStage, Verdict, decided, decided_for_call
from runwright.core.state import RunState
from runwright.runtime.policies import (
    CallFacts,
    Policies,
    PolicySubject,
    RunFacts,
    arguments_of,
    subject_of_call,
    subject_of_text,
)
from runwright.wire.records import decode_event

_FINAL = (Verdict.DENY, Verdict.INTERRUPT)


class Walked(Struct, frozen=True):
    """What a walk comes to: of what, the decision, what would be said in shadow mode, and what was decided then."""

    stage: PolicyStage
    subject: str
    decision: PolicyOpinion | None  # None: no policy is heard there
    shadow: Sequence[PolicyOpinion] = ()
    before: r.PolicyDecided | None = None
    note: str = ""


class Walk:
    """A package's policies and, with a file, the operator's; as a context, which ends what it began."""

    def __init__(self, package: RuntimePackage, operator: Path | None, namespace: str) -> None:
        """Raises INVALID_REQUEST for an operator's file that cannot be used."""
        self._package, self._namespace = package, Namespace(namespace)
        self._policies = Policies(CelConditions())
        self._policies.replace_operator_rules(read_operator_policies(operator) if operator else {})

    def call(self, run: RunFacts, tool: str, arguments: JsonValue, *, tainted: bool) -> Walked:
        """One call that somebody thinks of."""
        content = Content.of(canonical_json(arguments), JSON)
        return self._call(run, EffectId("c1.1"), tool, content, tainted=tainted)

    def run(self, responses: Iterable[pb.ExportRunResponse]) -> Iterator[Walked]:
        """Every walk of a past run, as this package and these rules would decide."""
        header, records, contents = _exported(responses)
        state = RunState(key=RunKey(Namespace(header.namespace), RunId(header.run_id)))
        before = {(record.stage, record.subject): record for record in records if isinstance(record, r.PolicyDecided)}
        tainted, usage = False, Usage()
        for record in records:
            state = apply(state, record)
            facts = RunFacts.of(state).__replace__(usage=usage)
            match record:
                case r.ContextAssembled():
                    tainted = record.context.is_tainted
                case r.TurnStarted():
                    texts = [contents[ref.digest].decode() for ref in record.input if ref.media_type == TEXT]
                    for stage in (PolicyStage.RUN_START, PolicyStage.INPUT):
                        subject = subject_of_text(facts, "input", texts, state.request_digest)
                        yield self._run(stage, subject, before.get((stage, None)))
                case r.ModelAttemptStarted():
                    usage = state.usage
                case r.ToolRequested() if contents.get(record.arguments.digest) is not None:
                    data = Content(record.arguments, contents[record.arguments.digest])
                    found = self._call(facts, record.call_id, record.tool, data, tainted=tainted)
                    yield found.__replace__(before=before.get((PolicyStage.PRE_TOOL, record.call_id)))
                case r.ToolCompleted() | r.ToolFailed() if record.attempt:
                    tool = self._package.tool(record.tool)
                    tainted = tainted or (tool is not None and tool.untrusted)
                case r.ModelMessageCompleted() if record.text is not None and not record.tool_calls:
                    answer = [contents[record.text.digest].decode()]
                    subject = subject_of_text(facts, "output", answer, record.text.digest)
                    yield self._run(PolicyStage.OUTPUT, subject, before.get((PolicyStage.OUTPUT, None)))

    def _call(self, run: RunFacts, call_id: EffectId, name: str, arguments: Content, *, tainted: bool) -> Walked:
        stage, tool = PolicyStage.PRE_TOOL, self._package.tool(name)
        subject = f"{call_id} {name} {arguments.data.decode('utf-8', 'replace')}"
        if tool is None:
            return Walked(stage, subject, None, note="the package has no such tool")
        if arguments.ref.media_type != JSON:
            return Walked(stage, subject, None, note="the arguments cannot be read, so no policy is heard")
        round_, index = parse_effect_id(call_id).numbers
        facts = CallFacts(round_, index, tainted, arguments.ref)
        asked = subject_of_call(run, tool, facts, arguments_of(arguments.data))
        found = self._find(stage, asked) if self._policies.is_used(self._package, self._namespace, stage) else None
        decision = decided_for_call(found, self._package.builtin_policies, tool.effect.value)
        return _walked(stage, subject, decision, found)

    def _run(self, stage: PolicyStage, subject: PolicySubject, before: r.PolicyDecided | None) -> Walked:
        if not self._policies.is_used(self._package, self._namespace, stage):
            return Walked(stage, "", None, before=before)
        found = self._find(stage, subject)
        return _walked(stage, "", decided(stage, found.opinions), found).__replace__(before=before)

    def _find(self, stage: PolicyStage, subject: PolicySubject) -> PolicyFindings:
        return asyncio.run(self._policies.find(self._package, self._namespace, stage, [subject]))[0]

    def __enter__(self) -> Walk:
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run(self._policies.conditions.close())


def _walked(stage: PolicyStage, subject: str, decision: PolicyOpinion, found: PolicyFindings | None) -> Walked:
    """A walk; it comes to no decision where a remote policy would be asked, which nobody does here."""
    shadow = found.shadow if found else ()
    if found is None or not found.remotes or any(each.verdict in _FINAL for each in found.opinions):
        return Walked(stage, subject, decision, shadow)
    asked = ", ".join(f"{remote.policy} ({remote.policy_ref})" for remote in found.remotes)
    allowed = next((each for each in found.opinions if each.verdict is Verdict.ALLOW), None)
    rules = f"; allowed so far by {allowed.rule or allowed.policy_ref} ({allowed.code})" if allowed else ""
    return Walked(stage, subject, None, shadow, note=f"remote policies would be asked: {asked}{rules}")


def _exported(
    responses: Iterable[pb.ExportRunResponse],
) -> tuple[pb.ExportHeader, list[r.Record], Mapping[str, bytes]]:
    header, records, contents = pb.ExportHeader(), list[r.Record](), dict[str, bytes]()
    for response in responses:
        match response.WhichOneof("element"):
            case "header":
                header = response.header
            case "event":
                records.append(decode_event(response.event.data))
            case "content":
                piece = response.content
                contents[piece.digest] = contents.get(piece.digest, b"") + piece.data
    return header, records, contents


def read_call(text: str) -> tuple[str, JsonValue]:
    """`TOOL={…}` as a tool's name and its arguments. Raises ValueError for anything else."""
    name, equals, arguments = text.partition("=")
    value: JsonValue = json.loads(arguments or "{}")
    if not name or (equals and not isinstance(value, dict)):
        raise ValueError
    return name, value
