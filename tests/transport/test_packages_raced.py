"""Packages that many ask for at once, or ask for badly: one of many wins, a name is a name, nothing is half."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from typing import TypeVar

import grpc
import pytest
from runwright._gen.runwright.v1 import package_service_pb2 as pb
from runwright._gen.runwright.v1 import run_pb2

from tests.transport.conftest import Serve
from tests.transport.serving import CALL_SECONDS, Refusal, refusal_of, refused
from tests.transport.test_packages import answer, document, listed, put, put_refused, tag

MANY = 50
T = TypeVar("T")


async def raced(calls: Iterable[Awaitable[T]]) -> tuple[list[T], list[Refusal]]:
    """What was answered, and what was refused."""
    answers: list[T] = []

    async def one(call: Awaitable[T]) -> Refusal | None:
        try:
            answers.append(await call)
        except grpc.RpcError as failed:
            return refusal_of(failed)
        return None

    refusals = await asyncio.gather(*[one(call) for call in calls])
    return answers, [each for each in refusals if each is not None]


async def test_of_many_puts_that_expect_the_same_one_moves_the_tag_and_every_answer_is_true(serve: Serve) -> None:
    served = await serve()
    first = await put(served, tag="prod")
    before = first.package.fingerprint

    made, turned_away = await raced(
        [
            put(served, document(says=f"number {number}"), tag="prod", expected_previous_fingerprint=before)
            for number in range(MANY)
        ]
    )

    [won] = made
    assert {each.info.reason for each in turned_away} == {"PACKAGE_TAG_MOVED"}
    assert {each.info.metadata["fingerprint"] for each in turned_away} == {won.package.fingerprint}
    history = await served.packages.ListTagHistory(pb.ListTagHistoryRequest(tag="prod"), timeout=CALL_SECONDS)
    assert [move.fingerprint for move in history.moves] == [won.package.fingerprint, first.package.fingerprint]
    # Who was turned away has left nothing: neither the package nor a meaning of its id.
    assert len((await listed(served)).packages) == 2 + len(served.bench.packages)


async def test_of_many_requests_of_one_id_all_get_the_answer_of_the_first(serve: Serve) -> None:
    served = await serve()

    made, turned_away = await raced([put(served, tag="prod", request_id="once") for _ in range(MANY)])
    other = await put_refused(served, document(says="something else"), tag="prod", request_id="once")

    assert turned_away == []
    assert {(each.created, each.previous_fingerprint) for each in made} == {(True, "")}
    assert other.info.reason == "REQUEST_ID_CONFLICT"
    history = await served.packages.ListTagHistory(pb.ListTagHistoryRequest(tag="prod"), timeout=CALL_SECONDS)
    assert len(history.moves) == 1


async def test_of_many_moves_that_expect_what_they_found_none_is_lost(serve: Serve) -> None:
    served = await serve()
    known = [(await put(served, document(says=f"number {number}"))).package.fingerprint for number in range(5)]
    await tag(served, "prod", known[0])

    made, turned_away = await raced(
        [tag(served, "prod", known[1 + n % 4], expected_previous_fingerprint=known[0]) for n in range(MANY)]
    )

    assert len(made) + len(turned_away) == MANY
    assert len({each.package.fingerprint for each in made}) == 1
    history = await served.packages.ListTagHistory(pb.ListTagHistoryRequest(tag="prod"), timeout=CALL_SECONDS)
    assert len(history.moves) == 2


async def test_starts_beside_moves_of_their_tag_are_pinned_to_what_answers_them(serve: Serve) -> None:
    served = await serve()
    known = {}
    for says in ("one", "two"):
        made = await put(served, document(says=says))
        known[made.package.fingerprint] = says
    first, second = known
    await tag(served, "prod", first)

    async def move() -> None:
        for number in range(20):
            await tag(served, "prod", (first, second)[number % 2])

    moving = asyncio.create_task(move())
    answers = await asyncio.gather(*[answer(served, f"run-{number}", tag="prod") for number in range(20)])
    await moving

    assert {(known[pinned], said) for said, pinned in answers} <= {("one", "one"), ("two", "two")}


@pytest.mark.parametrize("selector", ["package_id", "tag", "fingerprint"])
@pytest.mark.parametrize("name", ["x" * 200_000, "a b", "../../etc/passwd", "\u202e", "-"], ids=len)
async def test_a_selector_that_is_no_name_is_refused_as_one_and_not_shown(
    serve: Serve, selector: str, name: str
) -> None:
    served = await serve()
    wanted = run_pb2.PackageSelector(**{selector: name})

    for call in (
        served.packages.GetPackage(pb.GetPackageRequest(package=wanted), timeout=CALL_SECONDS),
        served.packages.ResolvePackage(pb.ResolvePackageRequest(package=wanted), timeout=CALL_SECONDS),
    ):
        refusal = await refused(call)
        assert refusal.info.reason == "INVALID_REQUEST"
        assert len(refusal.text) < 500
