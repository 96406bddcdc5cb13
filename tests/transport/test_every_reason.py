"""Every declared reason can happen, and says what it promises to say."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeAlias

import grpc
import pytest
from runwright._gen.runwright.v1 import error_pb2
from runwright.core.errors import MEANINGS, AgentError, ErrorReason
from runwright.ports.remote_policies import PolicyReplyKind
from runwright.transport.status import STATUS

from tests.transport import failed_runs as runs
from tests.transport import refused_calls as calls
from tests.transport import refused_grants as grants
from tests.transport.conftest import Serve
from tests.transport.serving import Refusal

Scenario: TypeAlias = Callable[[calls.Stage], Awaitable[Any]]
Code = grpc.StatusCode
R = ErrorReason

REFUSED_CALLS: dict[ErrorReason, tuple[Scenario, grpc.StatusCode]] = {
    R.INVALID_REQUEST: (calls.invalid_request, Code.INVALID_ARGUMENT),
    R.PACKAGE_NOT_FOUND: (calls.package_not_found, Code.NOT_FOUND),
    R.AGENT_MISMATCH: (calls.agent_mismatch, Code.INVALID_ARGUMENT),
    R.RUN_NOT_FOUND: (calls.run_not_found, Code.NOT_FOUND),
    R.RUN_ID_CONFLICT: (calls.run_id_conflict, Code.ALREADY_EXISTS),
    R.CURSOR_MALFORMED: (calls.cursor_malformed, Code.INVALID_ARGUMENT),
    R.CURSOR_SCOPE_MISMATCH: (calls.cursor_scope_mismatch, Code.INVALID_ARGUMENT),
    R.CURSOR_AHEAD: (calls.cursor_ahead, Code.OUT_OF_RANGE),
    R.JOURNAL_RESTORED: (calls.journal_restored, Code.OUT_OF_RANGE),
    R.SUBSCRIBER_STALLED: (calls.subscriber_stalled, Code.RESOURCE_EXHAUSTED),
    R.JOURNAL_FULL: (calls.journal_full, Code.RESOURCE_EXHAUSTED),
    R.JOURNAL_BUSY: (calls.journal_busy, Code.UNAVAILABLE),
    R.JOURNAL_CONFLICT: (calls.journal_conflict, Code.ABORTED),
    R.JOURNAL_CORRUPT: (calls.journal_corrupt, Code.DATA_LOSS),
    R.DRAINING: (calls.draining, Code.UNAVAILABLE),
    R.POLICY_DENIED: (calls.policy_denied, Code.PERMISSION_DENIED),
    R.PROVIDER_MISSING: (calls.provider_missing, Code.FAILED_PRECONDITION),
    R.EXECUTOR_MISSING: (calls.executor_missing, Code.FAILED_PRECONDITION),
    R.INTERNAL: (calls.internal, Code.INTERNAL),
    R.UNAUTHENTICATED: (calls.unauthenticated, Code.UNAUTHENTICATED),
    R.ROLE_MISSING: (calls.role_missing, Code.PERMISSION_DENIED),
    R.CALLBACK_NOT_FOUND: (calls.callback_not_found, Code.NOT_FOUND),
    R.CALLBACK_ADDRESS_REFUSED: (calls.callback_address_refused, Code.PERMISSION_DENIED),
    R.CALLBACK_TAKEN: (calls.callback_taken, Code.PERMISSION_DENIED),
    R.CALLBACK_LIMIT: (calls.callback_limit, Code.RESOURCE_EXHAUSTED),
    R.SESSION_BUSY: (calls.session_busy, Code.ABORTED),
    R.CURSOR_EXPIRED: (calls.cursor_expired, Code.OUT_OF_RANGE),
    R.RUN_REMOVED: (calls.run_removed, Code.NOT_FOUND),
    R.OVERLOADED: (calls.overloaded, Code.RESOURCE_EXHAUSTED),
    R.TOO_MANY_CALLS: (calls.too_many_calls, Code.RESOURCE_EXHAUSTED),
    R.RUN_HELD: (calls.run_held, Code.FAILED_PRECONDITION),
    R.PACKAGE_TAG_MOVED: (calls.package_tag_moved, Code.ABORTED),
    R.PACKAGE_LIMIT: (calls.package_limit, Code.RESOURCE_EXHAUSTED),
    R.REQUEST_ID_CONFLICT: (calls.request_id_conflict, Code.ALREADY_EXISTS),
    R.RUN_NOT_HELD: (calls.run_not_held, Code.FAILED_PRECONDITION),
    R.EFFECT_NOT_UNKNOWN: (calls.effect_not_unknown, Code.FAILED_PRECONDITION),
    R.EFFECT_ATTEMPT_STALE: (calls.effect_attempt_stale, Code.FAILED_PRECONDITION),
    R.EFFECT_ALREADY_RESOLVED: (calls.effect_already_resolved, Code.FAILED_PRECONDITION),
    R.APPROVAL_NOT_FOUND: (calls.approval_not_found, Code.NOT_FOUND),
    R.APPROVAL_ALREADY_DECIDED: (calls.approval_already_decided, Code.FAILED_PRECONDITION),
    R.APPROVAL_EXPIRED: (calls.approval_expired, Code.FAILED_PRECONDITION),
    R.APPROVAL_WITHDRAWN: (calls.approval_withdrawn, Code.FAILED_PRECONDITION),
    R.APPROVAL_DIGEST_MISMATCH: (calls.approval_digest_mismatch, Code.FAILED_PRECONDITION),
    R.GRANT_NOT_OFFERED: (grants.grant_not_offered, Code.FAILED_PRECONDITION),
    R.GRANT_NOT_FOUND: (grants.grant_not_found, Code.NOT_FOUND),
    R.GRANT_NOT_YOURS: (grants.grant_not_yours, Code.PERMISSION_DENIED),
    R.APPROVER_NOT_ALLOWED: (calls.approver_not_allowed, Code.PERMISSION_DENIED),
    R.APPROVAL_EDIT_INVALID: (calls.approval_edit_invalid, Code.INVALID_ARGUMENT),
    R.APPROVAL_DELEGATE_NOT_ALLOWED: (calls.approval_delegate_not_allowed, Code.FAILED_PRECONDITION),
    R.APPROVER_MISSING: (calls.approver_missing, Code.FAILED_PRECONDITION),
}
FAILED_RUNS: dict[ErrorReason, Scenario] = {
    R.PROVIDER_FAILED: runs.provider_failed,
    R.PROVIDER_KEY_REFUSED: runs.provider_key_refused,
    R.PROVIDER_RATE_LIMITED: runs.provider_rate_limited,
    R.PROVIDER_REFUSED: runs.provider_refused,
    R.MODEL_OUTPUT_INVALID: runs.model_output_invalid,
    R.MODEL_OUTPUT_TRUNCATED: runs.model_output_truncated,
    R.MODEL_OUTPUT_FILTERED: runs.model_output_filtered,
    R.BUDGET_EXHAUSTED: runs.budget_exhausted,
    R.CONVERSATION_TOO_LARGE: runs.conversation_too_large,
    R.CANCELLED: runs.cancelled,
    R.EFFECT_UNKNOWN: runs.effect_unknown,
    R.POLICY_INTERRUPT: runs.policy_interrupt,
    R.APPROVAL_ABORTED: runs.approval_aborted,
    R.APPROVAL_DENIED: runs.approval_denied,
}
FAILED_TOOL_CALLS: dict[ErrorReason, Scenario] = {
    R.EXECUTOR_UNAVAILABLE: runs.executor_unavailable,
    R.EXECUTOR_LOST: runs.executor_lost,
    R.TOOL_UNKNOWN: runs.tool_unknown,
    R.TOOL_ARGUMENTS_INVALID: runs.tool_arguments_invalid,
    R.TOOL_FAILED: runs.tool_failed,
    R.TOOL_TIMED_OUT: runs.tool_timed_out,
    R.TOOL_RESULT_TOO_LARGE: runs.tool_result_too_large,
    R.TOOL_ANSWER_INVALID: runs.tool_answer_invalid,
}
QUESTIONS: dict[ErrorReason, PolicyReplyKind] = {
    R.POLICY_UNAVAILABLE: PolicyReplyKind.NOT_SENT,
    R.POLICY_LOST: PolicyReplyKind.LOST,
    R.POLICY_TIMED_OUT: PolicyReplyKind.TIMED_OUT,
    R.POLICY_ANSWER_INVALID: PolicyReplyKind.UNREADABLE,
}
LIBRARY: dict[ErrorReason, Scenario] = {R.PACKAGE_INVALID: runs.package_invalid, R.PORT_MISSING: runs.port_missing}


@pytest.fixture
def stage(serve: Serve, tmp_path: Path) -> calls.Stage:
    """What the scenarios play on."""
    return calls.Stage(serve, tmp_path)


def named(reason: ErrorReason) -> str:
    """The reason's name, as the id of its test."""
    return reason.name


