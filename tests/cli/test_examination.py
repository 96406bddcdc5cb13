"""`serve`, `config check` and `doctor` find the same: whatever is wrong is said by all three, with what to do."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from runwright.cli.checks import Status
from runwright.cli.findings import finding_text
from runwright.examination import examine
from runwright.settings import load

from tests.cli.conftest import Program
from tests.cli.files import PACKAGE, TOOL, config_file, package_file
from tests.transport.known import add_key, certificate

Spoil = Callable[[Path], str]  # spoils a whole configuration in a directory; gives lines for its file
# Keeps a server from starting, so that `serve` says what it found and leaves.
BLOCKED = "stall_seconds = 0"


def missing_keys(directory: Path) -> str:
    return f'keys = "{directory}/nosuch.json"'


def keys_of_nobody(directory: Path) -> str:
    (directory / "keys.json").write_text('{"keys": []}')
    (directory / "keys.json").chmod(0o600)
    return 'keys = "keys.json"'


def no_keys_file(directory: Path) -> str:
    (directory / "keys.json").write_text("{")
    (directory / "keys.json").chmod(0o600)
    return 'keys = "keys.json"'


def owners(owner: str, of: str = "desk") -> Spoil:
    """A keys file with an executor and a caller, and owners of a name: that executor and another."""

    def spoil(directory: Path) -> str:
        for role, name in (("executor", "desk-host"), ("caller", "ann")):
            add_key(directory / "keys.json", role, name=name)
        (directory / "keys.json").chmod(0o600)
        return f'keys = "keys.json"\nexecutor_owners = {{"{of}" = ["desk-host", "{owner}"]}}'

    return spoil


def owner_of(kind: str, role: str) -> Spoil:
    """A keys file with one principal, of that role, who is to own a name of that kind."""

    def spoil(directory: Path) -> str:
        add_key(directory / "keys.json", role, name="bot")
        (directory / "keys.json").chmod(0o600)
        return f'keys = "keys.json"\n{kind}_owners = {{chat = "bot"}}'

    return spoil


def dispatchers_of(of: str, *, owner: str = "bot", more: str = "") -> Spoil:
    """An operator who has a dispatcher told, which `bot` could register, and nobody of another namespace."""

    def spoil(directory: Path) -> str:
        add_key(directory / "keys.json", "dispatcher", name="bot")
        add_key(directory / "keys.json", "caller", "team-b")
        (directory / "keys.json").chmod(0o600)
        (directory / "policies.yaml").write_text(f'format: runwright-policies-v0\ndispatchers: {{"{of}": [chat]}}\n')
        return f'keys = "keys.json"\npolicies = "policies.yaml"\ndispatcher_owners = {{chat = "{owner}"}}\n{more}'

    return spoil


def readable_keys(directory: Path) -> str:
    add_key(directory / "keys.json", "caller")
    (directory / "keys.json").chmod(0o644)
    return 'keys = "keys.json"'


def another_key(directory: Path) -> str:
    certificate_path, _ = certificate(directory, "server")
    _, key = certificate(directory, "other")
    return f'tls_cert = "{certificate_path}"\ntls_key = "{key}"'


def readable_key(directory: Path) -> str:
    certificate_path, key = certificate(directory, "server")
    key.chmod(0o640)
    return f'tls_cert = "{certificate_path}"\ntls_key = "{key}"'


def callback_pair(*, mode: int = 0o600, other: bool = False) -> Spoil:
    """A certificate for callbacks, perhaps with the key of another one."""

    def spoil(directory: Path) -> str:
        certificate_path, key = certificate(directory, "runtime")
        if other:
            _, key = certificate(directory, "other")
        key.chmod(mode)
        return f'callback_cert = "{certificate_path}"\ncallback_key = "{key}"'

    return spoil


def half_a_pair(directory: Path) -> str:
    certificate_path, _ = certificate(directory, "server")
    return f'tls_cert = "{certificate_path}"'


def packages(*changes: dict[str, object], more: str = "") -> Spoil:
    """Packages, the first of them `one.yaml`, with these changes."""

    def spoil(directory: Path) -> str:
        names = [f"{index}.yaml" for index in range(len(changes))]
        for name, change in zip(names, changes, strict=True):
            package_file(directory, name, **change)
        return f"packages = {json.dumps(names)}\n{more}"

    return spoil


def route(adapter: str, **parameters: object) -> dict[str, object]:
    return {"provider": {"adapter": adapter, "model": "m", "parameters": parameters}}


def data_is_a_file(directory: Path) -> str:
    (directory / "data").write_text("")
    return ""


def lines(text: str) -> Spoil:
    return lambda _: text


REAL = 'providers = {openai = "A_KEY_OF_THE_TEST"}'
OTHER_DESK = {"tools": [{**TOOL, "executor": "dessk"}]}
TABLE: dict[str, tuple[Spoil, Status, str, str]] = {
    "keys file missing": (missing_keys, Status.FAIL, "keys file", "nosuch.json does not exist. Check the path"),
    "keys file broken": (no_keys_file, Status.FAIL, "must be a keys file", "Make keys with `runwright keys add"),
    "keys file empty": (keys_of_nobody, Status.WARN, "lists nobody", "runwright keys add NAME --file"),
    "owner of a name misspelled": (owners("desk-hots"), Status.WARN, "desk is desk-hots's", "Did you mean desk-host?"),
    "owner of a name without the role": (
        owners("ann"),
        Status.WARN,
        "ann's, who has no key with the role executor.",
        "--role executor",
    ),
    "owner of a name in another namespace": (
        owners("desk-host", of="team-b/desk"),
        Status.WARN,
        "no key with the role executor in namespace team-b",
        "--role executor --namespace team-b",
    ),
    "owner of a policy's name without the role": (
        owner_of("policy", "executor"),
        Status.WARN,
        "policy_owners: chat is bot's, who has no key with the role policy.",
        "runwright keys add bot --file",
    ),
    "owner of a dispatcher's name without the role": (
        owner_of("dispatcher", "policy"),
        Status.WARN,
        "dispatcher_owners: chat is bot's, who has no key with the role dispatcher.",
        "--role dispatcher",
    ),
    "dispatcher of a namespace that has no key for one": (
        dispatchers_of("team-b"),
        Status.WARN,
        "dispatchers names chat, which nobody can register in namespace team-b; it is told nothing.",
        "--role dispatcher --namespace team-b",
    ),
    "dispatcher whose owner has no key": (
        dispatchers_of("*", owner="pot"),
        Status.WARN,
        "dispatchers names chat, which nobody can register; it is told nothing.",
        "--role dispatcher",
    ),
    "dispatcher where nothing can be registered": (
        dispatchers_of("*", more='callback_allow = ["none"]'),
        Status.WARN,
        "dispatchers names chat, and nothing can be registered",
        "--callback-allow lets them register themselves.",
    ),
    "keys others may read": (readable_keys, Status.WARN, "keys.json (0644)", "chmod 600"),
    "certificate of another key": (another_key, Status.FAIL, "whose private key", "made together"),
    "certificate without key": (half_a_pair, Status.FAIL, "together with --tls-key", "Give both files"),
    "private key others may read": (readable_key, Status.WARN, "(0640)", "chmod 600"),
    "certificate for callbacks of another key": (
        callback_pair(other=True),
        Status.FAIL,
        "--callback-cert",
        "made together",
    ),
    "certificate for callbacks without key": (
        lines('callback_cert = "server.pem"'),
        Status.FAIL,
        "together with --callback-key",
        "Give both files",
    ),
    "key of the certificate for callbacks that others may read": (
        callback_pair(mode=0o640),
        Status.WARN,
        "(0640)",
        "chmod 600",
    ),
    "adapter misspelled": (packages(route("demmo")), Status.FAIL, "called demmo", "Did you mean demo?"),
    "provider not configured": (packages(route("openai")), Status.FAIL, "openai", "--provider openai=OPENAI_API_KEY"),
    "fallback not configured": (
        packages({"fallbacks": [{"adapter": "anthropc", "model": "m"}]}),
        Status.FAIL,
        "fallbacks.0.adapter, line 1, column",
        "Did you mean anthropic? It needs --provider anthropic=ANTHROPIC_API_KEY.",
    ),
    "key of a provider missing": (
        packages(route("openai"), more='providers = {openai = "NO_SUCH_KEY"}'),
        Status.FAIL,
        "NO_SUCH_KEY does not",
        "export NO_SUCH_KEY=",
    ),
    "kind of provider misspelled": (
        packages({}, more='providers = {opnai = "A_KEY_OF_THE_TEST"}'),
        Status.FAIL,
        "openai=KEYENV",
        "Did you mean openai?",
    ),
    "parameter of a model misspelled": (
        packages(route("openai", temprature=1), more=REAL),
        Status.FAIL,
        "provider.parameters.temprature, line 1",
        "Did you mean temperature?",
    ),
    "parameter of a model out of bounds": (
        packages(route("openai", temperature=9), more=REAL),
        Status.FAIL,
        "temperature, line 1, column",
        "leave temperature out",
    ),
    "executor without an address": (
        packages({"tools": [{**TOOL, "executor": "kitchen"}]}),
        Status.WARN,
        "executor kitchen has no address",
        "--executor kitchen=HOST:PORT",
    ),
    "executor misspelled": (packages(OTHER_DESK), Status.WARN, "executor dessk", "Did you mean desk?"),
    "executor that no tool names": (packages(OTHER_DESK), Status.WARN, "desk is configured", "Did you mean dessk?"),
    "executor nothing can serve": (
        packages(OTHER_DESK, more="callback_allow = []"),
        Status.WARN,
        "cannot be registered",
        "--callback-allow",
    ),
    "two packages of one id": (packages({}, {}), Status.FAIL, "package one is in", "Give it another id."),
    "default package misspelled": (
        packages({}, more='default_package = "onee"'),
        Status.FAIL,
        "onee is the id of no package",
        "Did you mean one?",
    ),
    "namespaces of a package misspelled": (
        packages({}, more='package_namespaces.onee = "default"'),
        Status.FAIL,
        "onee, which is the id of no package",
        "Did you mean one?",
    ),
    "package broken twice": (packages({"colour": 1}), Status.FAIL, "colour, line 1", "Remove it; there are: format"),
    "data directory is a file": (data_is_a_file, Status.FAIL, "data is a file", "Name another with --data"),
    "unknown key": (lines("lisen = 1"), Status.FAIL, "lisen: must be one of", "Did you mean listen?"),
    "value of another kind": (lines("metrics = 1"), Status.FAIL, "metrics: must be HOST:PORT", "Write it as in"),
}


@pytest.fixture(params=TABLE, ids=lambda name: name.replace(" ", "-"))
def row(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Spoil, Status, str, str]]:
    """A row of the table, with the key of the test's own provider in the environment."""
    monkeypatch.setenv("A_KEY_OF_THE_TEST", "secret-of-the-test")
    yield TABLE[request.param]


