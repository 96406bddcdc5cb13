"""What runs have said is bounded in memory, for each and for all together, and the journal has the rest."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from runwright.core import records as r
from runwright.core.content import Content
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.ids import EffectId, Namespace, RunKey
from runwright.core.images import MAX_IMAGES_BYTES
from runwright.core.outcomes import FinishReason, RunStatus
from runwright.ports.journal import Journal
from runwright.runtime.conversations.conversation import READ_BYTES, RECORD_BYTES, Conversation, messages_of
from runwright.runtime.conversations.conversation_memory import COPIES, ConversationMemory
from runwright.testing import FunctionTools

from tests import builders as b
from tests.runtime.journals import JournalWrapper
from tests.runtime.parts import HeldProvider, HeldTool, RecordingProvider
from tests.runtime.watching import key, quiet, records_of, stood_still

MIB = 1024 * 1024


class Cache:
    """Something that holds what the journal has."""

    def __init__(self) -> None:
        self.has_let_go = False

    def let_go(self) -> None:
        """See the class."""
        self.has_let_go = True


@asynccontextmanager
async def request(memory: ConversationMemory, size: int, images: int = 0) -> AsyncIterator[None]:
    """A request to a model that lasts as long as the block."""
    taken = await memory.enter(size, images)
    try:
        yield
    finally:
        memory.leave(taken)


def test_what_was_not_used_for_longest_goes_first() -> None:
    memory = ConversationMemory(100)
    first, second, third = Cache(), Cache(), Cache()
    memory.cache(first, 40)
    memory.cache(second, 40)
    memory.cache(first, 50)

    memory.cache(third, 40)

    assert [cache.has_let_go for cache in (first, second, third)] == [False, True, False]
    assert memory.used == 90


async def test_a_request_takes_the_place_of_caches_and_gives_it_back() -> None:
    memory = ConversationMemory(100)
    cache = Cache()
    memory.cache(cache, 50)

    async with request(memory, 20):
        assert cache.has_let_go
        assert memory.used == 20 * COPIES

    assert memory.used == 0


async def test_requests_wait_in_order_and_new_runs_are_refused_meanwhile() -> None:
    memory = ConversationMemory(100)
    order = []

    async def ask(name: str, size: int) -> None:
        async with request(memory, size):
            order.append(name)
            await asyncio.sleep(0)

    async with request(memory, 25):
        asking = [asyncio.create_task(ask("large", 20)), asyncio.create_task(ask("small", 1))]
        await quiet()
        assert order == []
        with pytest.raises(AgentError) as refused:
            memory.refuse_when_full()
    await asyncio.gather(*asking)

    assert refused.value.reason is ErrorReason.OVERLOADED
    assert order == ["large", "small"]
    assert memory.used == 0
    memory.refuse_when_full()


@pytest.mark.parametrize("let_in", [False, True])
async def test_a_request_that_is_given_up_while_it_waits_leaves_nothing_behind(let_in: bool) -> None:
    memory = ConversationMemory(100)

    async def ask() -> None:
        async with request(memory, 20):
            raise AssertionError("it was given up before")

    first = request(memory, 25)
    await first.__aenter__()
    waiting, after = asyncio.create_task(ask()), asyncio.create_task(ask())
    await quiet()
    if let_in:
        await first.__aexit__(None, None, None)
    waiting.cancel()
    after.cancel()
    await asyncio.gather(waiting, after, return_exceptions=True)
    if not let_in:
        await first.__aexit__(None, None, None)

    assert memory.used == 0
    memory.refuse_when_full()


async def test_a_request_above_its_bound_is_refused() -> None:
    memory = ConversationMemory(100)

    with pytest.raises(AgentError) as refused:
        async with request(memory, 26):
            pass

    assert refused.value.reason is ErrorReason.CONVERSATION_TOO_LARGE
    assert refused.value.metadata == {"bytes": "26", "limit": "25"}


async def test_images_of_a_request_count_once_and_have_a_bound_of_their_own() -> None:
    memory = ConversationMemory(100)

    async with request(memory, 25, 25):
        assert memory.used == 100, "the largest request that is taken always finds room"
    with pytest.raises(AgentError) as refused:
        await memory.enter(0, 26)

    assert refused.value.message.startswith("The conversation shows images of 26 bytes")
    assert ConversationMemory().image_limit == MAX_IMAGES_BYTES


# Runs


class Watched(JournalWrapper):
    """Notes how much the runtime's memory held after each append, and how much was read at a time."""

    def __init__(self, inner: Journal) -> None:
        super().__init__(inner)
        self.memory: ConversationMemory | None = None
        self.most_used = 0
        self.most_cached = 0
        self.reads: list[int] = []

    async def written(self, run: RunKey, records: Any, **rest: Any) -> Any:
        """See the class."""
        stored = await super().written(run, records, **rest)
        await asyncio.sleep(0)
        self._note()
        return stored

    async def content(self, namespace: Namespace, digests: Sequence[str], **options: Any) -> dict[str, bytes]:
        """See the class."""
        found: dict[str, bytes] = await self.inner.content(namespace, digests, **options)
        self.reads.append(sum(map(len, found.values())))
        self._note()
        return found

    def _note(self) -> None:
        if self.memory is not None:
            self.most_used = max(self.most_used, self.memory.used)
            self.most_cached = max(self.most_cached, *self.memory._cached.values(), 0)


