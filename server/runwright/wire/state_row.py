"""RunState ⇄ the state in a run's row, as every version wrote it: private, bounded, rebuilt from events if need be.

What stands in a row of another version must be exactly what this one would say of the run, or it is not taken: a
default in place of a fact could repeat an effect. So a field that is added either

- has a default that is true of every run that was begun before there was such a field: it is named in ADDED, and rows
  without it are taken with that default; or
- has not: then VERSION rises, and a function here makes the new form of the old one, or returns None for what only the
  events can tell.

A row of an older version is written anew when it is first read, also that of a run that has ended.

Version 3 says by which calls a tainted run is tainted; of one that was tainted before only the events can tell.
"""

from __future__ import annotations

from typing import Any

from msgspec import DecodeError
from msgspec.json import Decoder, Encoder

from runwright.core.outcomes import RunPhase
from runwright.core.policy import PolicyStage
from runwright.core.state import RunState

VERSION = 3
# Fields that are younger than this version, by their path in the row, as in `usage.cost` or `calls.approval`.
ADDED: frozenset[str] = frozenset()
# The same of version 2, all that came with version 3 among them.
_ADDED_TO_2: frozenset[str] = frozenset(
    {
        *("principal_roles", "tainted", "policy_failure", "walk", "cached_answers", "input", "approval", "dispatches"),
        *("calls.policy", "calls.policy.outcome", "calls.policy.walk", "calls.reconciling", "calls.approval"),
        *("calls.approval.delegates", "calls.approval.delegations", "calls.approval.delegated_set"),
        *("calls.approval.grant_id", "taint"),
    }
)
_ENCODER = Encoder()
_DECODER = Decoder(RunState)
_ANY = Decoder()


def encode_state(state: RunState) -> bytes:
    """The state's bytes in a row of the present version."""
    return _ENCODER.encode(state)


def decode_state(data: bytes, version: int = VERSION) -> RunState | None:
    """The state of a row of that version; None when it must be folded anew."""
    match version:
        case 3:
            return _decoded(data, ADDED)
        case 2:
            return _before_taint_was_named(data)
        case 1:
            return _before_taint_was_named(_from_version_1(data))
        case _:
            return None


def _before_taint_was_named(data: bytes) -> RunState | None:
    state = _decoded(data, _ADDED_TO_2)
    return None if state is None or state.tainted else state


def _decoded(data: bytes, added: frozenset[str]) -> RunState | None:
    try:
        state = _DECODER.decode(data)
    except DecodeError:
        return None
    own = encode_state(state)
    return state if own == data or _says_the_same(_ANY.decode(data), _ANY.decode(own), added, "") else None


def _says_the_same(said: Any, own: Any, added: frozenset[str], path: str) -> bool:
    """True when what a row says is what this version would, but for fields that were added since."""
    if isinstance(said, dict) and isinstance(own, dict):
        missing = {f"{path}{name}" for name in own.keys() - said.keys()}
        return missing <= added and all(
            name in own and _says_the_same(value, own[name], added, f"{path}{name}.") for name, value in said.items()
        )
    if isinstance(said, list) and isinstance(own, list):
        return len(said) == len(own) and all(
            _says_the_same(one, other, added, path) for one, other in zip(said, own, strict=True)
        )
    return type(said) is type(own) and bool(said == own)


def _from_version_1(data: bytes) -> bytes:
    """It said of each call whether it was allowed, not what it has passed, and named the model request otherwise.

    It had a phase of its own, 5, for a run with a call of unknown outcome: such a run is RUNNING.
    """
    try:
        row = _ANY.decode(data)
        row["phase"] = RunPhase(row["phase"]).value
        row["calls"] = [dict(_passed(*field) for field in call.items()) for call in row["calls"]]
        row["model_request"] = row.pop("asked")
    except (DecodeError, KeyError, TypeError, ValueError, AttributeError):
        return b""
    return _ENCODER.encode(row)


def _passed(name: str, value: object) -> tuple[str, object]:
    return ("passed", PolicyStage.PRE_TOOL.value if value else None) if name == "allowed" else (name, value)
