"""Answers in Anthropic's format, as any server may send them, in the one form that is read: whole or as a stream."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec import Struct, field
from pydantic import JsonValue

from runwright.adapters.providers import model_values as v
from runwright.adapters.providers.answer_bounds import TOO_MANY_CALLS, BrokenAnswerError
from runwright.adapters.providers.model_thoughts import Thoughts
from runwright.adapters.providers.model_values import Fields
from runwright.ports.provider import MAX_CALLS

_COUNTED = ("input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
MAX_BLOCKS = 4 * MAX_CALLS  # thoughts and texts between calls
# For each kind of block that is read: the kind of its delta, and the field that both call their piece.
_DELTAS = {
    "text": ("text_delta", "text"),
    "thinking": ("thinking_delta", "thinking"),
    "tool_use": ("input_json_delta", "partial_json"),
}
_SIGNED = ("thinking", "redacted_thinking")


def is_answer(body: Fields) -> bool:
    """True for an answer; an error may come with status 200."""
    return body.get("type") != "error" and isinstance(body.get("content"), list | str)


def pieces(body: Fields) -> list[Fields]:
    """An answer in one piece as the events that it could have been sent in."""
    opened: list[Fields] = [
        {"type": "content_block_start", "index": number, "content_block": block}
        for number, block in enumerate(_blocks(body))
    ]
    ended: Fields = {"type": "message_delta", "delta": {"stop_reason": body.get("stop_reason")}}
    return [{"type": "message_start", "message": body}, *opened, ended]


class Stream:
    """Events of one answer, made plain one after the other."""

    def __init__(self) -> None:
        self._head: Fields | None = None
        self._usage: Fields = dict.fromkeys(_COUNTED, 0)
        self._stop = ""
        self._blocks: dict[object, _Block] = {}

    def add(self, event: Fields) -> Iterator[Fields]:
        """The events that one of the vendor's becomes."""
        kind, index = event.get("type"), event.get("index")
        key = index if isinstance(index, int | str) else len(self._blocks)
        match kind:
            case "message_start":
                yield from self._begin(v.fields(event.get("message")))
            case "content_block_start":
                yield from self._open(key, v.fields(event.get("content_block")))
            case "content_block_delta":
                yield from self._delta(key, v.fields(event.get("delta")))
            case "message_delta":
                self._count(v.fields(event.get("usage")))
                self._stop = v.text(v.fields(event.get("delta")).get("stop_reason")) or self._stop
            case _:
                pass  # pings, ends of blocks, and what does not exist yet

    def end(self) -> Iterator[Fields]:
        """What was held back, why the answer ended, and what it cost."""
        yield from self._begin({})
        for block in self._blocks.values():
            yield from block.say(block.finish())
            yield {"type": "content_block_stop", "index": block.number}
        delta: Fields = {"stop_reason": self._stop or None, "stop_sequence": None}
        yield {"type": "message_delta", "delta": delta, "usage": dict(self._usage)}
        yield {"type": "message_stop"}

    def whole(self, body: Fields) -> Fields:
        """An answer in one piece, in our form. It goes the way of a stream, so that both are taken alike."""
        for piece in pieces(body):
            for _ in self.add(piece):
                pass  # what was said is kept
        for _ in self.end():
            pass
        content: list[JsonValue] = [block.whole() for block in self._blocks.values()]
        return {**(self._head or {}), "content": content, "stop_reason": self._stop or None, "usage": self._usage}

    def opaque(self) -> Fields | None:
        """What goes back: thoughts with their signature, as they stand among the texts and the calls.

        A thought without a signature is for people; its vendor refuses it.
        """
        blocks: list[JsonValue] = [retained for block in self._blocks.values() if (retained := block.retained())]
        return {"blocks": blocks} if any(v.fields(each).get("type") in _SIGNED for each in blocks) else {}

    def _begin(self, message: Fields) -> Iterator[Fields]:
        self._count(v.fields(message.get("usage")))
        if self._head is not None:
            return
        sent: Fields = {"id": v.text(message.get("id")), "model": v.text(message.get("model"))}
        self._head = {**sent, "type": "message", "role": "assistant", "stop_sequence": None}
        begun: Fields = {**self._head, "content": [], "stop_reason": None, "usage": dict(self._usage)}
        yield {"type": "message_start", "message": begun}

    def _open(self, key: object, fields: Fields) -> Iterator[Fields]:
        yield from self._begin({})
        if fields.get("type") not in (*_DELTAS, "redacted_thinking") or key in self._blocks:
            return
        if len(self._blocks) == MAX_BLOCKS:
            raise BrokenAnswerError(TOO_MANY_CALLS)
        for earlier in self._blocks.values():
            if earlier.kind == "text":  # what it held back comes before what follows
                yield from earlier.say(earlier.finish())
        block = self._blocks[key] = _Block(len(self._blocks), fields)
        yield {"type": "content_block_start", "index": block.number, "content_block": block.begun()}
        yield from block.say(block.add(block.first()))

    def _delta(self, key: object, delta: Fields) -> Iterator[Fields]:
        for kind, (name, piece) in _DELTAS.items():
            if delta.get("type") == name:
                if key not in self._blocks:
                    yield from self._open(key, {"type": kind})
                block = self._blocks[key]
                if block.kind == kind:
                    said = delta.get(piece)
                    yield from block.say(block.add(said if isinstance(said, str) else v.text(said)))
        if delta.get("type") == "signature_delta" and key in self._blocks:
            block = self._blocks[key]
            signature = v.text(delta.get("signature"))
            block.signature += signature
            sent: Fields = {"type": "signature_delta", "signature": signature}
            yield {"type": "content_block_delta", "index": block.number, "delta": sent}

    def _count(self, usage: Fields) -> None:
        for name in _COUNTED:
            self._usage[name] = v.count(usage.get(name)) or self._usage[name]


