"""How long to wait before another attempt."""

from __future__ import annotations

_FIRST_US = 200_000
_LONGEST_US = 10_000_000


def backoff_us(attempt: int) -> int:
    """Microseconds after failed attempt number `attempt` (from 1): 0.2 s doubling up to 10 s.

    Without jitter: the executor's own readiness gates the call, so runs do not
    come back in step.
    """
    return int(min(_FIRST_US * 2 ** min(attempt - 1, 16), _LONGEST_US))
