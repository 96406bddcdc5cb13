"""Flag before environment before file before default, and everything wrong is named where it was given."""

from __future__ import annotations

from pathlib import Path

import pytest
from runwright.core.errors import AgentError, ErrorReason
from runwright.settings import FIELDS, Settings, load

ENOUGH = {"data": ["data"], "packages": ["one.yaml"]}


def config(directory: Path, text: str) -> Path:
    """A configuration file with that text."""
    path = directory / "runwright.toml"
    path.write_text(text)
    return path


def test_every_source_covers_the_one_behind_it(tmp_path: Path) -> None:
    file = config(tmp_path, 'listen = "127.0.0.1:1"\nstall_seconds = 5\njournal_max_bytes = 70000')
    environment = {"RUNWRIGHT_LISTEN": "127.0.0.1:2", "RUNWRIGHT_STALL_SECONDS": "6.5", "RUNWRIGHT_DEFAULT_PACKAGE": ""}

    loaded = load({**ENOUGH, "listen": ["127.0.0.1:3"]}, file, environment)

    assert loaded.settings() == Settings(
        data=Path("data"),
        packages=(Path("one.yaml"),),
        listen="127.0.0.1:3",
        stall_seconds=6.5,
        journal_max_bytes=70_000,
    )
    origins = {name: value.origin for name, value in loaded.values.items()}
    assert origins["listen"] == "--listen"
    assert origins["stall_seconds"] == "RUNWRIGHT_STALL_SECONDS"
    assert origins["journal_max_bytes"] == str(file)
    assert origins["default_package"] == origins["drain_grace_seconds"] == "default"


def test_everything_can_be_given_in_the_file_and_paths_begin_there(tmp_path: Path) -> None:
    file = config(
        tmp_path,
        """
        data = "journal"
        listen = "[::1]:7760"
        packages = ["a.yaml", "/etc/b.yaml"]
        default_package = "b"
        drain_grace_seconds = 1
        stall_seconds = 2.5
        journal_max_bytes = 65536
        insecure_allow_remote = true
        [executors]
        desk = "host:1"
        """,
    )

    assert load({}, None, {"RUNWRIGHT_CONFIG": str(file)}).settings() == Settings(
        data=tmp_path / "journal",
        listen="[::1]:7760",
        packages=(tmp_path / "a.yaml", Path("/etc/b.yaml")),
        default_package="b",
        executors={"desk": "host:1"},
        drain_grace_seconds=1.0,
        stall_seconds=2.5,
        journal_max_bytes=65_536,
        insecure_allow_remote=True,
    )


def test_everything_can_be_given_in_the_environment() -> None:
    environment = {
        "RUNWRIGHT_DATA": "d",
        "RUNWRIGHT_PACKAGES": "a.yaml:b.yaml",
        "RUNWRIGHT_EXECUTORS": "desk=host:1,shop=host:2",
        "RUNWRIGHT_INSECURE_ALLOW_REMOTE": "yes",
        "RUNWRIGHT_JOURNAL_MAX_BYTES": "70000",
    }

    settings = load({}, None, environment).settings()

    assert settings.packages == (Path("a.yaml"), Path("b.yaml"))
    assert settings.executors == {"desk": "host:1", "shop": "host:2"}
    assert (settings.insecure_allow_remote, settings.journal_max_bytes) == (True, 70_000)


