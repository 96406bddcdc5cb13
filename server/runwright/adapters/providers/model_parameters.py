"""The parameters a package may give to a real model: an allow-list, the same names for every vendor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue, Strict, ValidationError

from runwright.core.near import did_you_mean

_Whole = Annotated[int, Strict()]
_Stop = Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1, max_length=16)]


class _Common(BaseModel):
    # Built when a package first names a real model; most servers start without.
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    temperature: Annotated[float, Strict(), Field(ge=0, le=2)] | None = None
    max_tokens: Annotated[_Whole, Field(ge=1)] | None = None
    top_p: Annotated[float, Strict(), Field(ge=0, le=1)] | None = None
    stop: _Stop | None = None
    parallel_tool_calls: Annotated[bool, Strict()] | None = None
    stream: Annotated[bool, Strict()] | None = None


class _OpenAI(_Common):
    seed: _Whole | None = None
    presence_penalty: Annotated[float, Strict(), Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Strict(), Field(ge=-2, le=2)] | None = None


class _Anthropic(_Common):
    top_k: Annotated[_Whole, Field(ge=1)] | None = None


_FORMS: Mapping[str, type[_Common]] = {"openai": _OpenAI, "ollama": _OpenAI, "anthropic": _Anthropic}


def parameters_problem(kind: str, parameters: Mapping[str, JsonValue]) -> tuple[str, str] | None:
    """The first parameter that cannot be used, as its name and what is wrong; None if all can."""
    form = _FORMS[kind]
    try:
        form.model_validate(dict(parameters))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        name = str(first["loc"][0])
        if first["type"] == "extra_forbidden":
            return name, f"is not known to {kind}; the parameters are: {', '.join(form.model_fields)}"
        return name, f"cannot be used: {first['msg'][:1].lower()}{first['msg'][1:]}"
    return None


def parameters_remedy(kind: str, name: str) -> str:
    """What to do about a parameter that has a problem."""
    known = _FORMS[kind].model_fields
    if name in known:
        return f"Give another value, or leave {name} out for the model's own."
    return did_you_mean(name, known).strip() or f"Leave {name} out."


def read_parameters(kind: str, parameters: Mapping[str, JsonValue]) -> dict[str, Any]:
    """The parameters for a request, by the names of the vendors' library; they have no problem."""
    value = _FORMS[kind].model_validate(dict(parameters)).model_dump(exclude_none=True, exclude={"stream"})
    if "stop" in value:
        value["stop_sequences"] = value.pop("stop")
    return value


def wants_stream(kind: str, parameters: Mapping[str, JsonValue]) -> bool:
    """False where the package wants the answer in one piece, for servers that cannot stream."""
    return _FORMS[kind].model_validate(dict(parameters)).stream is not False
