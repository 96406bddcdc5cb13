"""What an executor answered: bytes → outcome. They are a stranger's, and may be anything."""

from __future__ import annotations

from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet

from runwright._gen.runwright.callback.v1 import tool_executor_service_pb2 as pb
from runwright.ports.tools import ToolOutcome, ToolOutcomeKind

_OUTCOMES = frozenset(field.number for field in pb.ExecuteToolResponse.DESCRIPTOR.oneofs_by_name["outcome"].fields)


def read_answer(data: bytes) -> ToolOutcome:
    """The one outcome that the bytes hold; UNREADABLE when they do not parse, or hold none or several."""
    try:
        response = pb.ExecuteToolResponse.FromString(data)
        outcomes = _outcomes(data)
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


def _outcomes(data: bytes) -> int:
    """How many outcomes the bytes hold: a parsed message keeps the last one only, as if it had been alone.

    To a message without fields all of them are unknown fields, one for each time they occur.
    """
    fields = UnknownFieldSet(Empty.FromString(data))
    return sum(fields[index].field_number in _OUTCOMES for index in range(len(fields)))
