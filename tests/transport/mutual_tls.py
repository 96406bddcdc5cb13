"""Hosts that ask whoever dials them for a certificate, and those who have one; made on the spot."""

from __future__ import annotations

from pathlib import Path

import grpc
from runwright._gen.runwright.callback.v1 import callback_registry_service_pb2 as pb
from runwright.adapters.remote.dialer import ClientCertificate

from tests.transport.known import certificate


class Authority:
    """One authority, which has certified a host and the runtime."""

    def __init__(self, folder: Path) -> None:
        certificate(folder, "authority")
        self.pem = (folder / "authority.pem").read_bytes()
        self.host = certificate(folder, "tools.internal", authority="authority", names="DNS:tools.internal")
        self.client = certificate(folder, "runtime", authority="authority")

    @property
    def server(self) -> grpc.ServerCredentials:
        """What a host serves with that takes calls of those alone whom the authority has certified."""
        chain, key = (path.read_bytes() for path in self.host)
        return grpc.ssl_server_credentials([(key, chain)], self.pem, require_client_auth=True)

    @property
    def shown(self) -> ClientCertificate:
        """What the runtime shows."""
        return ClientCertificate(*(path.read_bytes() for path in self.client))

    @property
    def tls(self) -> pb.CallbackTls:
        """What its host says of itself when it registers."""
        return pb.CallbackTls(ca_pem=self.pem, server_name="tools.internal")
