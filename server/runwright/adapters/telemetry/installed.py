"""Which of telemetry's libraries are there. Imports none of them."""

from __future__ import annotations

from importlib.util import find_spec

_OF = {"metrics": ("prometheus_client",), "otel": ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.grpc")}


def missing_libraries(extra: str) -> tuple[str, ...]:
    """The libraries of the extra that are not installed."""
    return tuple(name for name in _OF[extra] if not _is_there(name))


def _is_there(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # not even the package around it
        return False
