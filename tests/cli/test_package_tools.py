"""`runwright package tools` and `validate --tools`: a package beside those who serve its tools, over a socket."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml
from runwright._gen.runwright.callback.v1 import tool_executor_service_pb2 as pb
from runwright._gen.runwright.callback.v1.tool_executor_service_pb2_grpc import (
    ToolExecutorServiceServicer,
    add_ToolExecutorServiceServicer_to_server,
)
from runwright._gen.runwright.v1 import package_pb2
from runwright.adapters.yaml_documents import read_document
from runwright.core.fingerprint import canonical_json
from runwright.core.schema_digests import schema_digest

from tests.cli.conftest import Program
from tests.cli.files import package_file
from tests.transport.known import certificate

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"mode": {"type": "string", "enum": ["1e3", "0o17", "yes"]}, "size": {"type": "integer"}},
    "required": ["mode"],
}
MODULE = """
print("a module may print")

class Tool:
    def __init__(self, name): self.name = name
    def declaration(self, executor):
        return {"name": self.name, "description": "", "executor": executor, "effect": "read", "idempotent": True,
                "parameters": {"type": "object"}}

class Server:
    def declarations(self, executor): return [Tool("b").declaration(executor), Tool("a").declaration(executor)]

server, one, several, neither = Server(), Tool("one"), [Tool("x"), Tool("y")], 5
"""


def described(name: str, schema: dict[str, Any] | None = None, **fields: Any) -> pb.ToolDescription:
    """A tool as its host describes it."""
    if schema is not None:
        fields = {"parameters_schema_json": canonical_json(schema), "schema_digest": schema_digest(schema)} | fields
    return pb.ToolDescription(name=name, **fields)


LOOK = described("look", SCHEMA, effect=package_pb2.EFFECT_CLASS_READ, idempotent=True, description="Looks.\nTwice.")


@contextmanager
def serving(*tools: pb.ToolDescription, credential: str = "", tls: tuple[bytes, bytes] | None = None) -> Iterator[str]:
    """A tool server that describes these."""

    class Tools(ToolExecutorServiceServicer):
        def DescribeTools(self, request: object, context: grpc.ServicerContext) -> pb.DescribeToolsResponse:
            if credential and ("authorization", f"Bearer {credential}") not in tuple(context.invocation_metadata()):
                context.abort(grpc.StatusCode.UNAUTHENTICATED, "no")
            return pb.DescribeToolsResponse(tools=tools)

    server = grpc.server(ThreadPoolExecutor(1))
    add_ToolExecutorServiceServicer_to_server(Tools(), server)
    credentials = grpc.ssl_server_credentials([tls]) if tls else None
    port = (
        server.add_secure_port("127.0.0.1:0", credentials) if credentials else server.add_insecure_port("127.0.0.1:0")
    )
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


def entries_of(out: str) -> list[dict[str, Any]]:
    """The entries, read as a package is."""
    document = read_document(out)
    assert not document.faults and isinstance(document.value, dict)
    return list(document.value["tools"])


def test_entries_are_those_of_the_tool_server_and_valid_in_a_package(program: Program, tmp_path: Path) -> None:
    book = described("book", {"type": "object"}, effect=package_pb2.EFFECT_CLASS_NETWORK, idempotent=True)
    with serving(LOOK, book) as address:
        code, out, err = program("package", "tools", "--from", address, "--executor", "desk")
        file = package_file(tmp_path, tools=entries_of(out))
        validated = program("package", "validate", str(file), "--tools", f"desk={address}")
        as_json = program("package", "tools", "--from", address, "--executor", "desk", "-o", "json")[1]

    assert (code, err) == (0, "")
    assert entries_of(out) == json.loads(as_json)["tools"] == [
        {"name": "look", "description": "Looks.\nTwice.", "executor": "desk", "effect": "read", "parameters": SCHEMA},
        {"name": "book", "executor": "desk", "effect": "network", "idempotent": True, "parameters": {"type": "object"}},
    ]  # fmt: skip
    assert validated == (0, f"{file}: valid, package one of agent clerk\n", "")


def test_a_tool_without_a_schema_is_named_and_left_out(program: Program) -> None:
    unsaid = described("save", {"type": "object"})
    with serving(described("plain"), unsaid) as address:
        code, out, err = program("package", "tools", "--from", address, "--executor", "desk")

    assert code == 1
    assert [(entry["name"], entry["effect"]) for entry in entries_of(out)] == [("save", "write")]
    assert "tool plain: its host does not say its schema" in err
    assert "tool save: its host does not say what a call can do" in err


def test_every_difference_has_its_path_and_line(program: Program, tmp_path: Path) -> None:
    other = {
        "type": "object",
        "properties": {"mode": {"type": "string", "enum": ["1e3"]}, "size": {"type": "integer", "minimum": 1}},
    }
    tools: Sequence[dict[str, Any]] = [
        {"name": "zap", "executor": "desk", "effect": "read"},
        {"name": "look", "executor": "desk", "effect": "write", "parameters": other},
        {"name": "elsewhere", "executor": "cellar", "effect": "read"},
    ]
    file = package_file(tmp_path, tools=tools)
    file.write_text(yaml.safe_dump(json.loads(file.read_text()), sort_keys=False))
    with serving(LOOK) as address:
        code, out, _ = program("package", "validate", str(file), "--tools", f"desk={address}")
        everything = program("package", "validate", str(file), "--tools", address)[1]
        wrong = program("package", "validate", str(file), "--tools", f"desck={address}")

    found = {line.split(", ")[1]: line for line in out.splitlines()}
    assert code == 2
    assert set(found) == {
        "tools.0.name",
        "tools.1.effect",
        "tools.1.idempotent",
        "tools.1.parameters.properties.mode.enum",
        "tools.1.parameters.properties.size.minimum",
        "tools.1.parameters",
    }
    assert all(", line " in line for line in found.values())
    assert f"a tool that {address} serves, and there is no zap. " in found["tools.0.name"]
    assert f"read, as {address} says, not write." in found["tools.1.effect"]
    assert f"no `minimum`: {address} has none." in found["tools.1.parameters.properties.size.minimum"]
    assert '`required: ["mode"]` in it' in found["tools.1.parameters"]
    assert "tools.2.name" in everything
    assert wrong[0] == 2 and "a tool of executor desck, which --tools names" in wrong[1]


def test_faults_of_the_file_and_differences_come_at_once(program: Program, tmp_path: Path) -> None:
    tool = {"name": "look", "executor": "desk", "effect": "write", "parameters": {"type": "objekt"}}
    file = package_file(tmp_path, tools=[tool])
    with serving(LOOK) as address:
        out = program("package", "validate", str(file), "--tools", address)[1]

    assert "the schema of tool look cannot be used" in out
    assert "tools.0.effect" in out


def test_a_tool_server_with_tls_and_a_credential_is_asked_with_both(program: Program, tmp_path: Path) -> None:
    chain, key = certificate(tmp_path, "tools.example")
    with serving(LOOK, credential="s3cret", tls=(key.read_bytes(), chain.read_bytes())) as address:
        words = ("package", "tools", "--from", address, "--executor", "desk", "--ca", str(chain))
        named = (*words, "--server-name", "tools.example")
        good = program(*named, "--credential", "s3cret")
        without = program(*named)
        plain = program("package", "tools", "--from", address, "--executor", "desk")
        exposed = program("package", "tools", "--from", "203.0.113.1:1", "--executor", "d", "--credential", "x")

    assert good[0] == 0 and len(entries_of(good[1])) == 1
    assert without[0] == 5 and "wants a credential. Give its token in RUNWRIGHT_CALLBACK_CREDENTIAL" in without[2]
    assert plain[0] == 5 and "No tool server answers" in plain[2]
    assert exposed[0] == 2 and "in plaintext, where others can read it" in exposed[2]


def test_a_host_that_cannot_describe_or_lies_is_refused_in_words(program: Program) -> None:
    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    older = program("package", "tools", "--from", f"127.0.0.1:{port}", "--executor", "desk")
    server.stop(None).wait()
    with serving(described("look", SCHEMA, schema_digest="sha256:" + "0" * 64)) as address:
        lying = program("package", "tools", "--from", address, "--executor", "desk")
    with serving(pb.ToolDescription(name="look", parameters_schema_json=b"[1]")) as address:
        odd = program("package", "tools", "--from", address, "--executor", "desk")

    assert older[0] == 5 and "does not describe its tools. Its client must be" in older[2]
    assert lying[0] == 5 and "the digest of tool look is not that of its schema" in lying[2]
    assert odd[0] == 5 and "the schema of tool look is no JSON object" in odd[2]


def test_tools_of_a_module_are_printed_without_serving_them(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "house_of_tools.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)

    def names(place: str) -> list[str]:
        code, out, _ = program("package", "tools", "--from", f"house_of_tools:{place}", "--executor", "desk")
        assert code == 0
        return [entry["name"] for entry in entries_of(out)]

    assert (names("server"), names("one"), names("several")) == (["a", "b"], ["one"], ["x", "y"])
    for place, words in (
        ("neither", "neither a ToolServer nor a tool"),
        ("nobody", "cannot be loaded: AttributeError"),
    ):
        code, _, err = program("package", "tools", "--from", f"house_of_tools:{place}", "--executor", "desk")
        assert code == 2 and words in err
    assert "is neither HOST:PORT nor MODULE:OBJECT" in program("package", "tools", "--from", "x", "--executor", "d")[2]


def test_schemas_are_written_beside_the_package_and_compared_by_what_they_say(program: Program, tmp_path: Path) -> None:
    sidecars = tmp_path / "sidecars"
    with serving(LOOK) as address:
        words = ("package", "tools", "--from", address, "--executor", "desk", "--sidecars", str(sidecars))
        entries = entries_of(program(*words)[1])
        file = package_file(tmp_path, tools=entries)
        same = program("package", "validate", str(file), "--tools", address)
    with serving(described("look", {**SCHEMA, "required": []})) as address:
        differs = program("package", "validate", str(file), "--tools", address)

    digest = schema_digest(SCHEMA)
    assert entries[0]["schema_digest"] == digest and "parameters" not in entries[0]
    assert json.loads((sidecars / f"{digest[7:]}.json").read_text()) == SCHEMA
    assert same[0] == 0
    assert differs[0] == 2 and "tools.0.schema_digest.required, line 1" in differs[1]
