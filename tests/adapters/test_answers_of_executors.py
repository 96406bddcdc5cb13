"""What an executor answers: of whatever size and form, the run hears whether the call was made, and nothing raises."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from runwright.adapters.clock import SystemClock
from runwright.adapters.remote import tool_calls
from runwright.adapters.remote.dialer import MAX_RECEIVE_BYTES
from runwright.adapters.remote.executors import DialledExecutors
from runwright.adapters.remote.tool_answers import read_answer
from runwright.core.outcomes import ExecutorIdentity
from runwright.ports.tools import ToolOutcome, ToolOutcomeKind

from tests.adapters.callback_hosts import NAME, dialling, executed, invocation
from tests.adapters.raw_executor import ERROR, NOT_PERFORMED, RESULT, RawExecutor
from tests.builders import ListLog

Kind = ToolOutcomeKind
GARBLED = {
    "no message": None,
    "nothing": b"",
    "no message at all": b"\xff\xff\xff\xff",
    "cut off": RESULT[:-1],
    "a result and an error": RESULT + ERROR,
    "an error and a result": ERROR + RESULT,
    "a result and that it was not performed": RESULT + NOT_PERFORMED,
    "two results": RESULT + RESULT,
    "an unknown outcome": b"\x7a\x02ok",
    "a number for a result": b"\x08\x01",
    "a number for an error, and a result": b"\x10\x01" + RESULT,
    "an error that is no UTF-8": b"\x12\x04\x0a\x02\xff\xfe",
    "a media type that is no UTF-8": b"\x0a\x04\x12\x02\xff\xfe",
    "a group that is never closed": b"\x0b",
    "a group": RESULT + b"\x7b\x7c",
    "millions of unknown fields": RESULT + b"\x78\x01" * 1_500_000,
}


@pytest.fixture
async def executor() -> AsyncIterator[RawExecutor]:
    """One that is up."""
    served = RawExecutor()
    await served.server.start()
    yield served
    await served.server.stop(0)


@pytest.fixture
async def tools(executor: RawExecutor) -> AsyncIterator[DialledExecutors]:
    """The port, dialling it."""
    dialled = DialledExecutors({NAME: f"billing@127.0.0.1:{executor.port}"}, SystemClock())
    yield dialled
    await dialled.close()


@pytest.mark.parametrize("answer", GARBLED.values(), ids=GARBLED)
async def test_an_answer_that_cannot_be_read_is_a_certain_outcome(
    executor: RawExecutor, tools: DialledExecutors, answer: bytes | None
) -> None:
    executor.answer = executor.says(answer)

    came = await executed(tools)

    assert came.kind is Kind.UNREADABLE
    assert executor.calls == 1


@pytest.mark.parametrize(
    ("answer", "kind"),
    [(RESULT, Kind.RESULT), (b"\x0a\x00", Kind.RESULT), (ERROR, Kind.ERROR), (NOT_PERFORMED, Kind.NOT_SENT)],
)
def test_fields_of_newer_hosts_are_passed_over(answer: bytes, kind: Kind) -> None:
    newer = b"\x7a\x02ok" + b"\x78\x96\x01" + b"\x79" + b"\x0a" * 8 + b"\x7d" + b"\x0a" * 4

    assert read_answer(newer + answer).kind is read_answer(answer + newer).kind is kind


@pytest.mark.parametrize("size", [MAX_RECEIVE_BYTES + 1, 5 * 1024 * 1024, 40 * 1024 * 1024])
async def test_an_answer_too_large_to_be_received_was_made_and_has_a_size(
    executor: RawExecutor, tools: DialledExecutors, size: int
) -> None:
    executor.answer = executor.says(b"\x00" * size)

    came = await executed(tools)

    assert (came.kind, came.size, executor.calls) == (Kind.TOO_LARGE, size, 1)


async def test_an_answer_that_is_too_large_once_unpacked_was_made() -> None:
    executor = RawExecutor(grpc.Compression.Gzip)
    await executor.server.start()
    tools = DialledExecutors({NAME: f"127.0.0.1:{executor.port}"}, SystemClock())
    executor.answer = executor.says(b"\x00" * (MAX_RECEIVE_BYTES + 1))

    came = await executed(tools)

    assert (came.kind, executor.calls) == (Kind.TOO_LARGE, 1)
    await tools.close()
    await executor.server.stop(0)


@pytest.mark.parametrize(
    "details",
    [
        "Received message larger than max (5242880 vs. 4194304)",
        "CLIENT: Received message larger than max (5242880 vs. 4194304)",
        "SERVER: Received message larger than max (5242880 vs. 4194304)",
        f"SERVER: Received message larger than max (5242880 vs. {MAX_RECEIVE_BYTES})",
        "no: Decompressed message larger than max",
        "out of memory",
    ],
)
async def test_what_a_host_itself_lacks_leaves_the_outcome_unknown(
    executor: RawExecutor, tools: DialledExecutors, details: str
) -> None:
    async def refuses(context: Any) -> bytes:
        await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, details)
        raise AssertionError

    executor.answer = refuses

    assert (await executed(tools)).kind is Kind.LOST


async def test_a_call_whose_channel_is_closed_under_it_is_lost(executor: RawExecutor, tools: DialledExecutors) -> None:
    begun, never = asyncio.Event(), asyncio.Event()

    async def holds(context: Any) -> bytes:
        begun.set()
        await never.wait()
        return RESULT

    executor.answer = holds
    calling = asyncio.create_task(executed(tools))
    await begun.wait()

    await tools.close()

    assert (await calling).kind is Kind.LOST


async def test_a_call_on_a_channel_that_has_been_closed_is_not_sent(
    executor: RawExecutor, tools: DialledExecutors
) -> None:
    line = tools._configured_connection(NAME)
    await tools.close()

    assert (await line.perform(invocation(), 5)).kind is Kind.NOT_SENT
    assert executor.calls == 0


async def test_what_nobody_foresaw_leaves_the_outcome_unknown_and_a_line_in_the_log(
    executor: RawExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(data: bytes) -> ToolOutcome:
        raise ZeroDivisionError

    monkeypatch.setattr(tool_calls, "read_answer", breaks)
    log = ListLog()
    async with dialling(log=log, configured={NAME: f"127.0.0.1:{executor.port}"}) as tools:
        came = await executed(tools)

    assert came.kind is Kind.LOST
    [line] = log.lines
    assert (line.event, type(line.error)) == ("tool call broke off", ZeroDivisionError)


async def test_an_outcome_names_the_address_and_the_principal_that_the_operator_gave(
    executor: RawExecutor, tools: DialledExecutors
) -> None:
    came = [await executed(tools)]
    executor.answer = executor.says(b"")
    came.append(await executed(tools))

    who = ExecutorIdentity("", "billing", f"127.0.0.1:{executor.port}")
    assert [one.executor_identity for one in came] == [who, who]


async def test_what_was_never_sent_names_nobody(tools: DialledExecutors) -> None:
    came = await executed(tools, invocation(may_begin=lambda: False))

    assert came == ToolOutcome(Kind.NOT_SENT)
