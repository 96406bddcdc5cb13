"""Summaries of calls in CEL: evaluated here where that is cheap, else in a process of its own, as `schema_worker` says.

An expression is a text, or texts with `+` between them. Those that stand in it are the package's words; each of the
others is evaluated by itself, so that its value can be told from them. A question is a JSON list of [expression,
variables]; the answer is a JSON list of summaries, null where there is none.
"""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING

from runwright.adapters import schema_worker as worker
from runwright.adapters.condition_cost import divided_at_plus, tokens_of
from runwright.adapters.condition_variables import visible
from runwright.adapters.condition_worker import compiled, context_of, seen_of
from runwright.core.summaries import SummaryPart, rendered

if TYPE_CHECKING:
    from pydantic import JsonValue

SUMMARIZE = b"S"
_NO_TEXTS = frozenset({"true", "false", "null"})


@lru_cache(maxsize=1024)
def parts_of(expression: str) -> tuple[tuple[str, bool], ...]:
    """The texts that an expression puts together, in CEL; of each whether its value is none of the package's words."""
    parts = []
    for part in divided_at_plus(expression):
        kinds = [kind for kind, _ in tokens_of(part)]
        parts.append((part.strip(), kinds not in (["text"], ["raw"])))
    return tuple(parts)


def compile_all(expressions: Iterable[str]) -> None:
    """Compiles expressions and their parts; one that is no CEL fails where it is evaluated."""
    for expression in expressions:
        with suppress(Exception):
            compiled(expression)
            for part, _ in parts_of(expression):
                compiled(part)


def part_without_text(expression: str) -> str | None:
    """A part that can never be a text, if that can be seen."""
    for part, _ in parts_of(expression):
        tokens = tokens_of(part)
        if len(tokens) == 1 and (tokens[0][0] == "number" or part in _NO_TEXTS):
            return part
    return None


def summary_of(expression: str, variables: Mapping[str, JsonValue]) -> str | None:
    """The summary; None where it fails, or a part of it is no text."""
    try:
        context = context_of(visible(variables, seen_of((expression,))))
        parts = []
        for part, is_value in parts_of(expression):
            text = compiled(part).execute(context)
            if not isinstance(text, str):
                return None
            parts.append(SummaryPart(text, is_value))
        return rendered(parts)
    except Exception:  # noqa: BLE001 - the library raises whatever fits, and an approval is shown without a summary
        return None


def main(milliseconds: int, memory: int) -> None:
    """Answers until the other end is closed."""
    compiled("true")  # loads the library before the first question is timed
    worker.serve(milliseconds, memory, _answer)


def _answer(connection: socket.socket, _: bytes, questions: str, __: bytes, /, *, seconds: float) -> None:
    signal.setitimer(signal.ITIMER_PROF, seconds)
    worker.say(connection, worker.VALID, json.dumps([summary_of(*question) for question in json.loads(questions)]))
