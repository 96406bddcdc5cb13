"""The application layer: imports core and ports only. Usable as a library, without gRPC."""

from runwright.runtime.builder import AgentRuntimeBuilder
from runwright.runtime.handle import RunHandle
from runwright.runtime.runs.live_text import TextDelta, TextGap
from runwright.runtime.runtime import AgentRuntime
from runwright.runtime.snapshot import RunSnapshot
from runwright.runtime.streams.delta_reader import Ephemeral
from runwright.runtime.streams.subscriptions import StreamItem, StreamPage

__all__ = [
    "AgentRuntime",
    "AgentRuntimeBuilder",
    "Ephemeral",
    "RunHandle",
    "RunSnapshot",
    "StreamItem",
    "StreamPage",
    "TextDelta",
    "TextGap",
]
