"""Evaluates conditions in CEL: here where that is cheap, else in a process of its own, as `schema_worker` says.

The library holds the interpreter lock while it evaluates and has no bound of its own: only a process can be stopped.
A question is the letter `EVALUATE` and a JSON list of [conditions, variables]; the answer has a letter for each
condition of each.
"""

from __future__ import annotations

import json
import signal
import socket
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache, lru_cache
from types import ModuleType
from typing import TYPE_CHECKING

from runwright.adapters import schema_worker as worker
from runwright.adapters.condition_variables import Seen, seen_by, visible

if TYPE_CHECKING:
    import cel
    from pydantic import JsonValue

EVALUATE = b"E"
HOLDS, DOES_NOT_HOLD, FAILED = "H", "D", "F"
REMEMBERED = 4096  # compiled conditions
MAX_CONTEXTS = 64  # each may hold an argument of 16 KiB or so


_PROGRAMS: dict[str, cel.Program] = {}
_ALL_COMPILED: set[tuple[str, ...]] = set()  # conditions of which each is among the programs


@cache
def _library() -> ModuleType:
    import cel  # noqa: PLC0415 - loading it takes a third of a second, and most servers have no rules

    return cel


def is_loaded() -> bool:
    """True once the library is there: an event loop must not be the first to need it."""
    return _library.cache_info().currsize > 0


def load() -> None:
    """Loads the library, on a thread that may stand still; it lets the others go on. Without it, conditions fail."""
    with suppress(Exception):
        _library()


def can_load() -> bool:
    """True when the library is there, or comes now; it blocks."""
    load()
    return is_loaded()


def compiled(condition: str) -> cel.Program:
    """The condition, ready to be evaluated. Raises ValueError for what is no CEL."""
    program = _PROGRAMS.get(condition)
    if program is None:
        program = _library().compile(condition)
        if len(_PROGRAMS) >= REMEMBERED:
            _PROGRAMS.clear()
            _ALL_COMPILED.clear()
        _PROGRAMS[condition] = program
    return program


def context_of(variables: Mapping[str, JsonValue]) -> cel.Context:
    """The variables, made ready. Raises whatever fits for a value that the language does not have."""
    context: cel.Context = _library().Context(dict(variables))
    return context


def not_compiled(conditions: tuple[str, ...]) -> list[str]:
    """Those that have to be compiled before they are evaluated."""
    if conditions in _ALL_COMPILED:
        return []
    found = [condition for condition in conditions if condition not in _PROGRAMS]
    if not found:
        if len(_ALL_COMPILED) >= REMEMBERED:
            _ALL_COMPILED.clear()
        _ALL_COMPILED.add(conditions)
    return found


def evaluated(conditions: Sequence[str], variables: Mapping[str, JsonValue]) -> str:
    """A letter for each condition. Whatever is wrong with one, or is neither true nor false, has failed."""
    asked = tuple(conditions)
    return evaluated_of_seen(asked, visible(variables, seen_of(asked)))


def evaluated_of_seen(conditions: tuple[str, ...], variables: dict[str, JsonValue]) -> str:
    """The same, with what they can see of the variables."""
    try:
        context = _ready(conditions, variables)
    except Exception:  # noqa: BLE001 - a value that the language does not have, such as a number of 100 digits
        _CONTEXTS.of.pop(conditions, None)
        return FAILED * len(conditions)
    return "".join([_letter(condition, context) for condition in conditions])


class _Contexts(threading.local):
    """By conditions, their variables as the library has them, and what these were made of. A thread has its own."""

    def __init__(self) -> None:
        self.of: dict[tuple[str, ...], tuple[cel.Context, dict[str, JsonValue]]] = {}


_CONTEXTS = _Contexts()
# Variables whose fields always have the same types: equal ones are the same to a condition. Of arguments that is not
# so: true equals 1 here, and not there.
_STABLE = frozenset({"tool", "run", "principal"})


def _ready(conditions: tuple[str, ...], variables: dict[str, JsonValue]) -> cel.Context:
    """The variables, made ready; of those that stay what they are for many inputs, only once."""
    known = _CONTEXTS.of.get(conditions)
    if known is None or known[1].keys() != variables.keys():
        context: cel.Context = _library().Context(variables)
        if len(_CONTEXTS.of) >= MAX_CONTEXTS:
            _CONTEXTS.of.clear()
        _CONTEXTS.of[conditions] = context, variables
        return context
    context, before = known
    for name, value in variables.items():
        if name not in _STABLE or value != before[name]:
            context.add_variable(name, value)
    _CONTEXTS.of[conditions] = context, variables
    return context


@lru_cache(maxsize=1024)
def seen_of(conditions: tuple[str, ...]) -> Seen:
    """What they can see of the variables."""
    names: dict[str, None] = {}
    for condition in conditions:
        with suppress(Exception):  # what is no CEL fails when it is evaluated
            names.update(dict.fromkeys(compiled(condition).variables()))
    return seen_by(conditions, list(names))


def _letter(condition: str, context: cel.Context) -> str:
    try:
        result = compiled(condition).execute(context)
    except Exception:  # noqa: BLE001 - the library raises whatever fits, and a condition that fails denies
        return FAILED
    if result is True:
        return HOLDS
    return DOES_NOT_HOLD if result is False else FAILED


def main(milliseconds: int, memory: int) -> None:
    """Answers until the other end is closed."""
    compiled("true")  # loads the library before the first question is timed
    worker.serve(milliseconds, memory, _answer)


def _answer(connection: socket.socket, _: bytes, questions: str, __: bytes, /, *, seconds: float) -> None:
    signal.setitimer(signal.ITIMER_PROF, seconds)
    letters = "".join([evaluated(*question) for question in json.loads(questions)])
    worker.say(connection, worker.VALID, letters)
