"""The conversation as a vendor takes it: pairs in order, ids and names that are fit, no blank text."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from typing import Literal

from pydantic import JsonValue
from pydantic_ai.messages import (
    BinaryContent,
    ModelMessage,
    ModelRequest,
    ModelRequestPart,
    ModelResponse,
    ModelResponsePart,
    TextPart,
    ThinkingPart,
    ToolReturnPart,
    UserContent,
    UserPromptPart,
)
from pydantic_ai.messages import ToolCallPart as VendorCall
from pydantic_ai.tools import ToolDefinition

from runwright.adapters.providers import model_values as v
from runwright.adapters.providers.model_images import ShownImages
from runwright.adapters.providers.model_opaque import load
from runwright.core.images import Image
from runwright.ports.provider import (
    AssistantMessage,
    Message,
    ToolCallPart,
    ToolResultMessage,
    ToolSpecification,
    UserMessage,
)

# What each vendor takes as the id of a call; OpenAI bounds the length, Anthropic the characters.
_FIT_ID = {"anthropic": re.compile(r"[a-zA-Z0-9_-]{1,64}")}
_FIT_ID_ELSEWHERE = re.compile(r"[!-~]{1,40}")
_OWN_ID_CHARACTERS = 9  # Mistral takes ids of nine letters and digits only, and nobody minds them
_UNFIT_IN_NAME = re.compile(r"[^a-zA-Z0-9_-]")
_NAME_CHARACTERS = 64
# Vendors refuse blank texts, and a model should know that nothing was cut off.
_NOTHING = "(empty)"
_FAILED = "The tool failed without saying why."
OPAQUE = "opaque"  # the key in a response's metadata, which is not sent
ANTHROPIC = "anthropic"  # the library sends a thought back to the vendor of that name alone


class History:
    """One conversation on its way to a vendor of a kind."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._fit_id = _FIT_ID.get(kind, _FIT_ID_ELSEWHERE)
        self._ids: dict[str, str] = {}  # of each call, what the vendor is told
        self._taken: set[str] = set()
        self.images = ShownImages()

    def messages(self, messages: Sequence[Message], instructions: str) -> list[ModelMessage]:
        """The whole of it. What comes between two answers is one request, as Anthropic wants it."""
        history: list[ModelMessage] = []
        parts: list[ModelRequestPart] = []
        for message in messages:
            match message:
                case UserMessage():
                    parts.append(self._prompt(message))
                case ToolResultMessage():
                    parts.append(self._result(message))
                case AssistantMessage():
                    answer = self._answer(message)
                    if not answer.parts:
                        continue
                    history += [ModelRequest(parts)] if parts else []
                    parts = []
                    history.append(answer)
        # The library takes the instructions from the last request.
        history.append(ModelRequest(parts, instructions=instructions if instructions.strip() else None))
        return history

    def _prompt(self, message: UserMessage) -> UserPromptPart:
        said: list[UserContent] = [
            BinaryContent(self.images.token(part.data), media_type=part.media_type) if isinstance(part, Image) else part
            for part in message.parts
            if isinstance(part, Image) or part.strip()
        ]
        alone = said[0] if len(said) == 1 else None
        return UserPromptPart(alone if isinstance(alone, str) else said or _NOTHING)

    def _answer(self, message: AssistantMessage) -> ModelResponse:
        said = (message.text or "").rstrip()
        calls = [self._call(call) for call in message.calls]
        opaque = load(self._kind, message.opaque) if calls else {}
        if self._kind == "anthropic":
            return ModelResponse(_in_order(said, calls, v.items(opaque.get("blocks"))))
        return ModelResponse([*_text(said), *calls], metadata={OPAQUE: opaque} if opaque else None)

    def _call(self, call: ToolCallPart) -> VendorCall:
        return VendorCall(fit_name(call.tool), fit_arguments(call.arguments_json), self._id(call))

    def _result(self, message: ToolResultMessage) -> ToolReturnPart:
        outcome: Literal["success", "failed"] = "failed" if message.is_error else "success"
        content = message.content if message.content.strip() else (_FAILED if message.is_error else _NOTHING)
        identifier = self._ids.get(message.call_id) or _own_id(message.call_id)
        return ToolReturnPart(fit_name(message.tool), content, identifier, outcome=outcome)

    def _id(self, call: ToolCallPart) -> str:
        """The vendor's own id if it can go back, else one of ours that is the same in every request."""
        value = call.provider_call_id
        if not self._fit_id.fullmatch(value) or value in self._taken:
            value = _own_id(call.call_id)
            while value in self._taken:
                value = _own_id(value)
        self._taken.add(value)
        self._ids[call.call_id] = value
        return value


def _in_order(said: str, calls: Sequence[VendorCall], blocks: Sequence[JsonValue]) -> list[ModelResponsePart]:
    """Text and calls with the thoughts between them, each where it was."""
    retained = [v.fields(block) for block in blocks]
    lengths = [v.count(block.get("characters")) for block in retained if block.get("type") == "text"]
    is_changed = sum(lengths) < len(said)  # then all of it goes where the first of it was
    rest, left, parts = said, list(calls), list[ModelResponsePart]()
    for block in retained:
        match block.get("type"):
            case "text":
                size = len(rest) if is_changed else v.count(block.get("characters"))
                parts += _text(rest[:size])
                rest = rest[size:]
            case "tool_use":
                parts += left[:1]
                left = left[1:]
            case "thinking":
                thought, signature = v.text(block.get("thinking")), v.text(block.get("signature"))
                parts.append(ThinkingPart(thought, signature=signature, provider_name=ANTHROPIC))
            case _:
                data = v.text(block.get("data"))
                parts.append(ThinkingPart("", id="redacted_thinking", signature=data, provider_name=ANTHROPIC))
    return [*parts, *_text(rest), *left]


def _text(said: str) -> list[TextPart]:
    return [TextPart(said)] if said.strip() else []


def to_tool(tool: ToolSpecification) -> ToolDefinition:
    """A tool for the vendor; its schema goes out as the package has it."""
    return ToolDefinition(
        name=tool.name,
        description=tool.description,
        parameters_json_schema=dict(tool.parameters_schema),
        strict=False,
    )


def fit_name(name: str) -> str:
    """A name that vendors take, for one that a model made up."""
    return _UNFIT_IN_NAME.sub("_", name)[:_NAME_CHARACTERS] or "unnamed"


def fit_arguments(made: str) -> str:
    """Arguments that vendors take: a JSON object. What is none is shown to the model inside of one."""
    try:
        value = json.loads(made or "{}")
    except (ValueError, RecursionError):
        value = made
    if isinstance(value, dict):
        return made or "{}"
    return json.dumps({} if value is None else {"not_an_object": value}, ensure_ascii=False)


def _own_id(call_id: str) -> str:
    return hashlib.sha256(call_id.encode()).hexdigest()[:_OWN_ID_CHARACTERS]
