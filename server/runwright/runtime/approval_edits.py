"""Edited arguments of a decision, checked before anything is decided as those that a model asks for are."""

from __future__ import annotations

import asyncio
import json
from collections import Counter

from runwright.core.approval_failures import invalid_edit, no_approval
from runwright.core.approval_requests import MAX_EDIT_BYTES, ApprovalName, DecisionRequest
from runwright.core.approval_rows import RequestedApproval
from runwright.core.approvals import ApprovalVerdict
from runwright.core.content import Content
from runwright.core.ids import Namespace, RunId, RunKey
from runwright.ports.provider import ProviderCall
from runwright.runtime.conversations.model_reply import arguments_problem
from runwright.runtime.ports import Ports
from runwright.runtime.runs.supervisor import Supervisor


class ApprovalEdits:
    """Checks edits by the package that the run was started with, whatever is configured now."""

    def __init__(self, ports: Ports, supervisor: Supervisor) -> None:
        self._ports = ports
        self._supervisor = supervisor

    async def checked(self, namespace: Namespace, asked: RequestedApproval, request: DecisionRequest) -> Content | None:
        """The edited arguments in their canonical form; None of a decision without any.

        Raises APPROVAL_EDIT_INVALID, saying what is wrong with them, and the journal's errors.
        """
        if request.verdict is not ApprovalVerdict.APPROVE_WITH_EDITS:
            return None
        if len(request.arguments_json) > MAX_EDIT_BYTES:
            raise invalid_edit(asked, f"they are larger than {MAX_EDIT_BYTES} bytes.")
        try:
            text = request.arguments_json.decode()
        except UnicodeDecodeError:
            raise invalid_edit(asked, "they are not UTF-8.") from None
        if (problem := await asyncio.to_thread(_unclear, text)) is not None:
            raise invalid_edit(asked, problem)
        run = RunKey(namespace, RunId(asked.run_id))
        found = await self._supervisor.state(run)
        if found is None:
            raise no_approval(asked.id)
        call_id = ApprovalName.parse(asked.id).call_id
        call = found[0].call(call_id) if call_id else None
        if call is not None and call.attempt:
            raise invalid_edit(asked, "the call was sent before, and is sent again as it was; approve or deny that.")
        package = await self._supervisor.stored.package(run, found[0])
        content, problem = await arguments_problem(package, self._ports.schemas, ProviderCall("", asked.tool, text))
        if problem is not None:
            raise invalid_edit(asked, problem)
        if content.ref.digest == asked.arguments.digest:
            raise invalid_edit(asked, "they are those that are pending; approve them as they are.")
        return content


class _RepeatedNameError(ValueError):
    """An object names something twice."""


def _unclear(text: str) -> str | None:
    """What makes it doubtful what somebody decided on; None: nothing, or what is found out with all else.

    Of a name that stands twice readers take the one or the other, and `null` is how models say nothing.
    """
    try:
        value = json.loads(text, object_pairs_hook=_once)
    except _RepeatedNameError as error:
        return f"they name {error} twice in one object."
    except (ValueError, RecursionError):
        return None
    return None if isinstance(value, dict) else "they are not a JSON object."


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """The object of these members. Raises _RepeatedNameError."""
    found = dict(pairs)
    if len(found) < len(pairs):
        [(name, _)] = Counter(name for name, _ in pairs).most_common(1)
        raise _RepeatedNameError(json.dumps(name[:64]))
    return found
