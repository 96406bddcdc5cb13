"""The messages of a model request, rebuilt from the run's message-bearing records."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from runwright.core import records as r
from runwright.core.content import Content, ContentRef
from runwright.core.context import SessionTurn
from runwright.core.errors import MEANINGS, ErrorReason
from runwright.core.events import MESSAGE_BEARING, kind_of
from runwright.core.ids import RunKey
from runwright.core.images import IMAGE_TYPES, Image
from runwright.core.references import refs
from runwright.ports.journal import Journal
from runwright.ports.provider import AssistantMessage, Message, ToolCallPart, ToolResultMessage, UserMessage


class Conversation:
    """Records and contents of one run, kept while its driver lives; after a restart read once, in a batch.

    What the run sees of its session is in its own records, so a restart finds it as it was.
    """

    def __init__(self) -> None:
        self._records: list[r.Record] = []
        self._contents: dict[str, bytes] = {}

    @classmethod
    async def load(cls, journal: Journal, run: RunKey) -> Conversation:
        """The conversation as the journal has it. Raises JOURNAL_CORRUPT if content is damaged or missing."""
        conversation = cls()
        conversation._records = await journal.messages(run)
        digests = [ref.digest for record in conversation._records for ref in refs(record)]
        conversation._contents = await journal.content(run, digests, required=True)
        return conversation

    def extend(self, records: Iterable[r.Record], contents: Iterable[Content]) -> None:
        """Takes in what was just appended."""
        self._records += [record for record in records if kind_of(record) in MESSAGE_BEARING]
        self._contents.update((content.ref.digest, content.data) for content in contents)

    def data(self, ref: ContentRef) -> bytes:
        """Bytes of a content this conversation refers to."""
        return self._contents[ref.digest]

    def messages(self) -> tuple[Message, ...]:
        """Everything said so far. The results of a round follow its calls, in the calls' order."""
        messages: list[Message] = []
        results = {record.call_id: record for record in self._records if isinstance(record, _RESULTS)}
        for index, record in enumerate(self._records):
            match record:
                case r.ContextAssembled():
                    messages += [message for turn in record.context.included for message in self._earlier(turn)]
                case r.TurnStarted():
                    messages.append(self._user(record.input))
                case r.ModelMessageCompleted():
                    calls = self._calls_of(index, record.tool_calls)
                    text = self._text(record.text) if record.text else None
                    messages.append(AssistantMessage(text, tuple(self._part(call) for call in calls)))
                    messages += [self._result(call, results.get(call.call_id)) for call in calls]
                case _:
                    pass
        return tuple(messages)

    def _earlier(self, turn: SessionTurn) -> tuple[Message, Message]:
        return self._user(turn.input), AssistantMessage(self._text(turn.answer), ())

    def _user(self, input: Sequence[ContentRef]) -> UserMessage:
        return UserMessage(tuple(self._said(ref) for ref in input))

    def _calls_of(self, index: int, count: int) -> Sequence[r.ToolRequested]:
        later = (record for record in self._records[index + 1 :] if isinstance(record, r.ToolRequested))
        return [call for call, _ in zip(later, range(count), strict=False)]

    def _part(self, call: r.ToolRequested) -> ToolCallPart:
        return ToolCallPart(call.call_id, call.provider_call_id, call.tool, self._text(call.arguments))

    def _result(self, call: r.ToolRequested, result: _Result | None) -> ToolResultMessage:
        match result:
            case r.ToolCompleted():
                text, is_error = self._text(result.result), False
            case r.ToolFailed():
                text = self._text(result.message) if result.message else _failure_text(result.reason)
                is_error = True
            case r.ToolDenied():
                text, is_error = f"Denied by policy {result.policy_ref} ({result.code}).", True
            case None:
                raise AssertionError(f"{call.call_id} has no result; the machine asks only once all have one")
        return ToolResultMessage(call.call_id, call.provider_call_id, call.tool, text, is_error)

    def _said(self, ref: ContentRef) -> str | Image:
        return Image(ref.media_type, self._contents[ref.digest]) if ref.media_type in IMAGE_TYPES else self._text(ref)

    def _text(self, ref: ContentRef) -> str:
        return self._contents[ref.digest].decode("utf-8", "replace")


_RESULTS = (r.ToolCompleted, r.ToolFailed, r.ToolDenied)
_Result = r.ToolCompleted | r.ToolFailed | r.ToolDenied

_TOLD: dict[ErrorReason, str] = {
    ErrorReason.TOOL_TIMED_OUT: "The tool did not answer in time.",
    ErrorReason.TOOL_ANSWER_INVALID: (
        "The executor answered, and its answer cannot be read; the call may have had its effect."
    ),
    ErrorReason.EXECUTOR_UNAVAILABLE: "The tool could not be reached; the call was not made.",
    ErrorReason.EXECUTOR_LOST: "The tool was lost during the call, every time it was tried.",
    ErrorReason.BUDGET_EXHAUSTED: "The call was not made: the budget of tool calls is used up.",
}


def _failure_text(reason: ErrorReason) -> str:
    return _TOLD.get(reason, f"The tool call failed. {MEANINGS[reason].remedy}")
