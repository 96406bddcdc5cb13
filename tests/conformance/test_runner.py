"""The runner's own parts: what finds differences, makes one form of JSON, and cuts where it should."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.conformance.http2_frames import FrameCounter
from tests.conformance.links import Cut
from tests.conformance.matchers import differences
from tests.conformance.normal import normal
from tests.conformance.proxy import Proxy
from tests.conformance.values import UnknownNameError, filled

EVENT = {"event": {"seq": 1, "kind": "EVENT_KIND_RUN_STARTED"}, "cursor": "a", "hash": "h"}
MATCHING: list[tuple[Any, Any]] = [
    ({"a": 1}, {"a": 1, "b": 2}),
    ({"a": "$any", "b": "$absent"}, {"a": 0.5}),
    ({"a": False, "b": 0, "c": ""}, {}),
    ([1, {"a": "$any"}], [1, {"a": 2}]),
    ({"$count": 2, "$each": {"a": "$any"}}, [{"a": 1}, {"a": 2}]),
    ({"$contains": [{"a": 2}, {"a": 1}]}, [{"a": 1}, {"a": 2}]),
    ({"$contains": "b"}, "abc"),
    ({"$regex": "^a.c$"}, "abc"),
    ({"$all": [{"$gte": 1}, {"$lte": 3}, {"$not": 2}, {"$one_of": [3, 4]}]}, 3),
    ({"$kinds": ["RUN_STARTED"], "$events": [{"hash": "h"}]}, [{"bookmark": {}}, EVENT]),
    ({"$same_facts": [{**EVENT, "cursor": "b"}]}, [EVENT]),
]
OTHER: list[tuple[Any, Any]] = [
    ({"a": 1}, {"a": 2}),
    ({"a": 1}, {"a": True}),
    ({"a": "$any"}, {}),
    ({"a": "$absent"}, {"a": 1}),
    ({"a": 1}, None),
    ([1], [1, 2]),
    ({"$count": 1}, []),
    ({"$contains": {"a": 3}}, [{"a": 1}]),
    ({"$not_contains": {"a": 1}}, [{"a": 1}]),
    ({"$regex": "^b"}, "abc"),
    ({"$gte": 4}, 3),
    ({"$same_events": [{**EVENT, "cursor": "b"}]}, [EVENT]),
    ({"$refusal": "RUN_NOT_FOUND"}, {"reason": "RUN_NOT_FOUND", "code": "NOT_FOUND", "has_remedy": True}),
]


@pytest.mark.parametrize(("expected", "actual"), MATCHING)
def test_what_is_as_expected_has_no_differences(expected: Any, actual: Any) -> None:
    assert differences(expected, actual) == []


@pytest.mark.parametrize(("expected", "actual"), OTHER)
def test_what_is_other_than_expected_has_some(expected: Any, actual: Any) -> None:
    assert differences(expected, actual)


def test_a_matcher_that_nobody_knows_is_an_error() -> None:
    with pytest.raises(KeyError, match="contain"):
        differences({"$contain": 1}, [1])


def test_json_of_three_libraries_has_one_form() -> None:
    said = {
        "lastCursor": "x",
        "lastSeq": "12",
        "status": "RUN_STATUS_UNSPECIFIED",
        "waitingOn": [],
        "labels": {"costCentre": "0", "empty": ""},
        "result": {"ref": {"size": "3"}, "data": "-_8="},
        "event": {"turnCompleted": {}, "round": 0},
    }

    assert normal(said) == {
        "last_cursor": "x",
        "last_seq": 12,
        "labels": {"costCentre": "0", "empty": ""},
        "result": {"ref": {"size": 3}, "data": "+/8"},
        "event": {"turn_completed": {}},
    }


def test_names_are_filled_in() -> None:
    names = {"id": "r", "frames": [{"cursor": "a"}, {"cursor": "b"}]}

    assert filled({"a": "${id}-1", "b": ["${frames.-1.cursor}"], "c": {"$repeat": ["xy", 3]}}, names) == {
        "a": "r-1",
        "b": ["b"],
        "c": "xyxyxy",
    }
    with pytest.raises(UnknownNameError):
        filled("${nobody}", names)


@pytest.mark.parametrize("step", [1, 2, 7, 1000])
def test_data_frames_are_counted_however_they_come(step: int) -> None:
    def frame(kind: int, body: bytes) -> bytes:
        return len(body).to_bytes(3, "big") + bytes([kind, 0, 0, 0, 0, 1]) + body

    sent = frame(4, b"settings") + frame(0, b"one") + frame(0, b"") + frame(1, b"head") + frame(0, b"two") + b"rest"
    counter, passed = FrameCounter(), 0
    for at in range(0, len(sent), step):
        end = counter.end_of(2, sent[at : at + step])
        if end is not None:
            passed = at + end
            break

    assert sent[:passed].endswith(b"two") and len(sent) - passed == len(b"rest")


@pytest.mark.parametrize("how", ["rst", "fin", "half"])
async def test_the_proxy_cuts_after_so_many_bytes(how: Any) -> None:
    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"x" * 100_000)

    async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
        proxy = Proxy(f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
        await proxy.open()
        proxy.plan(Cut(how=how, after_bytes=12_345))
        host, _, port = proxy.address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        heard = b""
        try:
            async with asyncio.timeout(60):
                while piece := await reader.read(4096):
                    heard += piece
        except ConnectionResetError:
            assert how == "rst"
        writer.close()
        await proxy.close()

    assert proxy.cuts >= 1
    assert len(heard) == 12_345 or (how == "rst" and len(heard) <= 12_345)