def test_all_three_say_the_same_of_what_is_wrong(
    program: Program, tmp_path: Path, row: tuple[Spoil, Status, str, str]
) -> None:
    # given
    spoil, status, cause, remedy = row
    more = spoil(tmp_path)
    if "packages = " not in more:
        package_file(tmp_path, "0.yaml")
        more += '\npackages = ["0.yaml"]'
    file = tmp_path / "runwright.toml"
    file.write_text(f'data = "data"\n{BLOCKED}\n{more}\n[executors]\ndesk = "127.0.0.1:1"\n')

    # when
    checked = program("config", "check", "--config", str(file))
    served = program("serve", "--config", str(file))
    doctored = json.loads(program("doctor", "--config", str(file), "-o", "json")[1])

    # then
    word = "error: " if status is Status.FAIL else "warning: "
    said = [line for line in checked[1].splitlines() if cause in line and remedy in line]
    assert said, checked[1]
    assert all(line.startswith(word) for line in said)
    assert checked[1].splitlines() == served[2].splitlines()
    assert (checked[0], served[0], served[1]) == (2, 2, "")
    found = {(Status(one["status"]), f"{one['found']} {one['remedy']}") for one in doctored}
    assert {(status, line.removeprefix(word)) for line in said} <= found
    shown = {text for _, text in found}
    assert {line.partition(": ")[2] for line in checked[1].splitlines()} <= shown
    assert "secret-of-the-test" not in checked[1]


