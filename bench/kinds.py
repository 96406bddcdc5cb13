"""`python -m bench.kinds`: what one event of each kind of an ordinary run costs: its bytes, its record, its references.

Microseconds of one core, the least of many tries; not one of the benchmarks, for nothing is asked of the figures.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import chain

from runwright.core.apply import apply
from runwright.core.kinds import kind_of
from runwright.core.records import Record
from runwright.core.references import refs
from runwright.core.state import RunState
from runwright.wire.records import decode_event, encode_events

from bench.records import History

_TRIES = 200
_AT_ONCE = 50


def _least(act: Callable[[], object]) -> float:
    """Microseconds for one of `_AT_ONCE` runs of it, where the machine was least disturbed."""
    least = float("inf")
    for _ in range(_TRIES):
        began = time.perf_counter()
        for _ in range(_AT_ONCE):
            act()
        least = min(least, time.perf_counter() - began)
    return least * 1e6 / _AT_ONCE


def _measured(before: RunState, record: Record) -> tuple[float, ...]:
    state = apply(before, record)
    data = encode_events(state, before.seq, [record])[0]
    assert decode_event(data) == record, "what is measured must be right"
    several = [record] * 10
    return (
        _least(lambda: encode_events(state, 0, several)) / 10,
        _least(lambda: decode_event(data)),
        _least(lambda: refs(record)),
        _least(lambda: apply(before, record)),
    )


def main() -> None:
    """Prints a line for each kind, and the sum."""
    history = History("kinds")
    state = history.state
    appends = [history.start(), *history.rounds(1), history.end()]
    rows: dict[str, tuple[float, ...]] = {}
    for record in chain.from_iterable(append.records for append in appends):
        name = kind_of(record).name
        if name not in rows:
            rows[name] = _measured(state, record)
        state = apply(state, record)
    rows["all"] = tuple(sum(column) for column in zip(*rows.values(), strict=True))
    print(f"{'µs an event':<24}{'encode':>9}{'decode':>9}{'refs':>9}{'apply':>9}")
    for name, row in rows.items():
        print(f"{name:<24}" + "".join(f"{value:9.2f}" for value in row))


if __name__ == "__main__":
    main()
