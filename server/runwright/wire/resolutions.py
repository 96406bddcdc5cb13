"""Decisions about calls of unknown outcome: proto ⇄ core."""

from __future__ import annotations

from runwright._gen.runwright.v1 import run_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright.core.errors import invalid_request
from runwright.core.ids import EffectId
from runwright.core.outcomes import Resolution
from runwright.core.resolution import EffectResolution, ResolutionRequest, ResolvedResult
from runwright.wire.values import timestamp

_KNOWN = {resolution.value: resolution for resolution in Resolution}


def resolution_request(message: pb.ResolveEffectRequest) -> ResolutionRequest:
    """proto → core. Raises INVALID_REQUEST for a resolution nobody knows."""
    resolution = _KNOWN.get(message.resolution)
    if resolution is None:
        names = ", ".join(f"RESOLUTION_{each.name}" for each in Resolution)
        raise invalid_request("resolution", f"one of {names}", "Say what became of the call, or end the run.")
    result = None
    if message.HasField("result"):
        result = ResolvedResult(message.result.data, message.result.media_type)
    return ResolutionRequest(
        effect_id=EffectId(message.effect_id),
        attempt=message.attempt,
        request_id=message.request_id,
        resolution=resolution,
        result=result,
        message=message.message,
        reason=message.reason,
    )


def put_resolution(message: run_pb2.EffectResolution, decision: EffectResolution) -> None:
    """core → a message's own decision."""
    message.effect_id, message.attempt = decision.effect_id, decision.attempt
    message.resolution = run_pb2.Resolution.ValueType(decision.resolution.value)
    message.resolved_by, message.reason = decision.resolved_by, decision.reason
    message.request_id = decision.request_id
    message.time.CopyFrom(timestamp(decision.at))
