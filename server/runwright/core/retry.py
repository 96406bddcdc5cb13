"""How long to wait before another attempt."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

from runwright.core.units import Micros

_FIRST_US = 200_000
_LONGEST_US = 10_000_000
_SECOND_US = 1_000_000
_LONGEST_ASK_US = 60 * _SECOND_US
_FIRST_MODEL_US = _SECOND_US
_LONGEST_MODEL_US = 60 * _SECOND_US
# What a vendor may ask for at most.
LONGEST_WAIT_US = 300 * _SECOND_US
_SECONDS = re.compile(r"([0-9]{1,9})s\Z")


def backoff_us(attempt: int) -> Micros:
    """Microseconds after failed attempt number `attempt` (from 1): 0.2 s doubling up to 10 s.

    Without jitter: the executor's own readiness gates the call, so runs do not
    come back in step.
    """
    return int(min(_FIRST_US * 2 ** min(attempt - 1, 16), _LONGEST_US))


def ask_wait_us(ask: int) -> Micros:
    """Microseconds after ask number `ask` (from 1) of what became of a call: 0.2 s doubling up to 60 s."""
    return int(min(_FIRST_US * 2 ** min(ask - 1, 16), _LONGEST_ASK_US))


def model_wait_us(name: str, failures: int, requested_us: Micros = 0) -> Micros:
    """Microseconds after the `failures`-th failure over a route (from 1): 1 s doubling up to 60 s, or as long as asked.

    Up to a quarter more, taken from the attempt's name: runs that were refused
    together do not come back together, and the same run waits the same time
    whenever it is decided. Never more than LONGEST_WAIT_US.
    """
    wait = max(min(_FIRST_MODEL_US << min(failures - 1, 16), _LONGEST_MODEL_US), requested_us)
    share = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
    return min(wait + (wait * share >> 34), LONGEST_WAIT_US)


def retry_after_us(metadata: Mapping[str, str]) -> Micros:
    """How long an error asks to be left alone: its `retry_after`, whole seconds such as `7s`; 0 if it says nothing."""
    found = _SECONDS.match(metadata.get("retry_after", ""))
    return int(found[1]) * _SECOND_US if found else 0
