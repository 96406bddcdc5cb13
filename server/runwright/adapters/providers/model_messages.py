"""Our messages as those of the vendors' library, and its answer as ours."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic_ai.messages import (
    BinaryContent,
    ModelMessage,
    ModelRequestPart,
    ModelResponse,
    ModelResponsePart,
    TextPart,
    ThinkingPart,
    ToolReturnPart,
    UserContent,
    UserPromptPart,
)
from pydantic_ai.messages import ModelRequest as VendorRequest
from pydantic_ai.messages import ToolCallPart as VendorCall
from pydantic_ai.tools import ToolDefinition

from runwright.adapters.providers.answer_bounds import BrokenAnswerError, check_calls
from runwright.core.images import Image
from runwright.core.outcomes import FinishReason
from runwright.ports.provider import (
    AssistantMessage,
    Message,
    ModelReply,
    ProviderCall,
    ToolCallPart,
    ToolResultMessage,
    ToolSpecification,
    UserMessage,
)

_OPENAI_FINISH = {
    "stop": FinishReason.STOP,
    "tool_calls": FinishReason.TOOL_CALLS,
    "length": FinishReason.LENGTH,
    "content_filter": FinishReason.CONTENT_FILTER,
}
_ANTHROPIC_FINISH = {
    "end_turn": FinishReason.STOP,
    "stop_sequence": FinishReason.STOP,
    "tool_use": FinishReason.TOOL_CALLS,
    "max_tokens": FinishReason.LENGTH,
    "model_context_window_exceeded": FinishReason.LENGTH,
    "refusal": FinishReason.CONTENT_FILTER,
}
_FINISH: Mapping[str, Mapping[str, FinishReason]] = {
    "openai": _OPENAI_FINISH,
    "ollama": _OPENAI_FINISH,
    "anthropic": _ANTHROPIC_FINISH,
}


def to_history(messages: Sequence[Message], instructions: str) -> list[ModelMessage]:
    """The conversation for the vendor. What comes between two answers is one request, as Anthropic wants it."""
    history: list[ModelMessage] = []
    parts: list[ModelRequestPart] = []
    for message in messages:
        match message:
            case UserMessage():
                parts.append(_prompt(message))
            case ToolResultMessage():
                parts.append(_result(message))
            case AssistantMessage():
                history += [VendorRequest(parts)] if parts else []
                parts = []
                history.append(ModelResponse(_answer_parts(message)))
    # The library takes the instructions from the last request.
    history.append(VendorRequest(parts, instructions=instructions or None))
    return history


def to_tool(tool: ToolSpecification) -> ToolDefinition:
    """A tool for the vendor; its schema goes out as the package has it."""
    return ToolDefinition(
        name=tool.name,
        description=tool.description,
        parameters_json_schema=dict(tool.parameters_schema),
        strict=False,
    )


def to_reply(kind: str, response: ModelResponse) -> ModelReply:
    """The vendor's answer. Raises BrokenAnswerError if it does not say why it ended, or holds what nobody asked for."""
    check_calls(response)
    calls = []
    for part in response.parts:
        if isinstance(part, VendorCall):
            calls.append(_made_call(part))
        elif not isinstance(part, TextPart | ThinkingPart):
            raise BrokenAnswerError("it holds a part that is neither text nor a tool call")
    texts = [part.content for part in response.parts if isinstance(part, TextPart)]
    return ModelReply(
        text="".join(texts) or None,
        calls=tuple(calls),
        finish=_finish(kind, response),
        input_tokens=response.usage.input_tokens,
        output_tokens=response.usage.output_tokens,
    )


def _prompt(message: UserMessage) -> UserPromptPart:
    said: list[UserContent] = [
        BinaryContent(part.data, media_type=part.media_type) if isinstance(part, Image) else part
        for part in message.parts
    ]
    alone = said[0] if len(said) == 1 else None
    return UserPromptPart(alone if isinstance(alone, str) else said)


def _answer_parts(message: AssistantMessage) -> list[ModelResponsePart]:
    text = [TextPart(message.text)] if message.text else []
    return [*text, *(_call(call) for call in message.calls)]


def _result(message: ToolResultMessage) -> ToolReturnPart:
    outcome: Literal["success", "failed"] = "failed" if message.is_error else "success"
    identifier = message.provider_call_id or message.call_id
    return ToolReturnPart(message.tool, message.content, identifier, outcome=outcome)


def _call(call: ToolCallPart) -> VendorCall:
    return VendorCall(call.tool, call.arguments_json, call.provider_call_id or call.call_id)


def _made_call(call: VendorCall) -> ProviderCall:
    identifier: object = call.tool_call_id  # the library does not check what Anthropic sends
    name: object = call.tool_name
    if not isinstance(identifier, str) or not isinstance(name, str):
        raise BrokenAnswerError("it holds a tool call without a name or an id")
    return ProviderCall(identifier, name, _arguments(call))


def _arguments(call: VendorCall) -> str:
    """As the model made them, whatever they are: the runtime tells it what is wrong."""
    made: object = call.args
    if made is None:
        return ""
    return made if isinstance(made, str) else json.dumps(made, ensure_ascii=False)


def _finish(kind: str, response: ModelResponse) -> FinishReason:
    # The vendor's own word: the library takes a missing one for "stop".
    details = response.provider_details or {}
    if response.finish_reason == "content_filter":
        return FinishReason.CONTENT_FILTER
    said = details.get("finish_reason")
    if not said:
        raise BrokenAnswerError("it does not say why it ended")
    known = _FINISH[kind].get(str(said))
    if known is None:
        raise BrokenAnswerError("it ended for a reason that is not known")
    return known
