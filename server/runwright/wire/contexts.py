"""Context ⇄ `runwright.v1.ContextAssembled`."""

from __future__ import annotations

from runwright._gen.runwright.v1 import event_pb2 as pb
from runwright.core.context import Context, Omission, OmittedRun, SessionTurn
from runwright.core.ids import RunId
from runwright.wire import values as v


def context(value: Context) -> pb.ContextAssembled:
    """core → proto."""
    return pb.ContextAssembled(
        included=[
            pb.SessionTurn(
                run_id=turn.run_id,
                turn_id=turn.turn_id,
                input=[v.content_ref(ref) for ref in turn.input],
                answer=v.content_ref(turn.answer),
                bytes=turn.bytes,
            )
            for turn in value.included
        ],
        omitted=[
            pb.OmittedRun(run_id=run.run_id, why=pb.ContextOmission.ValueType(run.why.value)) for run in value.omitted
        ],
        omitted_count=value.omitted_count,
        has_older=value.has_older,
    )


def to_context(message: pb.ContextAssembled) -> Context:
    """proto → core."""
    return Context(
        included=tuple(
            SessionTurn(
                RunId(turn.run_id),
                turn.turn_id,
                tuple(v.to_content_ref(ref) for ref in turn.input),
                v.to_content_ref(turn.answer),
            )
            for turn in message.included
        ),
        omitted=tuple(OmittedRun(RunId(run.run_id), Omission(run.why)) for run in message.omitted),
        omitted_count=message.omitted_count,
        has_older=message.has_older,
    )
