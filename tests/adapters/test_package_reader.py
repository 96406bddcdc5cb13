"""Texts of packages are read in a process of their own, within bounds, one for all; the server reads none itself."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator

import pytest
from runwright.adapters import package_documents, package_reader, package_worker, yaml_documents
from runwright.adapters.package_reader import DocumentReader
from runwright.adapters.schema_process import CheckLimits
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.fingerprint import fingerprint
from runwright.core.package_findings import FindingRule

from tests import builders as b

PACKAGE = b.package(b.says("hi"), id="desk")
TEXT = json.dumps(PACKAGE.model_dump(mode="json"))
# For the process: a minute for an answer, since when it gets its turn is the machine's.
SHORT = CheckLimits(milliseconds=1_000, memory=1024 * 1024 * 1024, wall_factor=60)


@pytest.fixture
async def reader() -> AsyncIterator[DocumentReader]:
    """A reader with little time."""
    made = DocumentReader(limits=SHORT)
    yield made
    await made.close()


async def test_what_is_read_elsewhere_is_what_would_be_read_here(reader: DocumentReader) -> None:
    read = await reader.read(TEXT)

    canonical = PACKAGE.canonical()
    assert read.stored == canonical
    assert read.names is not None
    assert (read.names.package_id, read.names.agent_id) == ("desk", PACKAGE.agent.id)
    assert read.names.fingerprint == fingerprint(canonical, PACKAGE.format)


async def test_nothing_of_a_text_is_read_in_the_process_that_serves(
    reader: DocumentReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_here(*_: object) -> None:
        raise AssertionError("it was read here")

    for module, name in ((package_documents, "examine_document"), (package_worker, "examine_document")):
        monkeypatch.setattr(module, name, read_here)
    monkeypatch.setattr(yaml_documents._Loader, "__init__", read_here)

    faulty = await reader.read("id: bad id")
    read = await reader.read(TEXT)

    assert [finding.path for finding in faulty.findings][:1] == ["format"]
    assert read.names is not None


async def test_one_process_reads_all_texts_and_another_follows_one_that_was_lost(reader: DocumentReader) -> None:
    await asyncio.gather(*[reader.read(TEXT) for _ in range(5)])
    first = reader._process.pid
    await reader.read("id: 1")
    second = reader._process.pid
    assert first is not None

    os.kill(first, signal.SIGKILL)
    read = await reader.read(TEXT)

    assert second == first
    assert read.names is not None
    assert reader._process.pid not in (None, first)


async def test_a_text_that_takes_too_long_is_a_finding_and_the_next_one_is_read() -> None:
    reader = DocumentReader(limits=CheckLimits(milliseconds=400, memory=SHORT.memory, wall_factor=600))
    values = json.loads(TEXT)
    values["provider"]["parameters"]["many"] = list(range(40_000))

    costly = await reader.read(json.dumps(values))
    read = await reader.read(TEXT)
    await reader.close()

    [finding] = costly.findings
    assert (costly.names, finding.path, finding.rule) == (None, "document", FindingRule.SIZE)
    assert "0.4 s" in finding.expected
    assert read.names is not None


async def test_a_schema_that_takes_too_long_is_named_and_so_is_what_else_is_wrong() -> None:
    heavy = {f"p{number}": {"pattern": rf"[\p{{L}}\p{{N}}]{{400}}x{number}"} for number in range(400)}
    tool = {**b.tool(), "parameters": {"type": "object", "properties": heavy}}
    reader = DocumentReader(CheckLimits(milliseconds=20, wall_factor=3000), SHORT)

    read = await reader.read(json.dumps(json.loads(TEXT) | {"tools": [tool], "agent": {}}))
    await reader.close()

    said = {finding.path: finding.expected for finding in read.findings}
    assert list(said) == ["agent.id", "tools.0.parameters"]
    assert "takes too long" in said["tools.0.parameters"]


async def test_parameters_that_a_real_model_does_not_take_are_found_with_everything_else() -> None:
    real = {"adapter": "fast", "model": "m", "parameters": {"temprature": 1, "top_k": "3", "stop": ["", 4], "seed": 7}}
    other = {"adapter": "local", "model": "m", "parameters": {"seed": "x", "anything": 1}}
    unknown = {"adapter": "elsewhere", "model": "m", "parameters": {"anything": [1]}}
    reader = DocumentReader(limits=SHORT, models={"fast": "anthropic", "local": "ollama"})

    read = await reader.read(
        json.dumps(json.loads(TEXT) | {"provider": real, "fallbacks": [other, unknown], "nmae": 1})
    )
    sound = await reader.read(json.dumps(json.loads(TEXT) | {"provider": real | {"parameters": {"top_k": 3}}}))
    await reader.close()

    said = {finding.path: finding for finding in read.findings}
    assert said.keys() == {
        "provider.parameters.temprature",
        "provider.parameters.top_k",
        "provider.parameters.stop.0",
        "provider.parameters.stop.1",
        "provider.parameters.seed",
        "fallbacks.0.parameters.seed",
        "fallbacks.0.parameters.anything",
        "nmae",
    }
    assert said["provider.parameters.temprature"].meant == "temperature"
    assert said["provider.parameters.temprature"].rule is FindingRule.UNKNOWN_FIELD
    assert said["provider.parameters.top_k"].expected == "a whole number"
    assert "takes: temperature" in said["provider.parameters.seed"].expected
    assert all(finding.line and finding.column and "put should" not in finding.expected for finding in read.findings)
    assert sound.names is not None


async def test_who_waits_behind_too_many_is_told_that_nothing_can_be_read(
    reader: DocumentReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    await reader.read(TEXT)
    pid = reader._process.pid
    assert pid is not None
    monkeypatch.setattr(package_reader, "MAX_WAITING", 2)
    os.kill(pid, signal.SIGSTOP)
    waiting = [asyncio.create_task(reader.read(TEXT)) for _ in range(2)]
    await asyncio.sleep(0)

    with pytest.raises(AgentError) as refused:
        await reader.read(TEXT)
    os.kill(pid, signal.SIGCONT)

    assert refused.value.reason is ErrorReason.OVERLOADED
    assert [read.names is not None for read in await asyncio.gather(*waiting)] == [True, True]


async def test_a_reader_that_is_closed_says_so_and_leaves_no_process() -> None:
    reader = DocumentReader(limits=SHORT)
    await reader.read(TEXT)
    pid = reader._process.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    waiting = asyncio.create_task(reader.read(TEXT))
    await asyncio.sleep(0)

    await reader.close()

    with pytest.raises(AgentError) as refused:
        await waiting
    assert refused.value.reason is ErrorReason.OVERLOADED
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
