"""Everything that the `do` of a step can name."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from tests.conformance import call_deeds, executor_deeds, frame_deeds, line_deeds, server_deeds
from tests.conformance.stage import Stage

Deed = Callable[[Stage, Mapping[str, Any]], Awaitable[Any]]

ABLE: dict[str, Deed] = {
    name: deed
    for module in (call_deeds, executor_deeds, frame_deeds, line_deeds, server_deeds)
    for name, deed in inspect.getmembers(module, inspect.iscoroutinefunction)
    if deed.__module__ == module.__name__
}
