"""Calls, timed: around a handler only where somebody meters them."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc

from runwright.ports.telemetry import CallMeter
from runwright.transport.status import code_name

Context = grpc.aio.ServicerContext[Any, Any]


def metered(meter: CallMeter | None, method: str, serve: Any) -> Any:
    """A handler that answers at once or writes by itself, timed from its start to its end."""
    if meter is None:
        return serve

    async def timed(request: Any, context: Context) -> Any:
        begun, cancelled = meter.begun(), False
        try:
            return await serve(request, context)
        except asyncio.CancelledError:
            cancelled = True
            raise
        finally:
            meter.ended(method, code_name(context, cancelled=cancelled), begun)

    return timed


def metered_stream(meter: CallMeter | None, method: str, serve: Any) -> Any:
    """The same for a handler that yields its answers."""
    if meter is None:
        return serve

    async def timed(requests: Any, context: Context) -> Any:
        begun, cancelled = meter.begun(), True
        try:
            async for response in serve(requests, context):
                yield response
            cancelled = False
        finally:
            meter.ended(method, code_name(context, cancelled=cancelled), begun)

    return timed
