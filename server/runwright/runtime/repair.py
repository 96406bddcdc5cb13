"""Repair: decisions about calls of unknown outcome. One decision for an attempt, whoever asks and however often."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol
from weakref import WeakValueDictionary

from runwright.core import inputs as i
from runwright.core.content import Content
from runwright.core.errors import AgentError, ErrorReason, invalid_request
from runwright.core.ids import (
    DEFAULT_NAMESPACE,
    LOCAL_PRINCIPAL,
    POLICY_EFFECT,
    EffectId,
    Namespace,
    RunId,
    RunKey,
    check_caller_id,
    parse_effect_id,
    question_subject,
)
from runwright.core.kinds import EventKind
from runwright.core.outcomes import Resolution
from runwright.core.principal import Principal, Role
from runwright.core.records import EffectResolved, Record
from runwright.core.resolution import EffectResolution, ResolutionRequest
from runwright.core.state import RunState
from runwright.core.units import time_text
from runwright.runtime.ports import Ports
from runwright.runtime.runs.stored_runs import removed
from runwright.runtime.runs.supervisor import Supervisor
from runwright.runtime.runs.tool_contents import tool_content
from runwright.runtime.snapshot import Resolved, RunSnapshot

NOT_PERFORMED = "The call was not performed."
GRACE_US = 10_000_000  # of other calls, when the run is ended


class Snapshots(Protocol):
    """Where runs are looked at; AgentRuntime."""

    async def run_snapshot(self, run_id: str, *, namespace: Namespace) -> RunSnapshot:
        """A run as it stands. Raises RUN_NOT_FOUND."""


class Repair:
    """Resolves calls. What was decided before is found in the run's events, so a restart changes no answer."""

    def __init__(self, ports: Ports, supervisor: Supervisor, runs: Snapshots) -> None:
        self._ports = ports
        self._supervisor = supervisor
        self._runs = runs
        self._deciding: WeakValueDictionary[RunKey, asyncio.Lock] = WeakValueDictionary()

    async def resolve(
        self,
        run_id: str,
        request: ResolutionRequest,
        *,
        namespace: Namespace = DEFAULT_NAMESPACE,
        principal: str = LOCAL_PRINCIPAL,
    ) -> Resolved:
        """Says what became of a call of unknown outcome; on return the decision is durable.

        Raises INVALID_REQUEST, also for a request id that is another request's, RUN_NOT_FOUND, RUN_REMOVED,
        EFFECT_ALREADY_RESOLVED, EFFECT_ATTEMPT_STALE, EFFECT_NOT_UNKNOWN, RUN_HELD, DRAINING and the journal's errors.
        """
        run = RunKey(namespace, RunId(check_caller_id("run_id", run_id)))
        request.check()
        if (await self._runs.run_snapshot(run_id, namespace=namespace)).state.removed_at:
            raise removed(run)
        decision, is_first = await self._decided(run, request, principal)
        return Resolved(await self._runs.run_snapshot(run_id, namespace=namespace), decision, is_first)

    async def resume(
        self, run_id: str, effect_id: str, *, request_id: str, reason: str, principal: Principal
    ) -> tuple[RunSnapshot, bool]:
        """Has what a policy has deferred go on; durable on return. False when nothing is deferred by that question.

        For whoever started the run, and admins. Raises INVALID_REQUEST, RUN_NOT_FOUND, ROLE_MISSING, RUN_HELD,
        DRAINING and the journal's errors.
        """
        namespace = principal.namespace
        run = RunKey(namespace, RunId(check_caller_id("run_id", run_id)))
        check_caller_id("request_id", request_id)
        question = _question(effect_id)
        state = (await self._runs.run_snapshot(run_id, namespace=namespace)).state
        if state.principal != principal.name and Role.ADMIN not in principal.roles:
            message = f"Run {run_id} was started by {state.principal}, and is resumed by them or an admin."
            raise AgentError(ErrorReason.ROLE_MISSING, message, metadata={"role": Role.ADMIN.value})
        walk = state.walk_of(question_subject(question))
        records: Sequence[Record] = ()
        if not state.is_terminal and walk is not None and any(each.question == question for each in walk.deferred):
            requested = i.ResumeRequested(
                at=self._ports.clock.now(),
                effect_id=question,
                resumed_by=principal.name,
                reason=reason,
                request_id=request_id,
            )
            records, _ = await self._supervisor.submit(run, requested)
        return await self._runs.run_snapshot(run_id, namespace=namespace), bool(records)

    async def _decided(self, run: RunKey, request: ResolutionRequest, principal: str) -> tuple[EffectResolution, bool]:
        """The decision, and whether this request made it."""
        lock = self._deciding.get(run)
        if lock is None:
            lock = self._deciding[run] = asyncio.Lock()
        async with lock:  # one after the other, so that a request id is of one request
            before = await self._on_record(run)
            if (known := _same_request(before, request)) is not None:
                return known, False
            content = _content(request)
            requested = i.ResolutionRequested(
                at=self._ports.clock.now(),
                call_id=request.effect_id,
                attempt=request.attempt,
                resolution=request.resolution,
                resolved_by=principal,
                reason=request.reason,
                request_id=request.request_id,
                request_digest=request.digest(),
                result=content.ref if content else None,
                grace_us=GRACE_US,
                is_gated=self._ports.policies.are_heard_of_results(run.namespace),
                contents=(content,) if content else (),
            )
            records, state = await self._supervisor.submit(run, requested)
            decided = next((record for record in records if isinstance(record, EffectResolved)), None)
            if decided is not None:
                return _resolution(decided), True
            # Somebody was faster: perhaps this very request, whose caller has gone meanwhile.
            before = await self._on_record(run)
            if (known := _same_request(before, request)) is not None:
                return known, False
            raise _refusal(run, request, before, state)

    async def _on_record(self, run: RunKey) -> Sequence[EffectResolved]:
        """Every decision about a call of the run, in order."""
        found = await self._ports.journal.records(run, (EventKind.EFFECT_RESOLVED,))
        return [record for record in found if isinstance(record, EffectResolved)]


