"""Performs one call of a tool, and says what came of it, whatever the tool does."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from typing import Any

from pydantic_core import to_json

from ._gen.runwright.callback import v1 as pb
from .awaiting import is_async, outcome
from .tools import Content, Tool, ToolCall, ToolError

_log = logging.getLogger("runwright_client")

Handler = Callable[[Any, ToolCall], Any]
_RESULT_BYTES = 1024 * 1024
_MESSAGE_BYTES = 4096
_FAILED = "The tool failed."


async def answer(
    tool: Tool[..., Any] | Handler, arguments: bytes, call: ToolCall, threads: Executor | None
) -> pb.ExecuteToolResponse:
    """What the runtime is told of one call. Raises nothing but CancelledError, once the call was given up."""
    try:
        value = await _value(tool, arguments, call, threads)
    except ToolError as error:
        return failed(error)
    # Whatever else a tool raises: SystemExit would end the loop, and with it every other call.
    except BaseException as error:
        if isinstance(error, asyncio.CancelledError) and call.cancelled.is_set():
            raise
        _note("tool %s failed in call %s of run %s", call, error)
        return failed()
    return failed(value) if isinstance(value, ToolError) else _made(value, call)


def answered(work: asyncio.Task[pb.ExecuteToolResponse]) -> pb.ExecuteToolResponse:
    """The answer of a call that is over; a tool can have cancelled its own task while it returned."""
    return failed() if work.cancelled() else work.result()


def failed(error: ToolError | str = _FAILED) -> pb.ExecuteToolResponse:
    """A failure for certain, in words for the model."""
    message = ""
    with suppress(BaseException):  # the words are the author's code, too
        message = str(error)
    clipped = (message or _FAILED).encode("utf-8", "replace")[:_MESSAGE_BYTES]
    return pb.ExecuteToolResponse(error=pb.ToolError(message=clipped.decode("utf-8", "ignore")))


async def _value(tool: Tool[..., Any] | Handler, arguments: bytes, call: ToolCall, threads: Executor | None) -> object:
    if isinstance(tool, Tool):
        return await tool.perform(arguments, call, threads)
    handler = tool
    try:
        parsed = json.loads(arguments)
    except (ValueError, RecursionError):
        return ToolError("The tool cannot read its arguments.")
    return await outcome(lambda: handler(parsed, call), is_async(handler), threads)


def encoded_result(value: object, call: ToolCall) -> pb.ToolResult:
    """The result of a call that was performed, found later: what cannot be sent is said in words."""
    made = _made(value, call)
    if made.result is not None:
        return made.result
    assert made.error is not None, "one of the two"
    return pb.ToolResult(data=made.error.message.encode(), media_type="text/plain; charset=utf-8")


def _made(value: object, call: ToolCall) -> pb.ExecuteToolResponse:
    """The effect has happened: whatever is wrong with its result, the model must not be told that it has not."""
    try:
        content = value if isinstance(value, Content) else Content(to_json(value, inf_nan_mode="null"), "")
        values: Any = content.data  # which the author may have made of anything
        data = values.encode() if isinstance(values, str) else bytes(memoryview(values))
        response = pb.ExecuteToolResponse(result=pb.ToolResult(data=data, media_type=content.media_type))
        bytes(response)  # what cannot be sent shows here, where it can still be said
    except BaseException as error:  # noqa: BLE001  # a result is of the author's classes, which may raise anything
        _note("the result of tool %s, call %s of run %s, cannot be encoded", call, error)
        return failed("The call was made; its result cannot be encoded.")
    if len(data) > _RESULT_BYTES:
        return failed(f"The call was made; its result of {len(data)} bytes is above {_RESULT_BYTES}.")
    return response


def _note(message: str, call: ToolCall, error: BaseException) -> None:
    with suppress(Exception):  # a log that fails must not change the answer
        _log.error(message, call.tool, call.call_id, call.run_id, exc_info=error)
