"""RunState ⇄ the snapshot row: private, bounded, rewritten by every append, rebuilt from events if need be."""

from __future__ import annotations

from msgspec import DecodeError
from msgspec.json import Decoder, Encoder

from runwright.core.state import RunState

_ENCODER = Encoder()
_DECODER = Decoder(RunState)


def encode_state(state: RunState) -> bytes:
    """The row's bytes."""
    return _ENCODER.encode(state)


def decode_state(data: bytes) -> RunState | None:
    """The state, or None when the row was written by another version: then events are folded anew.

    A row that says more or less than this version would is not trusted: a
    default in place of a fact could repeat an effect.
    """
    try:
        state = _DECODER.decode(data)
    except DecodeError:
        return None
    return state if encode_state(state) == data else None
