"""Whose the names of callbacks are while a server runs: read again when it is told so, and in force at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from msgspec.structs import replace

from runwright.adapters.key_approvers import KeyApprovers
from runwright.bootstrap.parts import callback_names, executor_names
from runwright.bootstrap.reread import Reread
from runwright.core.callback_kinds import CallbackKind
from runwright.runtime import AgentRuntime
from runwright.runtime.callbacks.registry import CallbackRegistry
from runwright.settings import Settings


def reread_owners(
    settings: Callable[[], Settings], runtime: AgentRuntime, registry: CallbackRegistry, started_with: Settings
) -> Reread[Settings]:
    """Of what `settings` reads again only the owners of names count; all else is as at the start."""

    async def take(found: Settings) -> Mapping[str, object]:
        executors = replace(executor_names(found), configured=executor_names(started_with).configured)
        if isinstance(approvers := runtime.ports.approvers, KeyApprovers):
            approvers.replace_names(executors)
        await registry.replace_names({**callback_names(found), CallbackKind.TOOL_EXECUTOR: executors})
        return {kind.name.lower(): sorted(owners) for kind, owners in found.name_owners.items() if owners}

    return Reread(runtime, what="owners of names", option="--config", read=settings, take=take)
