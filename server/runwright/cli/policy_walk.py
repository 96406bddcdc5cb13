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
from runwright.adapters.json_schema import JsonSchemaChecker
from runwright.adapters.operator_policies import read_operator_policies
from runwright.core import records as r
from runwright.core.apply import apply
from runwright.core.content import JSON, TEXT, Content
from runwright.core.fingerprint import canonical_json
from runwright.core.ids import EffectId, Namespace, RunId, RunKey, parse_effect_id
from runwright.core.outcomes import Usage
from runwright.core.package import RuntimePackage, ToolSpec
from runwright.core.policy import PolicyFindings, PolicyOpinion, PolicyStage, Verdict, decided, decided_for_call
from runwright.core.state import RunState
from runwright.ports.schemas import Instance
from runwright.runtime.policies import (
    CallFacts,
    Policies,
    PolicySubject,
    Result,
    RunFacts,
    arguments_of,
    subject_of_call,
    subject_of_result,
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

    def call(
        self, run: RunFacts, tool: str, arguments: JsonValue, *, tainted: bool, result: str | None = None
    ) -> Iterator[Walked]:
        """One call that somebody thinks of, and what would come of it, if that is said."""
        call = _Call(EffectId("c1.1"), tool, Content.of(canonical_json(arguments), JSON), tainted)
        walked = self._call(run, call)
        if problem := self._problem(tool, arguments, call.arguments.data):
            note = f"the arguments do not fit the tool's schema, so no policy is heard: {problem}"
            yield Walked(walked.stage, walked.subject, None, note=note)
            return
        yield walked
        if result is not None:
            yield self._result(run, call, _as_result(result))

    def run(self, responses: Iterable[pb.ExportRunResponse]) -> Iterator[Walked]:
        """Every walk of a past run, as this package and these rules would decide."""
        header, records, contents = _exported(responses)
        state = RunState(key=RunKey(Namespace(header.namespace), RunId(header.run_id)))
        before = {(record.stage, record.subject): record for record in records if isinstance(record, r.PolicyDecided)}
        tainted, usage, calls = False, Usage(), dict[EffectId, _Call]()
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
                    call = calls[record.call_id] = _Call(record.call_id, record.tool, data, tainted)
                    yield self._call(facts, call).__replace__(before=before.get((PolicyStage.PRE_TOOL, record.call_id)))
                case r.ToolCompleted() | r.ToolFailed() if record.attempt:
                    tool, said = self._package.tool(record.tool), _result_of(record, contents)
                    is_told = True
                    if said is not None and record.call_id in calls:
                        walked = self._result(facts, calls[record.call_id], said)
                        # Whatever a remote policy would say: it might release it.
                        is_told = walked.decision is None or walked.decision.verdict is Verdict.ALLOW
                        yield walked.__replace__(before=before.get((PolicyStage.POST_TOOL, record.call_id)))
                    tainted = tainted or (is_told and tool is not None and tool.untrusted)
                case r.ModelMessageCompleted() if record.text is not None and not record.tool_calls:
                    earlier = before.get((PolicyStage.OUTPUT, None))
                    if record.text.digest in contents:
                        answer = [contents[record.text.digest].decode()]
                        subject = subject_of_text(facts, "output", answer, record.text.digest)
                        yield self._run(PolicyStage.OUTPUT, subject, earlier)
                    else:
                        yield Walked(PolicyStage.OUTPUT, "", None, before=earlier, note="the answer was not published")

    def _call(self, run: RunFacts, call: _Call) -> Walked:
        stage, tool = PolicyStage.PRE_TOOL, self._package.tool(call.tool)
        subject = f"{call.call_id} {call.tool} {call.arguments.data.decode('utf-8', 'replace')}"
        if tool is None:
            return Walked(stage, subject, None, note="the package has no such tool")
        if call.arguments.ref.media_type != JSON:
            return Walked(stage, subject, None, note="the arguments cannot be read, so no policy is heard")
        asked = _asked(run, tool, call)
        found = self._find(stage, asked) if self._policies.is_used(self._package, self._namespace, stage) else None
        decision = decided_for_call(found, self._package.builtin_policies, tool.effect.value)
        return _walked(stage, subject, decision, found)

    def _problem(self, tool: str, arguments: JsonValue, data: bytes) -> str | None:
        """What the schema says against arguments, as a server would find before any policy is heard."""
        spec = self._package.tool(tool)
        if spec is None:
            return None

        async def problem(instance: Instance) -> str | None:
            checker = JsonSchemaChecker()
            try:
                return (await checker.problems([instance]))[0]
            finally:
                await checker.close()

        return asyncio.run(problem(Instance(self._package.arguments_schema(spec), arguments, data)))

    def _result(self, run: RunFacts, call: _Call, result: Result) -> Walked:
        stage, tool = PolicyStage.POST_TOOL, self._package.tool(call.tool)
        subject = f"{call.call_id} {call.tool}, {result.ref.size} bytes"
        is_used = self._policies.is_used(self._package, self._namespace, stage)
        if tool is None or call.arguments.ref.media_type != JSON or not is_used:
            return Walked(stage, subject, None)
        found = self._find(stage, subject_of_result(_asked(run, tool, call), result))
        return _walked(stage, subject, decided(stage, found.opinions), found)

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
    """A walk; it comes to no decision where a remote policy would be asked, which nobody does here.

    One in shadow mode would be asked, too, and changes nothing.
    """
    shadow = found.shadow if found else ()
    enforced = [remote for remote in found.remotes if not remote.shadow] if found else []
    if found is None or not enforced or any(each.verdict in _FINAL for each in found.opinions):
        return Walked(stage, subject, decision, shadow)
    asked = ", ".join(f"{remote.policy} ({remote.policy_ref})" for remote in enforced)
    allowed = next((each for each in found.opinions if each.verdict is Verdict.ALLOW), None)
    rules = f"; allowed so far by {allowed.rule or allowed.policy_ref} ({allowed.code})" if allowed else ""
    return Walked(stage, subject, None, shadow, note=f"remote policies would be asked: {asked}{rules}")


class _Call(Struct, frozen=True):
    """A call as it was asked for."""

    call_id: EffectId
    tool: str
    arguments: Content
    tainted: bool


def _asked(run: RunFacts, tool: ToolSpec, call: _Call) -> PolicySubject:
    round_, index = parse_effect_id(call.call_id).numbers
    facts = CallFacts(round_, index, call.tainted, call.arguments.ref)
    return subject_of_call(run, tool, facts, arguments_of(call.arguments.data))


def _result_of(record: r.ToolCompleted | r.ToolFailed, contents: Mapping[str, bytes]) -> Result | None:
    """What came of a call, if it was said and is there."""
    ref = record.result if isinstance(record, r.ToolCompleted) else record.message
    data = contents.get(ref.digest) if ref else None
    return Result(isinstance(record, r.ToolCompleted), ref, data) if ref and data is not None else None


def _as_result(text: str) -> Result:
    """What a call would come to: JSON if it is some, else a text."""
    try:
        json.loads(text)
        content = Content.of(text.encode(), JSON)
    except ValueError:
        content = Content.text(text)
    return Result(True, content.ref, content.data)


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