class _Block(Struct, eq=False):
    """One block of an answer under construction."""

    number: int
    fields: Fields
    said: str = ""
    signature: str = ""
    pieces: v.Pieces = field(default_factory=v.Pieces)
    thoughts: Thoughts = field(default_factory=Thoughts)

    @property
    def kind(self) -> str:
        return v.text(self.fields.get("type"))

    def begun(self) -> Fields:
        """How the block begins; what it begins with comes as its first delta."""
        match self.kind:
            case "tool_use":
                # The library would make up an id of its own, another one each time.
                identifier = v.text(self.fields.get("id")) or f"call_{self.number + 1}"
                return {"type": "tool_use", "id": identifier, "name": v.text(self.fields.get("name")), "input": {}}
            case "thinking":
                self.signature = v.text(self.fields.get("signature"))
                return {"type": "thinking", "thinking": "", "signature": self.signature}
            case "redacted_thinking":
                return {"type": "redacted_thinking", "data": v.text(self.fields.get("data"))}
            case _:
                return {"type": "text", "text": "", "citations": None}

    def first(self) -> str:
        """What the vendor sent with the beginning."""
        if self.kind == "tool_use":
            made = self.fields.get("input")
            return v.arguments(made) if made not in ({}, "") else ""
        said = self.fields.get(self.kind)
        return said if isinstance(said, str) else v.text(said)

    def add(self, piece: str) -> str:
        """What can be told after one more piece."""
        sent = self.pieces.add(piece)
        return self.thoughts.add(sent)[1] if self.kind == "text" else sent

    def finish(self) -> str:
        """What is left."""
        sent = self.pieces.end()
        if self.kind == "tool_use" and not (self.said or sent):
            return "{}"
        return self.thoughts.add(sent)[1] + self.thoughts.end()[1] if self.kind == "text" else sent

    def say(self, sent: str) -> Iterator[Fields]:
        """The delta that tells it, if there is anything."""
        if sent:
            self.said += sent
            name, piece = _DELTAS[self.kind]
            yield {"type": "content_block_delta", "index": self.number, "delta": {"type": name, piece: sent}}

    def retained(self) -> Fields | None:
        """The block as it goes back; of a text its length, of a call its place, since both are kept elsewhere."""
        match self.kind:
            case "text":
                return {"type": "text", "characters": len(self.said)}
            case "tool_use":
                return {"type": "tool_use"}
            case "redacted_thinking":
                return self.begun() if self.begun()["data"] else None
            case _:
                return self.whole() if self.signature else None

    def whole(self) -> Fields:
        """The block in one piece."""
        match self.kind:
            case "tool_use":
                return {**self.begun(), "input": self.said or {}}
            case "thinking":
                return {"type": "thinking", "thinking": self.said, "signature": self.signature}
            case "redacted_thinking":
                return self.begun()
            case _:
                return {"type": "text", "text": self.said, "citations": None}


def _blocks(body: Fields) -> Sequence[Fields]:
    """The blocks of an answer; some servers send one text instead."""
    content = body.get("content")
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [
        {"type": "text", "text": block} if isinstance(block, str) else v.fields(block) for block in v.items(content)
    ]
