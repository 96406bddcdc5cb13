"""Tools as those who serve them describe them: over the wire, or as objects of a Python module."""

from __future__ import annotations

import codecs
import contextlib
import importlib
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import grpc
import typer
from msgspec import Struct

from runwright._gen.runwright.callback.v1 import tool_executor_service_pb2 as pb
from runwright._gen.runwright.callback.v1.tool_executor_service_pb2_grpc import ToolExecutorServiceStub
from runwright.cli.connection import MAX_PEM_BYTES, option_file
from runwright.cli.errors import ExitCode, Problem
from runwright.core.loopback import is_loopback
from runwright.core.schema_digests import schema_digest
from runwright.wire.packages import EFFECT_NAMES

MAX_DESCRIPTION_BYTES = 16 * 1024 * 1024
SECONDS = 10.0
_CHANNEL = [("grpc.max_receive_message_length", MAX_DESCRIPTION_BYTES), ("grpc.enable_http_proxy", 0)]
_NEWER = "Its client must be of a version that describes tools; or serve ToolExecutorService/DescribeTools there."
TlsOption = Annotated[bool, typer.Option("--tls", help="Dial with TLS, trusting public authorities.")]
CaOption = Annotated[Path | None, typer.Option("--ca", metavar="FILE", help="Dial with TLS, trusting these, PEM.")]
ServerNameOption = Annotated[
    str, typer.Option("--server-name", metavar="NAME", help="Name its certificate must carry.")
]
CredentialOption = Annotated[
    str,
    typer.Option(
        envvar="RUNWRIGHT_CALLBACK_CREDENTIAL", metavar="TOKEN", help="Token to show it; better in the variable."
    ),
]


class DescribedTool(Struct, frozen=True):
    """A tool as its host knows it; `schema` and `idempotent` are None, `effect` empty, where it does not say."""

    name: str
    description: str = ""
    schema: Mapping[str, Any] | None = None
    effect: str = ""
    idempotent: bool | None = None


class Dialling(Struct, frozen=True):
    """How a tool server is reached. A token is shown with TLS or on this machine alone."""

    tls: bool = False
    ca: Path | None = None
    server_name: str = ""
    credential: str = ""

    def channel(self, address: str) -> grpc.Channel:
        """A channel; raises BadParameter for a token that others could read, or a file that is none."""
        if not (self.tls or self.ca or self.server_name):
            if self.credential and not is_loopback(address.rpartition(":")[0]):
                message = f"would go to {address} in plaintext, where others can read it. Dial with --tls or --ca."
                raise typer.BadParameter(message, param_hint="--credential")
            return grpc.insecure_channel(address, options=_CHANNEL)
        authorities = None
        if self.ca is not None:
            authorities = option_file(self.ca, "--ca", MAX_PEM_BYTES).removeprefix(codecs.BOM_UTF8)
        named = [("grpc.ssl_target_name_override", self.server_name)] if self.server_name else []
        return grpc.secure_channel(address, grpc.ssl_channel_credentials(authorities), options=[*_CHANNEL, *named])


def described_tools(source: str, dialling: Dialling) -> Sequence[DescribedTool]:
    """The tools of `HOST:PORT` or `module:object`, by name. Raises Problem and BadParameter."""
    where, colon, what = source.rpartition(":")
    if not colon or not where or not what:
        message = f"{source!r} is neither HOST:PORT nor MODULE:OBJECT. Write it as in 127.0.0.1:7761 or tools:server."
        raise typer.BadParameter(message)
    if what.isascii() and what.isdigit():
        return _dialled(source, dialling)
    return sorted(_of_object(source, *_imported(source, where, what)), key=lambda tool: tool.name)


def _dialled(address: str, dialling: Dialling) -> Sequence[DescribedTool]:
    metadata = (("authorization", f"Bearer {dialling.credential}"),) if dialling.credential else ()
    with dialling.channel(address) as channel:
        try:
            answer = ToolExecutorServiceStub(channel).DescribeTools(
                pb.DescribeToolsRequest(), timeout=SECONDS, metadata=metadata
            )
        except grpc.RpcError as error:
            raise _failed(address, error) from None
    return [_read(address, tool) for tool in answer.tools]


def _failed(address: str, error: grpc.RpcError) -> Problem:
    code, details = error.code(), error.details() or ""
    match code:
        case grpc.StatusCode.UNIMPLEMENTED:
            return Problem(code.name, f"The tool server at {address} does not describe its tools.", _NEWER)
        case grpc.StatusCode.UNAUTHENTICATED:
            remedy = "Give its token in RUNWRIGHT_CALLBACK_CREDENTIAL or with --credential."
            return Problem(code.name, f"The tool server at {address} wants a credential.", remedy)
        case grpc.StatusCode.UNAVAILABLE | grpc.StatusCode.DEADLINE_EXCEEDED:
            message = f"No tool server answers at {address}: {details.rstrip('.')}."
            return Problem(code.name, message, "Start it, and check --tls and --ca.", passing=True)
        case _:
            return Problem(
                code.name, f"The tool server at {address} did not answer: {details.rstrip('.')}.", "See its log."
            )


def _read(address: str, tool: pb.ToolDescription) -> DescribedTool:
    schema = None
    if tool.parameters_schema_json:
        try:
            schema = json.loads(tool.parameters_schema_json)
            digest = schema_digest(schema)
        except (ValueError, TypeError, AttributeError, RecursionError):
            raise _unreadable(address, f"the schema of tool {tool.name} is no JSON object") from None
        if not isinstance(schema, dict):
            raise _unreadable(address, f"the schema of tool {tool.name} is no JSON object")
        if tool.schema_digest != digest:
            raise _unreadable(address, f"the digest of tool {tool.name} is not that of its schema, {digest}")
    idempotent = tool.idempotent if tool.HasField("idempotent") else None
    return DescribedTool(tool.name, tool.description, schema, EFFECT_NAMES.get(tool.effect, ""), idempotent)


def _unreadable(address: str, what: str) -> Problem:
    return Problem("UNREADABLE", f"The tool server at {address} cannot be understood: {what}.", _NEWER)


def _imported(source: str, module: str, path: str) -> tuple[Any, ...]:
    """The objects that a source names. What the module prints on its way does not get between the output."""
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        with contextlib.redirect_stdout(sys.stderr):
            found: Any = importlib.import_module(module)
            for name in path.split("."):
                found = getattr(found, name)
    except (Exception, SystemExit) as error:
        remedy = "Name an object of a module that can be imported here; or serve the tools, and give HOST:PORT."
        message = f"{source} cannot be loaded: {type(error).__name__}: {str(error).rstrip('.')}."
        raise Problem("USAGE", message, remedy, exit_code=ExitCode.USAGE) from error
    if isinstance(found, Iterable) and not callable(getattr(found, "declarations", None)):
        return tuple(found)
    return (found,)


def _of_object(source: str, *objects: Any) -> list[DescribedTool]:
    """What tools, or a server of tools, declare. Their classes are the client library's, which is not known here."""
    declared: list[Mapping[str, Any]] = []
    for one in objects:
        if callable(of_server := getattr(one, "declarations", None)):
            declared += of_server("")
        elif callable(of_tool := getattr(one, "declaration", None)):
            declared.append(of_tool(""))
        else:
            message = f"{source} is {type(one).__name__}, neither a ToolServer nor a tool."
            remedy = "Write @tool above the function, from runwright_client import tool."
            raise Problem("USAGE", message, remedy, exit_code=ExitCode.USAGE)
    return [
        DescribedTool(one["name"], one["description"], one["parameters"], one["effect"], one["idempotent"])
        for one in declared
    ]
