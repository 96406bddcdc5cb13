"""The steps of a start: every statement of the functions that open something, and how one of them is made to fail."""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import CodeType, FrameType
from typing import Any


@dataclass(frozen=True)
class Step:
    """One statement, by its function and line."""

    code: CodeType
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.code.co_name}: {self.text}"


class Broken(Exception):
    """The step that was made to fail."""


def steps_of(function: Any) -> list[Step]:
    """The statements of a function in order, those inside of `if` and `with` too; not a return without a value."""
    function = inspect.unwrap(function)
    lines, first = inspect.getsourcelines(function)
    [defined] = ast.parse(textwrap.dedent("".join(lines))).body
    assert isinstance(defined, ast.FunctionDef | ast.AsyncFunctionDef)
    body = defined.body[1:]  # behind the docstring
    return [
        Step(function.__code__, first + found.lineno - 1, ast.unparse(found).split("\n")[0][:60])
        for found in _statements(body)
        if not (isinstance(found, ast.Return) and found.value is None)
    ]


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for statement in body:
        yield statement
        if isinstance(statement, ast.If | ast.With | ast.AsyncWith):
            yield from _statements(statement.body)


@contextmanager
def failing(step: Step) -> Iterator[None]:
    """Within the block the step raises Broken in place of being done. Fails if it is never come to."""
    failed = False

    def in_function(frame: FrameType, event: str, _: object) -> Any:
        nonlocal failed
        if event == "line" and frame.f_lineno == step.line:
            failed = True
            raise Broken(step.text)
        return in_function

    def anywhere(frame: FrameType, _event: str, _: object) -> Any:
        return in_function if frame.f_code is step.code else None

    before = sys.gettrace()
    sys.settrace(anywhere)
    try:
        yield
    finally:
        sys.settrace(before)
    assert failed, f"{step} was not come to"
