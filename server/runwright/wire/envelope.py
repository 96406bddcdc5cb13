"""Whether stored bytes are the event that the columns beside them say: a look at the envelope, without decoding it."""

from __future__ import annotations

from functools import lru_cache

from google.protobuf.message import DecodeError

from runwright._gen.runwright.v1 import event_pb2 as pb
from runwright.core.ids import RunId, event_id

# Fields are stored in the order of their numbers: seq 1, event_id 2, kind 3, time 5, run_id 6, session_id 7, turn_id 8,
# agent_id 9. These are their tags.
_SEQ, _EVENT_ID, _KIND = b"\x08", b"\x12", b"\x18"
_RUN_ID, _SESSION_ID, _TURN_ID, _AGENT_ID = b"2", b":", b"B", b"J"


class Envelope:
    """What is the same in every event of a run."""

    def __init__(self, run_id: RunId, session_id: str, agent_id: str) -> None:
        self._of = (run_id, session_id, agent_id)
        session = _SESSION_ID + _text(session_id) if session_id else b""
        self._run = _RUN_ID + _text(run_id) + session + _TURN_ID
        self._agent = _AGENT_ID + _text(agent_id)

    def holds(self, data: bytes, seq: int, kind: int) -> bool:
        """True for bytes of the run's event with this number and kind."""
        begins = _SEQ + _varint(seq) + _EVENT_ID + _text(event_id(self._of[0], seq)) + _KIND + _varint(kind)
        return (data.startswith(begins) and self._run in data and self._agent in data) or self._decoded(data, seq, kind)

    def _decoded(self, data: bytes, seq: int, kind: int) -> bool:
        """The same by decoding, for bytes that say it in another order."""
        try:
            event = pb.Event.FromString(data)
        except DecodeError:
            return False
        same = (event.run_id, event.session_id, event.agent_id) == self._of
        return same and (event.seq, event.kind) == (seq, kind) and event.event_id == event_id(self._of[0], seq)


@lru_cache(maxsize=1024)
def envelope(run_id: RunId, session_id: str, agent_id: str) -> Envelope:
    """The envelope of a run's events; a page asks for few of them, many times."""
    return Envelope(run_id, session_id, agent_id)


def _text(value: str) -> bytes:
    encoded = value.encode()
    return _varint(len(encoded)) + encoded


def _varint(number: int) -> bytes:
    if 0 <= number < 128:
        return bytes((number,))
    encoded = bytearray()
    number &= 2**64 - 1
    while number > 127:
        encoded.append(number & 127 | 128)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)