def test_approvals_without_keys_are_warned_of_and_four_eyes_refused(program: Program, tmp_path: Path) -> None:
    asks = {"policies": [{"rules": [{"then": "ask", "approval": "writes"}]}], "policy": "builtin:read-only"}
    package_file(tmp_path, **asks, approvals={"writes": {}})
    file = config_file(tmp_path)
    warned = program("config", "check", "--config", str(file))
    package_file(tmp_path, **asks, approvals={"writes": {"four_eyes": True}})
    refused = program("config", "check", "--config", str(file))

    assert warned[0] == 0
    assert "asks for approvals; without keys everybody may give them (NOT_ENFORCED)" in warned[1]
    assert refused[0] == 2
    assert (
        "approvals.writes.four_eyes" in refused[1] and "nobody can be told from whoever started the run" in refused[1]
    )


def test_what_is_right_is_found_right_by_all(program: Program, tmp_path: Path) -> None:
    add_key(tmp_path / "keys.json", "caller")
    (tmp_path / "keys.json").chmod(0o600)
    certificate_path, key = certificate(tmp_path, "server")
    package_file(tmp_path)
    pair = f'tls_cert = "{certificate_path}"\ntls_key = "{key}"\n'
    file = config_file(tmp_path, f'keys = "keys.json"\n{pair}{pair.replace("tls", "callback")}')

    assert examine(load({}, file, {})).findings == []
    code, out, _ = program("config", "check", "--config", str(file))
    _, doctored, _ = program("doctor", "--config", str(file))

    assert (code, out) == (0, f"ok: {file}, 1 package(s)\n")
    for said in (
        "ok   configuration",
        "ok   package         one of agent clerk",
        "ok   keys file",
        "1 principal",
        "tls",
        "can be shown to callbacks",
    ):
        assert said in doctored


