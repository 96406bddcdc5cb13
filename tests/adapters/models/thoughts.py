"""Answers of models that think, with the parts that their vendor needs back: streamed in pieces, and whole."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from tests.adapters.models.fake_vendor import Answer, Fields
from tests.adapters.models.wires import (
    STOP,
    Call,
    Wire,
    begun,
    block,
    call_chunks,
    chunk,
    chunks,
    ended,
    events,
    finished,
    halves,
    text_chunks,
    usage,
)


def openai_thinks(message: list[Fields], calls: Sequence[Call], *, text: str | None = None, **own: Fields) -> Answer:
    """An answer of an OpenAI-style server. `message` are its own fields as pieces, `own` those of calls by their id.

    In one piece it has them put together by `joined`.
    """
    made: list[Fields] = []
    sent = [chunk(piece) for piece in message] + text_chunks(*halves(text or ""))
    for index, (identifier, tool, arguments) in enumerate(calls):
        begun_call, *rest = call_chunks(index, identifier, tool, *halves(arguments))
        begun_call["choices"][0]["delta"]["tool_calls"][0].update(own.get(identifier, {}))
        sent += [begun_call, *rest]
        function = {"name": tool, "arguments": arguments}
        made.append({"id": identifier, "type": "function", "function": function, **own.get(identifier, {})})
    whole = {"role": "assistant", "content": text, "tool_calls": made, **joined(message)}
    body = {"id": "x", "choices": [{"index": 0, "message": whole, "finish_reason": "tool_calls"}]}
    return Answer(body, stream=chunks(*sent, finished("tool_calls"), usage()), is_retained=True)


def joined(pieces: Sequence[Fields]) -> Fields:
    """Pieces of a message as they mean it: texts one after the other, items of a list by their index."""
    found: Fields = {}
    for piece in copy.deepcopy(list(pieces)):
        for name, value in piece.items():
            if isinstance(value, list):
                items = found.setdefault(name, [])
                for item in value:
                    known = next((each for each in items if each["index"] == item["index"]), None)
                    message = {key: new for key, new in item.items() if new is not None}
                    if known is None:
                        items.append(message)
                    else:
                        known.update({**message, "text": known["text"] + item["text"]})
            else:
                found[name] = found.get(name, "") + value
    return found


def anthropic_thinks(*blocks: Fields) -> Answer:
    """An answer of an Anthropic-style server made of these blocks."""
    sent: list[Fields] = [begun()]
    for index, each in enumerate(blocks):
        sent += block(index, *_pieces(each))
    body = {**begun()["message"], "content": list(blocks), "stop_reason": "tool_use"}
    return Answer(body, stream=events(*sent, ended("tool_use"), STOP), is_retained=True)


def _pieces(value: Fields) -> list[Fields]:
    match value["type"]:
        case "thinking":
            message = [{"type": "thinking_delta", "thinking": piece} for piece in halves(value["thinking"])]
            signed = {"type": "signature_delta", "signature": value["signature"]}
            return [{"type": "thinking", "thinking": "", "signature": ""}, *message, signed]
        case "text":
            return [{"type": "text", "text": ""}, *({"type": "text_delta", "text": x} for x in halves(value["text"]))]
        case _:
            return [value]


def thinks(wire: Wire, number: int, calls: Sequence[Call], text: str | None = None) -> Answer:
    """An answer with calls and thoughts that no other number has."""
    if wire.kind == "openai":
        signed: Fields = {calls[0][0]: {"extra_content": {"google": {"thought_signature": f"sig-{number}"}}}}
        pieces: list[Fields] = [{"reasoning_content": "so "}, {"reasoning_content": f"I think {number}"}]
        return openai_thinks(pieces, calls, text=text, **signed)
    said = [{"type": "text", "text": text}] if text else []
    made: list[Fields] = [{"type": "tool_use", "id": each, "name": tool, "input": value} for each, tool, value in calls]
    thought = {"type": "thinking", "thinking": f"I think {number}", "signature": f"sig-{number}"}
    hidden = {"type": "redacted_thinking", "data": f"hidden-{number}"}
    return anthropic_thinks(thought, *said, made[0], hidden, *made[1:])
