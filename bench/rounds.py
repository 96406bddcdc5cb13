"""Interleaved rounds: every side of a comparison is measured once per round, in turning order."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

T = TypeVar("T")
ROUNDS = 7


def say(text: str) -> None:
    """Progress, for whoever waits; on standard error, so that standard output is the result alone."""
    print(text, file=sys.stderr, flush=True)


async def interleaved(
    name: str,
    sides: Mapping[str, Callable[[], Awaitable[T]]],
    rounds: int = ROUNDS,
    warm_up: int = 1,
    *,
    is_told: bool = True,
) -> dict[str, list[T]]:
    """What each side measured, round by round. The warm-up rounds are thrown away. `is_told`: each round is said.

    Every other round goes backwards, and the first place goes round: whoever comes after itself finds its own in the
    caches, which with a fixed end made the same thing under two names differ by 5 %.
    """
    found: dict[str, list[T]] = {side: [] for side in sides}
    for number in range(-warm_up, rounds):
        label = "warm-up" if number < 0 else f"round {number + 1} of {rounds}"
        first = (number // 2) % len(sides)
        order = [*sides][first:] + [*sides][:first]
        if number % 2:
            order.reverse()
        for side in order:
            value = await sides[side]()
            if number >= 0:
                found[side].append(value)
        if is_told:
            say(f"  {name}: {label}")
    return found
