"""The look at the envelope says what decoding would say, for events of every kind."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from runwright._gen.runwright.v1 import event_pb2 as pb
from runwright.core.ids import RunId
from runwright.core.kinds import kind_of
from runwright.wire.envelope import Envelope, envelope
from runwright.wire.records import encode_events

from tests.ports.journal_builders import key, one_of_each, state

RUN = key("run-1")
OWN = (RUN.run_id, "session-1", "agent-1")
RECORDS = one_of_each()
STORED = encode_events(state(RUN, len(RECORDS)), 0, RECORDS)


@pytest.mark.parametrize("after", [0, 126, 127, 16_383, 2**40])
def test_an_event_of_the_run_is_known_by_its_number_and_kind(after: int) -> None:
    stored = encode_events(state(RUN, after + len(RECORDS)), after, RECORDS)

    for seq, (record, data) in enumerate(zip(RECORDS, stored, strict=True), start=after + 1):
        assert envelope(*OWN).holds(data, seq, kind_of(record).value)
        assert not envelope(*OWN).holds(data, seq + 1, kind_of(record).value)
        assert not envelope(*OWN).holds(data, seq, kind_of(record).value + 1)


@pytest.mark.parametrize(
    "other",
    [("run-2", *OWN[1:]), ("run-11", *OWN[1:]), (OWN[0], "session-2", OWN[2]), (OWN[0], "", OWN[2]), (*OWN[:2], "a")],
)
def test_an_event_of_another_run_session_or_agent_is_not_one_of_this(other: tuple[str, str, str]) -> None:
    run_id, session_id, agent_id = other

    found = [
        seq
        for seq, (record, data) in enumerate(zip(RECORDS, STORED, strict=True), start=1)
        if Envelope(RunId(run_id), session_id, agent_id).holds(data, seq, kind_of(record).value)
    ]

    assert found == []


def test_bytes_that_say_it_in_another_order_are_decoded() -> None:
    event = pb.Event.FromString(STORED[0])
    tail = pb.Event(seq=event.seq).SerializeToString()
    event.ClearField("seq")
    shuffled = event.SerializeToString() + tail

    assert shuffled != STORED[0]
    assert envelope(*OWN).holds(shuffled, 1, kind_of(RECORDS[0]).value)


def test_a_run_without_a_session_and_with_the_longest_names_is_known() -> None:
    run = key("r" * 128)
    alone = replace(state(run, 1), session_id="", agent_id="a" * 200)
    (data,) = encode_events(alone, 0, RECORDS[:1])

    assert Envelope(run.run_id, "", "a" * 200).holds(data, 1, kind_of(RECORDS[0]).value)


def test_no_bytes_and_noise_are_no_event() -> None:
    for noise in (b"", b"\xff" * 40, STORED[0][:30]):
        assert not envelope(*OWN).holds(noise, 1, 1)
