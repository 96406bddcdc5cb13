"""A tool: a typed function, its JSON schema, and what it is told about the call."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, Literal, ParamSpec, TypeVar, overload

from pydantic import BaseModel, ConfigDict, Field, PydanticUserError, ValidationError, create_model
from pydantic.json_schema import GenerateJsonSchema

from .authored import EFFECTS, name_of, parameters, shown, tool_name, words_of
from .awaiting import is_async, outcome

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])
Effect = Literal["read", "write", "process", "network"]


class ToolError(Exception):
    """The tool failed, for certain, and the model is told this message; raise it, or return it."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One attempt of one call. A function gets it by having a parameter of this type.

    `idempotency_key` is the same for every attempt: perform the effect at most
    once for it. `cancelled` is set once nobody waits for the answer any more.
    """

    run_id: str
    turn_id: str
    round: int
    call_id: str
    attempt: int
    idempotency_key: str
    tool: str
    deadline: datetime | None
    package_fingerprint: str
    cancelled: threading.Event = field(default_factory=threading.Event, compare=False)


@dataclass(frozen=True, slots=True)
class Content:
    """A result that is not JSON."""

    data: bytes
    media_type: str


class Tool(Generic[P, R]):
    """A function that a model may ask for. Calling it calls the function."""

    def __init__(self, function: Callable[P, R], name: str, effect: Effect, idempotent: bool | None) -> None:
        if isinstance(function, Tool) or not callable(function):
            is_one = "is a tool already" if isinstance(function, Tool) else "is no function"
            raise TypeError(f"{shown(function)} {is_one}: write @tool, or @tool(name=…, effect=…), above a function")
        self.name = tool_name(name) if name else name_of(function)
        if effect not in EFFECTS:
            raise ValueError(f"tool {self.name}: effect={effect!r} is none of {', '.join(EFFECTS)}")
        self.description = words_of(function)
        self.effect = effect
        self.idempotent = effect == "read" if idempotent is None else idempotent
        self.reconciler: Callable[[Any, ToolCall], Any] | None = None  #: see `reconcile`
        self._function = function
        self._names: dict[str, str] = {}  # of the function's parameters, by those of the model's fields
        self._call_name = ""
        self._model = self._arguments_model()

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self._function(*args, **kwargs)

    def reconcile(self, function: F) -> F:
        """Has `function(arguments, call)` say what became of a call that the runtime has lost sight of.

        A decorator: `@book.reconcile`. The function, async or not, gets the arguments as JSON has them, and
        returns `Performed(result)`, `NotPerformed()` or `CannotSay()`. The tool must not be idempotent.
        """
        if self.idempotent:
            raise ValueError(f"tool {self.name}: what may be repeated is sent again; nobody asks what became of it")
        if self.reconciler is not None:
            raise ValueError(f"tool {self.name}: two functions say what became of a call")
        self.reconciler = function
        return function

    def schema(self) -> dict[str, Any]:
        """The JSON schema of the arguments."""
        schema = self._model.model_json_schema(schema_generator=_WithoutTitles)
        schema.pop("title", None)
        return schema

    def declaration(self, executor: str) -> dict[str, Any]:
        """What a package says of the tool, in its list `tools`."""
        reconcilable = {"reconcilable": True} if self.reconciler is not None else {}
        return {
            **reconcilable,
            "name": self.name,
            "description": self.description,
            "executor": executor,
            "effect": self.effect,
            "idempotent": self.idempotent,
            "parameters": self.schema(),
        }

    async def perform(self, arguments: bytes, call: ToolCall, threads: Executor | None) -> object:
        """Performs one call. A function that is not async runs in a thread."""
        try:
            read = self._model.model_validate_json(arguments)
        except ValidationError as error:
            message = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
            return ToolError(f"The arguments are not valid: {message}")
        values: dict[str, Any] = {name: getattr(read, field) for field, name in self._names.items()}
        if self._call_name:
            values[self._call_name] = call
        return await outcome(lambda: self._function(**values), is_async(self._function), threads)  # type: ignore[call-arg]

    def _arguments_model(self) -> type[BaseModel]:
        fields: dict[str, Any] = {}
        for parameter, annotation in parameters(self.name, self._function):
            if annotation is ToolCall:
                self._call_name = parameter.name
                continue
            default = ... if parameter.default is parameter.empty else parameter.default
            # Under a name of its own, because a model has methods that a parameter may be named like.
            name = f"argument_{len(fields)}"
            fields[name] = (annotation, Field(default, alias=parameter.name))
            self._names[name] = parameter.name
        try:
            return create_model(self.name, __config__=ConfigDict(extra="forbid"), **fields)
        except PydanticUserError as error:
            message = error.message.splitlines()[0]
            raise TypeError(
                f"tool {self.name}: a parameter of {shown(self._function)} has no schema: {message}"
            ) from error


@overload
def tool(function: Callable[P, R], /) -> Tool[P, R]: ...
@overload
def tool(
    *, name: str = "", effect: Effect = "write", idempotent: bool | None = None
) -> Callable[[Callable[P, R]], Tool[P, R]]: ...
def tool(
    function: Callable[P, R] | None = None,
    /,
    *,
    name: str = "",
    effect: Effect = "write",
    idempotent: bool | None = None,
) -> Tool[P, R] | Callable[[Callable[P, R]], Tool[P, R]]:
    """Makes a tool of a typed function; its docstring is what the model reads.

    `effect` says what a call can do to the world, `idempotent` whether it may be
    repeated with the same key; what only reads may, unless you say otherwise.
    """
    if function is not None:
        return Tool(function, name, effect, idempotent)
    return lambda function: Tool(function, name, effect, idempotent)


class _WithoutTitles(GenerateJsonSchema):
    def field_title_should_be_set(self, schema: Any) -> bool:
        return False
