"""A slice of the random runs of tests/properties, quick enough to run with every change of the core."""

from __future__ import annotations

from tests.properties.test_machine_properties import check_runs


def test_every_promise_holds_over_a_few_random_runs() -> None:
    seeds = range(1_000_000, 1_000_060)

    held = check_runs(seeds)

    assert held == 60
