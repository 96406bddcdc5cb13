"""`runwright package put|get|ls|tag|diff|resolve` against a real server in this process."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from google.protobuf.json_format import Parse
from runwright._gen.runwright.v1 import package_service_pb2 as pb
from runwright.adapters.package_files import load_package
from runwright.core.schema_digests import schema_digest
from runwright.testing import InProcessServer

from tests import builders as b
from tests.cli.conftest import Program
from tests.cli.files import TOOL, package_file


@pytest.fixture
def server() -> Iterator[str]:
    """The address of a server with one package of a file."""
    with InProcessServer(lambda: b.real_time_bench(packages=(b.package(b.says("hi"), id="own"),)).runtime()) as serving:
        yield serving.address


def test_a_file_is_put_listed_got_and_run_by_its_tag(program: Program, server: str, tmp_path: Path) -> None:
    file = package_file(tmp_path)
    package = load_package(file)

    code, out, err = program("--server", server, "package", "put", str(file), "--tag", "prod")
    again = program("--server", server, "package", "put", str(file))[1]
    listed = program("--server", server, "package", "ls")[1].splitlines()
    got = program("--server", server, "package", "get", "@prod")[1]

    assert (code, err) == (0, "")
    assert out == f"put one {package.fingerprint()}\nprod: nothing -> this\n"
    assert again == f"was there already: one {package.fingerprint()}\n"
    assert [line.split()[:3] for line in listed] == [
        ["PACKAGE", "AGENT", "TAGS"],
        ["own", "helper", "file"],
        ["one", "clerk", "prod"],
    ]
    assert listed[2].endswith(package.fingerprint())
    assert yaml.safe_load(got) == json.loads(package.canonical())
    assert program("--server", server, "package", "get", "one", "-o", "json")[1].encode() == package.canonical()


def test_a_faulty_file_is_told_whole_and_nothing_is_sent(program: Program, server: str, tmp_path: Path) -> None:
    file = package_file(tmp_path, polcy="x", tools=[{**TOOL, "effect": "magic"}])

    code, out, err = program("--server", server, "package", "put", str(file))

    assert (code, out) == (2, "")
    assert "tools.0.effect" in err
    assert "polcy" in err
    assert len(program("--server", server, "package", "ls", "-o", "name")[1].splitlines()) == 1


def test_a_tag_is_moved_from_where_it_is_expected_and_has_a_history(
    program: Program, server: str, tmp_path: Path
) -> None:
    first, second = package_file(tmp_path), package_file(tmp_path, "two.yaml", budget={"rounds": 3})
    prints = [load_package(file).fingerprint() for file in (first, second)]
    package = ("--server", server, "package")
    program(*package, "put", str(first), "--tag", "prod", "--expect", "none")
    program(*package, "put", str(second))

    refused = program(*package, "tag", "prod", prints[1], "--expect", "none")
    moved = program(*package, "tag", "prod", prints[1], "--expect", prints[0])
    history = program(*package, "tag", "prod")[1].splitlines()
    as_json = program(*package, "tag", "prod", "-o", "json")[1]

    assert refused[0] != 0
    assert f"PACKAGE_TAG_MOVED: Tag prod points to {prints[0]}" in refused[2]
    assert moved == (0, f"prod: {prints[0]} -> {prints[1]}\n", "")
    assert [line.split()[0] for line in history[1:]] == prints[::-1]
    assert [move.fingerprint for move in Parse(as_json, pb.ListTagHistoryResponse()).moves] == prints[::-1]


def test_diff_names_what_differs_between_a_server_and_a_file(program: Program, server: str, tmp_path: Path) -> None:
    first, second = package_file(tmp_path), package_file(tmp_path, "two.yaml", budget={"rounds": 3})
    program("--server", server, "package", "put", str(first))

    code, out, _ = program("--server", server, "package", "diff", "one", str(second))
    same = program("--server", server, "package", "diff", "one", str(first))

    assert code == 1
    assert [line for line in out.splitlines()[2:] if line[0] in "+-"] == ["-  rounds: 16", "+  rounds: 3"]
    assert same == (0, "", "")


def test_resolve_says_limits_tools_and_what_is_missing(program: Program, server: str, tmp_path: Path) -> None:
    file = package_file(tmp_path, provider={"adapter": "nobody", "model": "m"})
    program("--server", server, "package", "put", str(file))

    code, out, _ = program("--server", server, "package", "resolve", "one", "--rounds", "2")

    assert code == 0
    assert "budget: 2 rounds" in out
    assert "tool look: without a description" in out
    assert "missing: provider adapter nobody" in out


def test_what_is_not_there_is_refused_with_what_may_have_been_meant(program: Program, server: str) -> None:
    code, _, err = program("--server", server, "package", "get", "own1")

    assert code != 0
    assert "PACKAGE_NOT_FOUND: There is no package own1. Did you mean own?" in err


def test_a_run_names_its_package_by_tag(program: Program, server: str, tmp_path: Path) -> None:
    file = package_file(
        tmp_path, provider={"adapter": "scripted", "model": "m", "parameters": {"script": [b.says("tagged")]}}
    )
    program("--server", server, "package", "put", str(file), "--tag", "prod")

    code, out, _ = program("--server", server, "run", "go", "--package", "@prod")

    assert (code, out) == (0, "tagged\n")


def test_schemas_beside_a_file_are_put_with_it_and_written_again(program: Program, server: str, tmp_path: Path) -> None:
    schema = {"type": "object", "properties": {"path": {"type": "string"}}}
    digest = schema_digest(schema)
    file = package_file(tmp_path, tools=[{**TOOL, "schema_digest": digest}])
    sidecar = tmp_path / "sidecars" / f"{digest[7:]}.json"

    missing = program("--server", server, "package", "put", str(file))
    sidecar.parent.mkdir()
    sidecar.write_text(json.dumps(schema))
    put = program("--server", server, "package", "put", str(file))
    code, got, err = program("--server", server, "package", "get", "one")
    elsewhere = tmp_path / "other" / "sidecars"
    written = program("--server", server, "package", "get", "one", "--sidecars", str(elsewhere))
    (elsewhere.parent / "package.yaml").write_text(written[1])
    again = program("package", "fingerprint", str(elsewhere.parent / "package.yaml"))

    assert missing[0] == 2 and "tools.0.schema_digest" in missing[2] and str(sidecar) in missing[2]
    assert put[0] == 0
    assert code == 0 and yaml.safe_load(got)["tools"][0]["schema_digest"] == digest
    assert err == "it names 1 schemas by digest: --sidecars DIR writes them\n"
    assert written[2] == ""
    assert again[1].strip() == load_package(file).fingerprint()
