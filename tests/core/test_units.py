"""Times as text: what the standard library says, without it, because the core may not."""

from __future__ import annotations

from datetime import UTC, datetime
from random import Random

from runwright.core.units import time_text


def test_a_time_is_written_as_the_calendar_has_it() -> None:
    rng = Random(7)
    leaps = [int(datetime(year, 2, 28, 23, 59, 59, tzinfo=UTC).timestamp()) for year in range(1970, 2200)]
    seconds = [
        0,
        *(leap + more for leap in leaps for more in (0, 1, 86_401)),
        *(rng.randrange(2**33) for _ in range(999)),
    ]

    for second in seconds:
        expected = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S.007Z")
        assert time_text(second * 1_000_000 + 7_999) == expected
