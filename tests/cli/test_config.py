"""`runwright config`: every value with its origin, and every finding."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from runwright.settings import FIELDS, Value

from tests.cli.conftest import Program
from tests.cli.files import TOOL, config_file, package_file


def test_show_prints_each_value_and_where_it_came_from(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = config_file(tmp_path)
    monkeypatch.setenv("RUNWRIGHT_CONFIG", str(file))
    monkeypatch.setenv("RUNWRIGHT_STALL_SECONDS", "4")

    code, out, err = program("config", "show", "--origin", "--grace", "3")

    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines()}
    assert (code, err) == (0, "")
    assert rows["data"] == [str(tmp_path / "data"), str(file)]
    assert rows["stall_seconds"] == ["4.0", "RUNWRIGHT_STALL_SECONDS"]
    assert rows["drain_grace_seconds"] == ["3.0", "--grace"]
    assert rows["listen"] == ["127.0.0.1:7760", "default"]
    assert list(rows) == [field.name for field in FIELDS]


def test_show_as_json_is_what_the_file_would_say(program: Program, tmp_path: Path) -> None:
    file = config_file(tmp_path)

    plain = json.loads(program("config", "show", "-o", "json", "--config", str(file))[1])
    origins = json.loads(program("config", "show", "-o", "json", "--origin", "--config", str(file))[1])

    assert plain["packages"] == [str(tmp_path / "one.yaml")]
    assert plain["executors"] == {"desk": "127.0.0.1:1"}
    assert plain["journal_max_bytes"] is None
    assert origins["data"] == {"value": str(tmp_path / "data"), "origin": str(file)}


def test_a_secret_is_never_shown() -> None:
    secret = Value(replace(FIELDS[0], secret=True), "hunter2", "default")

    assert (secret.text, secret.plain) == ("(secret)", "(secret)")


def test_show_says_what_is_wrong_and_still_shows_the_rest(program: Program, tmp_path: Path) -> None:
    code, out, err = program("config", "show", "--config", str(config_file(tmp_path, "listen = 1")))

    assert code == 2
    assert "listen: must be HOST:PORT" in err
    assert "data" in out


def test_check_is_content_with_what_can_be_used_and_opens_nothing(program: Program, tmp_path: Path) -> None:
    package_file(tmp_path)
    file = config_file(tmp_path)

    code, out, _ = program("config", "check", "--config", str(file))

    assert (code, out) == (0, f"ok: {file}, 1 package(s)\n")
    assert not (tmp_path / "data").exists()


def test_check_lists_every_finding(program: Program, tmp_path: Path) -> None:
    bad = {**TOOL, "parameters": {"type": "objekt"}}
    package_file(tmp_path, tools=[bad, {**bad, "name": "peek"}])
    package_file(tmp_path, "same.yaml", id="one", colour="red", tools=[{**TOOL, "timeout_ms": 0}])
    text = 'default_package = "two"\nlisen = "x"\nstall_seconds = "long"'
    file = config_file(tmp_path, text)

    code, out, err = program(
        "config",
        "check",
        "--config",
        str(file),
        "--package",
        f"{tmp_path}/one.yaml",
        "--package",
        f"{tmp_path}/same.yaml",
    )

    assert (code, err) == (2, "")
    for said in (
        f"{file}, lisen: must be one of the known keys",
        "Did you mean listen?",
        f"{file}, stall_seconds: must be a number of seconds",
        "one.yaml, tools.0.parameters, line 1, ",
        "one.yaml, tools.1.parameters, line 1, ",
        "same.yaml, colour, line 1, ",
        "same.yaml, tools.0.timeout_ms, line 1, ",
        "default_package two is the id of no package",
    ):
        assert said in out, said


def test_check_warns_of_an_executor_without_an_address(program: Program, tmp_path: Path) -> None:
    package = package_file(tmp_path)

    code, out, _ = program("config", "check", "--data", "d", "--package", str(package))

    assert code == 0
    assert "warning:" in out
    assert "--executor desk=HOST:PORT" in out


def test_check_finds_two_packages_of_one_id(program: Program, tmp_path: Path) -> None:
    files = [package_file(tmp_path), package_file(tmp_path, "two.yaml")]

    code, out, _ = program("config", "check", "--data", "d", *(w for file in files for w in ("--package", str(file))))

    assert code == 2
    assert f"{files[1]}, id, line 1, column 42: package one is in {files[0]} already" in out