def test_every_reason_has_a_scenario() -> None:
    provoked = [*REFUSED_CALLS, *FAILED_RUNS, *FAILED_TOOL_CALLS, *QUESTIONS, *LIBRARY]

    assert sorted(named(reason) for reason in provoked) == sorted(named(reason) for reason in ErrorReason)


def test_every_reason_has_a_status_and_a_meaning() -> None:
    assert set(STATUS) == set(MEANINGS) == set(ErrorReason)
    assert Code.UNKNOWN not in STATUS.values()


@pytest.mark.parametrize("reason", REFUSED_CALLS, ids=named)
async def test_a_refused_call_says_why_and_what_to_do(stage: calls.Stage, reason: ErrorReason) -> None:
    scenario, code = REFUSED_CALLS[reason]

    refusal = await scenario(stage)

    assert (refusal.code, STATUS[reason]) == (code, code)
    assert (refusal.info.reason, refusal.info.domain) == (reason.name, "runwright")
    check_error(reason, refusal)


def check_error(reason: ErrorReason, refusal: Refusal) -> None:
    """The AgentError in the details is complete and agrees with the ErrorInfo."""
    error, meaning = refusal.error, MEANINGS[reason]
    assert (error.reason, error.reason_name) == (reason.value, reason.name)
    assert (error.kind, error.retry_class) == (meaning.kind.value, meaning.retry.value)
    assert error.remedy and error.remedy.endswith(meaning.remedy), "its own words come before those of the reason"
    assert error.message and error.message in refusal.text and error.remedy in refusal.text
    assert dict(error.metadata) == dict(refusal.info.metadata)
    assert set(meaning.keys) <= set(error.metadata)
    if error.retry_class == error_pb2.RETRY_CLASS_RETRYABLE and "retry_after" in meaning.keys:
        assert any("RetryInfo" in name for name in refusal.details)
        assert f"{error.retry_after.seconds}s" == error.metadata["retry_after"]


