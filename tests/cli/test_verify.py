"""An export is whole or it is not: this project's verdict and that of a program that shares no code with it."""

from __future__ import annotations

import asyncio
import base64
import json
import random
import runpy
import string
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor
from runwright._gen.runwright.v1 import content_pb2, event_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright.cli.export import verify
from runwright.core import records as r
from runwright.core.ids import DEFAULT_NAMESPACE, EffectId, Namespace, RunId, RunKey
from runwright.core.outcomes import ReconcileAnswer, Resolution, ResultRelease, RunStatus
from runwright.core.policy import Verdict
from runwright.core.resolution import ResolutionRequest, ResolvedResult
from runwright.ports.remote_policies import PolicyReply, PolicyReplyKind, PolicyRequest, PolicyWait
from runwright.ports.tools import ReconcileOutcome, ToolOutcome, ToolOutcomeKind
from runwright.testing import FunctionTools
from runwright.wire.references import exported_refs
from typer import Exit

from tests import builders as b
from tests.runtime.watching import pass_time, quiet, records, records_of

EXAMPLE = runpy.run_path(str(Path(__file__).parents[2] / "examples" / "verify_export.py"))
REF = content_pb2.ContentRef.DESCRIPTOR.full_name
PART = 40  # bytes; small, so that a content has several
Lines = list[str]


@pytest.fixture
async def export() -> Lines:
    """The lines of an export: a run with a tool call, in a session with an earlier one."""
    bench = b.Bench()
    runtime = bench.runtime()
    for name in ("r0", "r1"):
        handle, _ = await runtime.start_run(b.request(name, session_id="s"))
        await handle.wait()
    lines = await lines_of(bench, "r1")
    await runtime.close()
    return lines


async def lines_of(bench: b.Bench, run_id: str) -> Lines:
    """The lines of an export of a run."""
    run = RunKey(DEFAULT_NAMESPACE, RunId(run_id))
    events = await bench.journal.read(run, after=0, limit=1000)
    header = pb.ExportHeader(
        format=1,
        namespace=run.namespace,
        run_id=run.run_id,
        incarnation=bench.journal.incarnation,
        events=len(events),
        head_hash=events[-1].hash,
    )
    elements = [pb.ExportRunResponse(header=header)]
    for e in events:
        exported = pb.ExportedEvent(data=e.data, position=e.position, previous_hash=e.previous_hash, hash=e.hash)
        elements.append(pb.ExportRunResponse(event=exported))
    wanted = list(dict.fromkeys(ref.digest for e in events for ref in exported_refs(e.data)))
    stored = await bench.journal.content(run.namespace, wanted)
    for digest in wanted:
        data = stored[digest]
        for offset in range(0, max(1, len(data)), PART):
            part = pb.ExportedContent(
                digest=digest, offset=offset, data=data[offset : offset + PART], last=offset + PART >= len(data)
            )
            elements.append(pb.ExportRunResponse(content=part))
    return [json_format.MessageToJson(each, preserving_proto_field_name=True, indent=None) for each in elements]


def ours(file: Path) -> int:
    """The exit code of `runwright verify`."""
    try:
        verify(file)
    except Exit as left:
        return left.exit_code
    return 0


def verdicts(file: Path, lines: Lines) -> tuple[int, int]:
    """What both make of the lines: 0 whole, 1 not whole, 2 not an export."""
    file.write_text("".join(line + "\n" for line in lines))
    return ours(file), EXAMPLE["main"](file)


def delete(lines: Lines, r: random.Random) -> None:
    del lines[r.randrange(1, len(lines))]


def delete_content(lines: Lines, r: random.Random) -> None:
    del lines[r.choice([at for at, line in enumerate(lines) if '"content"' in line])]


def duplicate(lines: Lines, r: random.Random) -> None:
    at = r.randrange(1, len(lines))
    lines.insert(r.choice([at, len(lines)]), lines[at])


def swap(lines: Lines, r: random.Random) -> None:
    one, other = r.sample(range(1, len(lines)), 2)
    lines[one], lines[other] = lines[other], lines[one]


def truncate(lines: Lines, r: random.Random) -> None:
    del lines[r.randrange(1, len(lines)) :]


def cut_line(lines: Lines, r: random.Random) -> None:
    at = r.randrange(len(lines))
    lines[at] = lines[at][: r.randrange(len(lines[at]))]


