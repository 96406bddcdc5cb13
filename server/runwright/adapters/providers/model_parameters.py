"""The parameters a package may give to a real model: an allow-list, the same names for every vendor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue, Strict, ValidationError
from pydantic_core import ErrorDetails

from runwright.adapters.package_rules import Rule, explained
from runwright.core.near import nearest
from runwright.core.package_findings import FindingRule

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


def parameter_faults(kind: str, parameters: Mapping[str, JsonValue]) -> list[tuple[Sequence[str | int], Rule]]:
    """Every parameter that cannot be used: where it stands among them, and which rule it breaks."""
    form = _FORMS[kind]
    try:
        form.model_validate(dict(parameters))
    except ValidationError as error:
        return [(one["loc"], _rule(kind, one)) for one in error.errors(include_url=False)]
    return []


def parameters_problem(kind: str, parameters: Mapping[str, JsonValue]) -> str | None:
    """What is wrong with the first parameter that cannot be used, by its name; None if all can."""
    faults = parameter_faults(kind, parameters)
    return f"{faults[0][0][0]} is not {faults[0][1].expected}" if faults else None


def _rule(kind: str, found: ErrorDetails) -> Rule:
    name, known = str(found["loc"][0]), _FORMS[kind].model_fields
    if found["type"] != "extra_forbidden":
        rule = explained(found, _FORMS[kind])
        return rule._replace(remedy=f"{rule.remedy} Or leave {name} out for the model's own.")
    expected = f"a parameter that {kind} takes: {', '.join(known)}"
    meant = nearest(name, known)
    remedy = f"Did you mean {meant}?" if meant else "Leave it out."
    return Rule(expected, remedy, FindingRule.UNKNOWN_FIELD, meant)


def read_parameters(kind: str, parameters: Mapping[str, JsonValue]) -> dict[str, Any]:
    """The parameters for a request, by the names of the vendors' library; they have no problem."""
    value = _FORMS[kind].model_validate(dict(parameters)).model_dump(exclude_none=True, exclude={"stream"})
    if "stop" in value:
        value["stop_sequences"] = value.pop("stop")
    return value


def wants_stream(kind: str, parameters: Mapping[str, JsonValue]) -> bool:
    """False where the package wants the answer in one piece, for servers that cannot stream."""
    return _FORMS[kind].model_validate(dict(parameters)).stream is not False
