"""A provider that plays a script from the package: for tests, and for trying a package without a model."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from runwright.core.errors import AgentError, ErrorReason
from runwright.core.outcomes import FinishReason
from runwright.ports.provider import (
    AssistantMessage,
    EmitText,
    Message,
    ModelReply,
    ModelRequest,
    ProviderCall,
    ToolResultMessage,
    UserMessage,
)

_REMEMBERED = 64  # scripts

# Is awaited before each piece of text, with its number from 0, and with the number of pieces before the end.
Gate: TypeAlias = Callable[[ModelRequest, int], Awaitable[None]]


class _Line(BaseModel):
    # Built when a script is first played; a server with a model has none.
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class ScriptedCall(_Line):
    """A call the script asks for; `arguments_json` is sent as it stands, to play bad output."""

    tool: str
    arguments: dict[str, JsonValue] = {}
    arguments_json: str | None = None
    id: str = ""


class ScriptedReply(_Line):
    """One answer. In `text`, `{results}` becomes the tool results so far and `{turns}` what was said in earlier turns.

    `chunks` are the text in the pieces in which it comes; without them it comes
    as one. `fail` plays a provider that fails at every attempt, `fail_attempts`
    one that fails at the first so many; a failure comes after the text.
    """

    text: str | None = None
    chunks: tuple[str, ...] = ()
    calls: tuple[ScriptedCall, ...] = ()
    finish: Literal["stop", "tool_calls", "length", "content_filter"] | None = None
    fail: bool = False
    fail_attempts: Annotated[int, Field(ge=0)] = 0
    input_tokens: Annotated[int, Field(ge=0)] = 0
    output_tokens: Annotated[int, Field(ge=0)] = 0


class _Script(_Line):
    script: tuple[ScriptedReply, ...]


class ScriptedProvider:
    """Answers with `parameters.script[n]`, n being the number of answers in the turn.

    Every turn of a session plays the whole script. It holds no state, so a
    restart goes on where the journal is. Past the end of the script it refuses.
    What the user says or shows makes no difference. A `gate` lets a test say
    when each piece comes.
    """

    def __init__(self, gate: Gate | None = None) -> None:
        self._gate = gate
        # By the identity of the parameters, which belong to a package: a script is checked once, not in every round.
        self._scripts: dict[int, tuple[Mapping[str, JsonValue], tuple[ScriptedReply, ...]]] = {}

    async def complete(self, request: ModelRequest, emit: EmitText) -> ModelReply:
        """The next answer of the script."""
        script = self._script(request.parameters)
        _, turn = split_turns(request.messages)
        index = sum(isinstance(message, AssistantMessage) for message in turn)
        if index >= len(script):
            raise _refused(f"The script has no answer {index + 1}; it ends after {len(script)}.")
        line = script[index]
        text = "".join(line.chunks) if line.chunks else _filled(line.text, request)
        await self._speak(request, line.chunks or ((text,) if text else ()), emit)
        if line.fail or request.attempt <= line.fail_attempts:
            raise AgentError(
                ErrorReason.PROVIDER_FAILED,
                f"The script fails at answer {index + 1} of {len(script)}, attempt {request.attempt}.",
                metadata={"adapter": "scripted"},
            )
        calls = tuple(
            ProviderCall(
                call.id or f"call-{index + 1}-{number}",
                call.tool,
                call.arguments_json if call.arguments_json is not None else json.dumps(call.arguments),
            )
            for number, call in enumerate(line.calls, start=1)
        )
        default = FinishReason.TOOL_CALLS if calls else FinishReason.STOP
        return ModelReply(
            text=text,
            calls=calls,
            finish=FinishReason[line.finish.upper()] if line.finish else default,
            input_tokens=line.input_tokens,
            output_tokens=line.output_tokens,
        )

    def _script(self, parameters: Mapping[str, JsonValue]) -> tuple[ScriptedReply, ...]:
        known = self._scripts.get(id(parameters))
        if known is not None and known[0] is parameters:
            return known[1]
        if len(self._scripts) >= _REMEMBERED:
            self._scripts.clear()
        script = _read(parameters)
        self._scripts[id(parameters)] = parameters, script
        return script

    async def _speak(self, request: ModelRequest, chunks: tuple[str, ...], emit: EmitText) -> None:
        for number, chunk in enumerate(chunks):
            if self._gate is not None:
                await self._gate(request, number)
            emit(chunk)
        if self._gate is not None:
            await self._gate(request, len(chunks))


def _read(parameters: Mapping[str, JsonValue]) -> tuple[ScriptedReply, ...]:
    try:
        return _Script.model_validate(dict(parameters)).script
    except ValidationError:
        raise _refused("The package's parameters.script is not a script.") from None


def _refused(message: str) -> AgentError:
    return AgentError(ErrorReason.PROVIDER_REFUSED, message, metadata={"adapter": "scripted"})


def split_turns(messages: Sequence[Message]) -> tuple[Sequence[Message], Sequence[Message]]:
    """The messages before the last thing the user said, and those from there."""
    starts = [index for index, message in enumerate(messages) if isinstance(message, UserMessage)]
    start = starts[-1] if starts else 0
    return messages[:start], messages[start:]


def _filled(text: str | None, request: ModelRequest) -> str | None:
    if text is None:
        return text
    results = [message.content for message in request.messages if isinstance(message, ToolResultMessage)]
    # In one pass: what was said may hold the very words that are replaced.
    values = {"{results}": " | ".join(results), "{turns}": " | ".join(_said(split_turns(request.messages)[0]))}
    return re.sub(r"\{results\}|\{turns\}", lambda found: values[found[0]], text)


def _said(messages: Sequence[Message]) -> list[str]:
    said = []
    for message in messages:
        match message:
            case UserMessage(parts=parts):
                said.append(f"user: {' '.join(p if isinstance(p, str) else f'[{p.media_type}]' for p in parts)}")
            case AssistantMessage(text=str(text)):
                said.append(f"assistant: {text}")
            case _:
                pass
    return said
