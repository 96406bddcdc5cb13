"""What a vendor needs back of its own answer: collected as it comes, kept as it stands, put into the next request.

Vendors that think refuse the results of a call, or think worse, when what they
thought before it is missing or changed. Nobody else can use it, and some refuse
it, so it goes back to where it came from and nowhere else.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence

from pydantic import JsonValue

from runwright.adapters.providers import model_values as v
from runwright.adapters.providers.model_values import Fields
from runwright.ports.provider import MAX_OPAQUE_BYTES

# Fields beside those that are read: the thoughts of DeepSeek, Moonshot, Z.ai, vLLM, Ollama (`reasoning_content`,
# `reasoning`), OpenRouter (`reasoning_details`) and LiteLLM (`thinking_blocks`, `provider_specific_fields`), and the
# signatures of Gemini (`extra_content`) and of others. What else a vendor adds is for people, and some refuse it back.
_NEEDED = re.compile(r"reasoning|think|thought|signature|encrypted|opaque|^extra_content$|^provider_specific_fields$")
# Texts that come as a whole, maybe more than once; any other one comes in pieces.
_NOT_IN_PIECES = re.compile(r"signature|encrypted|opaque|data|type|format|role|name|(^|_)id$")
_MAX_DEPTH = 32
_OPEN_ITEMS = 64  # the last ones; whoever goes on with an earlier one begins it anew
_ITEM_BYTES = 8  # of a name, a bracket, a comma


def is_needed(name: str) -> bool:
    """True for a field, or a kind of part, that goes back."""
    return _NEEDED.search(name.lower()) is not None


class Collected:
    """Fields that go back, in whatever pieces they come. Beyond the bound it takes no more, and stays beyond it."""

    def __init__(self) -> None:
        self._held: dict[str, object] = {}
        self._size = 0

    def take(self, fields: Fields) -> None:
        """Takes from an object, or from a piece of it, what is needed back."""
        retained = {
            name: each for name, each in fields.items() if isinstance(each, str | list | dict) and is_needed(name)
        }
        self.add(v.fields(retained))

    def add(self, fields: Fields) -> None:
        """Adds all of an object, or of a piece of it."""
        if fields and self._size <= MAX_OPAQUE_BYTES:
            self._size += _size(fields)
            if self._size <= MAX_OPAQUE_BYTES:
                _merge(self._held, fields)

    @property
    def is_too_large(self) -> bool:
        """True when something was left out."""
        return self._size > MAX_OPAQUE_BYTES

    def fields(self) -> Fields:
        """What is held."""
        return v.fields(_plain(self._held))


class _Pieces(list[str]):
    """A text in pieces, joined once."""


def _merge(held: dict[str, object], fields: Fields) -> None:
    for name, value in fields.items():
        if value is not None:
            held[name] = _merged(name, held.get(name), value)


def _merged(name: str, held: object, value: JsonValue) -> object:
    match held, value:
        case _Pieces(), str():
            if _NOT_IN_PIECES.search(name):
                return _Pieces([value]) if value else held
            held.append(value)
            return held
        case dict(), dict():
            _merge(held, value)
            return held
        case list(), list() if not isinstance(held, _Pieces):
            _merge_items(held, value)
            return held
        case _:
            return _building(value)


def _building(value: JsonValue) -> object:
    """A value to which more can be added."""
    match value:
        case str():
            return _Pieces([value])
        case dict():
            return {name: _building(inner) for name, inner in value.items()}
        case list():
            return [_building(inner) for inner in value]
        case _:
            return value


def _merge_items(held: list[object], fields: Sequence[JsonValue]) -> None:
    """Adds the items of one piece; each goes on with one of an earlier piece, or is another one."""
    earlier = len(held)
    for item in fields:
        known = _continued(held, earlier, item)
        if known is not None and isinstance(item, dict):
            _merge(known, item)
        else:
            held.append(_building(item))


def _continued(held: list[object], earlier: int, item: JsonValue) -> dict[str, object] | None:
    """The item that this one goes on with: of the same index, or the last one if they have none."""
    if not isinstance(item, dict):
        return None
    index = item.get("index")
    last = held[-1:] if len(held) == earlier else []
    for known in last if index is None else held[max(0, earlier - _OPEN_ITEMS) : earlier][::-1]:
        if isinstance(known, dict) and known.get("index") == index and _is_alike(known, item):
            is_closed = index is None and bool(_plain(known.get("signature")))
            return None if is_closed else known
    return None


def _is_alike(known: dict[str, object], item: Fields) -> bool:
    return all(item.get(name) in (None, _plain(known.get(name))) for name in ("type", "id"))


def _plain(held: object) -> JsonValue:
    match held:
        case _Pieces():
            return v.whole("".join(held))
        case dict():
            return {v.whole(str(name)): _plain(inner) for name, inner in held.items()}
        case list():
            return [_plain(inner) for inner in held]
        case float():
            return held if math.isfinite(held) else None  # JSON has no other numbers
        case None | bool() | int():
            return held
        case _:
            return None


def _size(value: JsonValue) -> int:
    """Roughly its bytes as JSON; beyond every bound when it is nested too deep. Without recursion."""
    size, level = 0, [value]
    for _ in range(_MAX_DEPTH):
        if not level:
            return size
        size += sum(_ITEM_BYTES + (len(each) if isinstance(each, str) else 0) for each in level)
        level = [inner for each in level for inner in _inner(each)]
    return size if not level else 2 * MAX_OPAQUE_BYTES


def _inner(value: JsonValue) -> Iterator[JsonValue]:
    match value:
        case dict():
            yield from value
            yield from value.values()
        case list():
            yield from value
        case _:
            pass


def dump(kind: str, parts: Fields) -> bytes:
    """The parts of one answer of that kind of vendor, to be kept; empty for none."""
    return json.dumps({"kind": kind, "parts": parts}).encode() if parts else b""


def load(kind: str, retained: bytes) -> Fields:
    """The parts that were kept; none of them if another kind of vendor gave them: a server may be told of another."""
    try:
        found = v.fields(json.loads(retained or b"{}"))
    except (ValueError, RecursionError):
        return {}
    return v.fields(found.get("parts")) if found.get("kind") == kind else {}


def put_back(message: Fields, parts: Fields) -> None:
    """Adds the parts that came with an answer to the message that tells of it. What is told otherwise stays."""
    _add(message, v.fields(parts.get("message")))
    for call, retained in zip(v.items(message.get("tool_calls")), v.items(parts.get("calls")), strict=False):
        _add(v.fields(call), v.fields(retained))
    said = v.text(message.get("content"))
    if tagged := v.text(parts.get("tagged")):
        message["content"] = said = f"<think>{tagged}</think>\n\n{said}"
    if before := v.items(parts.get("before")):
        text: list[JsonValue] = [{"type": "text", "text": said}] if said else []
        message["content"] = [*before, *text]


def _add(fields: Fields, more: Fields) -> None:
    for name, value in more.items():
        fields.setdefault(name, value)
