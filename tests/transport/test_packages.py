"""Packages that live in the service, over a real socket."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from runwright._gen.runwright.v1 import package_service_pb2 as pb
from runwright._gen.runwright.v1 import run_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as runtime_pb
from runwright.adapters.memory.audit import MemoryAudit
from runwright.adapters.sqlite import SqliteJournal
from runwright.core.audit import AuditKind

from tests import builders as b
from tests.transport.conftest import Serve
from tests.transport.known import add_key, authenticator, bearer
from tests.transport.serving import CALL_SECONDS, Refusal, Served, dialling, refused, run_request

FAULTY = """format: runwright-package-v0
id: bad id
agent: {id: helper, nmae: Helper}
provider: {adapter: scripted}
outputs: {}
tools:
  - {name: look, executor: tools, effect: fly}
  - {name: look, executor: tools, effect: read, parameters: {type: objekt}}
  - {name: look, executor: tools, effect: read, max_concurrency: 2}
"""


def document(package_id: str = "desk", says: str = "hi", **fields: Any) -> str:
    """The text of a package."""
    return json.dumps(b.package(b.says(says), id=package_id, **fields).model_dump(mode="json"))


async def put(served: Served, text: str | None = None, **fields: Any) -> pb.PutPackageResponse:
    """Puts a package."""
    request = pb.PutPackageRequest(document=text or document(), **fields)
    return await served.packages.PutPackage(request, timeout=CALL_SECONDS)


async def put_refused(served: Served, text: str | None = None, **fields: Any) -> Refusal:
    """Puts a package, which is refused."""
    request = pb.PutPackageRequest(document=text or document(), **fields)
    return await refused(served.packages.PutPackage(request, timeout=CALL_SECONDS))


async def tag(served: Served, name: str, fingerprint: str, **fields: Any) -> pb.TagPackageResponse:
    """Moves a tag."""
    request = pb.TagPackageRequest(tag=name, fingerprint=fingerprint, **fields)
    return await served.packages.TagPackage(request, timeout=CALL_SECONDS)


async def listed(served: Served, **fields: Any) -> pb.ListPackagesResponse:
    """A page of packages."""
    return await served.packages.ListPackages(pb.ListPackagesRequest(**fields), timeout=CALL_SECONDS)


async def answer(served: Served, run_id: str, **selector: str) -> tuple[str, str]:
    """What a run of the selected package says, and the fingerprint it is pinned to."""
    fields = {"package": run_pb2.PackageSelector(**selector)} if selector else {}
    run = await served.ended(run_id, **fields)
    return run.result.text, run.package_fingerprint


async def test_a_package_that_is_put_is_got_listed_and_run_by_id_tag_and_fingerprint(serve: Serve) -> None:
    served = await serve()

    made = await put(served, tag="prod")
    got = await served.packages.GetPackage(
        pb.GetPackageRequest(package=run_pb2.PackageSelector(tag="prod")), timeout=CALL_SECONDS
    )
    page = await listed(served)

    assert (made.created, made.previous_fingerprint, list(made.package.tags)) == (True, "", ["prod"])
    assert (made.package.put_by, made.package.source) == ("local", pb.PACKAGE_SOURCE_STORED)
    expected = b.package(b.says("hi"), id="desk")
    assert (got.summary, got.canonical_json) == (made.package, expected.canonical())
    assert [(one.package_id, one.source) for one in page.packages] == [
        ("helper-package", pb.PACKAGE_SOURCE_FILE),
        ("desk", pb.PACKAGE_SOURCE_STORED),
    ]
    pinned = ("hi", expected.fingerprint())
    assert await answer(served, "by-id", package_id="desk") == pinned
    assert await answer(served, "by-tag", tag="prod") == pinned
    assert await answer(served, "by-fingerprint", fingerprint=expected.fingerprint()) == pinned


async def test_an_id_means_what_was_put_last_and_a_tag_what_it_was_moved_to(serve: Serve) -> None:
    served = await serve()
    first = (await put(served, document(says="one"), tag="prod")).package.fingerprint
    second = (await put(served, document(says="two"))).package.fingerprint

    assert await answer(served, "r1", package_id="desk") == ("two", second)
    assert await answer(served, "r2", tag="prod") == ("one", first)
    assert (await tag(served, "prod", second)).previous_fingerprint == first
    assert await answer(served, "r3", tag="prod") == ("two", second)
    assert not (await put(served, document(says="one"))).created
    assert await answer(served, "r4", package_id="desk") == ("one", first), "putting it again makes it the last"


async def test_a_file_of_the_server_keeps_its_id(serve: Serve) -> None:
    served = await serve()
    put_one = await put(served, document("helper-package"))

    own = b.one_call_package().fingerprint()
    assert (await answer(served, "by-id", package_id="helper-package"))[1] == own
    assert (await answer(served, "by-default"))[1] == own
    assert (await answer(served, "by-fingerprint", fingerprint=put_one.package.fingerprint))[0] == "hi"


async def test_the_same_run_is_the_same_run_after_its_tag_was_moved(serve: Serve) -> None:
    served = await serve()
    first = (await put(served, document(says="one"), tag="prod")).package.fingerprint
    before = await answer(served, "r1", tag="prod")
    await put(served, document(says="two"), tag="prod")

    assert before == await answer(served, "r1", tag="prod") == ("one", first)
    conflict = await refused(
        served.stub.StartRun(
            run_start("r1", tag="other"),
            timeout=CALL_SECONDS,
        )
    )
    assert (conflict.info.reason, conflict.info.metadata["fields"]) == ("RUN_ID_CONFLICT", "package")


def run_start(run_id: str, **selector: str) -> Any:
    """A StartRun of a selected package."""
    return runtime_pb.StartRunRequest(run=run_request(run_id, package=run_pb2.PackageSelector(**selector)))


async def test_a_tag_is_moved_only_from_where_it_is_expected(serve: Serve) -> None:
    served = await serve()
    first = (await put(served, document(says="one"), tag="prod", expected_previous_fingerprint="")).package.fingerprint
    second = (await put(served, document(says="two"))).package.fingerprint

    late = await put_refused(served, document(says="three"), tag="prod", expected_previous_fingerprint="")
    moved = await refused(
        served.packages.TagPackage(
            pb.TagPackageRequest(tag="prod", fingerprint=second, expected_previous_fingerprint=second),
            timeout=CALL_SECONDS,
        )
    )

    for refusal in (late, moved):
        assert (refusal.info.reason, refusal.info.metadata["fingerprint"]) == ("PACKAGE_TAG_MOVED", first)
    assert len((await listed(served)).packages) == 3, "the refused put has left nothing"
    assert (await tag(served, "prod", second, expected_previous_fingerprint=first)).previous_fingerprint == first


async def test_a_request_that_is_repeated_gets_its_answer_and_moves_nothing_again(serve: Serve) -> None:
    served = await serve()
    made = await put(served, document(says="one"), tag="prod", expected_previous_fingerprint="", request_id="q1")
    await put(served, document(says="two"), tag="prod")

    again = await put(served, document(says="one"), tag="prod", expected_previous_fingerprint="", request_id="q1")
    other = await put_refused(served, document(says="three"), request_id="q1")

    assert (again.created, again.previous_fingerprint) == (made.created, made.previous_fingerprint) == (True, "")
    assert (await answer(served, "r1", tag="prod"))[0] == "two"
    assert (other.info.reason, other.info.metadata["request_id"]) == ("REQUEST_ID_CONFLICT", "q1")


async def test_the_history_of_a_tag_is_read_in_pages_newest_first(serve: Serve) -> None:
    served = await serve()
    prints = [(await put(served, document(says=str(n)), tag="prod")).package.fingerprint for n in range(3)]

    request = pb.ListTagHistoryRequest(tag="prod", page_size=2)
    first = await served.packages.ListTagHistory(request, timeout=CALL_SECONDS)
    request.page_token = first.next_page_token
    last = await served.packages.ListTagHistory(request, timeout=CALL_SECONDS)

    moves = [*first.moves, *last.moves]
    assert [move.fingerprint for move in moves] == prints[::-1]
    assert [move.previous_fingerprint for move in moves] == [*prints[1::-1], ""]
    assert (moves[0].moved_by, last.next_page_token) == ("local", "")


async def test_packages_are_listed_in_pages_of_any_size_each_once(serve: Serve) -> None:
    served = await serve()
    for number in range(4):
        await put(served, document(f"p{number}"))

    for size in (1, 2, 3, 5, 9):
        found, token = [], ""
        while True:
            page = await listed(served, page_size=size, page_token=token)
            assert len(page.packages) <= size
            found += [one.package_id for one in page.packages]
            if not (token := page.next_page_token):
                break
        assert found == ["helper-package", "p3", "p2", "p1", "p0"]
    assert [one.package_id for one in (await listed(served, package_id="p2")).packages] == ["p2"]


async def test_everything_that_is_wrong_comes_in_one_answer_with_its_place(serve: Serve) -> None:
    served = await serve()

    found = (
        await served.packages.ValidatePackage(pb.ValidatePackageRequest(document=FAULTY), timeout=CALL_SECONDS)
    ).findings

    said = [(finding.path, finding.rule, finding.line, finding.did_you_mean) for finding in found]
    assert said == [
        ("id", "pattern", 2, ""),
        ("agent.nmae", "unknown_field", 3, "name"),
        ("provider.model", "required", 4, ""),
        ("outputs", "later_field", 5, ""),
        ("tools.0.effect", "choice", 7, ""),
        ("tools.1.name", "unique", 8, ""),
        ("tools.1.parameters", "schema", 8, ""),
        ("tools.2.name", "unique", 9, ""),
        ("tools.2.max_concurrency", "later_field", 9, ""),
    ]
    assert all(finding.column and finding.expected and finding.remedy for finding in found)
    refusal = await put_refused(served, FAULTY)
    assert (refusal.info.reason, refusal.info.metadata["path"]) == ("PACKAGE_INVALID", "id")
    assert "And 8 more" in refusal.error.message


async def test_what_is_valid_is_said_with_its_fingerprint_and_kept_nowhere(serve: Serve) -> None:
    served = await serve()

    said = await served.packages.ValidatePackage(pb.ValidatePackageRequest(document=document()), timeout=CALL_SECONDS)

    assert (said.package_id, list(said.findings)) == ("desk", [])
    assert said.fingerprint == b.package(b.says("hi"), id="desk").fingerprint()
    assert len((await listed(served)).packages) == 1


async def test_resolved_a_package_says_what_would_run_and_what_is_missing(serve: Serve) -> None:
    bench = b.Bench()
    bench.tools = dialling(bench)
    served = await serve(bench)
    tools = (b.tool("look", description="Looks."), b.tool("fly", executor="absent"))
    route = {"adapter": "nobody", "model": "m"}
    await put(served, document(tools=tools, budget={"rounds": 5, "tool_calls": 9}, fallbacks=[route]))
    request = pb.ResolvePackageRequest(package=run_pb2.PackageSelector(package_id="desk"))
    request.budget.rounds, request.budget.tool_calls = 2, 100

    found = await served.packages.ResolvePackage(request, timeout=CALL_SECONDS)

    budget = found.effective.budget
    assert (budget.rounds, budget.tool_calls, budget.parallel_calls) == (2, 9, 8)
    assert [(tool.name, tool.description) for tool in found.model_tools] == [("fly", ""), ("look", "Looks.")]
    assert json.loads(found.model_tools[0].parameters_schema_json)["type"] == "object"
    assert (list(found.missing_executors), list(found.missing_adapters)) == (["absent", "tools"], ["nobody"])
    request.agent_id = "somebody"
    refusal = await refused(served.packages.ResolvePackage(request, timeout=CALL_SECONDS))
    assert refusal.info.reason == "AGENT_MISMATCH"


async def test_what_is_not_there_is_named_with_what_may_have_been_meant(serve: Serve) -> None:
    served = await serve()
    await put(served, document("accounts"), tag="production")

    selectors = (
        {"package_id": "acounts"},
        {"tag": "prodution"},
        {"fingerprint": f"sha256:runwright-package-v0:{'0' * 64}"},
    )
    for selector in selectors:
        refusal = await refused(
            served.packages.GetPackage(
                pb.GetPackageRequest(package=run_pb2.PackageSelector(**selector)), timeout=CALL_SECONDS
            )
        )
        assert (refusal.info.reason, refusal.info.metadata["package"]) == (
            "PACKAGE_NOT_FOUND",
            next(iter(selector.values())),
        )
    assert (
        "Did you mean accounts?"
        in (await refused(served.stub.StartRun(run_start("r", package_id="acounts")))).error.remedy
    )


async def test_namespaces_see_nothing_of_one_another(serve: Serve, tmp_path: Path) -> None:
    keys = [add_key(tmp_path / "keys.json", "author", name) for name in ("ours", "theirs")]
    served = await serve(authenticator=authenticator(tmp_path / "keys.json"))
    ours, theirs = (bearer(key) for key in keys)
    request = pb.PutPackageRequest(document=document(), tag="prod")
    await served.packages.PutPackage(request, metadata=ours, timeout=CALL_SECONDS)

    seen = await served.packages.ListPackages(pb.ListPackagesRequest(), metadata=theirs, timeout=CALL_SECONDS)
    get = pb.GetPackageRequest(package=run_pb2.PackageSelector(tag="prod"))
    refusal = await refused(served.packages.GetPackage(get, metadata=theirs, timeout=CALL_SECONDS))

    assert [one.source for one in seen.packages] == [pb.PACKAGE_SOURCE_FILE]
    assert refusal.info.reason == "PACKAGE_NOT_FOUND"
    assert (await served.packages.GetPackage(get, metadata=ours, timeout=CALL_SECONDS)).summary.tags == ["prod"]


async def test_puts_moves_and_refusals_are_on_record(serve: Serve) -> None:
    clock = b.Bench().clock
    bench = b.Bench(clock=clock, audit=MemoryAudit(clock))
    served = await serve(bench)
    first = (await put(served, tag="prod")).package.fingerprint
    await tag(served, "test", first)
    await put_refused(served, FAULTY, tag="prod")
    await refused(served.stub.StartRun(run_start("r", tag="gone"), timeout=CALL_SECONDS))

    assert bench.audit is not None
    entries = (await bench.audit.page(["default"], before=None, limit=10)).entries

    assert [(entry.kind, entry.reason, entry.subjects) for entry in reversed(entries)] == [
        (AuditKind.PACKAGE_PUT, "", ("desk", first, "prod")),
        (AuditKind.PACKAGE_TAGGED, "", ("test", first)),
        (AuditKind.PACKAGE_REFUSED, "PACKAGE_INVALID", ("prod",)),
        (AuditKind.START_REFUSED, "PACKAGE_NOT_FOUND", ("r", "gone")),
    ]


async def test_packages_tags_and_request_ids_survive_a_restart(serve: Serve, tmp_path: Path) -> None:
    journal = SqliteJournal.open(tmp_path)
    served = await serve(b.Bench(journal=journal, package_store=journal.packages()))
    made = await put(served, tag="prod", request_id="q1")
    await served.close()
    await journal.close()

    journal = SqliteJournal.open(tmp_path)
    served = await serve(b.Bench(journal=journal, package_store=journal.packages()))

    assert (await put(served, tag="prod", request_id="q1")) == made
    assert await answer(served, "r1", tag="prod") == ("hi", made.package.fingerprint)


async def test_more_schemas_than_a_package_may_have_beside_it_are_refused(served: Served) -> None:
    for sidecars in ([b"{}"] * 129, [b" " * (1024 * 1024 + 1)]):
        refusal = await refused(
            served.packages.ValidatePackage(pb.ValidatePackageRequest(document="x", sidecars=sidecars))
        )

        assert (refusal.info.reason, refusal.info.metadata["field"]) == ("INVALID_REQUEST", "sidecars")


async def test_a_tag_that_there_is_not_is_called_a_tag(serve: Serve) -> None:
    served = await serve()
    request = pb.ResolvePackageRequest(package=run_pb2.PackageSelector(tag="prod"))

    refusal = await refused(served.packages.ResolvePackage(request, timeout=CALL_SECONDS))

    assert refusal.error.message == "There is no tag prod."
