"""`runwright package`: files looked at without a server."""

from __future__ import annotations

import json
from pathlib import Path

import yaml
from runwright.adapters.package_files import load_package

from tests.cli.conftest import Program
from tests.cli.files import TOOL, package_file


def test_validate_says_valid_or_every_finding_with_file_path_and_rule(program: Program, tmp_path: Path) -> None:
    good = package_file(tmp_path)
    bad = package_file(tmp_path, "bad.yaml", polcy="x", tools=[{**TOOL, "effect": "magic"}])

    code, out, _ = program("package", "validate", str(good), str(bad), str(tmp_path / "none.yaml"))

    lines = out.splitlines()
    assert code == 2
    assert lines[0] == f"{good}: valid, package one of agent clerk"
    assert any(line.startswith(f"{bad}, tools.0.effect, line 1, column ") for line in lines)
    assert any(line.startswith(f"{bad}, polcy, line 1") and line.endswith("Did you mean policy?") for line in lines)
    assert lines[-1].startswith(f"The package file {tmp_path}/none.yaml does not exist. Did you mean one.yaml?")
    assert program("package", "validate", str(good))[0] == 0


def test_fingerprint_and_both_forms_are_those_of_the_package(program: Program, tmp_path: Path) -> None:
    file = package_file(tmp_path)
    package = load_package(file)

    assert program("package", "fingerprint", str(file)) == (0, package.fingerprint() + "\n", "")
    assert program("package", "show", str(file), "-o", "json")[1] == package.canonical().decode()
    assert yaml.safe_load(program("package", "show", str(file))[1]) == json.loads(package.canonical())


def test_a_package_that_cannot_be_used_has_no_fingerprint(program: Program, tmp_path: Path) -> None:
    file = package_file(tmp_path, tools=[{**TOOL, "parameters": {"type": "objekt"}}])

    for command in ("fingerprint", "show"):
        code, out, err = program("package", command, str(file))

        assert (code, out) == (2, "")
        assert f"error: PACKAGE_INVALID: {file}, tools.0.parameters, line 1, " in err
        assert "the schema of tool look cannot be used" in err
