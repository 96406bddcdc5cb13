"""Units: what a bare number in the core and the ports counts."""

from __future__ import annotations

from typing import TypeAlias

# Microseconds: a moment counted from 1970-01-01 UTC, or a length of time.
Micros: TypeAlias = int
# The number of an event within its run, counted from 1 without a gap; 0: before the first.
Seq: TypeAlias = int
# The place of an event in the whole journal, counted from 1; 0: before the first.
Position: TypeAlias = int


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
