"""kill -9 while packages are put and tags moved: what was acknowledged is there, whole, and nothing is half there."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import grpc
import pytest
from runwright._gen.runwright.v1 import package_service_pb2 as pb
from runwright._gen.runwright.v1 import run_pb2
from runwright._gen.runwright.v1.package_service_pb2_grpc import PackageServiceStub
from runwright.adapters.sqlite.inspecting import inspection, verification

from tests.e2e.client import SECONDS, answer
from tests.e2e.conftest import SOAK, MakeServer
from tests.e2e.notice import Notice
from tests.e2e.packages import package, says
from tests.e2e.server_process import Server

AUTHORS = 6
LIVES = 4


@dataclass
class Author:
    """Somebody who puts one edition after the other, and moves a tag of his own and one of everybody's."""

    name: str
    news: Notice
    acknowledged: list[str] = field(default_factory=list)  # fingerprints his tag was moved to, in order
    asked: pb.PutPackageRequest | None = None  # what he has no answer to
    moved: pb.TagPackageRequest | None = None

    def edition(self, number: int) -> str:
        """The text of one of his packages."""
        return json.dumps(package(self.name, [says(f"{self.name} says {number}")]))

    async def work(self, server: Server) -> None:
        """Goes on until nobody answers; what was not answered is sent again by the next call, as it was."""
        stub = PackageServiceStub(server.call.channel)
        try:
            while True:
                await self._put(stub)
                await self._move(stub)
        except grpc.aio.AioRpcError as error:
            assert error.code() is grpc.StatusCode.UNAVAILABLE, error

    async def _put(self, stub: PackageServiceStub) -> None:
        if self.asked is None:
            number = len(self.acknowledged)
            self.asked = pb.PutPackageRequest(
                document=self.edition(number),
                tag=self.name,
                expected_previous_fingerprint=self.acknowledged[-1] if self.acknowledged else "",
                request_id=f"{self.name}-put-{number}",
            )
        put = await stub.PutPackage(self.asked, timeout=SECONDS)
        assert (put.created, put.previous_fingerprint) == (True, self.asked.expected_previous_fingerprint)
        self.acknowledged.append(put.package.fingerprint)
        self.news.tell()
        self.asked = None

    async def _move(self, stub: PackageServiceStub) -> None:
        if self.moved is None:
            number = len(self.acknowledged)
            last = self.acknowledged[-1]
            self.moved = pb.TagPackageRequest(tag="shared", fingerprint=last, request_id=f"{self.name}-move-{number}")
        await stub.TagPackage(self.moved, timeout=SECONDS)
        self.moved = None


async def history(stub: PackageServiceStub, tag: str) -> list[pb.TagMove]:
    """Every move of a tag, newest first."""
    moves: list[pb.TagMove] = []
    request = pb.ListTagHistoryRequest(tag=tag)
    while True:
        page = await stub.ListTagHistory(request, timeout=SECONDS)
        moves += page.moves
        if not page.next_page_token:
            return moves
        request.page_token = page.next_page_token


async def check(server: Server, authors: Sequence[Author]) -> None:
    """Holds a life to what the ones before have acknowledged."""
    stub = PackageServiceStub(server.call.channel)
    for author in authors:
        moves = await history(stub, author.name)
        reached = [move.fingerprint for move in reversed(moves)]
        known = author.acknowledged
        assert reached[: len(known)] == known
        assert len(reached) - len(known) in ((0, 1) if author.asked else (0,)), "at most what has no answer yet"
        assert [move.previous_fingerprint for move in reversed(moves)] == ["", *reached[:-1]]
        for number, fingerprint in enumerate(reached):
            wanted = run_pb2.PackageSelector(fingerprint=fingerprint)
            got = await stub.GetPackage(pb.GetPackageRequest(package=wanted), timeout=SECONDS)
            assert json.loads(got.canonical_json)["provider"] == json.loads(author.edition(number))["provider"]
    shared = {move.fingerprint for move in await history(stub, "shared")}
    assert shared <= {fingerprint for author in authors for fingerprint in author.acknowledged}


@pytest.fixture
async def server(make_server: MakeServer) -> AsyncIterator[Server]:
    made = make_server()
    await made.start()
    yield made


@pytest.mark.parametrize("seed", range(10 if SOAK else 1))
async def test_what_was_acknowledged_outlives_every_kill_and_what_was_not_is_whole_or_not_there(
    server: Server, seed: int
) -> None:
    chance = random.Random(seed)
    news = Notice()
    authors = [Author(f"author-{number}", news) for number in range(AUTHORS)]

    def acknowledged() -> int:
        return sum(len(author.acknowledged) for author in authors)

    async def strike(enough: int) -> None:
        await news.until(lambda: acknowledged() >= enough)
        server.kill()

    for _ in range(LIVES):
        enough = acknowledged() + chance.randrange(5, 60)
        await asyncio.gather(strike(enough), *(author.work(server) for author in authors))
        await server.ended()
        with inspection.opened(server.data / "journal.db", busy_timeout_ms=0) as db:
            assert verification.verify(db).faults == ()
        await server.start()
        await check(server, authors)

    for author in authors:
        await server.call.start(f"of-{author.name}", package=run_pb2.PackageSelector(tag=author.name))
        ran = await server.call.settled(f"of-{author.name}")
        assert answer(ran).startswith(f"{author.name} says ")
