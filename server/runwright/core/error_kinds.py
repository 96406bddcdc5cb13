"""Families of failures, and what can be done about them."""

from __future__ import annotations

from enum import Enum


class AgentErrorKind(Enum):
    """The family of a failure. The numbers are those of `runwright.v1.AgentErrorKind`."""

    INVALID_REQUEST = 1
    INVALID_PACKAGE = 2
    INVALID_STATE_TRANSITION = 3
    PROVIDER_FAILURE = 4
    TOOL_FAILURE = 5
    JOURNAL_FAILURE = 6
    POLICY_DENIAL = 7
    CANCELLATION = 8
    TIMEOUT = 9
    RECOVERY_REPAIR_NEEDED = 10
    HOST_CONFIGURATION_NEEDED = 11


class RetryClass(Enum):
    """What a caller can do about a failure. The numbers are those of `runwright.v1.RetryClass`."""

    RETRYABLE = 1
    NOT_RETRYABLE = 2
    REPAIR_NEEDED = 3
    USER_ACTION_NEEDED = 4
    HOST_CONFIGURATION_NEEDED = 5
