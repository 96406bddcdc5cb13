"""What an executor answered: bytes → outcome. They are a stranger's, and may be anything."""

from __future__ import annotations

from google.protobuf.message import DecodeError

from runwright._gen.runwright.callback.v1 import tool_executor_service_pb2 as pb
from runwright.ports.tools import ToolOutcome, ToolOutcomeKind

# Fields of an answer, those of newer hosts among them, that are looked at.
MOST_FIELDS = 64
_OUTCOMES = frozenset(field.number for field in pb.ExecuteToolResponse.DESCRIPTOR.oneofs_by_name["outcome"].fields)


def read_answer(data: bytes) -> ToolOutcome:
    """The one outcome that the bytes hold; UNREADABLE when they do not parse, or hold none or several."""
    try:
        response = pb.ExecuteToolResponse.FromString(data)
        outcomes = several_outcomes(data, _OUTCOMES)
    except DecodeError:
        return ToolOutcome(ToolOutcomeKind.UNREADABLE)
    if outcomes != 1:
        return ToolOutcome(ToolOutcomeKind.UNREADABLE)
    match response.WhichOneof("outcome"):
        case "result":
            return ToolOutcome(ToolOutcomeKind.RESULT, response.result.data, response.result.media_type)
        case "error":
            return ToolOutcome(ToolOutcomeKind.ERROR, response.error.message.encode())
        case "not_performed":
            return ToolOutcome(ToolOutcomeKind.NOT_SENT)
        case _:
            return ToolOutcome(ToolOutcomeKind.UNREADABLE)


def several_outcomes(data: bytes, numbers: frozenset[int]) -> int:
    """How many outcomes, by their field numbers, a message holds that parses. Parsed it keeps the last one only.

    Raises DecodeError when there are too many fields to look at: millions fit into an answer, and the loop stands.
    """
    at = found = 0
    for _ in range(MOST_FIELDS):
        if at >= len(data):
            return found
        tag, at = _varint(data, at)
        found += tag >> 3 in numbers
        match tag & 7:
            case 0:
                _, at = _varint(data, at)
            case 1:
                at += 8
            case 2:
                size, at = _varint(data, at)
                at += size
            case 5:
                at += 4
            case _:
                raise DecodeError  # a group: nobody sends these any more
    raise DecodeError


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """The number that begins there, and where it ends."""
    number = shift = 0
    while True:
        byte = data[at]
        number |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return number, at
