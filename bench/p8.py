"""P8: history is free: what a run of 100,000 events costs beside one of 1,000, and what a long conversation writes."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from statistics import median

import apsw
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright.adapters.sqlite import SqliteJournal
from runwright.core.content import JSON, Content

from bench.calls import SERVICE, channel, of_run, snapshot, stream, unary
from bench.children import running
from bench.figures import Figure, Goal, quantile, ratios
from bench.parts import Installation, install, one_call
from bench.records import Append, History
from bench.rounds import interleaved, say

CEILING = "the same with a history of 1,000 events, in a journal of its own; for the conversation, its own size"
SHORT, LONG, MORE = 1_000, 100_000, 1_000
LAST = 100
TIME = Goal("P8", "append, time per event, 100 k ÷ 1 k events", "×", 1.5, 1.2)
BYTES = Goal("P8", "append, bytes per event, 100 k ÷ 1 k events", "×", 1.1, 1.05)
SNAPSHOT = Goal("P8", "Snapshot, 100 k ÷ 1 k events, p50", "×", 2, 1.5)
RESUME = Goal("P8", "resume of the last 100, 100 k ÷ 1 k events, p50", "×", 2, 1.5)
STORED = Goal("P8", "200 k tokens of conversation, stored ÷ content", "×", 1.5, 1.2)
WRITTEN = Goal("P8", "the same, written to the -wal file ÷ content", "×")
EVENTS_PER_ROUND = 2 + 32 * 4


async def measure(directory: Path) -> Sequence[Figure]:
    """Journals made by the run machine and direct appends; Snapshot and resume over a real server."""
    installed = {}
    histories = {}
    for name, events in (("short", SHORT), ("long", LONG)):
        installed[name] = install(directory, one_call(), name=name)
        histories[name] = await _made(installed[name].data, events)
    appends = await _appends(installed, histories)
    reads = await _reads(directory, installed, histories)
    return [*appends, *reads, *await _conversation(directory)]


async def _made(data: Path, events: int) -> History:
    """A journal with one run of so many events."""
    say(f"  P8: making a journal of {events:,} events")
    history = History(f"run-{events}", calls=32)
    journal = SqliteJournal.open(data)
    await _append(journal, history.start())
    while history.state.seq < events:
        for step in history.rounds(1):
            await _append(journal, step)
    await journal.close()
    return history


async def _append(journal: SqliteJournal, step: Append) -> None:
    after = step.state.seq - len(step.records)
    await journal.append(step.state.key, step.records, after=after, contents=step.contents, snapshot=step.state)


async def _appends(installed: dict[str, Installation], histories: dict[str, History]) -> list[Figure]:
    """Time and growth of the file for the same events on top of either history."""
    journals = {name: SqliteJournal.open(each.data) for name, each in installed.items()}
    before = {name: _pages(each.data) for name, each in installed.items()}
    first = {name: history.state.seq for name, history in histories.items()}

    def more(name: str) -> Callable[[], Awaitable[float]]:
        async def append() -> float:
            steps = list(histories[name].rounds(MORE // EVENTS_PER_ROUND))
            began = time.perf_counter()
            for step in steps:
                await _append(journals[name], step)
            return 1e6 * (time.perf_counter() - began) / sum(len(step.records) for step in steps)

        return append

    found = await interleaved("P8, appends", {name: more(name) for name in journals})
    for name, journal in journals.items():
        for step in [*histories[name].rounds(1), histories[name].end()]:
            await _append(journal, step)
        await journal.close()
    grown = {
        name: (_pages(each.data) - before[name]) / (histories[name].state.seq - first[name])
        for name, each in installed.items()
    }
    times = f"{median(found['long']):.0f} µs, {median(found['short']):.0f} µs at 1 k"
    return [
        Figure(TIME, ratios(found["long"], found["short"]), times),
        Figure(BYTES, [grown["long"] / grown["short"]], f"{grown['long']:.0f} bytes, {grown['short']:.0f} at 1 k"),
    ]


def _pages(data: Path) -> int:
    """Bytes of the file's pages, those still in the -wal file counted."""
    db = apsw.Connection(str(data / "journal.db"), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return int(db.pragma("page_count")) * int(db.pragma("page_size"))
    finally:
        db.close()


async def _reads(directory: Path, installed: dict[str, Installation], histories: dict[str, History]) -> list[Figure]:
    """p50 of 40 Snapshots and 40 resumed streams a round, each history behind a server of its own."""
    short, long = installed["short"], installed["long"]
    async with (
        running(directory, *short.serve()) as first,
        running(directory, *long.serve()) as second,
        channel(first.addresses["runwright"]) as to_short,
        channel(second.addresses["runwright"]) as to_long,
    ):
        channels = {"short": to_short, "long": to_long}
        run_ids = {name: history.state.key.run_id for name, history in histories.items()}
        cursors = {
            name: await _cursor(channels[name], installed[name], run_ids[name], histories[name]) for name in channels
        }

        def looked(name: str) -> Callable[[], Awaitable[float]]:
            return lambda: _p50(lambda: snapshot(channels[name], installed[name], run_ids[name]))

        def resumed(name: str) -> Callable[[], Awaitable[float]]:
            request = of_run(run_ids[name], cursors[name])

            async def read() -> None:
                frames = 0
                async for message in stream(channels[name], SERVICE + "Subscribe", request, installed[name]):
                    frames += len(pb.SubscribeResponse.FromString(message).frames)
                if frames != LAST + 1:  # an opening bookmark, then the events
                    raise RuntimeError(f"{frames} frames came")

            return lambda: _p50(read)

        sides = {f"snapshot {name}": looked(name) for name in channels}
        found = await interleaved("P8, reads", {**sides, **{f"resume {name}": resumed(name) for name in channels}})
    figures = []
    for goal, side in ((SNAPSHOT, "snapshot"), (RESUME, "resume")):
        at_long, at_short = found[f"{side} long"], found[f"{side} short"]
        text = f"{median(at_long):.2f} ms, {median(at_short):.2f} ms at 1 k"
        figures.append(Figure(goal, ratios(at_long, at_short), text))
    return figures


async def _cursor(to: object, installed: Installation, run_id: str, history: History) -> str:
    """The cursor 100 events before the end."""
    requested, token = unary(to, SERVICE + "ListEvents", installed), ""  # type: ignore[arg-type]  # grpc's stubs know no calls with bytes
    seq = 0
    while seq < history.state.seq - LAST:
        size = min(1000, history.state.seq - LAST - seq)
        request = pb.ListEventsRequest(scope=pb.StreamScope(run_id=run_id), page_size=size, page_token=token)
        page = pb.ListEventsResponse.FromString(await requested(request.SerializeToString()))
        seq, token = page.frames[-1].event.seq, page.frames[-1].cursor
    return token


async def _p50(call: Callable[[], Awaitable[object]]) -> float:
    each = []
    for _ in range(40):
        began = time.perf_counter()
        await call()
        each.append(1000 * (time.perf_counter() - began))
    return quantile(each, 0.5)


async def _conversation(directory: Path) -> list[Figure]:
    """50 rounds of 4,000 tokens: a tool result of 14 KB and a text of 2 KB each, no two alike."""
    say("  P8: a conversation of 200,000 tokens")
    data = directory / "conversation"
    history = History("conversation")
    journal = SqliteJournal.open(data)
    empty, wal = _pages(data), data / "journal.db-wal"
    said = written = 0
    steps = [history.start()]
    for _ in range(50):
        text = Content.text(os.urandom(1000).hex())
        result = Content.of(b'{"text": "' + os.urandom(7000).hex().encode() + b'"}', JSON)
        steps += history.rounds(1, text=text, result=result)
        said += text.ref.size + result.ref.size
    for step in [*steps, history.end()]:
        before = wal.stat().st_size
        await _append(journal, step)
        written += max(0, wal.stat().st_size - before)
    stored = _pages(data) - empty
    await journal.close()
    message = f"{stored / 1e6:.2f} of {said / 1e6:.2f} MB, {history.state.seq} events"
    return [
        Figure(STORED, [stored / said], message),
        Figure(WRITTEN, [written / said], "SQLite writes whole pages, and each once more into the file"),
    ]
