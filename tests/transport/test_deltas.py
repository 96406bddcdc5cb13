"""Deltas on the wire: beside the durable frames and without a trace in them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc
from runwright._gen.runwright.v1 import event_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright._gen.runwright.v1.runtime_service_pb2_grpc import RuntimeServiceStub
from runwright.adapters.providers.scripted import ScriptedProvider
from runwright.ports.provider import EmitText, ModelReply, ModelRequest
from runwright.transport.streams import EventStreams

from tests import builders as b
from tests.runtime.speaking import Pieces
from tests.runtime.watching import eventually
from tests.transport.conftest import Serve
from tests.transport.known import add_key, authenticator, bearer
from tests.transport.serving import CALL_SECONDS, Served, run_request, scope, subscription

DELTA = event_pb2.EVENT_KIND_MODEL_STREAM_DELTA


async def speaking(serve: Serve, *chunks: str) -> tuple[Served, Pieces]:
    """A served run whose model says these pieces, by the system's clock."""
    pieces = Pieces()
    bench = b.real_time_bench(
        providers={"scripted": ScriptedProvider(pieces)}, packages=(b.package({"chunks": list(chunks)}),)
    )
    served = await serve(bench)
    await served.start()
    return served, pieces


async def frames_until(call: object, text: str) -> list[event_pb2.EventFrame]:
    """What comes up to the delta that ends with the text."""
    frames: list[event_pb2.EventFrame] = []
    async for response in call:  # type: ignore[attr-defined]
        frames += response.frames
        if frames[-1].event.model_stream_delta.text.endswith(text):
            return frames
    raise AssertionError(f"the stream ended without {text}")


def said(frames: list[event_pb2.EventFrame]) -> list[event_pb2.EventFrame]:
    """The deltas among the frames."""
    return [frame for frame in frames if frame.event.kind == DELTA]


async def test_a_delta_has_the_envelope_of_its_run_and_no_place_in_it(serve: Serve) -> None:
    served, pieces = await speaking(serve, "A ", "lamp ĝ", ".")
    call = served.stub.Subscribe(subscription(include_deltas=True), timeout=CALL_SECONDS)
    pieces.next()
    frames = await frames_until(call, "A ")
    pieces.next()
    frames += await frames_until(call, "ĝ")
    pieces.next(2)
    frames += [frame async for response in call for frame in response.frames]

    started = next(frame for frame in frames if frame.event.HasField("model_attempt_started"))
    deltas = said(frames)
    assert [(f.event.model_stream_delta.offset, f.event.model_stream_delta.text) for f in deltas] == [
        (0, "A "),
        (2, "lamp ĝ"),
        (9, "."),
    ]
    assert [(f.cursor, f.sub_sequence) for f in deltas] == [(started.cursor, number) for number in (1, 2, 3)]
    for frame in deltas:
        event = frame.event
        assert (frame.position, frame.hash, frame.previous_hash, list(frame.contents)) == (0, b"", b"", [])
        assert (event.seq, event.event_id, event.ignorable) == (0, "", True)
        assert (event.run_id, event.agent_id, event.turn_id) == ("run-1", "helper", started.event.turn_id)
        assert (event.round, event.effect_id, event.attempt) == (1, "m1", 1)
        assert event.package_fingerprint == started.event.package_fingerprint
        assert event.HasField("time")
    listed = await served.stub.ListEvents(pb.ListEventsRequest(scope=scope()), timeout=CALL_SECONDS)
    durable = [frame for frame in frames if frame.event.kind not in (DELTA, 0)]
    assert durable == list(listed.frames)
    assert all(frame.sub_sequence == 0 for frame in durable)


async def test_a_cursor_is_good_with_deltas_and_without(serve: Serve) -> None:
    served, pieces = await speaking(serve, "A ", "lamp.")
    call = served.stub.Subscribe(subscription(include_deltas=True), timeout=CALL_SECONDS)
    pieces.next()
    cursor = (await frames_until(call, "A "))[-1].cursor
    call.cancel()

    again = served.stub.Subscribe(subscription(after_cursor=cursor, include_deltas=True), timeout=CALL_SECONDS)
    frames = await frames_until(again, "A ")
    assert [(f.event.model_stream_delta.offset, f.sub_sequence) for f in said(frames)] == [(0, 1)]
    again.cancel()
    pieces.next(2)
    without = served.stub.Subscribe(subscription(after_cursor=cursor), timeout=CALL_SECONDS)
    rest = [frame async for response in without for frame in response.frames]

    assert said(rest) == []
    assert [frame.event.WhichOneof("body") for frame in rest[1:]] == [
        "model_message_completed",
        "turn_completed",
        "run_completed",
    ]


class Held:
    """The context of a stream whose writes wait while the gate is closed."""

    def __init__(self) -> None:
        self.written: list[pb.SubscribeResponse] = []
        self.waiting = False
        self.gate = asyncio.Event()
        self.gate.set()

    async def write(self, data: bytes, last_cursor: str = "") -> None:
        """See the class."""
        self.waiting = not self.gate.is_set()
        await self.gate.wait()
        self.written.append(pb.SubscribeResponse.FromString(data))

    def has(self, run_id: str, body: str) -> bool:
        """True once such an event of the run has been written."""
        frames = [frame for response in self.written for frame in response.frames]
        return any(frame.event.run_id == run_id and frame.event.HasField(body) for frame in frames)


