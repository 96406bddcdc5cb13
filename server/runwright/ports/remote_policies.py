"""Remote policies: hosts that are asked what a run, or one of its calls, may do."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Protocol

from msgspec import Struct

from runwright.core.content import ContentRef
from runwright.core.ids import EffectId, Namespace
from runwright.core.package import ToolSpec
from runwright.core.policy import PolicyStage, RemotePolicy, Verdict
from runwright.core.request import Budget
from runwright.core.state import RunState
from runwright.core.units import Micros

MAX_REPLACEMENT_BYTES = 256 * 1024
MAX_ASKED_RESULT_BYTES = 256 * 1024  # of a larger one the beginning is sent
MAX_MESSAGE = 256  # characters


class AskedCall(Struct, frozen=True):
    """The call that a question is about, with its arguments as RFC 8785 JSON."""

    call_id: EffectId
    tool: ToolSpec
    is_tainted: bool
    arguments_json: bytes


class AskedResult(Struct, frozen=True):
    """What came of the call, or what stands in its place: the whole of it."""

    ok: bool
    ref: ContentRef
    data: bytes


class PolicyRequest(Struct, frozen=True, kw_only=True):
    """One attempt at a question, about a call or about the run's `text`. It is given up after `timeout_ms` of `remote`.

    `state` is the run as it stands.
    """

    state: RunState
    effect_id: EffectId
    attempt: int
    remote: RemotePolicy
    stage: PolicyStage
    subject_digest: str
    call: AskedCall | None = None
    text: str = ""
    result: AskedResult | None = None  # of `call`, at POST_TOOL


class PolicyReplyKind(Enum):
    """What is known of an attempt."""

    ANSWERED = "answered"
    NOT_SENT = "not sent"  # no host got it
    LOST = "lost"  # a host got it and did not answer, or answered with an error
    TIMED_OUT = "timed out"
    UNREADABLE = "unreadable"  # a host answered what does not parse, or has no verdict that is known


class PolicyReply(Struct, frozen=True, kw_only=True):
    """What came of an attempt, as the host said it: nothing of it is checked but its form.

    `arguments_json`, `text` and `budget` are replacements; at most one of them is there. `defer_for` is microseconds.
    """

    kind: PolicyReplyKind
    subject_digest: str = ""
    verdict: Verdict | None = None
    code: str = ""
    message: str = ""
    arguments_json: bytes | None = None
    text: str | None = None
    budget: Budget | None = None
    defer_for: Micros = 0


class PolicyWait(Protocol):
    """Somebody who waits for a host."""

    def leave(self) -> None:
        """Waits no more; harmless once a host was there."""


class RemotePolicies(Protocol):
    """The hosts of policies by the names that packages use, in each namespace."""

    def is_there(self, namespace: Namespace, policy: str) -> bool:
        """True when a host can be asked now."""

    def wait_for_host(self, namespace: Namespace, policy: str, there: Callable[[], None]) -> PolicyWait:
        """Calls `there` once when a host can be asked, later and on the event loop, unless it is left before."""

    async def decide(self, request: PolicyRequest) -> PolicyReply:
        """Asks a host. Never raises for one that fails; cancelling this coroutine tells the host."""

    async def close(self) -> None:
        """Lets go of every connection."""


class NoRemotePolicies:
    """Where nothing can be registered: every remote policy is away, and so denies."""

    def is_there(self, namespace: Namespace, policy: str) -> bool:
        """Never."""
        return False

    def wait_for_host(self, namespace: Namespace, policy: str, there: Callable[[], None]) -> PolicyWait:
        """In vain."""
        return _InVain()

    async def decide(self, request: PolicyRequest) -> PolicyReply:
        """Nobody gets it."""
        return PolicyReply(kind=PolicyReplyKind.NOT_SENT)

    async def close(self) -> None:
        """There is nothing to close."""


class _InVain:
    def leave(self) -> None:
        """See PolicyWait."""
