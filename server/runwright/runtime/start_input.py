"""What a start is checked for, and the input that a run begins with."""

from __future__ import annotations

from msgspec import Struct

from runwright.core import inputs as i
from runwright.core.content import JSON, Content
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.ids import Namespace, RunKey, derived_turn_id, short_journal_id
from runwright.core.request import RunRequest
from runwright.runtime.package_lookup import PackageLookup
from runwright.runtime.packages import CataloguedPackage, Selector
from runwright.runtime.ports import Ports
from runwright.runtime.sessions import Sessions


class StartCaller(Struct, frozen=True):
    """Which run somebody asks for, who asks, and the W3C trace context it belongs to."""

    run: RunKey
    principal: str
    trace_parent: str


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
    context, said = None, tuple[Content, ...]()
    if request.session_id:
        context, said = await sessions.context(requested.run.namespace, request.session_id, found.package)
    canonical = Content.of(request.canonical(), JSON)
    parts = request.contents()
    return i.StartRequested(
        at=ports.clock.now(),
        request=request,
        turn_id=request.turn_id or derived_turn_id(requested.run.run_id),
        principal=requested.principal,
        journal_id=short_journal_id(ports.journal.incarnation),
        request_ref=canonical.ref,
        package_ref=found.content.ref,
        package_fingerprint=found.fingerprint,
        input=tuple(part.ref for part in parts),
        context=context,
        contents=(canonical, found.content, *parts, *said),
        trace_parent=requested.trace_parent,
    )
