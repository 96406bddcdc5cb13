"""What the two vendors need back: parts of their own answers, unchanged and in place, and nobody else's."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

Fields = dict[str, Any]
# What is said, by what is told of it elsewhere; all other fields of a message or of a call are the vendor's own.
_MESSAGE = {"role", "content", "tool_calls", "refusal"}
_CALL = {"id", "type", "function", "index"}
_SIGNED = ("thinking", "redacted_thinking")


class Echoes:
    """The answers of one model that have such parts, by the ids of their calls."""

    def __init__(self) -> None:
        self._openai: dict[str, list[Fields]] = {}
        self._anthropic: dict[str, list[list[Fields]]] = {}
        self._signed: list[Fields] = []
        self._own: list[Fields] = []

    def answered(self, kind: str, body: Any) -> None:
        """Notes an answer."""
        if kind == "openai":
            message = body["choices"][0]["message"]
            calls = message.get("tool_calls") or []
            self._own.append(_own(message, calls))
            for call in calls:
                self._openai.setdefault(call["id"], []).append(_own(message, calls))
        else:
            blocks = _order(body["content"])
            self._signed += [block for block in blocks if block["type"] in _SIGNED]
            for block in body["content"]:
                if block["type"] == "tool_use":
                    self._anthropic.setdefault(block["id"], []).append(blocks)

    def problems(self, kind: str, body: Fields) -> Iterator[str]:
        """What is missing or changed in a request, and what is not this vendor's."""
        for index, message in enumerate(body.get("messages", [])):
            if message.get("role") == "assistant":
                where = f"messages[{index}]"
                yield from self._in_openai(where, message) if kind == "openai" else self._in_anthropic(where, message)

    def _in_openai(self, where: str, message: Fields) -> Iterator[str]:
        calls = message.get("tool_calls") or []
        found = _own(message, calls)
        known = [own for call in calls for own in self._openai.get(call["id"], [])]
        if found and found not in self._own:
            yield f"{where}: {json.dumps(found)} is not what came with these calls"
        elif known and not found and all(known):
            yield f"{where}: what came with these calls is missing: {json.dumps(known[0])}"

    def _in_anthropic(self, where: str, message: Fields) -> Iterator[str]:
        blocks: Sequence[Fields] = [] if isinstance(message["content"], str) else message["content"]
        signed = [block for block in blocks if block["type"] in _SIGNED]
        if any(block not in self._signed for block in signed):
            yield f"{where}: invalid signature in thinking block"
        ids = [block["id"] for block in blocks if block["type"] == "tool_use"]
        known = [sent for each in ids for sent in self._anthropic.get(each, [])]
        is_bound = bool(known) and all(any(block["type"] in _SIGNED for block in sent) for sent in known)
        if is_bound and _order(blocks) not in known:
            yield f"{where}: thinking blocks cannot be left out, moved or modified: {json.dumps(known[0])}"


def _own(message: Fields, calls: Sequence[Fields]) -> Fields:
    """The vendor's own fields of a message and its calls."""
    own = {name: value for name, value in message.items() if name not in _MESSAGE and value not in (None, "")}
    ours = [{name: value for name, value in call.items() if name not in _CALL} for call in calls]
    return {**own, **({"calls": ours} if any(ours) else {})}


def _order(blocks: Sequence[Fields]) -> list[Fields]:
    """Thoughts and calls as they follow one another; texts may have been blank, which no vendor takes back."""
    message = [block for block in blocks if block["type"] != "text"]
    return [block if block["type"] in _SIGNED else {"type": block["type"]} for block in message]
