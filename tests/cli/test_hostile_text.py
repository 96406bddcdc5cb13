"""Whatever a server, a file or an error says: no control character of it reaches the terminal, by any command."""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from rich.console import Console
from runwright._gen.runwright.v1 import content_pb2, event_pb2, run_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright.cli import main, sanitize, standard_streams
from runwright.cli.live_view import LiveView

from tests.cli.conftest import Program
from tests.cli.fake_registry import FakeRegistry, callback, serving_both
from tests.cli.fake_runtime import FakeRuntime
from tests.cli.files import config_file, package_file
from tests.cli.story import RUN, Story, failure, one_tool, stuck

EVIL = "a\x1b[2J\x1b]0;t\x07b\x08\x7f\x9b31m\u202ec\u2066\u200f\x00d"
# White space that lays out lines is the commands' own.
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
# What the fakes and the commands themselves have to understand.
SPARED = {"cursor", "last_cursor", "run_id", "digest", "effect_id", "next_page_token", "message_id", "call_id"}


def poisoned(message: Message) -> None:
    """Puts control characters into every text and every content, at any depth."""
    for field, value in message.ListFields():
        if field.is_repeated and field.message_type and field.message_type.GetOptions().map_entry:
            for key in value:
                if isinstance(value[key], str):
                    value[key] = EVIL
        elif field.type == FieldDescriptor.TYPE_MESSAGE:
            for inner in value if field.is_repeated else [value]:
                poisoned(inner)
    for field in message.DESCRIPTOR.fields:
        if field.name in SPARED or field.is_repeated or field.containing_oneof:
            continue
        if field.type == FieldDescriptor.TYPE_STRING:
            setattr(message, field.name, EVIL)
        elif field.type == FieldDescriptor.TYPE_BYTES:
            setattr(message, field.name, EVIL.encode())


def hostile(story: Story, run: run_pb2.RunSnapshot) -> FakeRuntime:
    """A server whose every word is out for the terminal."""
    for frame in story.frames:
        poisoned(frame)
    poisoned(run)
    run.labels["label"], run.last_cursor = EVIL, story.frames[-1].cursor
    return FakeRuntime(story, run=run)


def snapshot(status: run_pb2.RunStatus.ValueType, **fields: object) -> run_pb2.RunSnapshot:
    """A run that has everything a run can have."""
    run = run_pb2.RunSnapshot(run_id=RUN, status=status, error=failure(), **fields)
    run.result.CopyFrom(content_pb2.InlineContent(ref=content_pb2.ContentRef(digest="sha256:1", size=1), data=b"x"))
    run.waiting_on.add(kind=run_pb2.WAIT_KIND_REPAIR, effect_id="c1.1")
    run.open_effects.add(effect_id="c1.1", state=run_pb2.EFFECT_STATE_UNKNOWN)
    return run


STORIES: dict[str, Callable[[], FakeRuntime]] = {
    "completed": lambda: hostile(one_tool("Done."), snapshot(run_pb2.RUN_STATUS_COMPLETED)),
    "failed": lambda: hostile(
        Story().begin().add(run_failed=event_pb2.RunFailed(error=failure())), snapshot(run_pb2.RUN_STATUS_FAILED)
    ),
    "cancelled": lambda: hostile(
        Story().begin().add(run_cancelled=event_pb2.RunCancelled(error=failure())),
        snapshot(run_pb2.RUN_STATUS_CANCELLED),
    ),
    "stuck": lambda: hostile(stuck(), snapshot(run_pb2.RUN_STATUS_REPAIR_NEEDED)),
}
COMMANDS = (
    *(("get", RUN, "-o", form) for form in ("text", "json", "yaml", "name")),
    *(("ls", "-o", form) for form in ("table", "json", "yaml", "name")),
    *(("callbacks", "ls", "-o", form) for form in ("table", "json", "yaml", "name")),
    ("run", "What?"),
    ("run", "What?", "-o", "json"),
    ("run", "What?", "--no-watch"),
    ("watch", RUN),
    ("watch", RUN, "-o", "json"),
    ("wait", RUN),
    ("events", RUN),
    ("events", RUN, "-o", "json"),
    ("explain", RUN),
    ("cancel", RUN),
    ("get", EVIL.replace("\x00", "")),
)


