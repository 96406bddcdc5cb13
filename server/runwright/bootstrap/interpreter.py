"""How the interpreter is set for a process that serves."""

from __future__ import annotations

import gc
import sys

_COLLECT_AFTER = 50_000  # objects
_SWITCH_SECONDS = 0.001


def settle_interpreter() -> None:
    """Spares the collector what lives as long as the server, and lets threads take turns more often.

    A live run is some hundred objects and few cycles; by default every 700 new
    ones are a reason to look through them. The journal's thread, which needs
    the interpreter two or three times for each commit, would wait up to 5 ms
    for it beside a busy loop.
    """
    sys.setswitchinterval(_SWITCH_SECONDS)
    gc.freeze()  # without a collection before, which would take a twentieth of the start
    gc.set_threshold(_COLLECT_AFTER, 20, 50)