def _question(effect_id: str) -> EffectId:
    """The id of a question. Raises INVALID_REQUEST for any other."""
    try:
        if parse_effect_id(EffectId(effect_id)).kind == POLICY_EFFECT:
            return EffectId(effect_id)
    except ValueError:
        pass
    remedy = "Take it from the run's `waiting_on`; `runwright explain RUN` shows it."
    raise invalid_request("effect_id", "the id of a question to a policy, such as p3.2.1", remedy)


def _content(request: ResolutionRequest) -> Content | None:
    match request.resolution:
        case Resolution.HAPPENED if request.result is not None:
            return tool_content(request.result.data, request.result.media_type)
        case Resolution.FAILED:
            return Content.text(request.message or NOT_PERFORMED)
        case _:
            return None


def _same_request(before: Sequence[EffectResolved], request: ResolutionRequest) -> EffectResolution | None:
    """The decision of the same request. Raises INVALID_REQUEST for its id with anything else in it."""
    for record in before:
        if record.request_id == request.request_id:
            if record.request_digest == request.digest():
                return _resolution(record)
            raise invalid_request(
                "request_id",
                "an id of this request alone: another one of this run had it",
                "Make a new id for each decision; the same is only for sending the same again.",
            )
    return None


def _refusal(run: RunKey, request: ResolutionRequest, before: Sequence[EffectResolved], state: RunState) -> AgentError:
    """Why nothing came of it."""
    subject = {"run_id": run.run_id, "effect_id": request.effect_id}
    for record in before:
        if (record.call_id, record.attempt) == (request.effect_id, request.attempt):
            at = time_text(record.at)
            name, by = record.resolution.name, record.resolved_by
            message = f"Attempt {record.attempt} of {record.call_id} was resolved as {name} by {by} at {at}."
            said = {"resolution": name, "resolved_by": by, "resolved_at": at, "request_id": record.request_id}
            return AgentError(ErrorReason.EFFECT_ALREADY_RESOLVED, message, metadata={**subject, **said})
    call = state.call(request.effect_id)
    if call is not None and call.attempt != request.attempt:
        message = f"{request.effect_id} is at attempt {call.attempt}, not {request.attempt}."
        return AgentError(ErrorReason.EFFECT_ATTEMPT_STALE, message, metadata={**subject, "attempt": str(call.attempt)})
    stands = call.phase.name if call is not None and not state.is_terminal else ""
    run_stands = f"the run is {state.phase.name}" if not stands or stands == "UNKNOWN" else f"it is {stands}"
    message = f"Nothing is to be decided about {request.effect_id}: {run_stands}."
    return AgentError(
        ErrorReason.EFFECT_NOT_UNKNOWN, message, metadata={**subject, "state": stands or state.phase.name}
    )


def _resolution(record: EffectResolved) -> EffectResolution:
    return EffectResolution(
        record.call_id,
        record.attempt,
        record.resolution,
        record.resolved_by,
        record.reason,
        record.request_id,
        record.at,
    )
