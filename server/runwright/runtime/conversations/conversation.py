"""The messages of a model request, rebuilt from the run's message-bearing records."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Protocol, TypeAlias

from msgspec import Struct

from runwright.core import records as r
from runwright.core.content import Content, ContentRef
from runwright.core.context import SessionTurn, input_seen
from runwright.core.errors import MEANINGS, ErrorReason
from runwright.core.ids import EffectId, RunKey
from runwright.core.images import IMAGE_TYPES, Image
from runwright.core.kinds import KINDS, MESSAGE_BEARING
from runwright.core.outcomes import CallPhase, ResultRelease
from runwright.core.policy import ALL_POLICIES, PolicyStage
from runwright.core.references import refs
from runwright.core.state import RunState
from runwright.ports.journal import Contents, EventReader
from runwright.ports.provider import AssistantMessage, Message, ToolCallPart, ToolResultMessage, UserMessage
from runwright.runtime.conversations.conversation_memory import ConversationMemory

RECORD_BYTES = 512  # a record with its references and texts, roughly
READ_BYTES = 4 * 1024 * 1024  # of contents, at a time
READ_INLINE_BYTES = 1024 * 1024  # turned into text on the loop
_OUTCOMES = (r.ToolCompleted, r.ToolFailed)
_SHOWING = (r.TurnStarted, r.ContextAssembled)  # a tool's result is text, whatever it is called
_BEARING = frozenset(record for record, kind in KINDS.items() if kind in MESSAGE_BEARING)


class Said(Struct):
    """Everything said so far: records in order, contents by digest; bytes told and shown, and what all takes."""

    records: list[r.Record]
    contents: dict[str, bytes]
    message_bytes: int = 0
    images: int = 0
    size: int = 0

    def add(self, record: r.Record) -> tuple[ContentRef, ...]:
        """Takes in one more record, whose contents are there or on their way; returns which they are."""
        wanted = refs(record)
        message_bytes, images = _weights(record, wanted)
        if isinstance(record, r.ToolResultReleased) and record.release is not ResultRelease.RELEASED:
            withheld = self._withhold(record.call_id)
            record = record if withheld is None or withheld.attempt else _unmade(record)
        self.records.append(record)
        self.message_bytes += message_bytes
        self.images += images
        self.size += RECORD_BYTES + message_bytes + images
        return wanted

    def _withhold(self, call_id: EffectId) -> r.ToolCompleted | r.ToolFailed | None:
        """What came of a call is not told: it takes nothing of what a request may hold. What that was."""
        for index in range(len(self.records) - 1, -1, -1):
            record = self.records[index]
            if isinstance(record, _OUTCOMES) and record.call_id == call_id:
                self.message_bytes -= _weights(record, refs(record))[0]
                del self.records[index]
                return record
        return None


class ConversationRequest:
    """A request under way. A class, because a context made of a generator costs ten times as much."""

    __slots__ = ("_conversation", "_memory", "_route", "_taken")

    def __init__(self, conversation: Conversation, memory: ConversationMemory, route: int) -> None:
        self._conversation = conversation
        self._memory = memory
        self._route = route
        self._taken = 0

    async def __aenter__(self) -> tuple[Message, ...]:
        try:
            return await self._conversation.tell(self._route, self._enter)
        except BaseException:
            self._leave()
            raise

    async def __aexit__(self, *_: object) -> None:
        self._leave()

    async def _enter(self, size: int, images: int) -> None:
        self._taken = await self._memory.enter(size, images)

    def _leave(self) -> None:
        taken, self._taken = self._taken, 0
        if taken:
            self._memory.leave(taken)


class ConversationSource(EventReader, Contents, Protocol):
    """What a conversation is read from."""


class Conversation:
    """What a run has said and was told.

    It is held in memory while the run's driver lives, up to a bound for the run
    and one for all runs; beyond them nothing is held, and a request to a model
    reads it from the journal, in batches. What the run sees of its session is in its own
    records, so a restart finds it as it was.
    """

    def __init__(
        self, journal: ConversationSource, memory: ConversationMemory, run: RunKey, *, is_stored: bool = False
    ) -> None:
        """`is_stored`: there are records already, in the journal, where they are left until somebody needs them."""
        self._journal = journal
        self._memory = memory
        self._run = run
        self._said: Said | None = None if is_stored else Said([], {})
        self._arguments: dict[str, bytes] = {}  # that were read to be checked, until they are sent
        self._closed = False

    def extend(self, records: Iterable[r.Record], contents: Iterable[Content]) -> None:
        """Takes in what was just appended."""
        said = self._said
        if said is None:
            return
        wanted = [ref for record in records if type(record) in _BEARING for ref in said.add(record)]
        if not wanted:
            return
        digests = {ref.digest for ref in wanted}
        for each in contents:
            if each.ref.digest in digests:
                said.contents[each.ref.digest] = each.data
        self._hold(said)

    async def check(self, state: RunState, sends: EffectId | None = None) -> None:
        """Reads what the run needs as soon as it goes on. Raises JOURNAL_CORRUPT: damage is found before it does.

        That is the whole conversation only for a request to a model. `sends` is a call that may be sent at once.
        """
        if state.model_attempt:
            records = _told(await self._journal.messages(self._run))
            wanted = [ref for record in records for ref in refs(record)]
            message_bytes, images = _weight_of(records)
            if message_bytes <= self._memory.request_limit and images <= self._memory.image_limit:
                await self._read(records, wanted)
        else:
            calls = [
                call
                for call in state.calls
                if call.phase is CallPhase.RUNNING or call.call_id == sends or call.awaits_release
            ]
            wanted = [ref for call in calls for ref in (call.arguments, call.outcome) if ref is not None]
            self._arguments = await self._contents(wanted)

    def let_go(self) -> None:
        """Holds nothing from now on: the journal has it."""
        self._said = None

    def close(self) -> None:
        """Ends the conversation: its run has no driver any more."""
        self._closed = True
        self._memory.drop(self)
        self._said = None

    async def data(self, ref: ContentRef) -> bytes:
        """Bytes of a content this conversation refers to. Raises JOURNAL_CORRUPT if it is damaged or missing."""
        held = self._said.contents.get(ref.digest) if self._said else self._arguments.pop(ref.digest, None)
        return held if held is not None else (await self._contents([ref]))[ref.digest]

    def request(self, route: int) -> ConversationRequest:
        """Everything said so far, for a request over that route that lasts as long as the asynchronous context.

        The results of a round follow its calls, in the calls' order. Waits until there is room for it. Raises
        CONVERSATION_TOO_LARGE when it is more than a request may hold, JOURNAL_CORRUPT when some of it is damaged or
        missing.
        """
        return ConversationRequest(self, self._memory, route)

    async def tell(self, route: int, enter: Callable[[int, int], Awaitable[None]]) -> tuple[Message, ...]:
        """For `request`: the messages, made once `enter` has let so many bytes, and so many of images, in."""
        said = self._said
        if said is not None:
            await enter(said.message_bytes, said.images)
        else:
            records = _told(await self._journal.messages(self._run))
            wanted = [ref for record in records for ref in refs(record)]
            await enter(*_weight_of(records))
            said = await self._read(records, wanted)
        if said.size > READ_INLINE_BYTES:
            return await asyncio.to_thread(messages_of, said.records, said.contents, route)
        return messages_of(said.records, said.contents, route)

    async def _read(self, records: list[r.Record], wanted: Sequence[ContentRef]) -> Said:
        said = Said([], await self._contents(wanted))
        for record in records:
            said.add(record)
        if self._said is None and not self._closed:
            self._said = said
            self._hold(said)
        return said

    async def _contents(self, wanted: Sequence[ContentRef]) -> dict[str, bytes]:
        contents: dict[str, bytes] = {}
        namespace, run_id = self._run.namespace, self._run.run_id
        for batch in _batches(wanted):
            contents.update(await self._journal.content(namespace, batch, run=run_id, required=True))
        return contents

    def _hold(self, said: Said) -> None:
        """Keeps what was said if it is within the run's bound, else nothing."""
        if said.size > self._memory.run_limit:
            self._memory.drop(self)
            self._said = None
        else:
            self._memory.cache(self, said.size)


