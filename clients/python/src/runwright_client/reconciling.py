"""What became of a call that the runtime has lost sight of: what an author says, and what the runtime is told."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ._gen.runwright.callback import v1 as pb
from .answers import encoded_result
from .awaiting import is_async, outcome
from .tools import ToolCall

_log = logging.getLogger("runwright_client")
_MESSAGE_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Performed:
    """The call was performed, with this result: what the tool would have returned. The run goes on with it."""

    result: Any = None


@dataclass(frozen=True, slots=True)
class NotPerformed:
    """Neither this attempt nor an earlier one was performed, for certain: the call is sent again."""

    why: str = ""


@dataclass(frozen=True, slots=True)
class CannotSay:
    """Nobody here can say, or not yet: the runtime asks again for a while, then a person."""

    why: str = ""


Answer = Performed | NotPerformed | CannotSay
Reconciler = Callable[[Any, ToolCall], Any]


async def reconciled(
    reconciler: Reconciler, request: pb.ReconcileToolRequest, call: ToolCall, threads: Executor | None
) -> pb.ReconcileToolResponse:
    """What the runtime is told. Whatever the author's function raises, or returns beside an `Answer`, says nothing."""
    try:
        arguments = json.loads(request.arguments_json)
        said = await outcome(lambda: reconciler(arguments, call), is_async(reconciler), threads)
        if not isinstance(said, Answer):
            raise TypeError(f"neither Performed nor NotPerformed nor CannotSay: {type(said).__name__}")
    except BaseException as error:
        if isinstance(error, asyncio.CancelledError) and call.cancelled.is_set():
            raise
        with suppress(Exception):  # a log that fails must not change the answer
            message = "asking about tool %s, call %s of run %s, failed"
            _log.error(message, call.tool, call.call_id, call.run_id, exc_info=error)
        said = CannotSay("Looking for it failed.")
    return response(request, said, call)


def response(request: pb.ReconcileToolRequest, said: Answer, call: ToolCall) -> pb.ReconcileToolResponse:
    """An answer about exactly what was asked."""
    about = pb.ReconcileToolResponse(
        idempotency_key=request.idempotency_key,
        attempt=request.attempt,
        arguments_digest=request.arguments_digest,
    )
    match said:
        case Performed():
            about.performed = encoded_result(said.result, call)
        case NotPerformed():
            about.not_performed = pb.ToolNotPerformed(message=_clipped(said.why))
        case CannotSay():
            about.unknown = pb.ToolOutcomeUnknown(message=_clipped(said.why))
    return about


def _clipped(words: object) -> str:
    text = ""
    with suppress(BaseException):  # the words are the author's code, too
        text = str(words)
    return text.encode("utf-8", "replace")[:_MESSAGE_BYTES].decode("utf-8", "ignore")
