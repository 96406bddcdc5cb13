"""The texts that people read, out of the messages that hold them."""

from __future__ import annotations

from ._gen.runwright.v1 import Event, EventFrame, RunSnapshot


def result_text(run: RunSnapshot) -> str | None:
    """The answer of a run; None while there is none, or when it is no text or too large to be inline."""
    return run.result.text if run.result is not None else None


def tool_text(frame: EventFrame) -> str | None:
    """What the model is told by a tool: the result of TOOL_COMPLETED, the words of TOOL_FAILED.

    None for another frame, one that was not asked for with EventView.FULL, and
    for what is no text or above 64 KiB.
    """
    event = frame.event
    if event is None:
        return None
    completed, failed = event.tool_completed, event.tool_failed
    message = completed.result if completed is not None else failed.message if failed is not None else None
    if message is None:
        return None
    held = (content for content in frame.contents if content.ref is not None and content.ref.digest == message.digest)
    return next((content.text for content in held), None)


def delta_text(item: Event | EventFrame) -> str | None:
    """The piece of a model's text that an event of kind MODEL_STREAM_DELTA holds; None for any other.

    `event.model_stream_delta.offset` says where it belongs: at 0 the text begins anew.
    """
    event = item.event if isinstance(item, EventFrame) else item
    delta = event.model_stream_delta if event is not None else None
    return delta.text if delta is not None else None
