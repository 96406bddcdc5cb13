"""Units: what a bare number in the core and the ports counts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeAlias

# Microseconds: a moment counted from 1970-01-01 UTC, or a length of time.
Micros: TypeAlias = int
# The number of an event within its run, counted from 1 without a gap; 0: before the first.
Seq: TypeAlias = int
# The place of an event in the whole journal, counted from 1; 0: before the first.
Position: TypeAlias = int


_SPAN = re.compile(r"([1-9][0-9]{0,6})([smhd])")
_UNITS: Mapping[str, Micros] = {"s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000}


def span_us(text: str) -> Micros:
    """The microseconds of a length of time such as `90s`, `10m`, `2h` or `1d`; 0 for any other text."""
    found = _SPAN.fullmatch(text)
    return int(found[1]) * _UNITS[found[2]] if found else 0


def time_text(at: Micros) -> str:
    """A time as RFC 3339 has it, to the millisecond, in UTC; of 1970 and later."""
    seconds, micros = divmod(at, 1_000_000)
    days, second = divmod(seconds, 86_400)
    # Years are counted from March, so that the day that some have more is their last; 400 of them have 146,097 days.
    era, day = divmod(days + 719_468, 146_097)
    year = (day - day // 1_460 + day // 36_524 - day // 146_096) // 365
    day -= 365 * year + year // 4 - year // 100
    month = (5 * day + 2) // 153
    day_of_month = day - (153 * month + 2) // 5 + 1
    calendar_month = month + 3 if month < 10 else month - 9
    calendar_year = year + 400 * era + (calendar_month <= 2)
    time = f"{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}.{micros // 1000:03}"
    return f"{calendar_year:04}-{calendar_month:02}-{day_of_month:02}T{time}Z"