def shuffle(lines: Lines, r: random.Random) -> None:
    rest = lines[1:]
    r.shuffle(rest)
    lines[1:] = rest


def letter(lines: Lines, r: random.Random) -> None:
    """One character anywhere becomes another."""
    at = r.randrange(len(lines))
    where, old = r.randrange(len(lines[at])), lines[at]
    lines[at] = old[:where] + r.choice(string.ascii_letters + string.digits + "+/=-_ ") + old[where + 1 :]


def flip(lines: Lines, r: random.Random) -> None:
    """One bit of some bytes."""
    at = r.randrange(1, len(lines))
    ((kind, fields),) = json.loads(lines[at]).items()
    name = r.choice([name for name in ("data", "previous_hash", "hash") if name in fields] or ["data"])
    data = bytearray(base64.b64decode(fields.get(name, "")) or b"\0")
    data[r.randrange(len(data))] ^= 1 << r.randrange(8)
    fields[name] = base64.b64encode(data).decode()
    lines[at] = json.dumps({kind: fields})


def header(lines: Lines, r: random.Random) -> None:
    fields = json.loads(lines[0])["header"]
    name = r.choice(["format", "namespace", "run_id", "events", "head_hash"])
    changed = {"format": 2, "events": str(int(fields["events"]) + r.choice([-1, 1]))}
    if r.random() < 0.5:
        fields[name] = changed.get(name, base64.b64encode(r.randbytes(32)).decode())
    else:
        del fields[name]
    lines[0] = json.dumps({"header": fields})


def field(lines: Lines, r: random.Random) -> None:
    """A field of an element is missing, or a number is another one."""
    at = r.randrange(1, len(lines))
    ((kind, fields),) = json.loads(lines[at]).items()
    name = r.choice(list(fields))
    if name in ("position", "offset") and r.random() < 0.5:
        fields[name] = "0"
    else:
        del fields[name]
    lines[at] = json.dumps({kind: fields})


def foreign(lines: Lines, r: random.Random) -> None:
    """A content that nothing mentions, or an element that is none."""
    data = r.randbytes(20)
    content = {"digest": "sha256:" + "0" * 64, "data": base64.b64encode(data).decode(), "last": True}
    strange: list[Any] = [{"content": content}, {}, {"other": {}}, [], None, 5, {"event": 5}, {"header": {}}]
    lines.insert(r.randrange(1, len(lines) + 1), json.dumps(r.choice(strange)))


MUTATIONS = (
    *(delete, delete_content, duplicate, swap, truncate, cut_line),
    *(shuffle, letter, flip, header, field, foreign),
)
SEEDS = range(20)  # for each of them: 240 in all


def test_an_export_as_it_was_written_is_whole_for_both(tmp_path: Path, export: Lines, capsys: Any) -> None:
    assert verdicts(tmp_path / "r1.jsonl", export) == (0, 0)
    assert capsys.readouterr().out.count("not proven") == 2


@pytest.mark.parametrize("mutate", MUTATIONS)
def test_both_come_to_the_same_verdict_on_whatever_was_done_to_an_export(
    tmp_path: Path, export: Lines, mutate: Callable[[Lines, random.Random], None]
) -> None:
    for seed in SEEDS:
        changed = list(export)
        mutate(changed, random.Random(seed))
        mine, theirs = verdicts(tmp_path / "r1.jsonl", changed)
        assert mine == theirs, f"{mutate.__name__} {seed}"
        assert mine or _says_the_same(export, changed), f"{mutate.__name__} {seed}: called whole"


def _says_the_same(one: Lines, other: Lines) -> bool:
    """True when the lines differ in nothing but what no verdict covers."""
    return _proven(one) == _proven(other)


def _proven(lines: Lines) -> list[Any]:
    elements = [json_format.Parse(line, pb.ExportRunResponse()) for line in lines]
    for element in elements:
        element.header.ClearField("incarnation") if element.HasField("header") else None
        element.event.ClearField("position") if element.HasField("event") else None
    # Contents are told apart by their digests: in which order they come says nothing.
    return sorted(element.SerializeToString() for element in elements)


def test_the_example_knows_every_field_that_refers_to_a_content() -> None:
    assert EXAMPLE["REFERENCES"] == _references(event_pb2.Event.DESCRIPTOR)


