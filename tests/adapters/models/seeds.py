"""How many seeds a test of random cases plays, and a sign of life every now and then.

`RUNWRIGHT_SEED` begins them elsewhere, `RUNWRIGHT_SOAK` plays many, `RUNWRIGHT_CASES` so many.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

_FIRST = int(os.environ.get("RUNWRIGHT_SEED", "0"))
_EVERY = 100


def seeds(few: int, many: int) -> Iterator[int]:
    """The numbers of the cases, `few` of them or `many` in a soak, each a hundred told on the terminal."""
    number = int(os.environ.get("RUNWRIGHT_CASES") or (many if os.environ.get("RUNWRIGHT_SOAK") else few))
    for at in range(number):
        if at and at % _EVERY == 0 and number > few:
            print(f"{at} of {number}", file=sys.__stderr__, flush=True)
        yield _FIRST + at
