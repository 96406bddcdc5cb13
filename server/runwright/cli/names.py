"""Names of enum values without their prefix, and other small forms of values for people."""

from __future__ import annotations

from datetime import UTC, datetime

from google.protobuf.descriptor import EnumDescriptor
from google.protobuf.timestamp_pb2 import Timestamp

from runwright._gen.runwright.callback.v1 import callback_registry_service_pb2 as callback_pb
from runwright._gen.runwright.v1 import approval_pb2, error_pb2, event_pb2, grant_pb2, run_pb2
from runwright.cli import sanitize
from runwright.core.errors import MEANINGS, ErrorReason


def _name(enum: EnumDescriptor, prefix: str, value: int) -> str:
    known = enum.values_by_number.get(value)
    return str(known.name).removeprefix(prefix) if known else f"{prefix}{value}"


def reason(value: int) -> str:
    """Name of an ErrorReason; a number this client does not know keeps its prefix."""
    return _name(error_pb2.ErrorReason.DESCRIPTOR, "ERROR_REASON_", value)


def status(value: int) -> str:
    """Name of a RunStatus."""
    return _name(run_pb2.RunStatus.DESCRIPTOR, "RUN_STATUS_", value)


def stop_reason(value: int) -> str:
    """Name of a StopReason."""
    return _name(run_pb2.StopReason.DESCRIPTOR, "STOP_REASON_", value)


def executor_identity(who: run_pb2.ExecutorIdentity) -> str:
    """Which executor got an attempt, for a person; nothing when that is not on record."""
    if not who.address:
        return ""
    what = f"{who.callback_id} of {who.principal}" if who.callback_id else f"the configured executor of {who.principal}"
    return f"{what} at {who.address}"


def effect_state(value: int) -> str:
    """Name of an EffectState."""
    return _name(run_pb2.EffectState.DESCRIPTOR, "EFFECT_STATE_", value)


def resolution(value: int) -> str:
    """Name of a Resolution."""
    return _name(run_pb2.Resolution.DESCRIPTOR, "RESOLUTION_", value)


def reconcile_answer(value: int) -> str:
    """Name of a ReconcileAnswer."""
    return _name(event_pb2.ReconcileAnswer.DESCRIPTOR, "RECONCILE_ANSWER_", value)


def wait_kind(value: int) -> str:
    """Name of a WaitKind."""
    return _name(run_pb2.WaitKind.DESCRIPTOR, "WAIT_KIND_", value)


def event_kind(value: int) -> str:
    """Name of an EventKind."""
    return _name(event_pb2.EventKind.DESCRIPTOR, "EVENT_KIND_", value)


def approval_state(value: int) -> str:
    """Name of an ApprovalState."""
    return _name(approval_pb2.ApprovalState.DESCRIPTOR, "APPROVAL_STATE_", value)


def approval_verdict(value: int) -> str:
    """Name of an ApprovalVerdict."""
    return _name(approval_pb2.ApprovalVerdict.DESCRIPTOR, "APPROVAL_VERDICT_", value)


def grant_state(value: int) -> str:
    """Name of a GrantState."""
    return _name(grant_pb2.GrantState.DESCRIPTOR, "GRANT_STATE_", value)


def grant_scope(value: int) -> str:
    """Name of a GrantScope."""
    return _name(grant_pb2.GrantScope.DESCRIPTOR, "GRANT_SCOPE_", value)


def grant_matcher(value: int) -> str:
    """Name of a GrantMatcher."""
    return _name(grant_pb2.GrantMatcher.DESCRIPTOR, "GRANT_MATCHER_", value)


def health(value: int) -> str:
    """Name of a CallbackHealth."""
    return _name(callback_pb.CallbackHealth.DESCRIPTOR, "CALLBACK_HEALTH_", value)


def callback_kind(value: int) -> str:
    """Name of a CallbackKind; a server that knows of no kinds registers tool executors."""
    known = value or callback_pb.CALLBACK_KIND_TOOL_EXECUTOR
    return _name(callback_pb.CallbackKind.DESCRIPTOR, "CALLBACK_KIND_", known)


def remedy(value: int) -> str:
    """What to do about a reason, as far as this client knows it."""
    try:
        return MEANINGS[ErrorReason(value)].remedy
    except (KeyError, ValueError):
        return ""


def sentence(error: error_pb2.AgentError) -> str:
    """An AgentError in one line without the remedy."""
    return sanitize.line(f"{reason(error.reason)}: {error.message}")


def failure(error: error_pb2.AgentError) -> str:
    """An AgentError in one line: reason, message, remedy."""
    return sanitize.line(f"{reason(error.reason)}: {error.message} {error.remedy}")


def usage(used: run_pb2.Usage) -> str:
    """What a run used, in words; tokens as input + output."""
    tokens = f"{used.input_tokens}+{used.output_tokens} tokens"
    return f"{counted(used.rounds, 'round')}, {counted(used.tool_calls, 'tool call')}, {tokens}"


def counted(number: int, noun: str) -> str:
    """A number with its noun, which takes an s unless there is one."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def time_of_day(time: Timestamp) -> str:
    """The time of day, to the millisecond, in UTC."""
    return datetime.fromtimestamp(seconds(time), UTC).strftime("%H:%M:%S.%f")[:-3]


def seconds(time: Timestamp) -> float:
    """A time as seconds since 1970-01-01 UTC."""
    return time.seconds + time.nanos / 1e9


def clock(time: Timestamp) -> str:
    """A time, to the second."""
    return time.ToDatetime().strftime("%Y-%m-%d %H:%M:%SZ")


def elapsed(duration: float | None) -> str:
    """A duration for people; nothing when it is not known."""
    if duration is None:
        return ""
    if duration < 1:
        return f"{duration * 1000:.0f}ms"
    if duration < 60:
        return f"{duration:.1f}s"
    minutes, rest = divmod(int(duration), 60)
    return f"{minutes}m{rest:02d}s" if minutes < 60 else f"{minutes // 60}h{minutes % 60:02d}m"


def selector(name: str) -> run_pb2.PackageSelector:
    """Which package a word names: by fingerprint, by tag or by id."""
    if name.startswith("sha256:"):
        return run_pb2.PackageSelector(fingerprint=name)
    if name.startswith("@"):
        return run_pb2.PackageSelector(tag=name[1:])
    return run_pb2.PackageSelector(package_id=name)
