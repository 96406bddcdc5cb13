"""What a start is checked for, and the input that a run begins with."""

from __future__ import annotations

from msgspec import Struct

from runwright.core import inputs as i
from runwright.core.content import JSON, Content
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.ids import Namespace, RunKey, derived_turn_id, short_journal_id
from runwright.core.policy import Decision, PolicyFindings, PolicyStage, Verdict, decided
from runwright.core.policy_failures import policy_failure
from runwright.core.request import RunRequest
from runwright.runtime.approver_rules import require_approvers
from runwright.runtime.package_lookup import PackageLookup
from runwright.runtime.packages import CataloguedPackage, Selector
from runwright.runtime.policies import RunFacts, subject_of_text
from runwright.runtime.ports import Ports
from runwright.runtime.sessions import Sessions


class StartCaller(Struct, frozen=True):
    """Which run somebody asks for, who asks, and the W3C trace context it belongs to."""

    run: RunKey
    principal: str
    trace_parent: str
    roles: tuple[str, ...] = ()


async def preflight(
    ports: Ports, packages: PackageLookup, request: RunRequest, namespace: Namespace
) -> CataloguedPackage:
    """The package that answers.

    Raises PACKAGE_NOT_FOUND, AGENT_MISMATCH, PROVIDER_MISSING, EXECUTOR_MISSING, and for one that was put the
    journal's errors.
    """
    found = await packages.resolve(namespace, Selector.of(request), request.agent_id)
    package = found.package
    for route in package.routes:
        ports.provider(route.adapter)
    for tool in package.tools:
        if not ports.tools.knows(namespace, tool.executor):
            raise AgentError(
                ErrorReason.EXECUTOR_MISSING,
                f"Tool {tool.name} needs executor {tool.executor}, which has no address and cannot be registered.",
                metadata={"executor": tool.executor},
            )
    return found


async def start_input(
    ports: Ports, sessions: Sessions, request: RunRequest, found: CataloguedPackage, requested: StartCaller
) -> i.StartRequested:
    """The input of a start, with what it refers to: request, package, input, and what is seen of the session."""
    operator = ports.policies.operator_rules(requested.run.namespace)
    require_approvers(
        ports.approvers, ports.approval_policy.of(found.package), operator, requested.run.namespace, requested.principal
    )
    context, said = None, tuple[Content, ...]()
    if request.session_id:
        context, said = await sessions.context(requested.run.namespace, request.session_id, found.package)
    canonical = Content.of(request.canonical(), JSON)
    parts = request.contents()
    said_of_start = await start_policies(ports, request, found, requested, canonical.ref.digest)
    return i.StartRequested(
        at=ports.clock.now(),
        request=request,
        turn_id=request.turn_id or derived_turn_id(requested.run.run_id),
        principal=requested.principal,
        principal_roles=requested.roles,
        journal_id=short_journal_id(ports.journal.incarnation),
        request_ref=canonical.ref,
        package_ref=found.content.ref,
        package_fingerprint=found.fingerprint,
        input=tuple(part.ref for part in parts),
        context=context,
        contents=(canonical, found.content, *parts, *said),
        trace_parent=requested.trace_parent,
        policies=said_of_start,
    )


async def start_policies(
    ports: Ports, request: RunRequest, found: CataloguedPackage, requested: StartCaller, digest: str
) -> tuple[PolicyFindings, ...]:
    """What policies say of a start and of its input, where they are heard. Both are decided on by the request's digest.

    What somebody is to be asked about starts, and waits.
    Raises POLICY_DENIED when the run must not start: then nothing of it is written down but an audit entry.
    """
    namespace, said = requested.run.namespace, list[PolicyFindings]()
    stages = [
        stage
        for stage in (PolicyStage.RUN_START, PolicyStage.INPUT)
        if ports.policies.is_used(found.package, namespace, stage)
    ]
    for stage in stages:
        facts = RunFacts(
            request.labels, request.session_id, found.package.agent.id, requested.principal, requested.roles
        )
        texts = [part for part in request.input if isinstance(part, str)]
        subject = subject_of_text(facts, "input", texts, digest)
        said += await ports.policies.find(found.package, namespace, stage, [subject])
        if stage is PolicyStage.RUN_START:
            _refuse_unless_allowed(said[-1])
    return tuple(said)


def _refuse_unless_allowed(found: PolicyFindings) -> None:
    opinion = decided(found.stage, found.opinions)
    if opinion.verdict not in (Verdict.ALLOW, Verdict.ASK):
        failure = policy_failure(found.stage, Decision(opinion.verdict, opinion.code), opinion.policy_ref)
        said = f" {opinion.message}" if opinion.message else ""
        metadata = {**dict(failure.metadata), "rule": opinion.rule}
        raise AgentError(ErrorReason.POLICY_DENIED, failure.message + said, metadata=metadata)