def _weights(record: r.Record, wanted: Sequence[ContentRef]) -> tuple[int, int]:
    """How many bytes of what the record refers to a model is told, and how many of images it is shown."""
    message_bytes = images = 0
    if isinstance(record, r.SubjectReplaced) and record.stage is not PolicyStage.INPUT:
        return 0, 0  # the model is not told of other arguments, and of another result by its release
    shows = isinstance(record, _SHOWING)
    for ref in wanted:
        if shows and ref.media_type in IMAGE_TYPES:
            images += ref.size
        else:
            message_bytes += ref.size
    return message_bytes, images


def _weight_of(records: Sequence[r.Record]) -> tuple[int, int]:
    weights = [_weights(record, refs(record)) for record in records]
    return sum([message_bytes for message_bytes, _ in weights]), sum([images for _, images in weights])


def _batches(wanted: Sequence[ContentRef]) -> Iterator[list[str]]:
    """Digests, so many at a time that their contents are not much more than READ_BYTES."""
    sizes = {ref.digest: ref.size for ref in wanted}
    batch: list[str] = []
    size = 0
    for digest, each in sizes.items():
        if batch and size + each > READ_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(digest)
        size += each
    if batch:
        yield batch


def messages_of(records: Sequence[r.Record], contents: Mapping[str, bytes], route: int) -> tuple[Message, ...]:
    """The messages that the records stand for, in one pass over them. What is opaque is told over its `route` alone."""
    message_bytes = _Telling(contents)
    results = _results(records)
    requested = iter([record for record in records if isinstance(record, r.ToolRequested)])
    messages: list[Message] = []
    said, said_at = tuple[ContentRef, ...](), 0  # what the user said, and which message that is
    for record in records:
        match record:
            case r.ContextAssembled():
                messages += [message for turn in record.context.included for message in message_bytes.earlier(turn)]
            case r.TurnStarted():
                said, said_at = record.input, len(messages)
                messages.append(message_bytes.user(said))
            case r.SubjectReplaced() if record.stage is PolicyStage.INPUT and record.replacement is not None:
                messages[said_at] = message_bytes.user(input_seen(said, (record.replacement,)))
            case r.ModelMessageCompleted():
                # The calls of a message are those that follow it: as many as it says, before any of the next.
                calls = list(islice(requested, record.tool_calls))
                text = message_bytes.text(record.text) if record.text else None
                opaque = contents[record.opaque.digest] if record.opaque and record.route == route else b""
                messages.append(AssistantMessage(text, tuple(message_bytes.part(call) for call in calls), opaque))
                messages += [message_bytes.result(call, results.get(call.call_id)) for call in calls]
            case _:
                pass
    return tuple(messages)


