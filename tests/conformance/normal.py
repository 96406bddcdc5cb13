"""One form for what three JSON libraries write: snake case, numbers as numbers, defaults left out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

# Their keys, or all that is in them, are words of whoever uses the service.
_MAPS = {"labels", "metadata", "limits"}
_FOREIGN = {"arguments", "schema"}
_BYTES = {"data", "hash", "previous_hash", "ca_pem", "parameters_json", "parameters_schema_json", "head_hash"}
_WIDE = {
    *("seq", "position", "last_seq", "size", "barrier_seq", "input_tokens", "output_tokens"),
    *("offset", "from_offset", "to_offset", "bytes"),
}
# Messages without fields: that they are there is all they say.
_EMPTY = {"bookmark", "turn_completed", "all"}
_UNSPECIFIED = re.compile(r"[A-Z_]+_UNSPECIFIED")
_HUMP = re.compile(r"(?<=[a-z0-9])([A-Z])")


def snake(name: str) -> str:
    """`lastCursor` as `last_cursor`."""
    return _HUMP.sub(lambda found: "_" + found[1].lower(), name)


def normal(value: Any, key: str = "") -> Any:
    """The value in the one form."""
    if key in _FOREIGN:
        return value
    if isinstance(value, Mapping):
        inner = {}
        for name, held in value.items():
            known = name if key in _MAPS else snake(name)
            tidy = _number(held) if key == "limits" else normal(held, "" if key in _MAPS else known)
            if key in _MAPS or not is_default(tidy, known):
                inner[known] = tidy
        return inner
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [normal(held, key) for held in value]
    if isinstance(value, str) and key in _WIDE:
        return _number(value)
    if isinstance(value, str) and key in _BYTES:
        return value.replace("-", "+").replace("_", "/").rstrip("=")
    return value


def is_default(value: Any, key: str) -> bool:
    """True for what proto JSON may leave out as well as write."""
    if isinstance(value, Mapping):
        return not value and key not in _EMPTY
    if isinstance(value, str) and _UNSPECIFIED.fullmatch(value):
        return True
    return value is None or value in ("", 0, False) or value == []


def _number(value: Any) -> Any:
    return int(value) if isinstance(value, str) and re.fullmatch(r"-?\d+", value) else value


def events(frames: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The frames with durable events."""
    return [dict(frame) for frame in frames if "seq" in frame.get("event", {})]


_OWN = {  # what differs between two runs that did the same
    *("cursor", "position", "hash", "previous_hash", "time", "deadline", "not_before", "give_up_at"),
    *("trace_parent", "since", "address", "turn_id"),
}


def transcript(frames: Sequence[Mapping[str, Any]], run_id: str) -> list[dict[str, Any]]:
    """The durable events of one run with everything taken out that another run of the same request has otherwise."""
    return [_neutral(frame, run_id) for frame in events(frames)]


def _neutral(value: Any, run_id: str) -> Any:
    if isinstance(value, Mapping):
        return {key: f"<{key}>" if key in _OWN else _neutral(held, run_id) for key, held in value.items()}
    if isinstance(value, list):
        return [_neutral(held, run_id) for held in value]
    return value.replace(run_id, "<run>") if isinstance(value, str) else value
