"""What the author of a tool wrote: names, functions and their parameters. A mistake is one sentence that names it."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, TypeVar, get_type_hints

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}\Z")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}\Z")
_NAME_RULE = "1 to 64 letters, digits, _ and -, the first a letter or _"
_ID_RULE = "1 to 128 letters, digits and . _ : @ -, the first a letter or digit"
EFFECTS = ("read", "write", "process", "network")


class Named(Protocol):
    """What has a tool's name."""

    name: str


T = TypeVar("T", bound=Named)


def shown(thing: object) -> str:
    """How a sentence names what the author wrote: a function by its name, a value as it is written."""
    name = getattr(thing, "__qualname__", getattr(thing, "name", None)) if callable(thing) else None
    try:
        return name.rpartition("<locals>.")[2] if isinstance(name, str) else repr(thing)[:80]
    except Exception:  # noqa: BLE001  # of an object that cannot even be shown
        return type(thing).__name__


def tool_name(name: object) -> str:
    """The name, if a tool may have it; ValueError else."""
    if isinstance(name, str) and _NAME.match(name):
        return name
    raise ValueError(f"{name!r} cannot be the name of a tool, which has {_NAME_RULE}: give another with name=…")


def registered_name(kind: str, value: object) -> str:
    """The name of an executor or the id of a callback, if the runtime takes it; ValueError else."""
    if isinstance(value, str) and _ID.match(value):
        return value
    raise ValueError(f"{value!r} cannot be the {kind}, which has {_ID_RULE}")


def name_of(function: Callable[..., Any]) -> str:
    """The name that a function gives its tool."""
    name = getattr(_underlying(function), "__name__", None)
    if not isinstance(name, str):
        raise TypeError(f"{shown(function)} has no name for its tool: give one with name=…")
    return tool_name(name)


def words_of(function: Callable[..., Any]) -> str:
    """The docstring, which the model reads; of an object that is called, its own or that of its class."""
    return inspect.getdoc(_underlying(function)) or ""


def parameters(tool: str, function: Callable[..., Any]) -> Iterator[tuple[inspect.Parameter, Any]]:
    """The parameters that a model has to give, each with its type. What is bound already is nobody's argument."""
    try:
        hints = get_type_hints(_annotated(function), include_extras=True)
        signature = inspect.signature(function)
    except Exception as error:
        raise TypeError(f"tool {tool}: the parameters of {shown(function)} cannot be read: {error}") from error
    for parameter in signature.parameters.values():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise TypeError(f"tool {tool}: the parameter {parameter} of {shown(function)} cannot be given by name")
        if parameter.name in ("self", "cls"):
            message = f"tool {tool}: a model cannot give {parameter.name}: make a tool of the method of an object"
            raise TypeError(f"{message}, tool(it.{tool}), in place of {shown(function)}")
        if parameter.name not in _bound(function):
            yield parameter, hints.get(parameter.name, Any)


def _underlying(function: Callable[..., Any]) -> Callable[..., Any]:
    while isinstance(function, functools.partial):
        function = function.func
    return function


def _bound(function: Callable[..., Any]) -> set[str]:
    return set(function.keywords) if isinstance(function, functools.partial) else set()


def _annotated(function: Callable[..., Any]) -> Any:
    function = _underlying(function)
    is_plain = inspect.isroutine(function) or inspect.isclass(function) or hasattr(function, "__wrapped__")
    return function if is_plain else type(function).__call__


def tools_by_name(tools: object, kind: type[T]) -> dict[str, T]:
    """A list of tools by their names. TypeError for what is none, ValueError for two of one name."""
    if isinstance(tools, kind) or callable(tools) or not isinstance(tools, Iterable):
        raise TypeError(f"ToolServer takes a list of tools, such as ToolServer([{shown(tools)}])")
    named: dict[str, T] = {}
    for tool in tools:
        if not isinstance(tool, kind):
            name = shown(tool)
            message = (
                f'write @tool above it, or add it with add("{name}", {name})'
                if callable(tool)
                else "make one with @tool"
            )
            raise TypeError(f"ToolServer: {name} is no tool: {message}")
        name = tool.name
        if name in named:
            raise ValueError(f"ToolServer: two tools are named {name}: give one another name, @tool(name=…)")
        named[name] = tool
    return named


def check_handler(name: str, handler: object) -> None:
    """TypeError for what cannot be called with the arguments and the call."""
    if not callable(handler):
        raise TypeError(f"tool {name}: {shown(handler)} cannot be called")
    try:
        signature = inspect.signature(handler)
    except (TypeError, ValueError):
        return  # of a function that is not written in Python
    try:
        signature.bind(None, None)
    except TypeError as error:
        message = f"{shown(handler)}{signature} is called with the arguments and the call, so it must take these two"
        raise TypeError(f"tool {name}: {message}") from error
