"""What people do wrong, and what they are told: the cause, the place, and a remedy that is one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import grpc
import pytest
from runwright._gen.runwright.v1 import run_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright._gen.runwright.v1.runtime_service_pb2_grpc import RuntimeServiceStub
from runwright.adapters.sqlite import SqliteJournal
from runwright.cli.errors import Problem
from runwright_client import Client, ToolServer, tool

from tests.architecture.test_remedies import GENERIC
from tests.cli.conftest import Program
from tests.cli.files import package_file
from tests.cli.real_server import Neighbourhood, free_address, neighbourhood

Words = Sequence[str]


class Mistake(NamedTuple):
    """What is typed, given everything that answers and a folder; then what must be told, and the exit code."""

    typed: Callable[[Neighbourhood, Path], Words]
    cause: str
    place: str
    remedy: str
    code: int = 2


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Neighbourhood]:
    """Servers, good and wrong ones, for every test of this file."""
    with neighbourhood(tmp_path_factory.mktemp("here")) as around:
        yield around


def calls(server: str, *words: str) -> Callable[[Neighbourhood, Path], Words]:
    """A call to one of those that answer, by its name there."""
    return lambda here, _: ("--server", getattr(here, server), *words)


def started(*words: str, package: str = "", **changes: object) -> Callable[[Neighbourhood, Path], Words]:
    """`serve` with a package of that text, or a good one with changes. In the words {…} are filled in."""

    def typed(here: Neighbourhood, folder: Path) -> Words:
        file = package_file(folder, **changes)
        if package:
            file.write_text(package)
        filled = [word.format(here=here, folder=folder) for word in words]
        return ("serve", "--data", f"{folder}/data", "--listen", "127.0.0.1:0", "--package", str(file), *filled)

    return typed


def run(package: str, *words: str) -> Callable[[Neighbourhood, Path], Words]:
    """A run of one of the packages that the open server has."""
    return calls("open", "run", "hi", "--package", package, *words)


def name_of_nobody(here: Neighbourhood, folder: Path) -> Words:
    return ("--server", here.guarded.replace("127.0.0.1", "localhost"), "--tls-ca", here.ca, "ls")


def second_server(here: Neighbourhood, folder: Path) -> Words:
    SqliteJournal.open(folder / "data")  # held until the process ends
    return started()(here, folder)


def data_in_a_file(here: Neighbourhood, folder: Path) -> Words:
    (folder / "data").write_text("")
    return started()(here, folder)


FAULTS = """format: runwright-package-v0
id: two words
agent: {id: clerk, nme: Clerk}
provider: {adapter: demo, model: demo-1}
policy: builtin:readonly
"""
MISTAKES = {
    "wrong port": Mistake(
        lambda here, _: ("--server", free_address(), "ls"), "nothing listens there", "127.0.0.1:", "Start one with", 5
    ),
    "another service": Mistake(calls("web", "ls"), "a web server (HTTP/1.1)", "127.0.0.1:", "with --server", 5),
    "a listener that says nothing": Mistake(
        calls("mute", "ls"), "is no Runwright server: it says nothing", "127.0.0.1:", "with --server", 5
    ),
    "another gRPC service": Mistake(
        calls("other_grpc", "ls"), "speaks gRPC, but it is no Runwright", "127.0.0.1:", "with --server", 5
    ),
    "TLS against plaintext": Mistake(
        lambda here, _: ("--server", here.open, "--tls-ca", here.ca, "ls"),
        "speaks no TLS",
        "127.0.0.1:",
        "Leave --tls-ca (RUNWRIGHT_TLS_CA) out",
        5,
    ),
    "plaintext against TLS": Mistake(
        calls("guarded", "ls"), "speaks TLS, and this call was made in plaintext", "127.0.0.1:", "Give --tls-ca FILE", 5
    ),
    "wrong authority": Mistake(
        lambda here, _: ("--server", here.guarded, "--tls-ca", here.other_ca, "ls"),
        "is not trusted by --tls-ca",
        "other.pem",
        "Give the authority that signed it",
        5,
    ),
    "wrong name": Mistake(
        name_of_nobody, "is for other names: runwright.example, 127.0.0.1", "localhost:", "in --server", 5
    ),
    "no client certificate": Mistake(
        lambda here, _: ("--server", here.mutual, "--tls-ca", here.ca, "ls"),
        "only from those who show a certificate",
        "127.0.0.1:",
        "--tls-cert FILE --tls-key FILE",
        5,
    ),
    "certificate without key": Mistake(
        lambda here, _: ("--server", here.guarded, "--tls-ca", here.ca, "--tls-cert", here.ca, "ls"),
        "needs --tls-key",
        "--tls-cert",
        "Give both files",
    ),
    "certificate without key, serve": Mistake(
        started("--tls-cert", "{here.folder}/server.pem"), "together with --tls-key", "--tls-cert", "Give both files"
    ),
    "wrong key": Mistake(
        lambda here, _: ("--server", here.guarded, "--tls-ca", here.ca, "--key", "rwk_0_1", "ls"),
        "is not authenticated",
        "UNAUTHENTICATED",
        "RUNWRIGHT_KEY",
        5,
    ),
    "misspelled package": Mistake(run("greter"), "no package greter", "greter", "Did you mean greeter?", 5),
    "misspelled agent": Mistake(
        calls("open", "ls", "--agent", "helpr"), "No run of agent helpr.", "helpr", "Did you mean helper?", 0
    ),
    "misspelled adapter": Mistake(
        started(provider={"adapter": "demmo", "model": "m"}), "called demmo", "provider.adapter, line 1", "mean demo?"
    ),
    "misspelled executor": Mistake(
        lambda here, folder: ("config", "check", *started("--executor", "dessk=127.0.0.1:1")(here, folder)[1:]),
        "executor desk has no address",
        "tools.0.executor, line 1",
        "Did you mean dessk?",
        0,
    ),
    "misspelled command": Mistake(calls("open", "rnu"), "No such command", "rnu", "Did you mean 'run'?"),
    "misspelled status": Mistake(calls("open", "ls", "--status", "RUNING"), "RUNING", "--status", "mean RUNNING?"),
    "misspelled format": Mistake(calls("open", "ls", "-o", "jsn"), "'jsn' is not one of", "--output", "mean json?"),
    "misspelled option": Mistake(
        calls("open", "ls", "--sesion", "s"), "no option --sesion", "runwright ls", "mean --session?"
    ),
    "YAML syntax": Mistake(
        started(package="id: x\nagent: {id: [a\n"),
        "expected ',' or ']', but got '<stream end>' while parsing a flow sequence",
        "line 3, column 1",
        "runwright package validate",
    ),
    "several faults, the first": Mistake(started(package=FAULTS), "an id: 1 to 128", "id, line 2", "two-words instead"),
    "several faults, the second": Mistake(started(package=FAULTS), "no key", "agent.nme, line 3", "mean name?"),
    "several faults, the third": Mistake(
        started(package=FAULTS), "one of builtin:read-only", "policy, line 5", "mean builtin:read-only?"
    ),
    "parameter beside the model": Mistake(
        started(provider={"adapter": "demo", "model": "demo-1", "temperature": 1}),
        "no key that is known",
        "provider.temperature, line 1, column",
        "stands in parameters",
    ),
    "one file twice": Mistake(
        started("--package", "{folder}/one.yaml"),
        "one.yaml already",
        "one.yaml, id, line 1",
        "Name the file once",
    ),
    "key instead of its variable": Mistake(
        started("--provider", "openai=sk-proj-1"),
        "openai=KEYENV",
        "--provider",
        "the name of the variable that holds the key",
    ),
    "unknown key": Mistake(started(polcy="x"), "no key that is known", "polcy, line 1, column", "mean policy?"),
    "file missing": Mistake(
        lambda here, folder: ("serve", "--data", "d", "--package", "workspace/package.yaml"),
        "does not exist",
        "workspace/package.yaml",
        "Relative paths begin at /",
    ),
    "other file": Mistake(
        lambda here, folder: ("serve", "--data", "d", "--package", str(package_file(folder).with_suffix(".yml"))),
        "does not exist",
        "one.yml",
        "Did you mean one.yaml?",
    ),
    "provider not configured": Mistake(
        started(provider={"adapter": "openai", "model": "m"}),
        "no provider adapter is called openai",
        "provider.adapter, line 1",
        "--provider openai=OPENAI_API_KEY",
    ),
    "cursor garbage": Mistake(
        calls("open", "watch", "kept", "--from", "rubbish"), "not one this server made", "CURSOR", "leave it out", 5
    ),
    "oversize input": Mistake(
        calls("open", "run", "a" * 70_000), "at most 65536 bytes of text together, not 70000", "input", "Shorten it", 5
    ),
    "port in use": Mistake(
        started("--listen", "{here.open}"), "is in use by another program", "--listen 127.0.0.1:", "ss -ltnp"
    ),
    "data directory not writable": Mistake(data_in_a_file, "is a file", "/data", "Name another with --data"),
    "second server": Mistake(second_server, "is in use by process", "/data", "a directory of its own with --data"),
    "option of another command": Mistake(
        lambda here, _: ("--data", "d", "serve"), "no option --data", "runwright", "runwright serve --data"
    ),
    "text without quotes": Mistake(calls("open", "run", "what", "is", "it"), "extra argument", "(is it)", "quotes"),
    "address without a port": Mistake(
        lambda *_: ("--server", "here", "ls"), "HOST:PORT", "--server", "as in here:7760"
    ),
    "address with a scheme": Mistake(
        lambda *_: ("--server", "http://a:1", "ls"), "HOST:PORT", "--server", "Leave http://"
    ),
    "bad id": Mistake(calls("open", "run", "hi", "--id", "a b"), "not a valid id", "run_id", "Use a-b instead.", 5),
    "no such run": Mistake(calls("open", "get", "nope"), "There is no run nope", "nope", "`runwright ls`", 5),
}


@pytest.mark.parametrize("name", MISTAKES, ids=lambda name: name.replace(" ", "-"))
def test_a_mistake_is_told_with_cause_place_and_remedy(
    program: Program, here: Neighbourhood, tmp_path: Path, name: str
) -> None:
    mistake = MISTAKES[name]
    if name == "cursor garbage":
        program("--server", here.open, "run", "--id", "kept", "hi")

    code, out, err = program(*mistake.typed(here, tmp_path))

    message = [line for line in (out + err).splitlines() if mistake.cause in line]
    assert len(message) == 1, out + err
    assert mistake.place in message[0]
    assert mistake.remedy in message[0]
    assert not GENERIC.search(message[0])
    assert "Traceback" not in out + err
    assert code == mistake.code


def test_several_faults_of_a_file_are_told_at_once(program: Program, here: Neighbourhood, tmp_path: Path) -> None:
    _, _, err = program(*started(package=FAULTS)(here, tmp_path))

    assert len(err.splitlines()) == 3


def test_a_run_id_that_is_taken_says_by_what_and_how_to_go_on(program: Program, here: Neighbourhood) -> None:
    program("--server", here.open, "run", "--no-watch", "--id", "taken", "--package", "greeter", "hi")

    code, _, err = program("--server", here.open, "run", "--id", "taken", "--package", "greeter", "ho")

    assert code == 5
    assert "Run taken was started by another request; these fields differ: input." in err
    assert "use another run id" in err


def test_a_misspelled_agent_of_a_request_is_told_the_one_that_is_near(here: Neighbourhood) -> None:
    stub = RuntimeServiceStub(grpc.insecure_channel(here.open))
    request = pb.StartRunRequest(run=run_pb2.RunRequest(run_id="misspelled", agent_id="helpr"))
    request.run.input.add(text="hi")

    with pytest.raises(grpc.RpcError) as refused:
        stub.StartRun(request, timeout=30)

    message = str(Problem.of(refused.value, here.open))
    assert message.startswith("AGENT_MISMATCH: Package greeter is agent helper, not helpr. ")
    assert "Did you mean helper?" in message


def test_options_of_the_connection_stand_anywhere(program: Program, here: Neighbourhood) -> None:
    for words in (
        ("run", "hi", "--server", here.open, "--package", "greeter"),
        ("--server", here.open, "run", "hi", "--package", "greeter"),
        ("--server", "127.0.0.1:1", "run", "--server", here.open, "hi", "--package", "greeter"),
        ("ls", "-o", "name", "--tls-ca", here.ca, "--key", here.key, "--server", here.guarded),
        ("held", "ls", "--server", here.open),
        ("held", "--server", here.open, "ls"),
    ):
        assert program(*words)[0] == 0, words


TOOLS = {
    "raising": ("TOOL_FAILED: ", "raising", "The executor's log has what the tool raised"),
    "slow": ("TOOL_TIMED_OUT", "slow", "Raise the tool's timeout_ms"),
    "wordless": ("TOOL_FAILED", "wordless", "The executor's log has what the tool raised"),
    "endless": ("is above 1048576", "endless", "The executor's log has what the tool raised"),
}


@pytest.mark.parametrize("name", TOOLS)
def test_what_a_tool_does_wrong_is_told_by_the_run_and_by_explain(
    program: Program, here: Neighbourhood, name: str
) -> None:
    cause, place, remedy = TOOLS[name]

    _, _, err = program("--server", here.open, "run", "hi", "--id", name, "--package", name)
    explained = program("--server", here.open, "explain", name)[1]

    (line,) = [line for line in err.splitlines() if " failed" in line and line.split()[2].startswith("c1.1")]
    for text in (line, explained):
        assert cause in text
        assert remedy in text
    assert place in line


def plain(path: str) -> str:
    """A function that is no tool."""
    return path


def spread(*words: str) -> str:
    """A function whose arguments have no names."""
    return ""


MISUSES: dict[str, tuple[Callable[[], object], str, str]] = {
    "not decorated": (lambda: ToolServer([plain]), "plain", "@tool"),  # type: ignore[list-item]
    "one name twice": (lambda: ToolServer([tool(plain), tool(plain)]), "two tools are named plain", "plain"),
    "unknown effect": (lambda: tool(effect="reed")(plain), "effect='reed'", "is none of read, write"),  # type: ignore[call-overload]
    "arguments without names": (lambda: tool(spread), "the parameter *words", "cannot be given by name"),
    "no tool at all": (lambda: asyncio.run(registered(ToolServer([]))), "no tool to register", "ToolServer([…])"),
}


async def registered(server: ToolServer) -> None:
    """What a program does that offers nothing."""
    await server.start()
    async with Client.connect("127.0.0.1:1") as client:
        await server.register(client, "desk")


@pytest.mark.parametrize("name", MISUSES, ids=lambda name: name.replace(" ", "-"))
def test_the_misuse_of_tools_in_python_names_what_the_author_wrote_and_what_to_write(name: str) -> None:
    misuse, cause, remedy = MISUSES[name]

    with pytest.raises((TypeError, ValueError)) as refused:
        misuse()

    assert cause in str(refused.value)
    assert remedy in str(refused.value)


@pytest.mark.parametrize(
    "words",
    [
        ("get", "nope", "-o", "json"),
        ("ls", "--status", "RUNING", "--output", "json"),
        ("ls", "--output=json", "--nope"),
        ("rnu", "-ojson"),
        ("--server", "127.0.0.1:1", "explain", "r", "-o", "json"),
    ],
)
def test_where_json_is_asked_for_errors_are_json(program: Program, here: Neighbourhood, words: Words) -> None:
    server = () if "--server" in words else ("--server", here.open)

    code, out, err = program(*server, *words)

    error = json.loads(err)["error"]
    assert (out, err.count("\n")) == ("", 1)
    assert code in (2, 5)
    assert error["reason"] and error["message"] and error["remedy"]
    assert set(error) == {"reason", "message", "remedy", "metadata", "may_pass"}


def test_info_shows_packages_agents_and_limits(program: Program, here: Neighbourhood) -> None:
    code, out, _ = program("--server", here.open, "info")
    whole = json.loads(program("--server", here.open, "info", "-o", "json")[1])

    assert code == 0
    assert "package    greeter (the default), sha256:" in out
    assert "  agent    helper" in out
    assert "  tools    raising at desk" in out
    assert "input_bytes 65536" in out
    assert len(whole["packages"]) == 1 + len(TOOLS)