def large(size: int) -> FunctionTools:
    """Tools whose results are that large, each another."""
    made = 0

    async def answer(arguments: Mapping[str, Any]) -> str:
        nonlocal made
        made += 1
        return f"{made:08}".ljust(size, "x")

    return FunctionTools({"look": answer})


def rounds(number: int, calls: int = 1) -> tuple[b.Fields, ...]:
    """A script of so many rounds with calls, then an answer."""
    return (*[b.asks(*["look"] * calls)] * number, b.says("done"))


ROOMY = {"rounds": 100, "tool_calls": 1000}


async def test_a_long_run_holds_no_more_than_it_may_and_is_told_everything(any_journal: Journal) -> None:
    journal, recorder = Watched(any_journal), RecordingProvider()
    bench = b.Bench(journal=journal, tools=large(MIB - 100), providers={"scripted": recorder})
    runtime = bench.runtime(b.package(*rounds(5, 2), tools=(b.tool(),), budget=ROOMY))
    journal.memory = runtime.ports.memory

    ended = await runtime.run_text(b.request())

    assert ended.status is RunStatus.COMPLETED
    results = [message.content for message in recorder.requests[-1].messages if hasattr(message, "is_error")]
    assert sorted(content[1:9] for content in results) == [f"{number:08}" for number in range(1, 11)]
    assert 0 < journal.most_cached <= runtime.ports.memory.run_limit
    assert journal.most_used <= runtime.ports.memory.limit
    assert max(journal.reads) <= READ_BYTES
    assert runtime.ports.memory.used == 0


async def test_a_run_holds_what_was_said_until_it_ends(bench: b.Bench) -> None:
    tool = HeldTool()
    bench.tools = FunctionTools({"look": tool})
    runtime = bench.runtime()
    await runtime.start_run(b.request())
    await tool.begun.wait()
    held = runtime.ports.memory.used

    tool.let_go.set()
    await stood_still(runtime)
    await quiet()

    assert held > 0
    assert runtime.ports.memory.used == 0


async def test_a_run_that_would_tell_a_model_too_much_fails_and_says_so(bench: b.Bench) -> None:
    recorder = RecordingProvider()
    bench.tools, bench.providers = large(MIB - 100), {"scripted": recorder, "other": recorder}
    fallback = {"adapter": "other", "model": "m"}
    runtime = bench.runtime(b.package(*rounds(10, 8), tools=(b.tool(),), budget=ROOMY, fallbacks=[fallback]))

    ended = await runtime.run_text(b.request())

    assert ended.status is RunStatus.FAILED
    assert ended.state.error is not None
    assert ended.state.error.reason is ErrorReason.CONVERSATION_TOO_LARGE
    assert set(dict(ended.state.error.metadata)) == {"bytes", "limit"}
    [failed] = await records_of(bench.journal, r.ModelAttemptFailed)
    assert failed.error.reason is ErrorReason.CONVERSATION_TOO_LARGE
    assert len(recorder.requests) == failed.round - 1, "nobody was asked what could not be told"
    assert runtime.ports.memory.used == 0


async def test_a_run_whose_memory_was_taken_by_others_tells_the_same() -> None:
    undisturbed, disturbed = RecordingProvider(), RecordingProvider()
    script = b.asks("look", text="First."), b.asks("look", "look"), b.says("done")
    package = b.package(*script, tools=(b.tool(),))
    for recorder, memory in ((undisturbed, 256 * MIB), (disturbed, 4 * 3000)):
        bench = b.Bench(providers={"scripted": recorder}, conversation_memory=memory)
        runtime = bench.runtime(package)
        if recorder is disturbed:
            runtime.ports.memory.run_limit = 0  # every run lets go at once
        await runtime.run_text(b.request())

    assert disturbed.requests == undisturbed.requests
    assert len(disturbed.requests) == 3


