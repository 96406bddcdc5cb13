"""Client of Runwright, the agent runtime: start runs, follow them, serve their tools."""

from __future__ import annotations

from ._gen.runwright.v1 import (
    AllRuns,
    Approval,
    ApprovalDecision,
    ApprovalState,
    ApprovalVerdict,
    Bookmark,
    Budget,
    DecisionRequest,
    DecisionResult,
    EffectResolution,
    EffectState,
    Event,
    EventFilter,
    EventFrame,
    EventKind,
    EventView,
    Gap,
    InputData,
    InputPart,
    OnBusy,
    OpenEffect,
    PackageFinding,
    PackageSummary,
    Resolution,
    RunFilter,
    RunSnapshot,
    RunStatus,
    StreamScope,
)
from .approvals import ApprovalUpdate, Decided
from .client import Cancelled, Client, Resolved, Started, UnknownEffect
from .connection import Keepalive, Tls
from .errors import RunwrightError
from .fingerprints import package_canonical, package_fingerprint
from .serving import ToolServer
from .subscription import Subscription
from .sync import SyncClient, SyncSubscription
from .text import delta_text, result_text, tool_text
from .tools import Content, Tool, ToolCall, ToolError, tool

__all__ = [
    "AllRuns",
    "Approval",
    "ApprovalDecision",
    "ApprovalState",
    "ApprovalUpdate",
    "ApprovalVerdict",
    "Bookmark",
    "Budget",
    "Cancelled",
    "Client",
    "Content",
    "Decided",
    "DecisionRequest",
    "DecisionResult",
    "EffectResolution",
    "EffectState",
    "Event",
    "EventFilter",
    "EventFrame",
    "EventKind",
    "EventView",
    "Gap",
    "InputData",
    "InputPart",
    "Keepalive",
    "OnBusy",
    "OpenEffect",
    "PackageFinding",
    "PackageSummary",
    "Resolution",
    "Resolved",
    "RunFilter",
    "RunSnapshot",
    "RunStatus",
    "RunwrightError",
    "Started",
    "StreamScope",
    "Subscription",
    "SyncClient",
    "SyncSubscription",
    "Tls",
    "Tool",
    "ToolCall",
    "ToolError",
    "ToolServer",
    "UnknownEffect",
    "delta_text",
    "package_canonical",
    "package_fingerprint",
    "result_text",
    "tool",
    "tool_text",
]
