"""Model providers: what the runtime asks a model, and what it gets back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, TypeAlias, runtime_checkable

from msgspec import Struct
from pydantic import JsonValue

from runwright.core.images import Image
from runwright.core.outcomes import FinishReason

# What no reply may exceed. An adapter whose model answers in pieces need not read on when it does.
MAX_CALLS = 64
MAX_TEXT_BYTES = 4 * 1024 * 1024
MAX_REPLY_ARGUMENT_BYTES = 1024 * 1024
MAX_OPAQUE_BYTES = 1024 * 1024  # more is left out as a whole: half of a signed thought is none


class UserMessage(Struct, frozen=True):
    """What the user said, part by part. A provider that cannot see an image refuses it, or says that it looks away."""

    parts: tuple[str | Image, ...]


class ToolCallPart(Struct, frozen=True):
    """A call the model asked for earlier. `call_id` is ours, `provider_call_id` the provider's."""

    call_id: str
    provider_call_id: str
    tool: str
    arguments_json: str


class AssistantMessage(Struct, frozen=True):
    """An earlier answer of the model, with the calls it asked for.

    `opaque` is what the provider gave as that of its reply; empty when there was nothing, and for an answer that came
    over another route.
    """

    text: str | None
    calls: tuple[ToolCallPart, ...]
    opaque: bytes = b""


class ToolResultMessage(Struct, frozen=True):
    """The real content of a call's result, paired with its call."""

    call_id: str
    provider_call_id: str
    tool: str
    content: str
    is_error: bool


Message: TypeAlias = UserMessage | AssistantMessage | ToolResultMessage


class ToolSpecification(Struct, frozen=True):
    """A tool as the model sees it."""

    name: str
    description: str
    parameters_schema: Mapping[str, JsonValue]


class ModelRequest(Struct, frozen=True, kw_only=True):
    """One request to a model: everything it may know."""

    run_id: str
    round: int
    attempt: int
    model: str
    parameters: Mapping[str, JsonValue]
    instructions: str
    messages: tuple[Message, ...]
    tools: tuple[ToolSpecification, ...]


class ProviderCall(Struct, frozen=True):
    """A tool call as the provider gave it; nothing in it is trusted."""

    provider_call_id: str
    tool: str
    arguments_json: str


class ModelReply(Struct, frozen=True, kw_only=True):
    """What a model answered; nothing in it is trusted.

    `opaque` is what the vendor needs back beside the text and the calls, in any form: it is kept with the answer in the
    journal, shown to nobody, and handed to the provider of the same route alone. None: it is more than may be kept.
    """

    text: str | None = None
    calls: tuple[ProviderCall, ...] = ()
    finish: FinishReason = FinishReason.STOP
    input_tokens: int = 0
    output_tokens: int = 0
    opaque: bytes | None = b""


# Takes the next piece of the text, on the loop and without waiting: whoever follows the run sees it come.
EmitText: TypeAlias = Callable[[str], None]


class Provider(Protocol):
    """A provider adapter. Makes exactly one request per call: attempts belong to the run machine."""

    async def complete(self, request: ModelRequest, emit: EmitText) -> ModelReply:
        """Asks the model.

        Raises AgentError: PROVIDER_FAILED, PROVIDER_RATE_LIMITED and MODEL_OUTPUT_INVALID for what may pass,
        PROVIDER_KEY_REFUSED and PROVIDER_REFUSED for what fails again. Metadata `retry_after` (whole seconds, `7s`)
        is honoured.

        An adapter whose model answers in pieces gives each piece of text to
        `emit` as it comes; together they must be the reply's text or its
        beginning. None is asked for: what counts is the reply. `emit` raises
        MODEL_OUTPUT_INVALID for text that no reply may hold; let it through.
        """


@runtime_checkable
class PreparableProvider(Protocol):
    """A provider that has to load something. It is prepared before its runtime recovers and serves."""

    async def prepare(self) -> None:
        """Loads libraries and the like, beside the loop. Asks nobody."""


@runtime_checkable
class ClosableProvider(Protocol):
    """A provider that holds something. It is closed with its runtime."""

    async def close(self) -> None:
        """Lets go of connections and the like."""
