"""What the two vendors refuse: the public rules of their APIs, as a list of what is wrong with a request.

A fake that takes everything proves nothing. The rules are those of the vendors'
references and error messages: known fields, ids and names and their form, calls
and results in pairs and in order, no blank text. What must go back of its own
answers, and that nothing else goes with them, a vendor knows by `echoes.py`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Fields = dict[str, Any]

NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_OPENAI_TOP = {
    "model", "messages", "tools", "tool_choice", "temperature", "top_p", "max_tokens", "max_completion_tokens", "stop",
    "stream", "stream_options", "seed", "presence_penalty", "frequency_penalty", "parallel_tool_calls",
    "reasoning_effort", "response_format", "n", "user",
}  # fmt: skip
_OPENAI_ID_CHARACTERS = 40
_ANTHROPIC_TOP = {
    "model", "messages", "system", "max_tokens", "tools", "tool_choice", "temperature", "top_p", "top_k",
    "stop_sequences", "stream", "thinking", "metadata",
}  # fmt: skip
_IMAGES = {"image/png", "image/jpeg", "image/gif", "image/webp"}


def problems(kind: str, body: Fields) -> list[str]:
    """What a vendor of that kind refuses in a request; empty when it takes it."""
    return list(_anthropic(body) if kind == "anthropic" else _openai(body))


def _unknown(where: str, value: Mapping[str, Any], known: set[str]) -> Iterator[str]:
    for name in sorted(value.keys() - known):
        yield f"{where}.{name}: extra inputs are not permitted"


# OpenAI's chat completions.


def _openai(body: Fields) -> Iterator[str]:
    yield from _unknown("body", body, _OPENAI_TOP)
    if not isinstance(body.get("model"), str) or not body["model"]:
        yield "model: must be a non-empty string"
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        yield "messages: must not be empty"
        return
    names = [tool.get("function", {}).get("name") for tool in body.get("tools", [])]
    if "tools" in body and not names:
        yield "tools: [] is too short"
    yield from _tool_names(names)
    owed: list[str] = []
    for index, message in enumerate(messages):
        where = f"messages[{index}]"
        if message.get("role") == "tool":
            yield from _openai_result(where, message, owed)
            continue
        if owed:
            yield f"{where}: an assistant message with tool_calls must be followed by results of {owed}"
        owed = []
        match message.get("role"):
            case "system" | "developer":
                yield from _openai_content(where, message, {"role", "content", "name"})
            case "user":
                yield from _openai_content(where, message, {"role", "content", "name"})
            case "assistant":
                yield from _openai_answer(where, message)
                owed = [call.get("id") for call in message.get("tool_calls") or []]
            case role:
                yield f"{where}.role: {role!r} is none"
    if owed:
        yield f"messages: the last ones must be the results of {owed}"


def _openai_content(where: str, message: Fields, known: set[str]) -> Iterator[str]:
    yield from _unknown(where, message, known)
    content = message.get("content")
    if isinstance(content, str):
        if not content.strip():
            yield f"{where}.content: must not be blank"
        return
    if not isinstance(content, list) or not content:
        yield f"{where}.content: must be a string or a list that is not empty"
        return
    for part in content:
        match part:
            case {"type": "text", "text": str(text)} if text.strip():
                yield from _unknown(where, part, {"type", "text"})
            case {"type": "image_url", "image_url": {"url": str(url)}} if url.startswith("data:image/"):
                pass
            case _:
                yield f"{where}.content: a part that is blank or unknown"


def _openai_answer(where: str, message: Fields) -> Iterator[str]:
    content, calls = message.get("content"), message.get("tool_calls")
    if content is not None and (not isinstance(content, str) or not content):
        yield f"{where}.content: must be null or a string that is not empty"
    if calls is None:
        if not content:
            yield f"{where}: needs content or tool_calls"
        return
    if not isinstance(calls, list) or not calls:
        yield f"{where}.tool_calls: [] is too short"
        return
    ids = [call.get("id") for call in calls]
    if len(set(ids)) != len(ids):
        yield f"{where}.tool_calls: two calls with one id"
    for call in calls:
        function = call.get("function") or {}
        if not isinstance(call.get("id"), str) or not 0 < len(call["id"]) <= _OPENAI_ID_CHARACTERS:
            yield f"{where}.tool_calls.id: a string of 1 to {_OPENAI_ID_CHARACTERS} characters"
        if not NAME.fullmatch(str(function.get("name"))):
            yield f"{where}.tool_calls.function.name: does not match {NAME.pattern}"
        if not _is_object(function.get("arguments")):
            yield f"{where}.tool_calls.function.arguments: must be the JSON of an object"


def _openai_result(where: str, message: Fields, owed: list[str]) -> Iterator[str]:
    yield from _unknown(where, message, {"role", "content", "tool_call_id"})
    identifier = message.get("tool_call_id")
    if identifier not in owed:
        yield f"{where}: a tool message must follow the assistant message with its call; {identifier!r} is not open"
    else:
        owed.remove(identifier)
    content = message.get("content")
    if not isinstance(content, str) or not content.strip():
        yield f"{where}.content: must be a string that is not blank"


# Anthropic's messages.


def _anthropic(body: Fields) -> Iterator[str]:
    yield from _unknown("body", body, _ANTHROPIC_TOP)
    if not isinstance(body.get("max_tokens"), int) or body["max_tokens"] < 1:
        yield "max_tokens: field required"
    if "system" in body and not _texts_say_something(body["system"]):
        yield "system: text content blocks must be non-empty"
    yield from _tool_names([tool.get("name") for tool in body.get("tools", [])])
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        yield "messages: at least one message is required"
        return
    seen: set[str] = set()
    owed: list[str] = []
    for index, message in enumerate(messages):
        where = f"messages.{index}"
        yield from _unknown(where, message, {"role", "content"})
        wanted = "assistant" if index % 2 else "user"
        if message.get("role") != wanted:
            yield f"{where}: roles must alternate and begin with the user"
        content = message.get("content")
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        if not isinstance(blocks, list) or not blocks:
            yield f"{where}: must have non-empty content"
            return
        if message.get("role") == "assistant":
            yield from _anthropic_answer(where, blocks, seen)
            owed = [block.get("id") for block in blocks if block.get("type") == "tool_use"]
        else:
            yield from _anthropic_said(where, blocks, owed)
            owed = []
    if owed:
        yield f"messages: tool_use ids without tool_result blocks: {owed}"
    if messages[-1].get("role") != "user":
        yield "messages: the last one must be the user's"


def _anthropic_answer(where: str, blocks: Sequence[Fields], seen: set[str]) -> Iterator[str]:
    for block in blocks:
        match block.get("type"):
            case "text":
                yield from _anthropic_text(where, block)
            case "tool_use":
                yield from _unknown(where, block, {"type", "id", "name", "input", "cache_control"})
                identifier = str(block.get("id"))
                if not re.fullmatch(r"[a-zA-Z0-9_-]+", identifier):
                    yield f"{where}.tool_use.id: {identifier!r} does not match ^[a-zA-Z0-9_-]+$"
                if identifier in seen:
                    yield f"{where}: tool_use ids must be unique: {identifier}"
                seen.add(identifier)
                if not NAME.fullmatch(str(block.get("name"))):
                    yield f"{where}.tool_use.name: does not match {NAME.pattern}"
                if not isinstance(block.get("input"), dict):
                    yield f"{where}.tool_use.input: must be an object"
            case "thinking":
                if not block.get("signature") or not isinstance(block.get("thinking"), str):
                    yield f"{where}.thinking.signature: field required"
            case "redacted_thinking":
                if not block.get("data"):
                    yield f"{where}.redacted_thinking.data: field required"
            case kind:
                yield f"{where}: {kind!r} is no block of an assistant"


def _anthropic_said(where: str, blocks: Sequence[Fields], owed: Sequence[str]) -> Iterator[str]:
    results = [block for block in blocks if block.get("type") == "tool_result"]
    if [block.get("tool_use_id") for block in results] != list(owed) and (
        sorted(str(block.get("tool_use_id")) for block in results) != sorted(map(str, owed))
    ):
        yield f"{where}: each tool_use must have one tool_result in the next message, and none besides: {list(owed)}"
    if results and blocks[: len(results)] != results:
        yield f"{where}: tool_result blocks must come first"
    for block in blocks:
        match block.get("type"):
            case "text":
                yield from _anthropic_text(where, block)
            case "image":
                if block.get("source", {}).get("media_type") not in _IMAGES:
                    yield f"{where}.image: an unknown media type"
            case "tool_result":
                yield from _unknown(where, block, {"type", "tool_use_id", "content", "is_error", "cache_control"})
                if not _texts_say_something(block.get("content")):
                    yield f"{where}.tool_result.content: text content blocks must be non-empty"
            case kind:
                yield f"{where}: {kind!r} is no block of a user"


def _anthropic_text(where: str, block: Fields) -> Iterator[str]:
    yield from _unknown(where, block, {"type", "text", "cache_control"})
    if not isinstance(block.get("text"), str) or not block["text"].strip():
        yield f"{where}: text content blocks must contain non-whitespace text"


def _texts_say_something(content: Any) -> bool:
    """A text, or blocks of text, none of them blank."""
    texts = [content] if isinstance(content, str) else [block.get("text") for block in content or []]
    return bool(texts) and all(isinstance(text, str) and text.strip() for text in texts)


def _tool_names(names: Sequence[Any]) -> Iterator[str]:
    if len(set(names)) != len(names):
        yield "tools: names must be unique"
    for name in names:
        if not NAME.fullmatch(str(name)):
            yield f"tools: {name!r} does not match {NAME.pattern}"


def _is_object(arguments: Any) -> bool:
    try:
        return isinstance(json.loads(arguments), dict)
    except (TypeError, ValueError):
        return False
