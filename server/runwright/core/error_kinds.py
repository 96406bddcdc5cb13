"""Families of failures, and what can be done about them."""

from __future__ import annotations

from enum import Enum

from msgspec import Struct


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
    APPROVAL_FAILURE = 12


class RetryClass(Enum):
    """What a caller can do about a failure. The numbers are those of `runwright.v1.RetryClass`."""

    RETRYABLE = 1
    NOT_RETRYABLE = 2
    REPAIR_NEEDED = 3
    USER_ACTION_NEEDED = 4
    HOST_CONFIGURATION_NEEDED = 5


class Meaning(Struct, frozen=True):
    """What a reason stands for: its family, what to do, and the metadata keys it always has.

    With an empty `remedy` every error of the reason brings one of its own: what to do depends on the field.
    """

    kind: AgentErrorKind
    retry: RetryClass
    remedy: str
    keys: tuple[str, ...] = ()
