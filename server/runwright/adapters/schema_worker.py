"""The process in which schemas are checked that may take too long, and arguments by them.

It is started by `schema_process`, reads questions from its standard input, a
socket, and answers them there, one after the other, until the other end is
closed. Before each piece of work it sets a timer of processor time whose signal
ends the process, whatever library runs at that moment: so it also ends when
nobody is left to end it. Its memory is bounded by the system.

A question is three lengths of 4 bytes (little-endian) and that many bytes: one
letter that says what is asked, the schema, the arguments, both as JSON. An
answer is a letter, a length and a text, which is `SLOW` when much of the time
was used; `INVALID` is followed by a second answer that says where.
"""

from __future__ import annotations

import contextlib
import json
import resource
import signal
import socket
import struct
import sys
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Protocol

import jsonschema_rs

CHECK_SCHEMA, CHECK_INSTANCE = b"S", b"I"
VALID, INVALID, WHERE, OUT_OF_MEMORY = b"V", b"N", b"W", b"M"
LENGTHS, HEADER = struct.Struct("<III"), struct.Struct("<cI")
# Finding out where arguments are wrong can cost far more than that they are; it gets a part of the time.
WHERE_SHARE = 4
SLOW, SLOW_SHARE = "slow", 5
_SHOWN = 64  # characters of a key, steps of a path
UNUSABLE = "it is not a JSON Schema 2020-12 without remote references and with linear-time patterns."


class Answer(Protocol):
    """Reads a question and says the answer; sets the timer before each piece of work."""

    def __call__(
        self, connection: socket.socket, question_kind: bytes, first: str, second: bytes, /, *, seconds: float
    ) -> None: ...


@lru_cache(maxsize=1024)
def validator(text: str) -> jsonschema_rs.Draft202012Validator:
    """The validator of a schema: nothing is fetched, no pattern backtracks. Raises what `schema_problem` says."""
    return jsonschema_rs.Draft202012Validator(
        json.loads(text), retriever=_refuse, pattern_options=jsonschema_rs.RegexOptions(), validate_formats=False
    )


def _refuse(uri: str) -> None:
    raise ValueError("references to other documents are refused")


def compile_problem(text: str) -> str | None:
    """Why a schema cannot be used by the validator."""
    try:
        validator(text)
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError):
        return UNUSABLE
    return None


def where_problem(text: str, instance: object) -> str:
    """Where and by which rule arguments that are wrong are so, without their values."""
    try:
        validator(text).validate(instance)
    except jsonschema_rs.ValidationError as error:  # the first: all together can be more than memory holds
        where = _path(error.instance_path) or "the top level"
        rule = _path(error.schema_path)
        # The name stands in the schema; what the arguments have too much is theirs, and is not repeated.
        missing = f": {_path([str(error.kind.property)])} is missing" if hasattr(error.kind, "property") else ""
        return f"at {where}: the rule {rule} does not hold{missing}."
    return "they do not fit the tool's schema."


def _path(steps: Sequence[str | int]) -> str:
    """A path in words. A key can be as long as arguments may be: of a long one its beginning is shown."""
    return "/".join(str(step)[:_SHOWN] for step in steps[:_SHOWN])


def main(milliseconds: int, memory: int) -> None:
    """Answers until the other end is closed."""
    serve(milliseconds, memory, _answer)


def serve(milliseconds: int, memory: int, answer: Answer) -> None:
    """Answers questions by `answer` within the bounds, until the other end is closed."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(ValueError, OSError):  # a system that has no such bound
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the server's: it closes the socket when it is done
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    with socket.socket(fileno=sys.stdin.fileno()) as connection:
        while question := _read(connection):
            try:
                answer(connection, *question, seconds=milliseconds / 1000)
            except MemoryError:
                say(connection, OUT_OF_MEMORY)
            signal.setitimer(signal.ITIMER_PROF, 0)


def _answer(connection: socket.socket, question_kind: bytes, schema: str, instance: bytes, *, seconds: float) -> None:
    signal.setitimer(signal.ITIMER_PROF, seconds)
    if question_kind == CHECK_SCHEMA:
        problem = compile_problem(schema)
        say(connection, INVALID if problem else VALID)
        if problem:
            say(connection, WHERE, problem)
        return
    value = json.loads(instance)
    is_valid = validator(schema).is_valid(value)
    left, _ = signal.getitimer(signal.ITIMER_PROF)
    say(connection, VALID if is_valid else INVALID, SLOW if left < seconds - seconds / SLOW_SHARE else "")
    if is_valid:
        return
    signal.setitimer(signal.ITIMER_PROF, seconds / WHERE_SHARE)
    say(connection, WHERE, where_problem(schema, value))


def say(connection: socket.socket, letter: bytes, text: str = "") -> None:
    """Sends an answer."""
    data = text.encode("utf-8", "replace")
    connection.sendall(HEADER.pack(letter, len(data)) + data)


def _read(connection: socket.socket) -> tuple[bytes, str, bytes] | None:
    lengths = exactly(connection.recv, LENGTHS.size)
    if lengths is None:
        return None
    parts = [exactly(connection.recv, length) for length in LENGTHS.unpack(lengths)]
    question_kind, schema, instance = parts
    if question_kind is None or schema is None or instance is None:
        return None
    return question_kind, schema.decode(), instance


def exactly(receive: Callable[[int], bytes], size: int) -> bytes | None:
    """So many bytes; None when the other end closes before."""
    data = bytearray()
    while len(data) < size:
        more = receive(size - len(data))
        if not more:
            return None
        data += more
    return bytes(data)
