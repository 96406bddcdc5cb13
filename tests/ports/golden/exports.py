"""What ExportRun sends of the runs of a journal, in the lines that `runwright export` writes."""

from __future__ import annotations

import asyncio
from contextvars import copy_context

from google.protobuf.message import Message
from msgspec import structs
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright.cli.output import json_line
from runwright.core.ids import RunKey
from runwright.core.principal import LOCAL
from runwright.runtime import AgentRuntime
from runwright.transport import access
from runwright.transport.exports import RunExports


class _Lines:
    """A MessageSender that keeps what is sent."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    async def write(self, message: Message) -> None:
        """See MessageSender."""
        self.lines.append(json_line(message) + "\n")


async def export(runtime: AgentRuntime, run: RunKey) -> str:
    """The file of one run, as somebody of its namespace gets it."""
    sent, asks = _Lines(), copy_context()
    asks.run(access._caller.set, access.Caller(structs.replace(LOCAL, namespace=run.namespace)))
    sending = RunExports(runtime).export(pb.ExportRunRequest(run_id=run.run_id), sent)
    await asyncio.create_task(sending, context=asks)
    return "".join(sent.lines)