def _told(records: list[r.Record]) -> list[r.Record]:
    """The records without those of which the model is not told."""
    withheld = {
        record.call_id
        for record in records
        if isinstance(record, r.ToolResultReleased) and record.release is not ResultRelease.RELEASED
    }
    if not withheld:
        return records
    # An approver has answered in place of the tool, so the call was not made.
    unmade = {record.call_id for record in records if isinstance(record, r.ToolCompleted) and not record.attempt}
    return [
        _unmade(record) if isinstance(record, r.ToolResultReleased) and record.call_id in unmade else record
        for record in records
        if not (isinstance(record, _OUTCOMES) and record.call_id in withheld)
    ]


def _unmade(record: r.ToolResultReleased) -> r.ToolResultReleased | r.ToolDenied:
    """What the model is told where a response is withheld."""
    if record.release is not ResultRelease.WITHHELD:
        return record
    said = (record.policy_ref, record.code, record.message)
    return r.ToolDenied(record.at, record.call_id, record.tool, *said)


def _results(records: Sequence[r.Record]) -> dict[EffectId, _Result]:
    """What the model is told of each call: nothing of one that awaits its release."""
    results: dict[EffectId, _Result] = {}
    awaiting: dict[EffectId, _Result] = {}
    for record in records:
        match record:
            case r.ToolCompleted() | r.ToolFailed():
                (awaiting if record.awaits_release else results)[record.call_id] = record
            case r.ToolDenied():
                results[record.call_id] = record
            case r.ToolResultReleased():
                is_released = record.release is ResultRelease.RELEASED
                results[record.call_id] = awaiting[record.call_id] if is_released else record
    return results