@pytest.mark.parametrize(
    ("option", "value", "package"),
    [
        ("providers", "openai=sk-no-variable", {"provider": {"adapter": "openai", "model": "m"}, "tools": []}),
        ("executors", "tools", {"tools": [TOOL]}),
    ],
)
def test_a_setting_that_cannot_be_read_is_all_that_is_said_of_what_it_would_have_named(
    tmp_path: Path, option: str, value: str, package: dict[str, object]
) -> None:
    file = package_file(tmp_path, **package)

    found = examine(
        load({option: [value], "packages": [str(file)], "data": [str(tmp_path / "data")]}, None, {})
    ).findings

    assert len(found) == 1, [finding_text(each) for each in found]


def test_a_variable_that_nothing_reads_is_told_when_it_is_nearly_one_of_ours(tmp_path: Path) -> None:
    variables = {"RUNWRIGHT_LISEN": "x", "RUNWRIGHT_KEY": "k", "RUNWRIGHT_SERVER": "s", "RUNWRIGHT_SOAK": "1"}

    (warning,) = load({}, None, variables).warnings

    assert finding_text(warning) == "RUNWRIGHT_LISEN must be a variable that is read. Did you mean RUNWRIGHT_LISTEN?"


def test_the_tools_place_is_that_in_the_file_and_not_in_the_package_which_sorts_them(
    program: Program, tmp_path: Path
) -> None:
    tools = "".join(f"  - name: {name}\n    executor: {name}\n    effect: read\n" for name in ("zoom", "aim"))
    head = {key: value for key, value in PACKAGE.items() if key != "tools"}
    (tmp_path / "one.yaml").write_text(
        "".join(f"{key}: {json.dumps(value)}\n" for key, value in head.items()) + f"tools:\n{tools}"
    )

    out = program("config", "check", "--data", "d", "--package", str(tmp_path / "one.yaml"))[1]

    assert "tools.0.executor, line 7, column 15: executor zoom" in out
    assert "tools.1.executor, line 10, column 15: executor aim" in out