async def test_a_run_that_waits_after_a_restart_reads_nothing_before_a_model_is_asked(bench: b.Bench) -> None:
    tool = HeldTool()
    bench.tools = FunctionTools({"look": tool})
    first = bench.runtime()
    await first.start_run(b.request())
    await tool.begun.wait()
    await first.drain(0)
    tool.begun.clear()

    second = bench.runtime()
    await second.recover()
    await tool.begun.wait()
    held = second.ports.memory.used
    tool.let_go.set()
    ended = await stood_still(second)

    assert held == 0
    assert ended.status is RunStatus.COMPLETED


async def test_content_that_is_damaged_when_a_model_is_asked_holds_the_run(bench: b.Bench) -> None:
    class Damaged(JournalWrapper):
        async def content(self, namespace: Namespace, digests: Sequence[str], **options: Any) -> dict[str, bytes]:
            raise AgentError(ErrorReason.JOURNAL_CORRUPT, "Bad.", metadata={"run_id": options["run"], "first_bad": "2"})

    runtime = bench.runtime(journal=Damaged(bench.journal))
    runtime.ports.memory.run_limit = 0

    await runtime.start_run(b.request())
    await quiet()

    assert (await runtime.run_snapshot("run-1")).status is RunStatus.HELD
    assert await records_of(bench.journal, r.ModelAttemptFailed) == []


async def test_new_runs_are_refused_while_requests_wait_for_memory(bench: b.Bench) -> None:
    provider = HeldProvider()
    bench.providers, bench.conversation_memory = {"scripted": provider}, 64
    runtime = bench.runtime(b.package(b.says("hi")))
    await runtime.start_run(b.request("run-1"))
    await provider.requested.wait()
    await runtime.start_run(b.request("run-2"))
    await quiet()

    with pytest.raises(AgentError) as refused:
        await runtime.start_run(b.request("run-3"))
    again, created = await runtime.start_run(b.request("run-2"))
    provider.let_go.set()

    assert refused.value.reason is ErrorReason.OVERLOADED
    assert not created, "what is there is answered"
    assert {(await stood_still(runtime, run)).status for run in ("run-1", "run-2")} == {RunStatus.COMPLETED}
    await runtime.start_run(b.request("run-3"))
    assert again is not None


async def test_only_what_a_model_is_told_is_held() -> None:
    memory = ConversationMemory()
    conversation = Conversation(b.Bench().journal, memory, key("run-1"))
    message, other = Content.text("told"), Content.text("the package")

    conversation.extend([r.TurnStarted(at=1, input=(message.ref,))], [message, other])

    assert memory.used == RECORD_BYTES + len("told")
    assert await conversation.data(message.ref) == b"told"
    conversation.close()
    assert memory.used == 0


class Counted(list[r.Record]):
    """Records that count how often one of them is looked at."""

    looks = 0

    def __iter__(self) -> Any:
        for record in super().__iter__():
            self.looks += 1
            yield record

    def __getitem__(self, index: Any) -> Any:
        found = super().__getitem__(index)
        self.looks += len(found) if isinstance(index, slice) else 1
        return found


@pytest.mark.parametrize("number", [10, 1000])
def test_the_messages_of_a_long_run_are_made_in_a_few_passes(number: int) -> None:
    content = Content.text("{}")
    records = Counted()
    for turn in range(1, number + 1):
        call = EffectId(f"c{turn}.1")
        wanted = r.ModelMessageCompleted(
            at=1, round=turn, attempt=1, text=None, finish=FinishReason.TOOL_CALLS, tool_calls=1, input_tokens=0,
            output_tokens=0,
        )  # fmt: skip
        requested = r.ToolRequested(at=1, call_id=call, tool="look", provider_call_id="p", arguments=content.ref)
        completed = r.ToolCompleted(at=1, call_id=call, attempt=1, tool="look", result=content.ref)
        records += [wanted, requested, completed]

    messages = messages_of(records, {content.ref.digest: content.data}, 0)

    assert len(messages) == 2 * number
    assert records.looks <= 3 * len(records)
