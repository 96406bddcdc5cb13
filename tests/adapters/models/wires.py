"""The two wire formats: how a vendor of each kind answers, and what it was told."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tests.adapters.models.fake_vendor import Answer, Fields, StartCaller

Call = tuple[str, str, Any]  # id, tool, arguments; for OpenAI a string is sent as it stands


class Wire(Protocol):
    """One wire format."""

    kind: str
    path: str
    words: dict[str, str]  # for each of our finish reasons, the vendor's

    def answer(self, text: str | None = None, calls: Sequence[Call] = (), finish: str | None = None) -> Answer: ...

    def system(self, requested: StartCaller) -> str: ...

    def key(self, requested: StartCaller) -> str: ...

    def tools(self, requested: StartCaller) -> list[Fields]: ...

    def results(self, requested: StartCaller) -> list[Fields]: ...

    def calls(self, requested: StartCaller) -> list[str]: ...


@dataclass(frozen=True)
class OpenAIWire:
    """Chat completions."""

    kind: str = "openai"
    path: str = "/v1/chat/completions"

    @property
    def words(self) -> dict[str, str]:
        """See Wire."""
        return {"STOP": "stop", "TOOL_CALLS": "tool_calls", "LENGTH": "length", "CONTENT_FILTER": "content_filter"}

    def answer(self, text: str | None = None, calls: Sequence[Call] = (), finish: str | None = None) -> Answer:
        """An answer of 11 tokens to 7; `finish` is what fits unless it is given, empty for none."""
        message: Fields = {"role": "assistant", "content": text, "refusal": None}
        if calls:
            message["tool_calls"] = [
                {
                    "id": identifier,
                    "type": "function",
                    "function": {"name": tool, "arguments": made if isinstance(made, str) else json.dumps(made)},
                }
                for identifier, tool, made in calls
            ]
        said = finish if finish is not None else ("tool_calls" if calls else "stop")
        stream = chunks(*_text_chunks(text), *_call_chunks(message.get("tool_calls", [])), finished(said), usage())
        return Answer(
            stream=stream,
            body={
                "id": "chatcmpl-1",
                "object": "chat.completion",
                "created": 1_700_000_000,
                "model": "gpt-test",
                "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": said or None}],
                "usage": USAGE,
            },
        )

    def system(self, requested: StartCaller) -> str:
        """What the system said."""
        return "".join(each["content"] for each in requested.body["messages"] if each["role"] == "system")

    def key(self, requested: StartCaller) -> str:
        """The key that was sent."""
        return requested.headers["authorization"].removeprefix("Bearer ")

    def tools(self, requested: StartCaller) -> list[Fields]:
        """Name, description and schema of each tool."""
        functions = [tool["function"] for tool in requested.body.get("tools", [])]
        return [{key: each[key] for key in ("name", "description", "parameters")} for each in functions]

    def results(self, requested: StartCaller) -> list[Fields]:
        """Id, text and error flag of each result; this format has no flag, so an error is a text that says so."""
        found = [each for each in requested.body["messages"] if each["role"] == "tool"]
        return [_result(each["tool_call_id"], each["content"]) for each in found]

    def calls(self, requested: StartCaller) -> list[str]:
        """The id of each call."""
        return [call["id"] for each in requested.body["messages"] for call in each.get("tool_calls") or []]


def _result(identifier: str, content: str) -> Fields:
    failed = content.startswith('{"error":')
    return {"id": identifier, "text": json.loads(content)["error"] if failed else content, "failed": failed}


@dataclass(frozen=True)
class AnthropicWire:
    """Messages."""

    kind: str = "anthropic"
    path: str = "/v1/messages"

    @property
    def words(self) -> dict[str, str]:
        """See Wire."""
        return {"STOP": "end_turn", "TOOL_CALLS": "tool_use", "LENGTH": "max_tokens", "CONTENT_FILTER": "refusal"}

    def answer(self, text: str | None = None, calls: Sequence[Call] = (), finish: str | None = None) -> Answer:
        """An answer of 11 tokens to 7; `finish` is what fits unless it is given, empty for none."""
        blocks: list[Fields] = [{"type": "text", "text": text}] if text is not None else []
        blocks += [{"type": "tool_use", "id": each, "name": tool, "input": made} for each, tool, made in calls]
        said = finish if finish is not None else ("tool_use" if calls else "end_turn")
        return Answer(
            stream=events(*whole(blocks, said)),
            body={
                "id": "msg_1",
                "type": "message",
                "role": "assistant",
                "model": "claude-test",
                "content": blocks,
                "stop_reason": said or None,
                "stop_sequence": None,
                "usage": {"input_tokens": 7, "output_tokens": 11},
            },
        )

    def system(self, requested: StartCaller) -> str:
        """What the system said."""
        system = requested.body.get("system", "")
        return system if isinstance(system, str) else "".join(block["text"] for block in system)

    def key(self, requested: StartCaller) -> str:
        """The key that was sent."""
        return requested.headers.get("x-api-key") or requested.headers["authorization"].removeprefix("Bearer ")

    def tools(self, requested: StartCaller) -> list[Fields]:
        """Name, description and schema of each tool."""
        return [
            {"name": each["name"], "description": each["description"], "parameters": each["input_schema"]}
            for each in requested.body.get("tools", [])
        ]

    def results(self, requested: StartCaller) -> list[Fields]:
        """Id, text and error flag of each result."""
        blocks = [
            block
            for message in requested.body["messages"]
            if message["role"] == "user" and not isinstance(message["content"], str)
            for block in message["content"]
            if block["type"] == "tool_result"
        ]
        return [{"id": each["tool_use_id"], "text": _text(each), "failed": each["is_error"]} for each in blocks]

    def calls(self, requested: StartCaller) -> list[str]:
        """The id of each call."""
        blocks = [
            block for each in requested.body["messages"] for block in each["content"] if each["role"] == "assistant"
        ]
        return [block["id"] for block in blocks if block["type"] == "tool_use"]


def _text(block: Fields) -> str:
    content = block["content"]
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


OPENAI = OpenAIWire()
ANTHROPIC = AnthropicWire()


def halves(text: str) -> tuple[str, ...]:
    """A text in two pieces, as it may come."""
    middle = len(text) // 2
    return tuple(piece for piece in (text[:middle], text[middle:]) if piece)


# OpenAI's stream: chunks of a delta each; the arguments of a call come in pieces under its index.

USAGE: Fields = {"prompt_tokens": 7, "completion_tokens": 11, "total_tokens": 18}


def chunk(delta: Fields, finish: str | None = None) -> Fields:
    """One chunk."""
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": "gpt-test",
        "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}],
    }


def text_chunks(*pieces: str) -> list[Fields]:
    """Text in pieces; the first chunk says who speaks."""
    return [chunk({"role": "assistant", "content": ""}), *(chunk({"content": piece}) for piece in pieces)]


def call_chunks(index: int, identifier: str, tool: str, *pieces: str) -> list[Fields]:
    """A call whose arguments come in pieces."""
    function = {"name": tool, "arguments": ""}
    begun = {"index": index, "id": identifier, "type": "function", "function": function}
    more = ({"index": index, "function": {"arguments": piece}} for piece in pieces)
    return [chunk({"tool_calls": [call]}) for call in (begun, *more)]


def finished(said: str) -> Fields:
    """Why it ended; empty for no reason."""
    return chunk({}, said or None)


def usage() -> Fields:
    """The last chunk, without a choice."""
    return {**chunk({}), "choices": [], "usage": USAGE}


def chunks(*data: Fields, done: bool = True) -> bytes:
    """Server-sent events, as OpenAI sends them."""
    sent = b"".join(b"data: " + json.dumps(each).encode() + b"\n\n" for each in data)
    return sent + (b"data: [DONE]\n\n" if done else b"")


def _text_chunks(text: str | None) -> list[Fields]:
    return text_chunks(*halves(text or ""))


def _call_chunks(calls: Sequence[Fields]) -> list[Fields]:
    return [
        made
        for index, call in enumerate(calls)
        for made in call_chunks(index, call["id"], call["function"]["name"], *halves(call["function"]["arguments"]))
    ]


# Anthropic's stream: blocks that begin, go on and stop.


def begun(model: str = "claude-test") -> Fields:
    """The message begins."""
    message: Fields = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 7, "output_tokens": 1},
    }
    return {"type": "message_start", "message": message}


def block(index: int, start: Fields, *deltas: Fields) -> list[Fields]:
    """One block of content."""
    return [
        {"type": "content_block_start", "index": index, "content_block": start},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def ended(said: str | None) -> Fields:
    """Why it ended."""
    delta = {"stop_reason": said, "stop_sequence": None}
    return {"type": "message_delta", "delta": delta, "usage": {"output_tokens": 11}}


STOP: Fields = {"type": "message_stop"}


def whole(blocks: Sequence[Fields], said: str) -> list[Fields]:
    """The events of an answer with these blocks."""
    sent: list[Fields] = [begun()]
    for index, each in enumerate(blocks):
        if each["type"] == "text":
            deltas = [{"type": "text_delta", "text": piece} for piece in halves(each["text"])]
            sent += block(index, {"type": "text", "text": ""}, *deltas)
        else:
            pieces = halves(json.dumps(each["input"], ensure_ascii=False))
            deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
            sent += block(index, {**each, "input": {}}, *deltas)
    return [*sent, ended(said or None), STOP]


def events(*data: Fields) -> bytes:
    """Server-sent events, as Anthropic names them."""
    sent = (f"event: {each['type']}\ndata: {json.dumps(each)}\n\n" for each in data)
    return b"".join(each.encode("utf-8", "replace") for each in sent)
