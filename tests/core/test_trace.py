"""Trace context: what is accepted from a caller, and ids that everybody derives alike."""

from __future__ import annotations

import pytest
from runwright.core import trace
from runwright.core.ids import Namespace, RunId, RunKey

TRACE, SPAN = "ab" * 16, "cd" * 8
RUN = RunKey(Namespace("default"), RunId("run-1"))


@pytest.mark.parametrize(
    ("input_", "retained"),
    [
        (f"00-{TRACE}-{SPAN}-01", f"00-{TRACE}-{SPAN}-01"),
        (f"00-{TRACE}-{SPAN}-00", f"00-{TRACE}-{SPAN}-00"),
        (f"00-{TRACE}-{SPAN}-ff", f"00-{TRACE}-{SPAN}-01"),
        (f"01-{TRACE}-{SPAN}-01-more", f"00-{TRACE}-{SPAN}-01"),
    ],
)
def test_a_trace_context_is_kept_in_one_form(input_: str, retained: str) -> None:
    assert trace.accepted(input_) == retained


@pytest.mark.parametrize(
    "input_",
    [
        "",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}-01\n",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[1:]}-{SPAN}-01",
    ],
)
def test_what_is_no_trace_context_is_passed_over(input_: str) -> None:
    assert trace.accepted(input_) == ""


def test_a_made_trace_context_is_accepted_and_its_parent_is_the_run() -> None:
    made = trace.root("11" * 16, RUN)

    assert trace.accepted(made) == made
    assert trace.parent_span(made) == trace.run_span(RUN)
    assert trace.is_sampled(made)


def test_ids_differ_wherever_what_they_name_differs() -> None:
    other = RunKey(Namespace("other"), RunId("run-1"))
    ids = [
        trace.run_span(RUN),
        trace.run_span(other),
        *(
            trace.attempt_span(run, effect, attempt)
            for run in (RUN, other)
            for effect in ("m1", "c1.1")
            for attempt in (1, 2)
        ),
    ]

    assert len(set(ids)) == len(ids) == 10
    assert trace.trace_id(trace.root("a", RUN)) != trace.trace_id(trace.root("b", RUN))


def test_a_child_stays_in_the_trace_and_keeps_the_flag() -> None:
    message = trace.child(f"00-{TRACE}-{SPAN}-00", "ef" * 8)

    assert (trace.trace_id(message), trace.parent_span(message), trace.is_sampled(message)) == (TRACE, "ef" * 8, False)


def test_without_a_trace_there_is_no_trace_id() -> None:
    assert trace.trace_id("") == ""
    assert not trace.is_sampled("")
