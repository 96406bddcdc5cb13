"""A provider that plays a script from the package: for tests, and for trying a package without a model."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from runwright.core.errors import AgentError, ErrorReason
from runwright.core.outcomes import FinishReason
from runwright.ports.provider import (
    AssistantMessage,
    EmitText,
    ModelReply,
    ModelRequest,
    ProviderCall,
    ToolResultMessage,
)

# Is awaited before each piece of text, with its number from 0, and with the number of pieces before the end.
Gate: TypeAlias = Callable[[ModelRequest, int], Awaitable[None]]


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ScriptedCall(_Line):
    """A call the script asks for; `arguments_json` is sent as it stands, to play bad output."""

    tool: str
    arguments: dict[str, JsonValue] = {}
    arguments_json: str | None = None
    id: str = ""


class ScriptedReply(_Line):
    """One answer. `{results}` in `text` becomes the tool results so far; `fail` plays a provider failure.

    `chunks` are the text in the pieces in which it comes; without them it comes as one. A failure comes after them.
    """

    text: str | None = None
    chunks: tuple[str, ...] = ()
    calls: tuple[ScriptedCall, ...] = ()
    finish: Literal["stop", "tool_calls", "length", "content_filter"] | None = None
    fail: bool = False
    input_tokens: Annotated[int, Field(ge=0)] = 0
    output_tokens: Annotated[int, Field(ge=0)] = 0


class _Script(_Line):
    script: tuple[ScriptedReply, ...]


class ScriptedProvider:
    """Answers with `parameters.script[n]`, n being the number of answers in the conversation.

    It holds no state, so a restart goes on where the journal is. Past the end
    of the script it fails. A `gate` lets a test say when each piece comes.
    """

    def __init__(self, gate: Gate | None = None) -> None:
        self._gate = gate

    async def complete(self, request: ModelRequest, emit: EmitText) -> ModelReply:
        """The next answer of the script."""
        script = _read(request.parameters)
        index = sum(isinstance(message, AssistantMessage) for message in request.messages)
        line = script[index] if index < len(script) else ScriptedReply(fail=True)
        text = "".join(line.chunks) if line.chunks else _filled(line.text, request)
        await self._speak(request, line.chunks or ((text,) if text else ()), emit)
        if line.fail:
            raise AgentError(
                ErrorReason.PROVIDER_FAILED,
                f"The script fails at answer {index + 1} of {len(script)}.",
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
        raise AgentError(
            ErrorReason.PROVIDER_FAILED,
            "The package's provider.parameters.script is not a script.",
            metadata={"adapter": "scripted"},
        ) from None


def _filled(text: str | None, request: ModelRequest) -> str | None:
    if text is None or "{results}" not in text:
        return text
    results = [message.content for message in request.messages if isinstance(message, ToolResultMessage)]
    return text.replace("{results}", " | ".join(results))
