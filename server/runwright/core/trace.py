"""Trace context: which trace a run belongs to, as a W3C `traceparent`, and the ids of its spans.

Span ids are derived, never random: whoever needs one, before or after a
restart, finds the same.
"""

from __future__ import annotations

import hashlib
import re

from runwright.core.ids import RunKey

_FORM = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?\Z")
_NO_TRACE, _NO_SPAN = "0" * 32, "0" * 16
_SAMPLED = 1


def accepted(value: str) -> str:
    """A caller's `traceparent` in the form of version 00; empty for one that cannot be used."""
    match = _FORM.match(value)
    if not match:
        return ""
    version, trace, span, flags, rest = match.groups()
    unusable = trace == _NO_TRACE or span == _NO_SPAN or version == "ff" or (version == "00" and rest)
    return "" if unusable else f"00-{trace}-{span}-{int(flags, 16) & _SAMPLED:02x}"


def root(incarnation: str, run: RunKey) -> str:
    """The trace of a run whose caller brought none; its parent is the run's own span."""
    return f"00-{_derived(32, incarnation, run.namespace, run.run_id)}-{run_span(run)}-01"


def run_span(run: RunKey) -> str:
    """The id of the span of a run."""
    return _derived(16, "run", run.namespace, run.run_id)


def attempt_span(run: RunKey, effect_id: str, attempt: int) -> str:
    """The id of the span of one attempt of an effect."""
    return _derived(16, "attempt", run.namespace, run.run_id, effect_id, str(attempt))


def child(trace_parent: str, span_id: str) -> str:
    """The same trace with another parent."""
    version, trace, _, flags = trace_parent.split("-")
    return f"{version}-{trace}-{span_id}-{flags}"


def trace_id(trace_parent: str) -> str:
    """The trace's id; empty without a trace."""
    return trace_parent.split("-")[1] if trace_parent else ""


def parent_span(trace_parent: str) -> str:
    """The id of the span that the trace context names."""
    return trace_parent.split("-")[2]


def is_sampled(trace_parent: str) -> bool:
    """True when whoever began the trace records it."""
    return bool(trace_parent) and trace_parent.endswith("-01")


def _derived(digits: int, *words: str) -> str:
    return hashlib.sha256("\0".join(words).encode()).hexdigest()[:digits]
