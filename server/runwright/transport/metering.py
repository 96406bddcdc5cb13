"""Calls, timed: around a handler only where somebody meters them."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc

from runwright.ports.telemetry import CallMeter
from runwright.transport.status import code_name

Context = grpc.aio.ServicerContext[Any, Any]


def metered(meter: CallMeter | None, method: str, serve: Any) -> Any:
    """A handler, timed from its start to its end."""
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
