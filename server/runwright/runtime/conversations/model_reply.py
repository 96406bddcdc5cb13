"""What a model answered, checked: nothing a provider or model made is trusted."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Sequence

from msgspec import Struct
from pydantic import JsonValue

from runwright.core.content import JSON, OPAQUE, TEXT, Content
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.fingerprint import canonical_json
from runwright.core.inputs import Findings, RequestedCall
from runwright.core.outcomes import FinishReason
from runwright.core.package import RuntimePackage
from runwright.ports.provider import (
    MAX_CALLS,
    MAX_OPAQUE_BYTES,
    MAX_REPLY_ARGUMENT_BYTES,
    MAX_TEXT_BYTES,
    ModelReply,
    ProviderCall,
)
from runwright.ports.schemas import Instance, SchemaChecker

MAX_TOKENS = 2**40  # a thousand rounds of it still fit into the record's 64 bits
MAX_ARGUMENT_BYTES = 256 * 1024
MAX_TOOL_NAME = 64
MAX_DEPTH = 64
MAX_PROVIDER_ID = 512  # characters
UNNAMED = "(no name)"
READ_INLINE_BYTES = 16 * 1024


class CheckedReply(Struct, frozen=True):
    """A reply fit for the machine, with the contents to store."""

    text: Content | None
    opaque: Content | None
    calls: tuple[RequestedCall, ...]
    contents: tuple[Content, ...]
    values: tuple[JsonValue, ...] = ()  # the arguments of each call, as read


async def check_reply(package: RuntimePackage, schemas: SchemaChecker, reply: ModelReply, adapter: str) -> CheckedReply:
    """Checks a reply of that adapter. What policies say of it is found out afterwards: `reply_policies`.

    Raises MODEL_OUTPUT_INVALID when the reply as a whole breaks the protocol,
    before anything is made of it. A call that is merely wrong (unknown tool, bad
    arguments) keeps its place with a `problem`: the model is told and may do better.
    """
    stopped_early = reply.finish in (FinishReason.LENGTH, FinishReason.CONTENT_FILTER)
    _require_form(reply, adapter, stopped_early=stopped_early)
    text = _content(reply.text, adapter) if reply.text else None
    calls = () if stopped_early else reply.calls
    if size_of_arguments(reply) > READ_INLINE_BYTES:
        # Canonical JSON of numbers is pure Python: a large reply must not hold up every other run.
        arguments = await asyncio.to_thread(lambda: [_read_arguments(call) for call in calls])
    else:
        arguments = [_read_arguments(call) for call in calls]
    problems = await _schema_problems(package, schemas, calls, arguments)
    checked = [_checked(package, *each) for each in zip(_named(calls), arguments, problems, strict=True)]
    # It goes back beside the results of calls; of an answer without any, nothing does.
    opaque = Content.of(reply.opaque, OPAQUE) if calls and reply.opaque and is_opaque_fit(reply) else None
    contents = [content for content in (text, opaque) if content]
    contents += [content for _, made in checked for content in made]
    values = tuple(read.value for read in arguments)
    return CheckedReply(text, opaque, tuple(call for call, _ in checked), tuple(contents), values)


def _require_form(reply: ModelReply, adapter: str, *, stopped_early: bool) -> None:
    """The number of calls comes first: what follows looks at each of them."""
    _require(len(reply.calls) <= MAX_CALLS, adapter, f"more than {MAX_CALLS} calls at once")
    _require(bool(reply.calls) or reply.finish is not FinishReason.TOOL_CALLS, adapter, "tool_calls without a call")
    _require(bool(reply.text or reply.calls) or stopped_early, adapter, "an answer with neither text nor calls")
    size = size_of_arguments(reply)
    _require(size <= MAX_REPLY_ARGUMENT_BYTES, adapter, f"more than {MAX_REPLY_ARGUMENT_BYTES} characters of arguments")


def _named(calls: Sequence[ProviderCall]) -> list[ProviderCall]:
    """The calls under names and ids that can be stored and shown.

    A name no tool can have is only an unknown tool. An id that cannot be kept,
    or is another call's, is left out: adapters tell such calls apart by ours.
    """
    named: list[ProviderCall] = []
    seen: set[str] = set()
    for call in calls:
        identifier = call.provider_call_id
        is_fit = identifier.isprintable() and len(identifier) <= MAX_PROVIDER_ID and identifier not in seen
        seen.add(identifier)
        named.append(ProviderCall(identifier if is_fit else "", _shown(call.tool), call.arguments_json))
    return named


def _shown(name: str) -> str:
    shown = "".join(character if character.isprintable() else "?" for character in name[: MAX_TOOL_NAME + 1])
    return (shown if len(shown) <= MAX_TOOL_NAME else f"{shown[: MAX_TOOL_NAME - 1]}…") or UNNAMED


def counted(tokens: object) -> int:
    """A number of tokens as a provider gave it, as the record holds it: whole, not negative, bounded."""
    if isinstance(tokens, bool) or not isinstance(tokens, int | float):
        return 0
    if isinstance(tokens, float) and not math.isfinite(tokens):
        return 0
    return round(max(0, min(tokens, MAX_TOKENS)))  # bounded first: a whole number may be larger than any float


def is_opaque_fit(reply: ModelReply) -> bool:
    """False when what the vendor needs back is more than is kept."""
    return reply.opaque is not None and len(reply.opaque) <= MAX_OPAQUE_BYTES


def size_of_arguments(reply: ModelReply) -> int:
    """Characters of arguments in all calls together."""
    return sum(len(call.arguments_json) for call in reply.calls)


class _Arguments(Struct, frozen=True):
    """Arguments of one call: what is stored, what they say, and why they cannot be used, if so."""

    content: Content
    value: JsonValue = None
    problem: str | None = None


def _read_arguments(call: ProviderCall) -> _Arguments:
    raw = call.arguments_json.encode("utf-8", "replace")
    as_sent = Content.of(raw[:MAX_ARGUMENT_BYTES], TEXT)
    if len(raw) > MAX_ARGUMENT_BYTES:
        return _Arguments(as_sent, problem=f"they are larger than {MAX_ARGUMENT_BYTES} bytes.")
    try:
        value = json.loads(call.arguments_json.strip() or "null")
    except (ValueError, RecursionError):
        return _Arguments(as_sent, problem="they are not JSON.")
    if value is None:  # how models say that there is nothing to say
        value = {}
    if not isinstance(value, dict):
        return _Arguments(as_sent, problem="they are not a JSON object.")
    if not _is_shallow(value):
        return _Arguments(as_sent, problem=f"they are nested deeper than {MAX_DEPTH}.")
    try:
        return _Arguments(Content.of(canonical_json(value), JSON), value)
    except (ValueError, RecursionError):
        message = "they hold a number beyond 2^53, NaN, or text that is not Unicode; send it as a string."
        return _Arguments(as_sent, problem=message)


async def arguments_problem(
    package: RuntimePackage, schemas: SchemaChecker, call: ProviderCall
) -> tuple[Content, str | None]:
    """Arguments of a call in their canonical form, and why they cannot be used, if so."""
    read = await asyncio.to_thread(_read_arguments, call)
    [problem] = await _schema_problems(package, schemas, [call], [read])
    return read.content, problem


async def _schema_problems(
    package: RuntimePackage, schemas: SchemaChecker, calls: Sequence[ProviderCall], arguments: Sequence[_Arguments]
) -> list[str | None]:
    """What is wrong with the arguments of each call."""
    problems = [read.problem for read in arguments]
    requested: list[tuple[int, Instance]] = []
    for index, (call, read) in enumerate(zip(calls, arguments, strict=True)):
        tool = package.tool(call.tool)
        if tool is not None and read.problem is None:
            requested.append((index, Instance(package.arguments_schema(tool), read.value, read.content.data)))
    if requested:
        found = await schemas.problems([instance for _, instance in requested])
        for (index, _), problem in zip(requested, found, strict=True):
            problems[index] = problem
    return problems


def _checked(
    package: RuntimePackage, call: ProviderCall, read: _Arguments, problem: str | None
) -> tuple[RequestedCall, list[Content]]:
    arguments = read.content
    if package.tool(call.tool) is None:  # a name that was changed to be shown is longer than any tool's, or unlike it
        known = ", ".join(tool.name for tool in package.tools) or "none"
        message = Content.text(f"There is no tool called {call.tool}. The tools are: {known}.")
        reason = ErrorReason.TOOL_UNKNOWN
    elif problem:
        message = Content.text(f"The arguments were not accepted: {problem}")
        reason = ErrorReason.TOOL_ARGUMENTS_INVALID
    else:
        return RequestedCall(call.tool, call.provider_call_id, arguments.ref), [arguments]
    findings = Findings(reason, message.ref)
    return RequestedCall(call.tool, call.provider_call_id, arguments.ref, findings), [arguments, message]


def _is_shallow(value: JsonValue) -> bool:
    """Without recursion: what is too deep for JSON libraries must not be too deep for this."""
    level = [value]
    for _ in range(MAX_DEPTH):
        inner = [part for part in level if isinstance(part, (dict, list))]
        if not inner:
            return True
        level = [each for part in inner for each in (part.values() if isinstance(part, dict) else part)]
    return not any(isinstance(part, (dict, list)) for part in level)


def _content(text: str, adapter: str) -> Content:
    content = Content.text(text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace"))
    _require(content.ref.size <= MAX_TEXT_BYTES, adapter, f"text above {MAX_TEXT_BYTES} bytes")
    return content


def _require(holds: bool, adapter: str, rule: str) -> None:
    if not holds:
        raise invalid_reply(adapter, rule)


def invalid_reply(adapter: str, rule: str) -> AgentError:
    """MODEL_OUTPUT_INVALID for an answer that breaks `rule`."""
    return AgentError(
        ErrorReason.MODEL_OUTPUT_INVALID,
        f"The model's answer cannot be used: {rule}.",
        metadata={"adapter": adapter, "rule": rule},
    )
