"""What metrics and traces say of a retry: of a tool call it ends an attempt, of a model request the failure has."""

from __future__ import annotations

import pytest
from msgspec import structs
from runwright.adapters.telemetry.prometheus import Metrics
from runwright.adapters.telemetry.spans import FinishedSpan, SpanMaker
from runwright.core import records as r
from runwright.core.errors import ErrorReason, Failure
from runwright.core.ids import EffectId, model_effect_id
from runwright.core.kinds import EventKind
from runwright.core.state import RunState

from tests.core import builders as b

EXAMPLES = b.examples()
STATE = RunState(key=b.KEY, trace_parent=b.TRACE_PARENT, agent_id="helper")


def retry(effect: EffectId) -> r.RetryScheduled:
    """A retry of the first attempt of an effect."""
    return r.RetryScheduled(
        at=b.at(3), effect_id=effect, attempt=1, reason=ErrorReason.PROVIDER_FAILED, not_before=b.at(4)
    )


@pytest.mark.parametrize(("effect", "counted"), [(b.FIRST_CALL, 1), (model_effect_id(1), 0)])
def test_only_a_retry_of_a_tool_call_counts_as_an_attempt_of_a_tool(effect: EffectId, counted: int) -> None:
    metrics = Metrics()

    metrics.appended(b.KEY, [retry(effect)], STATE, 0.001)

    assert metrics.registry.get_sample_value("runwright_tool_attempts_total", {"outcome": "retried"}) == counted


def test_an_attempt_that_is_made_again_has_one_span_whichever_effect_it_is_of() -> None:
    spans: list[FinishedSpan] = []
    maker = SpanMaker(spans.append)
    failed = r.ModelAttemptFailed(at=b.at(2), round=1, attempt=1, error=Failure(ErrorReason.PROVIDER_FAILED, ""))
    intents = [
        structs.replace(EXAMPLES[kind], at=b.at(1))
        for kind in (EventKind.MODEL_ATTEMPT_STARTED, EventKind.TOOL_STARTED)
    ]

    maker.appended(b.KEY, [*intents, failed, retry(model_effect_id(1)), retry(b.FIRST_CALL)], STATE, 0.001)

    assert [(span.begun, span.ended, span.error) for span in spans] == [
        (b.at(1), b.at(2), "PROVIDER_FAILED"),
        (b.at(1), b.at(3), "PROVIDER_FAILED"),
    ]
