"""What the runner makes of frames that were read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.conformance.normal import transcript
from tests.conformance.stage import Stage


async def take_transcript(_: Stage, args: Mapping[str, Any]) -> Any:
    """The durable events of a run without what is its own."""
    return {"transcript": transcript(args["frames"], args["run_id"])}


async def join_lists(_: Stage, args: Mapping[str, Any]) -> Any:
    """Frames that were read one after the other, as one list."""
    return {"frames": [frame for part in args["parts"] for frame in part]}


async def put_together(_: Stage, args: Mapping[str, Any]) -> Any:
    """The text of one model attempt out of its pieces, and whether the message begins with it."""
    text = b""
    is_in_order = True
    for frame in args["frames"]:
        event = frame.get("event", {})
        delta = event.get("model_stream_delta")
        if delta and (event["effect_id"], event["attempt"]) == (args["effect_id"], args["attempt"]):
            at = delta.get("offset", 0)
            text = b"" if at == 0 else text
            is_in_order = is_in_order and at == len(text) and "position" not in frame and frame["sub_sequence"] > 0
            text += delta["text"].encode()
    return {"is_in_order": is_in_order, "is_prefix": args["of"].encode().startswith(text), "text": text.decode()}
