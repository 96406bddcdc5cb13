"""Attempts and routes over real HTTP: what the vendors are asked is what the journal says, request by request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from runwright.core import records as r
from runwright.core.errors import ErrorReason
from runwright.core.outcomes import RunStatus
from runwright.runtime import RunSnapshot

from tests import builders as b
from tests.adapters.models.asking import KEY, VARIABLE, provider_at
from tests.adapters.models.fake_vendor import Answer, FakeVendor, fake_vendor
from tests.adapters.models.wires import ANTHROPIC, OPENAI, Wire
from tests.runtime.watching import pass_time, records_of

both = pytest.mark.parametrize("wire", [OPENAI, ANTHROPIC], ids=["openai", "anthropic"])
ERROR = {"type": "error", "error": {"type": "some_error", "message": "no"}}


@dataclass(frozen=True)
class Played:
    """A run that was played to its end, and what is on record of it."""

    ended: RunSnapshot
    begun: list[r.ModelAttemptStarted]
    failed: list[r.ModelAttemptFailed]
    planned: list[r.RetryScheduled]

    @property
    def reasons(self) -> list[str]:
        """Why the attempts failed, in their order."""
        return [each.error.reason.name for each in self.failed]


async def play(vendors: Sequence[tuple[str, FakeVendor]], *routes: dict[str, Any], **timeouts: Any) -> Played:
    """Plays a run over the routes, its waits cut short by turning the clock."""
    kinds = dict(vendors)
    nobody = FakeVendor([])
    async with (
        provider_at(kinds.get("openai", nobody), "openai", **timeouts) as openai,
        provider_at(kinds.get("anthropic", nobody), "anthropic", **timeouts) as anthropic,
    ):
        bench = b.Bench(providers={"openai": openai, "anthropic": anthropic})
        first, *others = routes
        runtime = bench.runtime(b.package(provider=first, fallbacks=others, tools=(b.tool(),)))
        await runtime.start_run(b.request())
        await pass_time(bench, runtime)
        return Played(
            await runtime.run_snapshot("run-1"),
            await records_of(bench.journal, r.ModelAttemptStarted),
            await records_of(bench.journal, r.ModelAttemptFailed),
            await records_of(bench.journal, r.RetryScheduled),
        )


def route(wire: Wire, model: str = "m-1", **fields: Any) -> dict[str, Any]:
    """A way to a model of that kind."""
    return {"adapter": wire.kind, "model": model, **fields}


def asked_models(vendor: FakeVendor) -> list[str]:
    """The models that were asked for, in order."""
    return [requested.body["model"] for requested in vendor.requested]


def passing_failures(wire: Wire) -> dict[str, tuple[Answer, str]]:
    """What may pass, each with the reason it is given."""
    body = wire.answer("so").body
    return {
        "429": (Answer(ERROR, status=429, headers={"retry-after": "7"}), "PROVIDER_RATE_LIMITED"),
        "500": (Answer(ERROR, status=500), "PROVIDER_FAILED"),
        "overloaded": (Answer(ERROR, status=529), "PROVIDER_FAILED"),
        "cut off": (Answer(body, cut=True), "PROVIDER_FAILED"),
        "stall": (Answer(stall=True), "PROVIDER_FAILED"),
        "no finish": (wire.answer("so", finish=""), "MODEL_OUTPUT_INVALID"),
        "garbage": (Answer(b"{"), "MODEL_OUTPUT_INVALID"),
    }


@both
@pytest.mark.parametrize("name", passing_failures(OPENAI))
async def test_what_may_pass_is_tried_again_request_by_request(wire: Wire, name: str) -> None:
    answer, reason = passing_failures(wire)[name]
    async with fake_vendor(answer, wire.answer("There.")) as vendor:
        played = await play([(wire.kind, vendor)], route(wire), timeout_seconds=2 if name == "stall" else 30)

    assert (played.ended.status, played.ended.text) == (RunStatus.COMPLETED, "There.")
    assert played.reasons == [reason]
    assert [(begun.round, begun.attempt, begun.model) for begun in played.begun] == [(1, 1, "m-1"), (1, 2, "m-1")]
    assert len(vendor.requested) == len(played.begun), "one request for each attempt on record"


@both
async def test_a_vendors_retry_after_is_waited_for(wire: Wire) -> None:
    limited = Answer(ERROR, status=429, headers={"retry-after": "120"})
    async with fake_vendor(limited, wire.answer("There.")) as vendor:
        played = await play([(wire.kind, vendor)], route(wire))

    [planned] = played.planned
    assert 120 * b.SECOND <= planned.not_before - planned.at <= 150 * b.SECOND
    assert dict(played.failed[0].error.metadata) == {
        "adapter": wire.kind,
        "class": "rate_limited",
        "retry_after": "120s",
    }


@both
async def test_the_attempts_of_a_package_are_all_there_are(wire: Wire) -> None:
    async with fake_vendor(*[Answer(ERROR, status=503) for _ in range(9)]) as vendor:
        played = await play([(wire.kind, vendor)], route(wire, max_attempts=4))

    assert played.ended.status is RunStatus.FAILED
    assert len(vendor.requested) == len(played.begun) == len(played.failed) == 4
    assert len(played.planned) == 3


@both
async def test_arguments_that_are_none_are_told_to_the_model_and_cost_no_attempt(wire: Wire) -> None:
    asks = wire.answer(None, [("v-1", "look", '{"half' if wire is OPENAI else ["no object"])])
    async with fake_vendor(asks, wire.answer("Then not.")) as vendor:
        played = await play([(wire.kind, vendor)], route(wire))

    assert played.ended.text == "Then not."
    assert [(begun.round, begun.attempt) for begun in played.begun] == [(1, 1), (2, 1)]
    assert [each["failed"] for each in wire.results(vendor.requested[1])] == [True]
    assert len(vendor.requested) == 2


@pytest.mark.parametrize(("first", "second"), [(OPENAI, ANTHROPIC), (ANTHROPIC, OPENAI)], ids=["openai", "anthropic"])
@pytest.mark.parametrize(
    ("status", "reason"), [(401, "PROVIDER_KEY_REFUSED"), (403, "PROVIDER_KEY_REFUSED"), (404, "PROVIDER_REFUSED")]
)
async def test_what_fails_again_goes_to_the_other_vendor_at_once(
    first: Wire, second: Wire, status: int, reason: str
) -> None:
    look = second.answer(None, [("v-1", "look", {})])
    async with (
        fake_vendor(Answer(ERROR, status=status)) as refusing,
        fake_vendor(look, second.answer("There.")) as willing,
    ):
        vendors = [(first.kind, refusing), (second.kind, willing)]
        played = await play(vendors, route(first), route(second, "m-2"))

    assert (played.ended.status, played.ended.text) == (RunStatus.COMPLETED, "There.")
    assert played.reasons == [reason]
    assert played.planned == []
    on_record = [(begun.round, begun.attempt, begun.provider, begun.model, begun.route) for begun in played.begun]
    assert on_record == [(1, 1, first.kind, "m-1", 0), (1, 2, second.kind, "m-2", 1), (2, 1, second.kind, "m-2", 1)]
    assert asked_models(refusing) == ["m-1"]
    assert asked_models(willing) == ["m-2", "m-2"]
    assert (played.ended.state.provider, played.ended.state.model) == (second.kind, "m-2")


@both
async def test_two_models_of_one_vendor_are_two_routes(wire: Wire) -> None:
    answers = [Answer(ERROR, status=500), Answer(ERROR, status=500), Answer(ERROR, status=429), wire.answer("There.")]
    async with fake_vendor(*answers) as vendor:
        played = await play([(wire.kind, vendor)], route(wire, max_attempts=2), route(wire, "m-2"))

    assert played.ended.text == "There."
    assert asked_models(vendor) == [begun.model for begun in played.begun] == ["m-1", "m-1", "m-2", "m-2"]
    assert [planned.attempt for planned in played.planned] == [1, 3]


@both
async def test_a_key_that_is_refused_everywhere_is_what_the_run_says(wire: Wire) -> None:
    async with fake_vendor(Answer(ERROR, status=401), Answer(ERROR, status=401)) as vendor:
        played = await play([(wire.kind, vendor)], route(wire), route(wire, "m-2"))

    error = played.ended.state.error
    assert error is not None
    assert error.reason is ErrorReason.PROVIDER_KEY_REFUSED
    assert VARIABLE in error.message
    assert KEY not in str(error)
    assert "environment variable" in error.error().meaning.remedy
    assert len(vendor.requested) == 2