async def test_a_text_amid_events_goes_to_nobody_who_reads_the_same_stretch_without() -> None:
    pieces = Pieces()
    speaking = b.package(
        id="speaking",
        provider={"adapter": "speaking", "model": "model-1", "parameters": {"script": [{"chunks": ["A ", "lamp."]}]}},
    )
    bench = b.real_time_bench(
        providers={"speaking": ScriptedProvider(pieces), "scripted": ScriptedProvider()},
        packages=(speaking, b.package({"text": "Yes."}, id="brief")),
    )
    runtime = bench.runtime()
    streams = EventStreams(runtime)
    everything = pb.StreamScope(all=pb.AllRuns())
    delta_text, _ = await runtime.start_run(b.request(package_id="speaking"))
    listener, reader = Held(), Held()
    requested = pb.SubscribeRequest(scope=everything, include_deltas=True)
    listening = asyncio.create_task(streams.subscribe(requested, listener))  # type: ignore[arg-type]
    pieces.next()
    await eventually(lambda: listener.has("run-1", "model_stream_delta"))
    listener.gate.clear()
    for run_id in ("run-2", "run-3"):
        handle, _ = await runtime.start_run(b.request(run_id, package_id="brief"))
        await handle.wait()
        await eventually(lambda: listener.waiting)
    pieces.next(2)
    await delta_text.wait()
    listener.gate.set()
    await eventually(lambda: listener.has("run-1", "run_completed"))
    mixed = next(each for each in listener.written if len(each.frames) > 1 and said(list(each.frames)))
    before = listener.written[listener.written.index(mixed) - 1]
    requested = pb.SubscribeRequest(scope=everything, after_cursor=before.frames[-1].cursor)
    reading = asyncio.create_task(streams.subscribe(requested, reader))  # type: ignore[arg-type]
    await eventually(lambda: reader.has("run-1", "run_completed"))

    frames = list(mixed.frames)
    assert [frame.event.model_stream_delta.text for frame in said(frames)] == ["lamp."]
    assert frames[0].event.kind != DELTA, "the text is amid the events"
    assert list(reader.written[1].frames) == [frame for frame in frames if frame.event.kind != DELTA]
    runtime.stop_streams()
    await asyncio.gather(listening, reading, return_exceptions=True)


class Talking:
    """A provider that says all the words once it is let go, so that others get their turns between them."""

    def __init__(self, words: list[str]) -> None:
        self.words = words
        self.let_go = asyncio.Event()

    async def complete(self, request: ModelRequest, emit: EmitText) -> ModelReply:
        """See the class."""
        await self.let_go.wait()
        for word in self.words:
            emit(word)
            for _ in range(20):
                await asyncio.sleep(0)
        return ModelReply(text="".join(self.words))


async def test_a_reader_that_does_not_read_holds_up_nothing_and_is_told_what_it_missed(serve: Serve) -> None:
    """More text than a connection takes in: the reader gets what fits, and a gap for what came after."""
    provider = Talking([f"{number:07} " * 512 for number in range(900)])  # 4 KiB each
    served = await serve(b.real_time_bench(providers={"scripted": provider}, packages=(b.package(),)))
    await served.start()
    narrow = served.channel(("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 65_536))
    call = RuntimeServiceStub(narrow).Subscribe(subscription(include_deltas=True), timeout=CALL_SECONDS)
    frames = [*(await call.read()).frames]
    provider.let_go.set()
    waited = await served.stub.Wait(pb.WaitRequest(run_id="run-1"), timeout=CALL_SECONDS)

    assert waited.done, "the run has not waited for its reader"
    while (response := await call.read()) is not grpc.aio.EOF:
        frames += response.frames
    text, gaps = b"", []
    for frame in frames:
        if frame.WhichOneof("item") == "gap":
            gaps.append(frame)
        elif frame.event.kind == DELTA:
            assert frame.event.model_stream_delta.offset == len(text)
            text += frame.event.model_stream_delta.text.encode()
    whole = "".join(provider.words).encode()
    assert 0 < len(text) < len(whole) and whole.startswith(text)
    assert [(gap.gap.run_id, gap.gap.effect_id, gap.gap.attempt) for gap in gaps] == [("run-1", "m1", 1)]
    assert (gaps[0].gap.from_offset, gaps[0].gap.to_offset) == (len(text), len(whole))
    after = frames[frames.index(gaps[0]) + 1]
    assert after.event.model_message_completed.text.size == len(whole)


async def test_a_namespace_does_not_hear_another(serve: Serve, tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    ours, theirs = add_key(keys, "caller", "team-a"), add_key(keys, "caller", "team-b")
    pieces = Pieces()
    bench = b.real_time_bench(
        providers={"scripted": ScriptedProvider(pieces)}, packages=(b.package({"chunks": ["ours ", "alone"]}),)
    )
    served = await serve(bench, authenticator=authenticator(keys))
    everything = pb.SubscribeRequest(scope=pb.StreamScope(all=pb.AllRuns()), include_deltas=True)
    listening = {key: served.stub.Subscribe(everything, metadata=bearer(key)) for key in (ours, theirs)}
    for call in listening.values():
        await anext(aiter(call))
    request = pb.StartRunRequest(run=run_request())
    await served.stub.StartRun(request, timeout=CALL_SECONDS, metadata=bearer(ours))
    pieces.next()

    assert said(await frames_until(listening[ours], "ours "))
    pieces.next(2)
    await served.stub.StartRun(
        pb.StartRunRequest(run=run_request("run-b")), timeout=CALL_SECONDS, metadata=bearer(theirs)
    )
    await eventually(lambda: pieces.waiting == 0)
    pieces.next(3)
    frames = []
    async for response in listening[theirs]:
        frames += response.frames
        if frames[-1].event.HasField("run_completed"):
            break
    assert {frame.event.run_id for frame in frames if frame.event.run_id} == {"run-b"}
    for call in listening.values():
        call.cancel()
