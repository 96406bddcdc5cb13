"""The one exception of the project, and the table that gives each reason its meaning."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from runwright.core.approval_errors import APPROVAL_MEANINGS
from runwright.core.error_kinds import AgentErrorKind, Meaning, RetryClass
from runwright.core.error_reasons import ErrorReason

__all__ = [
    "MEANINGS",
    "AgentError",
    "ErrorReason",
    "Failure",
    "Meaning",
    "invalid_request",
]


_K = AgentErrorKind
_R = RetryClass

MEANINGS: Mapping[ErrorReason, Meaning] = {
    ErrorReason.INVALID_REQUEST: Meaning(_K.INVALID_REQUEST, _R.NOT_RETRYABLE, "", ("field", "expected")),
    ErrorReason.PACKAGE_INVALID: Meaning(
        _K.INVALID_PACKAGE,
        _R.HOST_CONFIGURATION_NEEDED,
        "",
        ("package", "path", "rule"),
    ),
    ErrorReason.PACKAGE_NOT_FOUND: Meaning(
        _K.INVALID_PACKAGE,
        _R.HOST_CONFIGURATION_NEEDED,
        "`runwright package ls` shows what there is; to add one: runwright package put FILE.",
        ("package",),
    ),
    ErrorReason.PACKAGE_TAG_MOVED: Meaning(
        _K.INVALID_STATE_TRANSITION,
        _R.NOT_RETRYABLE,
        "Look at what the tag points to now, and move it from there or leave the condition out.",
        ("tag", "fingerprint"),
    ),
    ErrorReason.PACKAGE_LIMIT: Meaning(
        _K.INVALID_PACKAGE,
        _R.HOST_CONFIGURATION_NEEDED,
        "Use a namespace for each team; packages cannot be removed.",
        ("limit",),
    ),
    ErrorReason.REQUEST_ID_CONFLICT: Meaning(
        _K.INVALID_REQUEST,
        _R.NOT_RETRYABLE,
        "Send the first request again unchanged, or use another request id.",
        ("request_id",),
    ),
    ErrorReason.AGENT_MISMATCH: Meaning(
        _K.INVALID_REQUEST,
        _R.NOT_RETRYABLE,
        "Leave agent_id out, or select a package of that agent; `runwright info` shows them.",
        ("agent_id", "expected"),
    ),
    ErrorReason.RUN_NOT_FOUND: Meaning(
        _K.INVALID_STATE_TRANSITION,
        _R.NOT_RETRYABLE,
        "`runwright ls` shows the runs that this key can see.",
        ("run_id",),
    ),
    ErrorReason.RUN_ID_CONFLICT: Meaning(
        _K.INVALID_STATE_TRANSITION,
        _R.NOT_RETRYABLE,
        "Send the first request again unchanged, or use another run id.",
        ("run_id", "fields"),
    ),
    ErrorReason.CURSOR_MALFORMED: Meaning(
        _K.INVALID_REQUEST,
        _R.NOT_RETRYABLE,
        "Copy it whole, as the server sent it with an event or bookmark, or leave it out to read from the beginning.",
        ("expected",),
    ),
    ErrorReason.CURSOR_SCOPE_MISMATCH: Meaning(
        _K.INVALID_REQUEST,
        _R.NOT_RETRYABLE,
        "Use it with the run or scope and the filter it came from, or leave it out to read from the beginning.",
        ("expected",),
    ),
    ErrorReason.CURSOR_AHEAD: Meaning(
        _K.JOURNAL_FAILURE,
        _R.REPAIR_NEEDED,
        "The journal has lost its end; go on from the head cursor after checking what was lost.",
        ("head",),
    ),
    ErrorReason.JOURNAL_RESTORED: Meaning(
        _K.JOURNAL_FAILURE,
        _R.REPAIR_NEEDED,
        "The cursor is of another journal, or of what an older copy has replaced; read the stream from its beginning.",
        ("head",),
    ),
    ErrorReason.SUBSCRIBER_STALLED: Meaning(
        _K.TIMEOUT, _R.RETRYABLE, "Subscribe again from the last cursor and read faster.", ("last_cursor",)
    ),
    ErrorReason.JOURNAL_FULL: Meaning(
        _K.JOURNAL_FAILURE, _R.RETRYABLE, "Free space on the disk of the data directory.", ("retry_after",)
    ),
    ErrorReason.JOURNAL_BUSY: Meaning(
        _K.JOURNAL_FAILURE,
        _R.RETRYABLE,
        "End the program that holds the journal's file open; `fuser journal.db` names it.",
        ("retry_after",),
    ),
    ErrorReason.JOURNAL_CONFLICT: Meaning(
        _K.JOURNAL_FAILURE, _R.RETRYABLE, "Try again; another writer owned the run.", ("run_id",)
    ),
    ErrorReason.JOURNAL_CORRUPT: Meaning(
        _K.JOURNAL_FAILURE, _R.REPAIR_NEEDED, "Restore the data directory from a backup.", ("run_id", "first_bad")
    ),
    ErrorReason.DRAINING: Meaning(
        _K.HOST_CONFIGURATION_NEEDED, _R.RETRYABLE, "Try again; the server is restarting.", ("retry_after",)
    ),
    ErrorReason.PORT_MISSING: Meaning(
        _K.HOST_CONFIGURATION_NEEDED, _R.HOST_CONFIGURATION_NEEDED, "Give the builder this port.", ("port",)
    ),
    ErrorReason.PROVIDER_MISSING: Meaning(
        _K.HOST_CONFIGURATION_NEEDED,
        _R.HOST_CONFIGURATION_NEEDED,
        "Name a known adapter in the package, or start the server with --provider ADAPTER=KEYENV for a real model.",
        ("adapter", "known"),
    ),
    ErrorReason.PROVIDER_FAILED: Meaning(
        _K.PROVIDER_FAILURE, _R.RETRYABLE, "Start another run once the provider works.", ("adapter",)
    ),
    ErrorReason.PROVIDER_KEY_REFUSED: Meaning(
        _K.HOST_CONFIGURATION_NEEDED,
        _R.HOST_CONFIGURATION_NEEDED,
        "Put a key that the provider takes into the environment variable that is named, and restart the server.",
        ("adapter",),
    ),
    ErrorReason.PROVIDER_RATE_LIMITED: Meaning(
        _K.PROVIDER_FAILURE,
        _R.RETRYABLE,
        "Start another run later, raise the limit or quota with the provider, or give the package a fallback.",
        ("adapter",),
    ),
    ErrorReason.PROVIDER_REFUSED: Meaning(
        _K.PROVIDER_FAILURE,
        _R.NOT_RETRYABLE,
        "Check the model's name, the parameters in the package, and what the model takes as input.",
        ("adapter",),
    ),
    ErrorReason.MODEL_OUTPUT_INVALID: Meaning(
        _K.PROVIDER_FAILURE, _R.RETRYABLE, "Start another run; check the adapter if it repeats.", ("adapter", "rule")
    ),
    ErrorReason.MODEL_OUTPUT_TRUNCATED: Meaning(
        _K.PROVIDER_FAILURE, _R.USER_ACTION_NEEDED, "Raise the model's token limit or ask for less."
    ),
    ErrorReason.MODEL_OUTPUT_FILTERED: Meaning(
        _K.PROVIDER_FAILURE, _R.USER_ACTION_NEEDED, "Change the input; the provider withheld the answer."
    ),
    ErrorReason.EXECUTOR_MISSING: Meaning(
        _K.HOST_CONFIGURATION_NEEDED,
        _R.HOST_CONFIGURATION_NEEDED,
        "Start the server with --executor NAME=HOST:PORT, or with a callback_allow under which it can be registered.",
        ("executor",),
    ),
    ErrorReason.EXECUTOR_UNAVAILABLE: Meaning(
        _K.TOOL_FAILURE,
        _R.RETRYABLE,
        "Start the executor where it is configured, or register it as a callback.",
        ("executor",),
    ),
    ErrorReason.EXECUTOR_LOST: Meaning(
        _K.TOOL_FAILURE, _R.REPAIR_NEEDED, "Ask the executor's owner what became of the call.", ("executor",)
    ),
    ErrorReason.TOOL_UNKNOWN: Meaning(
        _K.TOOL_FAILURE, _R.NOT_RETRYABLE, "Add the tool to the package, or tell the model its tools.", ("tool",)
    ),
    ErrorReason.TOOL_ARGUMENTS_INVALID: Meaning(
        _K.TOOL_FAILURE, _R.NOT_RETRYABLE, "Describe the arguments better in the tool's schema.", ("tool",)
    ),
    ErrorReason.TOOL_FAILED: Meaning(
        _K.TOOL_FAILURE,
        _R.NOT_RETRYABLE,
        "The executor's log has what the tool raised; what a tool says of itself, the model is told.",
        ("tool",),
    ),
    ErrorReason.TOOL_RESULT_TOO_LARGE: Meaning(
        _K.TOOL_FAILURE, _R.NOT_RETRYABLE, "Have the tool answer with less, such as one page at a time.", ("tool",)
    ),
    ErrorReason.TOOL_ANSWER_INVALID: Meaning(
        _K.TOOL_FAILURE,
        _R.NOT_RETRYABLE,
        "Correct the executor: it must answer with one ExecuteToolResponse that sets exactly one outcome.",
        ("tool",),
    ),
    ErrorReason.TOOL_TIMED_OUT: Meaning(
        _K.TIMEOUT, _R.RETRYABLE, "Raise the tool's timeout_ms or make the tool faster.", ("tool",)
    ),
    ErrorReason.BUDGET_EXHAUSTED: Meaning(
        _K.POLICY_DENIAL, _R.USER_ACTION_NEEDED, "Raise the budget in the package.", ("budget", "limit")
    ),
    ErrorReason.OVERLOADED: Meaning(
        _K.HOST_CONFIGURATION_NEEDED,
        _R.RETRYABLE,
        "Try again later, or raise conversation_memory at the server.",
        ("limit", "retry_after"),
    ),
    ErrorReason.CONVERSATION_TOO_LARGE: Meaning(
        _K.POLICY_DENIAL,
        _R.USER_ACTION_NEEDED,
        "Have the tools answer with less, such as one page at a time, or divide the work among several runs.",
        ("bytes", "limit"),
    ),
    ErrorReason.CANCELLED: Meaning(_K.CANCELLATION, _R.NOT_RETRYABLE, "Start another run."),
    ErrorReason.INTERNAL: Meaning(
        _K.RECOVERY_REPAIR_NEEDED,
        _R.REPAIR_NEEDED,
        "Look for the incident id in the server's log and report it.",
        ("incident_id",),
    ),
    ErrorReason.UNAUTHENTICATED: Meaning(
        _K.POLICY_DENIAL,
        _R.USER_ACTION_NEEDED,
        "Send a valid key as `authorization: Bearer KEY`, or a client certificate that the server knows.",
        ("expected",),
    ),
    ErrorReason.ROLE_MISSING: Meaning(
        _K.POLICY_DENIAL, _R.USER_ACTION_NEEDED, "Ask an operator for a key with the role.", ("role",)
    ),
    ErrorReason.CALLBACK_NOT_FOUND: Meaning(
        _K.INVALID_STATE_TRANSITION,
        _R.NOT_RETRYABLE,
        "`runwright callbacks ls` shows the registrations of this namespace.",
        ("callback_id",),
    ),
    ErrorReason.CALLBACK_ADDRESS_REFUSED: Meaning(
        _K.POLICY_DENIAL,
        _R.HOST_CONFIGURATION_NEEDED,
        "Register an address that resolves to what the server's callback_allow covers, or have it extended.",
        ("address", "rule"),
    ),
    ErrorReason.CALLBACK_TAKEN: Meaning(
        _K.POLICY_DENIAL,
        _R.USER_ACTION_NEEDED,
        "Use another callback_id or name, have its owner unregister it, or have the operator say whose the name is, in "
        "executor_owners, policy_owners or dispatcher_owners.",
        ("callback_id",),
    ),
    ErrorReason.CALLBACK_LIMIT: Meaning(
        _K.POLICY_DENIAL, _R.USER_ACTION_NEEDED, "Unregister what is no longer used.", ("limit",)
    ),
    ErrorReason.SESSION_BUSY: Meaning(
        _K.INVALID_STATE_TRANSITION,
        _R.RETRYABLE,
        "Wait for the run that is named or cancel it, then send the request again.",
        ("session_id", "run_id"),
    ),
    ErrorReason.CURSOR_EXPIRED: Meaning(
        _K.INVALID_STATE_TRANSITION,
        _R.REPAIR_NEEDED,
        "Go on from the cursor `oldest` and look at the runs that are listed, or read what is left from the beginning.",
        ("oldest",),
    ),
    ErrorReason.RUN_REMOVED: Meaning(
        _K.INVALID_STATE_TRANSITION,
        _R.NOT_RETRYABLE,
        "Ask for its snapshot, which says how it ended; export runs before the retention is over.",
        ("run_id",),
    ),
    ErrorReason.TOO_MANY_CALLS: Meaning(
        _K.HOST_CONFIGURATION_NEEDED,
        _R.RETRYABLE,
        "Read the answers of open calls, send requests as a whole, or make fewer calls at a time; then try again.",
        ("limit", "retry_after"),
    ),
    ErrorReason.POLICY_DENIED: Meaning(
        _K.POLICY_DENIAL,
        _R.USER_ACTION_NEEDED,
        "Ask who owns the policy that is named, the package's author or the operator; a request that its rules allow is"
        " not refused.",
        ("policy", "code"),
    ),
    ErrorReason.POLICY_INTERRUPT: Meaning(
        _K.POLICY_DENIAL,
        _R.USER_ACTION_NEEDED,
        "Look at the run's POLICY_DECIDED event for the rule; start another run once that, or the request, is changed.",
        ("policy", "code"),
    ),
    ErrorReason.POLICY_UNAVAILABLE: Meaning(
        _K.POLICY_DENIAL,
        _R.RETRYABLE,
        "`runwright callbacks ls` shows whether a host of the policy is there.",
        ("policy",),
    ),
    ErrorReason.POLICY_LOST: Meaning(
        _K.POLICY_DENIAL, _R.RETRYABLE, "Look at the log of the policy's host for how it failed.", ("policy",)
    ),
    ErrorReason.POLICY_TIMED_OUT: Meaning(
        _K.TIMEOUT, _R.RETRYABLE, "Have the policy answer sooner, or give it a longer `timeout_ms`.", ("policy",)
    ),
    ErrorReason.POLICY_ANSWER_INVALID: Meaning(
        _K.POLICY_DENIAL, _R.NOT_RETRYABLE, "Mend the policy's host by the rule that is named.", ("policy", "rule")
    ),
    ErrorReason.RUN_HELD: Meaning(
        _K.RECOVERY_REPAIR_NEEDED,
        _R.REPAIR_NEEDED,
        "See `runwright explain RUN`; an operator takes it up again with `runwright held release RUN` or removes it"
        " with `runwright held remove RUN`.",
        ("run_id", "cause"),
    ),
    ErrorReason.EFFECT_NOT_UNKNOWN: Meaning(
        _K.INVALID_STATE_TRANSITION,
        _R.NOT_RETRYABLE,
        "`runwright effects ls` shows the calls whose outcome is unknown.",
        ("run_id", "effect_id", "state"),
    ),
    ErrorReason.EFFECT_ATTEMPT_STALE: Meaning(
        _K.INVALID_STATE_TRANSITION,
        _R.USER_ACTION_NEEDED,
        "Find out what became of the attempt that is named; `runwright effects ls` shows it.",
        ("run_id", "effect_id", "attempt"),
    ),
    ErrorReason.EFFECT_ALREADY_RESOLVED: Meaning(
        _K.INVALID_STATE_TRANSITION,
        _R.NOT_RETRYABLE,
        "The decision on record stands; `runwright explain RUN` shows how the run goes on.",
        ("run_id", "effect_id", "resolution", "resolved_by", "resolved_at", "request_id"),
    ),
    ErrorReason.EFFECT_UNKNOWN: Meaning(
        _K.RECOVERY_REPAIR_NEEDED,
        _R.NOT_RETRYABLE,
        "Find out what became of the call before the same is asked for again.",
    ),
    ErrorReason.RUN_NOT_HELD: Meaning(
        _K.INVALID_STATE_TRANSITION,
        _R.NOT_RETRYABLE,
        "Cancel the run if it has not ended; what has ended goes when the retention is over.",
        ("run_id",),
    ),
    **APPROVAL_MEANINGS,
}


class AgentError(Exception):
    """A failure with a reason. Foreign exceptions are translated into it where they enter.

    `message` is one sentence for a person and never holds a foreign
    exception's text. `metadata` holds the keys that MEANINGS documents.
    `remedy` says what to do about this very error; without one the reason's
    does. Records keep the reason's: it is never part of a Failure.
    """

    def __init__(
        self, reason: ErrorReason, message: str, *, metadata: Mapping[str, str] | None = None, remedy: str = ""
    ) -> None:
        super().__init__(f"{reason.name}: {message}")
        self.reason = reason
        self.message = message
        self.metadata: dict[str, str] = dict(metadata or {})
        self.remedy = remedy or MEANINGS[reason].remedy

    @property
    def meaning(self) -> Meaning:
        """The family, retry class and remedy of the reason."""
        return MEANINGS[self.reason]


def invalid_request(field: str, expected: str, remedy: str, *, message: str = "") -> AgentError:
    """A field or an option breaks its rule. `told` is the sentence, unless it is that the field must be as expected."""
    message, metadata = message or f"{field} must be {expected}.", {"field": field, "expected": expected}
    return AgentError(ErrorReason.INVALID_REQUEST, message, metadata=metadata, remedy=remedy)


class Failure(Struct, frozen=True):
    """An AgentError as a value: what records keep of it."""

    reason: ErrorReason
    message: str
    metadata: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, error: AgentError) -> Failure:
        """The failure that `error` describes."""
        return cls(error.reason, error.message, tuple(sorted(error.metadata.items())))

    def error(self) -> AgentError:
        """The exception that describes this failure."""
        return AgentError(self.reason, self.message, metadata=dict(self.metadata))
