"""A vendor's answer as ours: text, calls, what it cost, and why it ended."""

from __future__ import annotations

import re
from dataclasses import replace

from pydantic_ai.messages import ModelResponse, TextPart, ThinkingPart, ToolCallPart

from runwright.adapters.providers.answer_bounds import BrokenAnswerError, check_calls
from runwright.adapters.providers.model_thoughts import answer_of
from runwright.adapters.providers.model_values import arguments, count, text
from runwright.core.outcomes import FinishReason
from runwright.ports.provider import ModelReply, ProviderCall

# Words that mean something else than "it is whole", as `_word` makes them. Whatever is not here ended as it should.
_LENGTH = frozenset(
    {"length", "max_tokens", "max_token", "max_length", "max_output_tokens", "token_limit", "tokens", "model_length"}
    | {"model_context_window_exceeded", "context_length_exceeded", "incomplete", "truncated"}
)
_FILTERED = frozenset(
    {"content_filter", "content_filtered", "refusal", "safety", "recitation", "blocklist", "prohibited_content"}
    | {"spii", "image_safety", "guardrail_intervened", "sensitive", "blocked", "censored"}
)
# `pause_turn` and `compaction` are answers that their vendor wants to go on with, which is not asked for.
_BROKEN = frozenset(
    {"error", "abort", "aborted", "cancel", "cancelled", "canceled", "failed", "failure", "timeout", "network_error"}
    | {"insufficient_system_resource", "malformed_function_call", "unexpected_tool_call", "pause_turn", "compaction"}
    | {"null", "none", "other", "unspecified"}
)
_SPEAKS_OF_LENGTH = re.compile(r"max_(output_|completion_|new_)?tokens?|token_limit|length")
_SPEAKS_OF_FAILURE = re.compile(r"(^|_)(error|abort|aborted|failed|failure|timeout|cancelled|canceled)(_|$)")
_NO_LETTERS = re.compile(r"[^a-z0-9]+")


def to_reply(response: ModelResponse) -> ModelReply:
    """The vendor's answer. Raises BrokenAnswerError if it does not say why it ended, or that something went wrong."""
    check_calls(response)
    made = [part for part in response.parts if isinstance(part, ToolCallPart)]
    if any(not isinstance(part, TextPart | ThinkingPart | ToolCallPart) for part in response.parts):
        raise BrokenAnswerError("it holds a part that is neither text nor a tool call")
    if "refusal" in (response.provider_details or {}):
        made, response = [], replace(response, parts=[])  # what was said before it is no answer
    said = answer_of("".join(part.content for part in response.parts if isinstance(part, TextPart)))
    return ModelReply(
        text=said or None,
        calls=tuple(ProviderCall(text(part.tool_call_id), text(part.tool_name), arguments(part.args)) for part in made),
        finish=_finish(response, has_calls=bool(made)),
        input_tokens=count(response.usage.input_tokens),
        output_tokens=count(response.usage.output_tokens),
    )


def _finish(response: ModelResponse, *, has_calls: bool) -> FinishReason:
    if response.finish_reason == "content_filter":
        return FinishReason.CONTENT_FILTER
    # The vendor's own word: the library takes a missing one for "stop".
    said = _word(text((response.provider_details or {}).get("finish_reason")))
    if not said:
        raise BrokenAnswerError("it does not say why it ended")
    if said in _LENGTH or _SPEAKS_OF_LENGTH.search(said):
        return FinishReason.LENGTH
    if said in _FILTERED or "content_filter" in said:
        return FinishReason.CONTENT_FILTER
    if said in _BROKEN or _SPEAKS_OF_FAILURE.search(said):
        raise BrokenAnswerError("it says that it was broken off")
    return FinishReason.TOOL_CALLS if has_calls else FinishReason.STOP


def _word(said: str) -> str:
    """A reason in small letters, words joined by `_`, without the name of the enumeration that it may be of."""
    return _NO_LETTERS.sub("_", said.rpartition(".")[2].lower()).strip("_").removeprefix("finish_reason_")
