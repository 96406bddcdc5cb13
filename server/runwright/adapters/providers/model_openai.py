"""Answers in OpenAI's format, as any server may send them, in the one form that is read: whole or as a stream."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct, field
from pydantic import JsonValue

from runwright.adapters.providers import model_values as v
from runwright.adapters.providers.answer_bounds import TOO_MANY_CALLS, BrokenAnswerError
from runwright.adapters.providers.model_opaque import Collected, is_needed
from runwright.adapters.providers.model_thoughts import Thoughts
from runwright.adapters.providers.model_values import Fields
from runwright.ports.provider import MAX_CALLS

_THOUGHTS = ("reasoning_content", "reasoning", "thinking")


def is_answer(body: Fields) -> bool:
    """True for an answer; an error may come with status 200."""
    return bool(v.items(body.get("choices")))


def pieces(body: Fields) -> list[Fields]:
    """An answer in one piece as the chunks that it could have been sent in: one is enough."""
    choice = v.fields(_first(body.get("choices")))
    message = v.fields(choice.get("message") or choice.get("delta"))
    calls = v.items(message.get("tool_calls"))
    message = {**message, "tool_calls": [{**v.fields(call), "index": number} for number, call in enumerate(calls)]}
    return [{**body, "choices": [{**choice, "delta": message}]}]


class Stream:
    """Chunks of one answer, made plain one by one. Raises BrokenAnswerError for more calls than a reply holds."""

    def __init__(self) -> None:
        self._thoughts = Thoughts()
        self._text, self._refusal, self._thought = v.Pieces(), v.Pieces(), v.Pieces()
        self._calls: list[_Call] = []
        self._usage: Fields = {}
        self._finish = ""
        self._head: Fields = {"id": "", "created": 0, "model": ""}
        self._message, self._before = Collected(), Collected()
        self._tagged: list[str] = []

    def add(self, body: Fields) -> Iterator[Fields]:
        """The chunks that one of the vendor's becomes."""
        self._head = {
            "id": v.text(body.get("id")) or self._head["id"],
            "created": self._head["created"],
            "model": v.text(body.get("model")) or self._head["model"],
        }
        choice = v.fields(_first(body.get("choices")))
        usage = v.fields(body.get("usage") or choice.get("usage"))
        if usage:
            self._usage = _usage(usage)
        delta = v.fields(choice.get("delta") or choice.get("message"))
        yield from self._deltas(delta)
        # A model that refuses has said why it ended.
        refused = "content_filter" if v.text(delta.get("refusal")) else ""
        self._finish = v.text(choice.get("finish_reason")) or self._finish or refused

    def end(self) -> Iterator[Fields]:
        """What was held back, why the answer ended, and what it cost."""
        thought, text = self._thoughts.end()
        self._tagged.append(thought)
        yield from self._say(self._thought.add(thought) + self._thought.end(), self._text.add(text) + self._text.end())
        if refusal := self._refusal.end():
            yield self._chunk({"refusal": refusal})
        for index, call in enumerate(self._calls):
            if rest := call.pieces.end():
                call.made += rest
                yield self._chunk({"tool_calls": [{"index": index, "function": {"arguments": rest}}]})
        yield self._chunk({}, self._finish or None)
        if self._usage:
            yield {**self._chunk({}), "choices": [], "usage": self._usage}

    def whole(self, body: Fields) -> Fields:
        """An answer in one piece, in our form. It goes the way of a stream, so that both are taken alike."""
        made = [chunk for piece in pieces(body) for chunk in self.add(piece)]
        return self._collected([*made, *self.end()])

    def _collected(self, chunks: list[Fields]) -> Fields:
        said: dict[str, list[str]] = {"content": [], "reasoning_content": [], "refusal": []}
        for chunk in chunks:
            delta = v.fields(v.fields(_first(chunk["choices"])).get("delta"))
            for name, found in said.items():
                found.append(v.text(delta.get(name)))
        message: Fields = {"role": "assistant", **{name: "".join(found) or None for name, found in said.items()}}
        if self._calls:
            message["tool_calls"] = [call.whole() for call in self._calls]
        choice: Fields = {"index": 0, "message": message, "logprobs": None, "finish_reason": self._finish or None}
        return {**self._head, "object": "chat.completion", "choices": [choice], "usage": self._usage or None}

    def opaque(self) -> Fields | None:
        """What goes back: fields of the message, parts before its text, thoughts within it, fields of each call.

        None when it is more than is kept.
        """
        if any(each.is_too_large for each in (self._message, self._before, *(call.opaque for call in self._calls))):
            return None
        calls: list[JsonValue] = [call.opaque.fields() for call in self._calls]
        found: Fields = {
            "message": self._message.fields(),
            "before": self._before.fields().get("parts"),
            "tagged": "".join(self._tagged),
            "calls": calls if any(calls) else None,
        }
        return {name: value for name, value in found.items() if value}

    def _deltas(self, delta: Fields) -> Iterator[Fields]:
        self._message.take(delta)
        parts = [part for part in v.items(delta.get("content")) if is_needed(v.text(v.fields(part).get("type")))]
        self._before.add({"parts": parts} if parts else {})
        thought = next((said for name in _THOUGHTS if (said := _raw(delta.get(name)))), "")
        inside, text = self._thoughts.add(self._text.add(_raw(delta.get("content"))))
        self._tagged.append(inside)
        yield from self._say(self._thought.add(thought) + inside, text)
        if refusal := self._refusal.add(_raw(delta.get("refusal"))):
            yield self._chunk({"refusal": refusal})
        legacy = v.fields(delta.get("function_call"))
        calls = [*v.items(delta.get("tool_calls")), *([{"index": 0, "function": legacy}] if legacy else [])]
        for call in calls:
            yield from self._call(v.fields(call))

    def _say(self, thought: str, text: str) -> Iterator[Fields]:
        if thought:
            yield self._chunk({"reasoning_content": thought})
        if text:
            yield self._chunk({"content": text})

    def _call(self, fields: Fields) -> Iterator[Fields]:
        custom = v.fields(fields.get("custom"))
        function = v.fields(fields.get("function")) or custom or fields
        identifier, name = v.text(fields.get("id")), v.text(function.get("name"))
        call = self._known(fields.get("index"), identifier, name)
        is_new = call is None
        if call is None:
            if len(self._calls) == MAX_CALLS:
                raise BrokenAnswerError(TOO_MANY_CALLS)
            # The library would make up an id of its own, another one each time.
            named = identifier or f"call_{len(self._calls) + 1}"
            call = _Call(fields.get("index"), named, name)
            self._calls.append(call)
        call.opaque.take(fields)
        piece = call.pieces.add(v.arguments(function.get("arguments", custom.get("input"))))
        call.made += piece
        if is_new or piece:
            begun: Fields = {"id": call.identifier, "type": "function"} if is_new else {}
            function = {"name": call.name, "arguments": piece} if is_new else {"arguments": piece}
            index = next(number for number, each in enumerate(self._calls) if each is call)
            yield self._chunk({"tool_calls": [{"index": index, **begun, "function": function}]})

    def _known(self, index: object, identifier: str, name: str) -> _Call | None:
        """The call that a piece goes on with; None when it begins another one.

        Some servers leave the index out or give every call the same one; then
        a name, with an id of its own or none, begins a call.
        """
        alike = [call for call in self._calls if call.index == index]
        same = next((call for call in reversed(alike) if not identifier or call.identifier == identifier), None)
        if name and (same is None or same.name != name or index is None):
            return None
        return same or (alike[-1] if alike and not name else None)

    def _chunk(self, delta: Fields, finish: str | None = None) -> Fields:
        choice: Fields = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return {**self._head, "object": "chat.completion.chunk", "choices": [choice]}


class _Call(Struct, eq=False):
    """A call under construction."""

    index: object
    identifier: str
    name: str
    made: str = ""
    pieces: v.Pieces = field(default_factory=v.Pieces)
    opaque: Collected = field(default_factory=Collected)

    def whole(self) -> Fields:
        function: Fields = {"name": self.name, "arguments": self.made}
        return {"id": self.identifier, "type": "function", "function": function}


def _usage(fields: Fields) -> Fields:
    prompt = v.count(fields.get("prompt_tokens", fields.get("input_tokens")))
    answered = v.count(fields.get("completion_tokens", fields.get("output_tokens")))
    return {"prompt_tokens": prompt, "completion_tokens": answered, "total_tokens": prompt + answered}


def _first(value: object) -> object:
    found = v.items(value)
    return found[0] if found else None


def _raw(value: object) -> str:
    """A text with its surrogates as they are: the other half may come in the next piece."""
    return value if isinstance(value, str) else v.text(value)