@pytest.fixture(params=["the commands alone", "with the streams"])
def program_either_way(program: Program, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Program:
    """The program, once without what the standard streams take out: each command cleans what it shows by itself."""
    if request.param == "the commands alone":
        monkeypatch.setattr(main, "sanitize_standard_streams", lambda: None)
    return program


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("story", STORIES)
def test_no_control_character_of_a_server_reaches_the_terminal(
    program_either_way: Program, story: str, words: tuple[str, ...]
) -> None:
    runtime = STORIES[story]()
    runtime.ends = story != "stuck"
    registered = callback(detail=EVIL)
    poisoned(registered)
    with serving_both(FakeRegistry(registered), runtime) as server:
        _, out, err = program_either_way("--server", server, *words)

    assert out + err, "it says something"
    assert CONTROL.findall(out + err) == []


def test_json_keeps_the_value_of_what_it_escapes(program: Program) -> None:
    with serving_both(FakeRegistry(), STORIES["failed"]()) as server:
        _, out, _ = program("--server", server, "get", RUN, "-o", "json")

    assert json.loads(out)["run"]["error"]["message"] == EVIL


@pytest.mark.parametrize("story", STORIES)
def test_no_control_character_reaches_a_tree_that_is_redrawn(story: str) -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=False, width=100, highlight=False, markup=False, emoji=False)
    view = LiveView(console, clock=lambda: 1_700_000_010.0)
    for frame in STORIES[story]().frames:
        view.take(frame)

    console.print(view.drawing())

    assert "analyst" not in screen.getvalue(), "every text was replaced"
    assert CONTROL.findall(screen.getvalue()) == []


def test_no_control_character_of_an_export_reaches_the_terminal(program_either_way: Program, tmp_path: Path) -> None:
    file = tmp_path / "evil.jsonl"
    header = pb.ExportRunResponse(header=pb.ExportHeader(format=1, run_id=EVIL, namespace=EVIL))
    content = pb.ExportRunResponse(content=pb.ExportedContent(digest=f"{EVIL}\nwhole: the chain holds", data=b"x"))
    export = [json.dumps(one) for one in (as_json(header), as_json(content))]
    file.write_text("\n".join(export))

    code, out, err = program_either_way("verify", str(file))

    assert code == 1
    assert CONTROL.findall(out + err) == []
    assert not [line for line in out.splitlines() if line.startswith("whole")], "nor does it say a line of its own"


def as_json(response: Message) -> dict[str, object]:
    from google.protobuf.json_format import MessageToDict  # noqa: PLC0415 - for this one test

    return MessageToDict(response, preserving_proto_field_name=True)


@pytest.mark.parametrize(
    "words", [("config", "check"), ("config", "show"), ("doctor",), ("serve",)], ids=lambda words: words[0] + words[-1]
)
def test_no_control_character_of_a_configuration_reaches_the_terminal(
    program_either_way: Program, tmp_path: Path, words: tuple[str, ...]
) -> None:
    package_file(tmp_path, **{"own\x1b[2J\x9b\u202e": 1})
    file = config_file(tmp_path, '"lis\\u001b[2J\\u202e" = 1')

    _, out, err = program_either_way(*words, "--config", str(file))
    only_the_package = program_either_way(
        *words, "--data", str(tmp_path / "d"), "--package", str(tmp_path / "one.yaml")
    )

    assert CONTROL.findall(out + err + only_the_package[1] + only_the_package[2]) == []


@pytest.mark.parametrize("words", [("package", "validate"), ("package", "show"), ("package", "fingerprint")])
def test_no_control_character_of_a_package_reaches_the_terminal(
    program_either_way: Program, tmp_path: Path, words: tuple[str, ...]
) -> None:
    broken = package_file(tmp_path, "broken.yaml", **{"own\x1b[2J\x9b\u202e": 1})
    evil = package_file(tmp_path, "evil.yaml", instructions="be\x1b[2J\x9b\u202e kind")
    named = package_file(tmp_path, "na\x1b[2Jmed.yaml")

    seen = [program_either_way(*words, str(file)) for file in (broken, evil, named)]

    assert CONTROL.findall("".join(out + err for _, out, err in seen)) == []


@pytest.mark.parametrize("content", ['{"a\\u001b[2J\\u202e": 1}', '{"keys": [{"id": 1, "x\\u001b[2J": 2}]}'])
def test_no_control_character_of_a_keys_file_reaches_the_terminal(
    program_either_way: Program, tmp_path: Path, content: str
) -> None:
    file = tmp_path / "keys\x1b[2J.json"
    file.write_text(content)

    code, out, err = program_either_way("keys", "ls", "--file", str(file))

    assert code == 2
    assert CONTROL.findall(out + err) == []


def test_a_subject_of_a_keys_file_is_listed_without_its_control_characters(
    program_either_way: Program, tmp_path: Path
) -> None:
    file = tmp_path / "keys.json"
    file.write_text(json.dumps({"keys": [{"id": "1", "name": "n", "roles": ["caller"], "subject": EVIL}]}))

    code, out, err = program_either_way("keys", "ls", "--file", str(file))

    assert code == 0
    assert CONTROL.findall(out + err) == []


def test_a_message_of_a_library_passes_through_the_streams(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdout", sys.stdout)
    monkeypatch.setattr(sys, "stderr", sys.stderr)
    standard_streams.sanitize_standard_streams()

    print(EVIL)
    sys.stdout.writelines([EVIL, "\n\tlast\n"])
    print(EVIL, file=sys.stderr)
    out, err = capsys.readouterr()

    assert CONTROL.findall(out + err) == []
    assert out.endswith("\n\tlast\n")
    assert out.startswith(sanitize.output(EVIL))
