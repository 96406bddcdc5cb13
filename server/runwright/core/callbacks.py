"""Callbacks: services of hosts that the runtime dials, as they are registered."""

from __future__ import annotations

import re
from enum import Enum

from msgspec import Struct
from msgspec.structs import replace

from runwright.core.callback_kinds import CallbackKind, Details, ToolExecutor
from runwright.core.errors import invalid_request
from runwright.core.ids import Namespace, check_caller_id

DEFAULT_LEASE_US = 60_000_000
LEAST_LEASE_SECONDS = 5
MOST_LEASE_SECONDS = 3600
MAX_CREDENTIAL_BYTES = 4096
MAX_CA_BYTES = 64 * 1024
MAX_HOST_BYTES = 253
MAX_PER_NAMESPACE = 256
# What a gRPC server of any language bears with its default settings: docs/adr/0014.
DEFAULT_CALLS_IN_FLIGHT = 8
MAX_CALLS_IN_FLIGHT = 10_000

DIFFERENT_SCHEMA_REMEDY = (
    "serve the tool with the package's schema, or start runs of a package that has this one "
    "(`runwright package validate FILE --tools HOST:PORT` says where they differ)"
)

_HOST = re.compile(r"[A-Za-z0-9._-]+\Z|\[[0-9A-Fa-f:.]+\]\Z")


class HealthKind(Enum):
    """How a callback was found to be. The numbers are those of `runwright.callback.v1.CallbackHealth`."""

    UNKNOWN = 1
    HEALTHY = 2
    UNHEALTHY = 3


class Health(Struct, frozen=True):
    """How a callback was found to be, since when (microseconds), and why it is not healthy."""

    kind: HealthKind
    since: int
    detail: str = ""


class UnusedTool(Struct, frozen=True, kw_only=True):
    """A tool for which a registration is not used: a package has another schema than its host.

    `wanted_at`, microseconds, is when somebody last looked for a host of it, for that package.
    """

    callback_id: str
    tool: str
    schema_digest: str
    package_schema_digest: str
    package_fingerprint: str
    wanted_at: int

    @property
    def sentence(self) -> str:
        """Why, and what to do."""
        return (
            f"callback {self.callback_id} is not used: its schema of {self.tool} is {self.schema_digest}, "
            f"the package's {self.package_schema_digest}; {DIFFERENT_SCHEMA_REMEDY}"
        )


class Tls(Struct, frozen=True):
    """How the runtime checks who answers. No `ca_pem`: public authorities; no name: the address's host."""

    ca_pem: bytes = b""
    server_name: str = ""


class Callback(Struct, frozen=True, kw_only=True):
    """A registration of whatever kind. Its key is `namespace` and `callback_id`; times are microseconds.

    `name` is what packages call it, and means something else for each kind;
    `details` is what only its kind says. `max_calls_in_flight`: how many
    calls it gets at once; 0 for the default. `owner_key` is `Principal.credential`
    of whoever made it: it ends with that key. Empty where there are no keys.
    """

    namespace: Namespace
    callback_id: str
    owner: str
    name: str
    address: str
    details: Details = ToolExecutor()
    tls: Tls | None = None
    credential: str = ""
    lease: int = DEFAULT_LEASE_US
    expires_at: int = 0
    max_calls_in_flight: int = 0
    owner_key: str = ""

    def __repr__(self) -> str:  # never the credential
        return f"Callback({self.namespace}/{self.callback_id} at {self.address})"

    @property
    def kind(self) -> CallbackKind:
        """What it is for."""
        return self.details.kind

    @property
    def host(self) -> str:
        """The host of the address, without brackets."""
        return self.address.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """The port of the address."""
        return int(self.address.rpartition(":")[2])

    def is_renewed_by(self, other: Callback) -> bool:
        """True when `other` says the same, whatever its lease, and with whichever key of its owner."""
        same = {"lease": 0, "expires_at": 0, "owner_key": ""}
        return replace(self, **same) == replace(other, **same)

    def check(self) -> None:
        """Raises INVALID_REQUEST naming the first field that breaks its rule."""
        check_caller_id("spec.executor", self.name)  # first: clients make the id of it
        check_caller_id("spec.callback_id", self.callback_id)
        _check_address(self.address)
        self.details.check()
        if self.tls is not None:
            if len(self.tls.ca_pem) > MAX_CA_BYTES:
                raise invalid_request(
                    "spec.tls.ca_pem",
                    f"at most {MAX_CA_BYTES} bytes",
                    "Send only the authority of the executor's certificate.",
                )
            if self.tls.server_name and not _is_host(self.tls.server_name):
                raise invalid_request(
                    "spec.tls.server_name", "a host name, or empty", "Leave it empty to expect the host of the address."
                )
        if self.max_calls_in_flight > MAX_CALLS_IN_FLIGHT:
            raise invalid_request(
                "spec.max_calls_in_flight",
                f"at most {MAX_CALLS_IN_FLIGHT}, or 0 for {DEFAULT_CALLS_IN_FLIGHT}",
                "Register more hosts of the executor to have more calls at once.",
            )
        token = self.credential
        if len(token) > MAX_CREDENTIAL_BYTES or not (token.isascii() and token.isprintable()) or " " in token:
            raise invalid_request(
                "credential",
                f"at most {MAX_CREDENTIAL_BYTES} printable ASCII characters without spaces",
                "Encode it, such as in base64, on both sides.",
            )


def _check_address(address: str) -> None:
    host, _, port = address.rpartition(":")
    is_port = port.isascii() and port.isdigit() and len(port) <= 5 and 1 <= int(port) <= 65_535
    if not is_port or not _is_host(host):
        raise invalid_request(
            "spec.address",
            "host:port, an IPv6 address in brackets, the port from 1 to 65535",
            "Write it as in executor.example:7761 or [::1]:7761, without a scheme.",
        )


def _is_host(text: str) -> bool:
    return len(text) <= MAX_HOST_BYTES and bool(_HOST.match(text))
