"""ExportRun: the journal of one run, as it is stored."""

from __future__ import annotations

from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.ids import RunId, RunKey
from runwright.runtime import AgentRuntime
from runwright.transport.access import principal
from runwright.transport.method import MessageSender
from runwright.wire.references import exported_refs

FORMAT = 1
PAGE_EVENTS = 64
PART_BYTES = 256 * 1024


class RunExports:
    """Serves ExportRun over an AgentRuntime; nothing is kept in memory but one page or one content."""

    def __init__(self, runtime: AgentRuntime) -> None:
        self._runtime = runtime

    async def export(self, request: pb.ExportRunRequest, sender: MessageSender) -> None:
        """Streams header, events and contents. Raises RUN_NOT_FOUND, RUN_REMOVED, SUBSCRIBER_STALLED."""
        run_id, namespace = request.run_id, principal().namespace
        head = await self._runtime.run_head(run_id, namespace=namespace)
        last = head.seq
        header = pb.ExportHeader(
            format=FORMAT,
            namespace=namespace,
            run_id=run_id,
            incarnation=self._runtime.ports.journal.incarnation,
            events=last,
            head_hash=head.hash,
        )
        await sender.write(pb.ExportRunResponse(header=header))
        digests: dict[str, None] = {}  # in order of their first mention
        cursor, seq = "", 0
        while seq < last:
            items = await self._runtime.list_events(
                run_id, after_cursor=cursor, limit=min(PAGE_EVENTS, last - seq), namespace=namespace
            )
            if not items:
                await self._runtime.run_head(run_id, namespace=namespace)  # it may have been removed meanwhile
                raise _missing(run_id, "An event", str(seq + 1))
            for item in items:
                event = item.event
                assert event is not None, "a page holds no bookmarks"
                digests.update((ref.digest, None) for ref in exported_refs(event.data))
                exported = pb.ExportedEvent(
                    data=event.data, position=event.position, previous_hash=event.previous_hash, hash=event.hash
                )
                await sender.write(pb.ExportRunResponse(event=exported))
            cursor, seq = items[-1].cursor, seq + len(items)
        for digest in digests:
            await self._send_content(sender, run_id, digest)

    async def _send_content(self, sender: MessageSender, run_id: str, digest: str) -> None:
        data = await self._runtime.required_content(RunKey(principal().namespace, RunId(run_id)), digest)
        for offset in range(0, max(1, len(data)), PART_BYTES):
            part = data[offset : offset + PART_BYTES]
            last = offset + PART_BYTES >= len(data)
            content = pb.ExportedContent(digest=digest, offset=offset, data=part, last=last)
            await sender.write(pb.ExportRunResponse(content=content))


def _missing(run_id: str, what: str, first_bad: str) -> AgentError:
    message = f"{what} of run {run_id} is missing from the journal."
    return AgentError(ErrorReason.JOURNAL_CORRUPT, message, metadata={"run_id": run_id, "first_bad": first_bad})
