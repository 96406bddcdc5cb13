"""What callbacks are shown while a server runs: read again when it is told so, and shown by the next connections."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from runwright.adapters.remote.dialer import ClientCertificate
from runwright.adapters.remote.executors import DialledExecutors
from runwright.bootstrap.parts import client_certificate
from runwright.bootstrap.reread import Reread
from runwright.runtime import AgentRuntime
from runwright.settings import Settings


def reread_certificate(settings: Settings, runtime: AgentRuntime) -> Reread[ClientCertificate | None]:
    """Reads the two files that the settings name. Connections that stand stay as they are."""

    async def take(found: ClientCertificate | None) -> Mapping[str, object]:
        tools = runtime.ports.tools
        assert isinstance(tools, DialledExecutors), "as a server is built"
        assert tools.callbacks is not None, "as a server is built"
        tools.callbacks.dialer.certificate = found
        return {"certificate": str(settings.callback_cert)}

    read = partial(client_certificate, settings)
    return Reread(runtime, what="certificate and key for callbacks", option="--callback-cert", read=read, take=take)
