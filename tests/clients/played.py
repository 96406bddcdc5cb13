"""What the programs of other languages are held against: the journal of their runs, and the registry."""

from __future__ import annotations

from runwright._gen.runwright.callback.v1 import callback_registry_service_pb2 as callback_pb
from runwright._gen.runwright.callback.v1.callback_registry_service_pb2_grpc import CallbackRegistryServiceStub
from runwright._gen.runwright.v1 import event_pb2

from tests.clients.program import Program
from tests.e2e.client import SECONDS
from tests.e2e.server_process import Server


async def printed_of(server: Server, run_id: str) -> list[str]:
    """What `follow` must print for a run: each event of the journal, once, in order."""
    lines = []
    for event in (frame.event for frame in await server.call.frames(run_id)):
        effect = f" {event.effect_id} attempt {event.attempt}" if event.effect_id else ""
        kind = event_pb2.EventKind.Name(event.kind).removeprefix("EVENT_KIND_")
        lines.append(f"{event.seq} {kind}{effect}")
    return lines


async def executors_of(server: Server) -> list[tuple[str, str]]:
    """Id and address of every registered executor."""
    stub = CallbackRegistryServiceStub(server.call.channel)
    listed = await stub.ListCallbacks(callback_pb.ListCallbacksRequest(), timeout=SECONDS)
    return [(callback.spec.callback_id, callback.spec.address) for callback in listed.callbacks]


def has_line(program: Program, text: str) -> bool:
    """True once it has printed a line with this text."""
    return any(text in line for line in program.out)


def stay_at(server: Server) -> None:
    """Later lives listen where the present one does, as a restarted service would."""
    server.options += ["--listen", server.address]