@pytest.mark.parametrize(
    ("text", "key", "said"),
    [
        ("lisen = 'x'", "lisen", "Did you mean listen?"),
        ("[limits]\nx = 1", "limits", "one of the known keys"),
        ("listen = 7760", "listen", "HOST:PORT"),
        ("listen = 'localhost:70000'", "listen", "HOST:PORT"),
        ("listen = '0.0.0.0:1'", "listen", "--insecure-allow-remote"),
        ("metrics = '0.0.0.0:1'", "metrics", "--insecure-allow-remote"),
        ("packages = 'one.yaml'", "packages", "list of paths"),
        ("packages = [1]", "packages", "list of paths"),
        ("executors = ['a=b:1']", "executors", "NAME=[PRINCIPAL@]HOST:PORT"),
        ("[executors]\ndesk = 'nowhere'", "executors", "NAME=[PRINCIPAL@]HOST:PORT"),
        ("drain_grace_seconds = true", "drain_grace_seconds", "a number of seconds from 0 to 3600"),
        ("drain_grace_seconds = -1", "drain_grace_seconds", "a number of seconds from 0 to 3600"),
        ("stall_seconds = nan", "stall_seconds", "a number of seconds"),
        pytest.param(f"stall_seconds = {'9' * 400}", "stall_seconds", "a number of seconds", id="no-float"),
        ('keys = "a\\u0000b"', "keys", "a path"),
        ("keys = ' '", "keys", "a path"),
        ("[executors]\n' desk' = 'host:1'", "executors", "NAME=[PRINCIPAL@]HOST:PORT"),
        ("[executors]\ndesk = ' host:1'", "executors", "NAME=[PRINCIPAL@]HOST:PORT"),
        ("[executors]\ndesk = '@host:1'", "executors", "NAME=[PRINCIPAL@]HOST:PORT"),
        ("[executors]\ndesk = 'no/name@host:1'", "executors", "NAME=[PRINCIPAL@]HOST:PORT"),
        ("[package_namespaces]\ndesk = []", "package_namespaces", "PACKAGE=NAMESPACE"),
        ("[package_namespaces]\ndesk = ['a b']", "package_namespaces", "PACKAGE=NAMESPACE"),
        ("[package_namespaces]\n'a b' = 'x'", "package_namespaces", "PACKAGE=NAMESPACE"),
        ("package_namespaces = ['desk=a']", "package_namespaces", "PACKAGE=NAMESPACE"),
        ("executor_owners = ['desk=a']", "executor_owners", "[NAMESPACE/]NAME=PRINCIPAL"),
        ("[executor_owners]\ndesk = []", "executor_owners", "[NAMESPACE/]NAME=PRINCIPAL"),
        ("[executor_owners]\ndesk = ['a b']", "executor_owners", "[NAMESPACE/]NAME=PRINCIPAL"),
        ("[executor_owners]\n'a/b/desk' = 'x'", "executor_owners", "[NAMESPACE/]NAME=PRINCIPAL"),
        ("[executor_owners]\n'/desk' = 'x'", "executor_owners", "[NAMESPACE/]NAME=PRINCIPAL"),
        ("journal_max_bytes = 1", "journal_max_bytes", "at least 65536"),
        ("journal_max_bytes = 1e9", "journal_max_bytes", "a whole number of bytes"),
        ("insecure_allow_remote = 1", "insecure_allow_remote", "true or false"),
    ],
)
def test_what_is_wrong_in_the_file_is_named_with_file_key_and_what_is_expected(
    tmp_path: Path, text: str, key: str, said: str
) -> None:
    ready = "data = 'd'\n" + ("" if "packages" in text else "packages = ['p']\n")
    file = config(tmp_path, ready + text)

    (finding,) = load({}, file, {}).findings

    assert (finding.place, finding.key) == (str(file), key)
    assert said in f"{finding.message} {finding.remedy}"
    assert str(file) in finding.message
    assert key in finding.message


