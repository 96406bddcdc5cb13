"""Connections: how long they live, how dead ones are found, and how much one may carry."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from runwright.core.approval_requests import MAX_BATCH, MAX_RESPONSE_BYTES
from runwright.core.callbacks import MAX_CA_BYTES
from runwright.core.images import MAX_IMAGES_BYTES
from runwright.core.request import MAX_INPUT_BYTES
from runwright.core.resolution import MAX_RESULT_BYTES
from runwright.transport.usage import MIB, PRINCIPAL

# Each is larger than what is taken, so that the error for a somewhat larger request names its field.
MAX_MESSAGE_BYTES = 4 * max(MAX_INPUT_BYTES, MAX_CA_BYTES)  # of any request that shows no images
MAX_START_BYTES = MAX_IMAGES_BYTES + 4 * MIB + MAX_MESSAGE_BYTES  # of StartRun
MAX_RESOLUTION_BYTES = MAX_RESULT_BYTES + MAX_MESSAGE_BYTES  # of ResolveEffect
MAX_DOCUMENT_REQUEST_BYTES = MIB + MAX_MESSAGE_BYTES  # of a package as its author wrote it
MAX_BATCH_BYTES = MAX_BATCH * MAX_RESPONSE_BYTES + MAX_MESSAGE_BYTES  # of BatchDecide
MAX_METADATA_BYTES = 16 * 1024


class ConnectionLimits(Struct, frozen=True, kw_only=True):
    """What an operator may choose; None: no bound."""

    age_seconds: float | None = None
    age_grace_seconds: float = 30.0
    keepalive_seconds: float = 20.0
    keepalive_timeout_seconds: float = 10.0
    min_ping_seconds: float = 10.0
    max_streams: int = 5_000
    max_connections: int = 1_000
    principal_calls: int = PRINCIPAL.calls
    handshake_seconds: float = 10.0
    # gRPC has one bound for all methods; `transport/guard.py` holds each to its own.
    message_bytes: int = MAX_START_BYTES

    def options(self) -> Sequence[tuple[str, int]]:
        """The options of a gRPC server."""
        timeout = _ms(self.keepalive_timeout_seconds)
        options = [
            ("grpc.so_reuseport", 0),  # else two servers bind one port, silently
            # gRPC refuses bursts of calls with a bare CANCELLED, which looks like a cancel of the client's.
            ("grpc.server.max_pending_requests", 100_000),
            ("grpc.server.max_pending_requests_hard_limit", 100_000),
            ("grpc.max_receive_message_length", self.message_bytes),
            ("grpc.max_metadata_size", MAX_METADATA_BYTES),
            ("grpc.absolute_max_metadata_size", MAX_METADATA_BYTES),
            ("grpc.max_concurrent_streams", self.max_streams),
            ("grpc.max_allowed_incoming_connections", self.max_connections),
            ("grpc.server_handshake_timeout_ms", _ms(self.handshake_seconds)),
            # Else windows grow with what a peer sends, and so does what a request that is not read yet may hold.
            ("grpc.http2.bdp_probe", 0),
            # A frozen peer is only found with the ping time-out beside the keepalive.
            ("grpc.keepalive_time_ms", _ms(self.keepalive_seconds)),
            ("grpc.keepalive_timeout_ms", timeout),
            ("grpc.http2.ping_timeout_ms", timeout),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.min_ping_interval_without_data_ms", _ms(self.min_ping_seconds)),
            ("grpc.http2.min_recv_ping_interval_without_data_ms", _ms(self.min_ping_seconds)),
        ]
        if self.age_seconds is not None:
            options.append(("grpc.max_connection_age_ms", _ms(self.age_seconds)))
            options.append(("grpc.max_connection_age_grace_ms", _ms(self.age_grace_seconds)))
        return options


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))