class _Telling:
    """Records as messages, with their contents."""

    def __init__(self, contents: Mapping[str, bytes]) -> None:
        self._contents = contents

    def earlier(self, turn: SessionTurn) -> tuple[Message, Message]:
        return self.user(turn.input), AssistantMessage(self.text(turn.answer), ())

    def user(self, input: Sequence[ContentRef]) -> UserMessage:
        return UserMessage(tuple(self.said(ref) for ref in input))

    def part(self, call: r.ToolRequested) -> ToolCallPart:
        return ToolCallPart(call.call_id, call.provider_call_id, call.tool, self.text(call.arguments))

    def result(self, call: r.ToolRequested, result: _Result | None) -> ToolResultMessage:
        match result:
            case r.ToolCompleted():
                text, is_error = self.text(result.result), False
            case r.ToolFailed():
                text = self.text(result.message) if result.message else _failure_text(result.reason)
                is_error = True
            case r.ToolDenied():
                said = f" {result.message}" if result.message else ""
                by = f"Denied by policy {result.policy_ref}"
                by = "Denied: no policy allows it" if result.policy_ref == ALL_POLICIES else by
                text, is_error = f"{by} ({result.code}).{said}", True
            case r.ToolResultReleased() if result.replacement is not None:
                text, is_error = self.text(result.replacement), result.failed
            case r.ToolResultReleased():
                said = f" {result.message}" if result.message else ""
                by = f"policy {result.policy_ref} ({result.code})"
                text, is_error = f"The call was made; what came of it is withheld by {by}.{said}", True
            case None:
                raise AssertionError(f"{call.call_id} has no result; the machine asks only once all have one")
        return ToolResultMessage(call.call_id, call.provider_call_id, call.tool, text, is_error)

    def said(self, ref: ContentRef) -> str | Image:
        return Image(ref.media_type, self._contents[ref.digest]) if ref.media_type in IMAGE_TYPES else self.text(ref)

    def text(self, ref: ContentRef) -> str:
        return self._contents[ref.digest].decode("utf-8", "replace")


_Result: TypeAlias = r.ToolCompleted | r.ToolFailed | r.ToolDenied | r.ToolResultReleased

_MESSAGE_OF: dict[ErrorReason, str] = {
    ErrorReason.TOOL_TIMED_OUT: "The tool did not answer in time.",
    ErrorReason.TOOL_ANSWER_INVALID: (
        "The executor answered, and its answer cannot be read; the call may have had its effect."
    ),
    ErrorReason.EXECUTOR_UNAVAILABLE: "The tool could not be reached; the call was not made.",
    ErrorReason.EXECUTOR_LOST: "The tool was lost during the call, every time it was tried.",
    ErrorReason.APPROVAL_EXPIRED: "Nobody who may approve the call decided in time; it was not made.",
    ErrorReason.BUDGET_EXHAUSTED: "The call was not made: the budget of tool calls is used up.",
}


def _failure_text(reason: ErrorReason) -> str:
    return _MESSAGE_OF.get(reason, f"The tool call failed. {MEANINGS[reason].remedy}")
