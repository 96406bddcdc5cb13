"""The limits callers can rely on: each from the constant or setting that is enforced."""

from __future__ import annotations

import math
from collections.abc import Mapping

from runwright.core import ids, images, request, resolution
from runwright.core.content import INLINE_LIMIT_BYTES
from runwright.runtime.conversations.conversation_memory import ConversationMemory
from runwright.transport.calls import CallTimes
from runwright.transport.connections import (
    MAX_BATCH_BYTES,
    MAX_MESSAGE_BYTES,
    MAX_METADATA_BYTES,
    MAX_START_BYTES,
    ConnectionLimits,
)
from runwright.transport.streams import BATCH_BYTES, BATCH_FRAMES
from runwright.transport.usage import PAGE_BYTES, Limits, limits_by_name
from runwright.wire import selections
from runwright.wire.requests import MAX_PAGE_SIZE

MAX_GRACE_SECONDS = 600
MAX_WAIT_SECONDS = 300
MAX_REASON_BYTES = 512


def server_limits(connections: ConnectionLimits, times: CallTimes, memory: ConversationMemory) -> Mapping[str, int]:
    """Limits by name, as GetServerInfo tells them. Times are rounded up to whole seconds; 0 is no bound."""
    return {
        "input_parts": request.MAX_INPUT_PARTS,
        "input_bytes": request.MAX_INPUT_BYTES,
        "image_bytes": images.MAX_IMAGE_BYTES,
        "images_bytes": images.MAX_IMAGES_BYTES,
        "id_length": ids.MAX_ID_LENGTH,
        "labels": request.MAX_LABELS,
        "label_bytes": request.MAX_LABEL_BYTES,
        "filter_entries": selections.MAX_FILTER_ENTRIES,
        "message_bytes": MAX_MESSAGE_BYTES,
        "start_message_bytes": MAX_START_BYTES,
        "batch_decide_message_bytes": MAX_BATCH_BYTES,
        "metadata_bytes": MAX_METADATA_BYTES,
        "inline_content_bytes": INLINE_LIMIT_BYTES,
        "tool_result_bytes": resolution.MAX_RESULT_BYTES,
        "model_request_bytes": memory.request_limit,
        "model_request_image_bytes": memory.image_limit,
        "run_conversation_memory_bytes": memory.run_limit,
        "conversation_memory_bytes": memory.limit,
        "batch_frames": BATCH_FRAMES,
        "batch_bytes": BATCH_BYTES,
        "page_size": MAX_PAGE_SIZE,
        "page_bytes": PAGE_BYTES,
        "cancel_grace_seconds": MAX_GRACE_SECONDS,
        "cancel_reason_bytes": MAX_REASON_BYTES,
        "wait_seconds": MAX_WAIT_SECONDS,
        "stall_seconds": math.ceil(times.stall),
        "request_seconds": math.ceil(times.request),
        "large_request_seconds": math.ceil(times.large_request),
        "idle_seconds": math.ceil(times.idle),
        "connections": connections.max_connections,
        "streams_per_connection": connections.max_streams,
        "connection_age_seconds": math.ceil(connections.age_seconds or 0),
        "min_ping_interval_seconds": math.ceil(connections.min_ping_seconds),
        **limits_by_name(Limits.of(connections.principal_calls)),
    }