def _references(message: Descriptor) -> dict[int, Any]:
    found: dict[int, Any] = {}
    for each in message.fields:
        if each.message_type is None:
            continue
        inside = None if each.message_type.full_name == REF else _references(each.message_type)
        if inside != {}:
            found[each.number] = inside
    return found


class Replacing:
    """Hosts that defer and then replace what they are asked about, and allow what is there then."""

    def __init__(self) -> None:
        self._seen: Counter[tuple[str, str]] = Counter()

    def is_there(self, namespace: Namespace, policy: str) -> bool:
        """See the port."""
        return True

    def wait_for_host(self, namespace: Namespace, policy: str, there: Callable[[], None]) -> PolicyWait:
        """See the port."""
        raise AssertionError("a host is there")

    async def decide(self, request: PolicyRequest) -> PolicyReply:
        """See the port."""
        subject = request.call.call_id if request.call else request.stage.name
        self._seen[subject, request.remote.policy] += 1
        says: list[dict[str, Any]] = [
            {"verdict": Verdict.DEFER, "defer_for": b.SECOND},
            {"verdict": Verdict.MODIFY, "text": "another text"},
            {"verdict": Verdict.ALLOW},
        ]
        if request.call:
            says[1] = {"verdict": Verdict.MODIFY, "arguments_json": b'{"n":2}'}
        said = says[min(self._seen[subject, request.remote.policy], 3) - 1]
        return PolicyReply(kind=PolicyReplyKind.ANSWERED, subject_digest=request.subject_digest, **said)

    async def close(self) -> None:
        """See the port."""


async def test_a_governed_run_with_replaced_withheld_found_and_resolved_parts_is_whole_for_both(tmp_path: Path) -> None:
    lost, found = ToolOutcome(ToolOutcomeKind.LOST), ReconcileOutcome(ReconcileAnswer.PERFORMED, b'"a secret letter"')
    package = b.package(
        b.asks("look", "send", "write"),
        b.says("{results}"),
        tools=(b.tool(), b.writing_tool("send", reconcilable=True, reconcile_for="10m"), b.writing_tool()),
        policy="builtin:read-only",
        policies=[
            {"builtin": "allow-declared"},
            {"remote": "compliance", "stages": ["input", "pre_tool", "output"]},
            {"rules": [{"stage": "post_tool", "when": 'result.text.contains("secret")', "then": "deny"}]},
        ],
    )
    tools = FunctionTools(
        {"look": b.look, "send": lambda _: lost, "write": lambda _: lost}, reconcilers={"send": lambda _: found}
    )
    bench = b.Bench(packages=(package,), tools=tools, remote_policies=Replacing())
    runtime = bench.runtime()
    await runtime.start_run(b.request())
    for _ in range(200):
        await quiet()
        if (await runtime.run_snapshot("run-1")).status is RunStatus.REPAIR_NEEDED:
            break
        bench.manual_clock.advance(b.SECOND)
    resolution = ResolutionRequest(
        effect_id=EffectId("c1.3"),
        attempt=1,
        request_id="one",
        resolution=Resolution.HAPPENED,
        result=ResolvedResult(b'"a secret found"'),
        reason="it is there",
    )
    await runtime.repair.resolve("run-1", resolution)
    async with asyncio.timeout(20):
        await pass_time(bench, runtime)

    lines = await lines_of(bench, "run-1")

    kinds_seen = {type(each) for each in await records(bench.journal)}
    of_policies = {r.PolicyAsked, r.PolicyAnswered, r.PolicyResumed, r.SubjectReplaced, r.PolicyDecided}
    of_calls = {r.ToolResultReleased, r.ReconcileStarted, r.ReconcileEnded, r.EffectResolved, r.ToolRecoveryRequired}
    assert of_policies | of_calls <= kinds_seen
    released = await records_of(bench.journal, r.ToolResultReleased)
    assert [(each.call_id, each.release) for each in sorted(released, key=lambda each: each.call_id)] == [
        ("c1.1", ResultRelease.RELEASED),
        ("c1.2", ResultRelease.WITHHELD),
        ("c1.3", ResultRelease.WITHHELD),
    ]
    assert verdicts(tmp_path / "run.jsonl", lines) == (0, 0)
    for at in [number for number, line in enumerate(lines) if '"content"' in line]:
        assert verdicts(tmp_path / "run.jsonl", [*lines[:at], *lines[at + 1 :]]) == (1, 1), (
            "each of its contents counts"
        )
    await runtime.close()