@pytest.mark.parametrize(
    "content",
    [b"a = [", b"a = " + b"[" * 20_000, b"\xff\xfe", b"x = 1\n" * 300_000, None],
    ids=["no-toml", "too-deep", "no-text", "too-large", "missing"],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "runwright.toml"
    if content is not None:
        file.write_bytes(content)

    (finding,) = load({name: list(words) for name, words in ENOUGH.items()}, file, {}).findings

    assert str(file) in finding.message


def test_a_wrong_flag_or_variable_is_named_as_it_was_given() -> None:
    loaded = load({**ENOUGH, "executors": ["a=b:1", "a=c:2"]}, None, {"RUNWRIGHT_STALL_SECONDS": "soon"})

    assert [finding.place for finding in loaded.findings] == ["--executor", "RUNWRIGHT_STALL_SECONDS"]
    with pytest.raises(AgentError) as raised:
        loaded.settings()
    assert raised.value.reason is ErrorReason.INVALID_REQUEST
    assert "1 more" in raised.value.remedy


def test_blanks_in_a_variable_are_no_part_of_what_it_lists() -> None:
    environment = {"RUNWRIGHT_EXECUTORS": "desk=host:1, shop=host:2 ", "RUNWRIGHT_DATA": " "}

    loaded = load({"packages": ["p"]}, None, environment)

    assert loaded.value("executors") == {"desk": "host:1", "shop": "host:2"}
    assert [finding.place for finding in loaded.findings] == ["RUNWRIGHT_DATA"]


def test_what_is_missing_is_said_with_all_the_ways_to_give_it() -> None:
    (finding,) = load({"packages": ["p"]}, None, {}).findings

    assert all(way in finding.remedy for way in ("--data", "RUNWRIGHT_DATA", "write data into"))


def test_every_setting_has_one_sentence_and_a_unit() -> None:
    for field in FIELDS:
        assert field.says.endswith(".")
        assert field.kind.unit
        assert field.kind.expected


def test_the_allow_list_of_callbacks_is_checked_where_it_is_given(tmp_path: Path) -> None:
    file = config(tmp_path, 'callback_allow = ["10.0.0.0/8", "*.tools.internal:7761"]')
    words = {"RUNWRIGHT_CALLBACK_ALLOW": "10.0.0.0/8, desk:*"}

    assert load(ENOUGH, None, {}).settings().callback_allow == ("127.0.0.0/8", "::1/128")
    assert load(ENOUGH, file, {}).settings().callback_allow == ("10.0.0.0/8", "*.tools.internal:7761")
    assert load(ENOUGH, None, words).settings().callback_allow == ("10.0.0.0/8", "desk:*")
    for nothing in (["none"], []):
        assert load({**ENOUGH, "callback_allow": nothing}, None, {}).settings().callback_allow == ()
    assert load(ENOUGH, config(tmp_path, "callback_allow = []"), {}).settings().callback_allow == ()


@pytest.mark.parametrize("entry", ["10.0.0.0/33", "desk", "*:1", "10.0.0.1/8"])
def test_an_entry_of_the_allow_list_that_is_none_is_refused(entry: str) -> None:
    loaded = load({**ENOUGH, "callback_allow": [entry]}, None, {})

    [finding] = loaded.findings
    assert (finding.key, finding.place) == ("callback_allow", "--callback-allow")
    assert "HOST:PORT" in finding.expected


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    file = config(tmp_path, "")
    file.write_bytes(b'\xef\xbb\xbfdata = "journal"\npackages = ["a.yaml"]\n')

    assert load({}, file, {}).settings().data == tmp_path / "journal"


@pytest.mark.parametrize("value", range(8))
def test_every_combination_of_certificate_options_is_whole_or_one_sentence(value: int) -> None:
    names = [name for number, name in enumerate(("tls_cert", "tls_key", "tls_client_ca")) if value & 1 << number]

    loaded = load({**ENOUGH, **{name: [f"{name}.pem"] for name in names}}, None, {})

    if names in ([], ["tls_cert", "tls_key"], ["tls_cert", "tls_key", "tls_client_ca"]):
        assert loaded.findings == []
    else:
        message = " ".join(finding.message for finding in loaded.findings)
        missing = {"--tls-cert", "--tls-key"} - {f"--{name.replace('_', '-')}" for name in names}
        assert [flag for flag in missing if flag in message], message


KINDS_WITH_OWNERS = pytest.mark.parametrize("kind", ["executor", "policy", "dispatcher"])


@KINDS_WITH_OWNERS
@pytest.mark.parametrize(
    ("principal", "keys", "fits"), [("desk", None, False), ("desk", "k.json", True), ("local", None, True)]
)
def test_owners_of_names_need_keys_to_be_told_apart(kind: str, principal: str, keys: str | None, fits: bool) -> None:
    value = {**ENOUGH, f"{kind}_owners": [f"desk={principal}"], **({"keys": [keys]} if keys else {})}

    loaded = load(value, None, {})

    assert loaded.value(f"{kind}_owners") == {"desk": (principal,)}
    assert [finding.place for finding in loaded.findings] == ([] if fits else [f"--{kind}-owner"])


@KINDS_WITH_OWNERS
def test_a_name_may_have_several_owners_however_they_are_given(tmp_path: Path, kind: str) -> None:
    file = config(tmp_path, f'[{kind}_owners]\ndesk = ["a", "b"]\n"team-a/shop" = "c"')
    owners = {"desk": ("a", "b"), "team-a/shop": ("c",)}
    name = f"{kind}_owners"

    assert load(ENOUGH, file, {}).value(name) == owners
    words = ["desk=a", "desk=b", "team-a/shop=c"]
    assert load({**ENOUGH, name: words}, None, {}).value(name) == owners
    variable = {f"RUNWRIGHT_{kind.upper()}_OWNERS": ",".join(words)}
    assert load(ENOUGH, None, variable).value(name) == owners


def test_what_was_loaded_can_be_loaded_again_from_the_same_sources(tmp_path: Path) -> None:
    file = config(tmp_path, '[policy_owners]\ndesk = "a"')
    loaded = load({**ENOUGH, "dispatcher_owners": ["chat=bot"]}, file, {"RUNWRIGHT_LISTEN": "127.0.0.1:1"})
    config(tmp_path, '[policy_owners]\ndesk = "b"')

    again = loaded.again()

    assert again.value("policy_owners") == {"desk": ("b",)}
    assert again.value("dispatcher_owners") == {"chat": ("bot",)}
    assert again.value("listen") == "127.0.0.1:1"


def test_a_package_may_have_several_namespaces_however_they_are_given(tmp_path: Path) -> None:
    file = config(tmp_path, 'keys = "k.json"\n[package_namespaces]\ndesk = ["a", "b"]\nshop = "c"')
    words, known = ["desk=a", "desk=b", "shop=c"], {**ENOUGH, "keys": ["k.json"]}
    namespaces = {"desk": ("a", "b"), "shop": ("c",)}

    loaded = [
        load(ENOUGH, file, {}),
        load({**known, "package_namespaces": words}, None, {}),
        load(known, None, {"RUNWRIGHT_PACKAGE_NAMESPACES": ",".join(words)}),
    ]

    assert [one.value("package_namespaces") for one in loaded] == [namespaces] * 3
    assert [one.findings for one in loaded] == [[]] * 3


@pytest.mark.parametrize(("namespace", "fits"), [("team-a", False), ("default", True)])
def test_without_keys_a_package_of_other_namespaces_is_nobodys(namespace: str, fits: bool) -> None:
    loaded = load({**ENOUGH, "package_namespaces": [f"desk={namespace}"]}, None, {})

    assert [finding.place for finding in loaded.findings] == ([] if fits else ["--package-namespace"])


def test_of_a_file_that_cannot_be_read_nothing_is_said_to_be_missing(tmp_path: Path) -> None:
    file = tmp_path / "runwright.toml"
    file.write_text("data = ")

    (finding,) = load({}, file, {}).findings

    assert finding.message == f"{file} must be TOML: Invalid value (at end of document)."


def test_what_goes_badly_together_is_said_beside_what_is_wrong_in_itself() -> None:
    loaded = load({**ENOUGH, "tls_cert": ["c"]}, None, {"RUNWRIGHT_STALL_SECONDS": "soon"})

    assert [finding.place for finding in loaded.findings] == ["RUNWRIGHT_STALL_SECONDS", "--tls-cert"]
