"""What may be open at once: limits of a connection, a principal and the server, and what of them is used."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Mapping

from msgspec import Struct
from msgspec.structs import replace

from runwright.core.errors import AgentError, ErrorReason

KIB, MIB = 1024, 1024 * 1024
PAGE_BYTES = MIB  # of a listing, beyond its first element
# An answer up to this size is covered by the limits on calls: whoever leaves large ones unread stops no small one.
SMALL_ANSWER_BYTES = 16 * KIB
# From three quarters of a limit on calls on, only connections with few calls get more: one connection that opens all
# it may leaves room for the others of its principal.
FEW_CALLS = 64
_RETRY_AFTER = "1s"


class UsageLimits(Struct, frozen=True, kw_only=True):
    """What one connection, principal or server may have open at once.

    `calls` counts calls of any kind, streams among them. `requests` counts calls whose request is not there as a
    whole. `request_bytes` are those of large requests until they are answered. `answer_bytes` are those that gRPC was
    handed and has not written yet.
    """

    scope: str
    calls: int
    requests: int
    request_bytes: int
    answer_bytes: int


# HTTP/2 bounds the calls of a connection already; see ConnectionLimits.max_streams.
CONNECTION = UsageLimits(scope="connection", calls=1_000_000, requests=32, request_bytes=80 * MIB, answer_bytes=8 * MIB)
# 7,000 streams cost about 175 MiB. Three quarters of it are more than one connection carries: see FEW_CALLS.
PRINCIPAL = UsageLimits(scope="principal", calls=7_000, requests=256, request_bytes=80 * MIB, answer_bytes=48 * MIB)
# Callers without a key, such as probes, are told apart by the address they come from. They have nothing large to say.
ADDRESS = UsageLimits(scope="address", calls=100, requests=4, request_bytes=0, answer_bytes=1 * MIB)
SERVER = UsageLimits(scope="server", calls=20_000, requests=384, request_bytes=160 * MIB, answer_bytes=96 * MIB)


class Limits(Struct, frozen=True, kw_only=True):
    """The limits of a server."""

    connection: UsageLimits = CONNECTION
    principal: UsageLimits = PRINCIPAL
    address: UsageLimits = ADDRESS
    server: UsageLimits = SERVER

    @classmethod
    def of(cls, principal_calls: int) -> Limits:
        """With so many calls for a principal; the server takes those of some principals."""
        return cls(
            principal=replace(PRINCIPAL, calls=principal_calls),
            server=replace(SERVER, calls=max(SERVER.calls, 2 * principal_calls)),
        )


class MethodLimit(Struct, frozen=True):
    """How many calls of one method may be open: by one principal (or address) and on the server."""

    principal: int
    server: int


# Health watchers need no key, and nobody says how long a reflection stream may wait for its next request, half of which
# may be there. An export has one content in memory, for a reader who may be slow.
HEALTH_WATCHES = MethodLimit(16, 128)
REFLECTION_STREAMS = MethodLimit(8, 16)  # of either version
EXPORTS = MethodLimit(16, 32)
# Texts of packages are read one after the other, and each may take seconds.
DOCUMENTS = MethodLimit(64, 128)


def limits_by_name(limits: Limits) -> Mapping[str, int]:
    """The limits as GetServerInfo names them."""
    by_name = {f"{each.scope}_calls": each.calls for each in (limits.principal, limits.address, limits.server)}
    for each in (limits.connection, limits.principal, limits.address, limits.server):
        by_name[f"{each.scope}_requests"] = each.requests
        by_name[f"{each.scope}_request_bytes"] = each.request_bytes
        by_name[f"{each.scope}_answer_bytes"] = each.answer_bytes
    return by_name | {
        "health_watches": HEALTH_WATCHES.server,
        "health_watches_per_address": HEALTH_WATCHES.principal,
        "reflection_streams_per_principal": REFLECTION_STREAMS.principal,
        "exports": EXPORTS.server,
        "exports_per_principal": EXPORTS.principal,
    }


def too_many(limit: str, most: int) -> AgentError:
    """TOO_MANY_CALLS, naming the limit as GetServerInfo does."""
    metadata = {"limit": limit, "retry_after": _RETRY_AFTER}
    return AgentError(ErrorReason.TOO_MANY_CALLS, f"No more than {limit} = {most} may be open.", metadata=metadata)


class WeightedSemaphore:
    """A semaphore whose holders take more than one unit; those who wait are served in order."""

    __slots__ = ("_limit", "_waiting", "used")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self.used = 0

    @property
    def is_contended(self) -> bool:
        """True while somebody waits."""
        return bool(self._waiting)

    def try_acquire(self, units: int) -> bool:
        """Takes the units if they are free and nobody waits."""
        if self._waiting or self.used + units > self._limit:
            return False
        self.used += units
        return True

    async def acquire(self, units: int) -> None:
        """Waits until the units are free, and takes them."""
        if self.try_acquire(units):
            return
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((units, granted))
        try:
            await granted
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled():
                self.release(units)
            else:
                self._serve()  # who waited behind this one may fit
            raise

    def add(self, units: int) -> None:
        """Takes the units though they may be more than there are."""
        self.used += units

    def release(self, units: int) -> None:
        """Gives units back."""
        self.used -= units
        if self._waiting:
            self._serve()

    def _serve(self) -> None:
        while self._waiting:
            units, granted = self._waiting[0]
            if granted.done():
                self._waiting.popleft()
            elif self.used + units <= self._limit:
                self._waiting.popleft()
                self.used += units
                granted.set_result(None)
            else:
                return


class CallUsage:
    """What of the limits is used at present."""

    __slots__ = ("answers", "calls", "calls_by_method", "limits", "request_bytes", "requests")

    def __init__(self, limits: UsageLimits) -> None:
        self.limits = limits
        self.calls = 0
        self.calls_by_method: Counter[str] = Counter()  # of the methods that have a limit of their own
        self.requests = WeightedSemaphore(limits.requests)
        self.request_bytes = 0
        self.answers = WeightedSemaphore(limits.answer_bytes)