@pytest.mark.parametrize("reason", FAILED_RUNS, ids=named)
async def test_a_failed_run_says_why(stage: calls.Stage, reason: ErrorReason) -> None:
    ending = await FAILED_RUNS[reason](stage)

    assert ErrorReason(ending.reason) is reason
    assert set(MEANINGS[reason].keys) <= set(ending.metadata)


@pytest.mark.parametrize("reason", QUESTIONS, ids=named)
async def test_a_question_without_an_answer_says_why(stage: calls.Stage, reason: ErrorReason) -> None:
    error = await runs.unanswered(stage, QUESTIONS[reason])

    assert ErrorReason(error.reason) is reason
    assert set(MEANINGS[reason].keys) <= set(error.metadata)


@pytest.mark.parametrize("reason", FAILED_TOOL_CALLS, ids=named)
async def test_a_failed_call_of_a_tool_says_why(stage: calls.Stage, reason: ErrorReason) -> None:
    ending = await FAILED_TOOL_CALLS[reason](stage)

    assert ErrorReason(ending.reason) is reason


@pytest.mark.parametrize("reason", LIBRARY, ids=named)
async def test_what_cannot_be_built_says_why(stage: calls.Stage, reason: ErrorReason) -> None:
    error = await LIBRARY[reason](stage)

    assert isinstance(error, AgentError)
    assert error.reason is reason
    assert set(MEANINGS[reason].keys) <= set(error.metadata)
