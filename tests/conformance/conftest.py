"""Programs and servers for the whole session, and the table of what came out."""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio

from tests.conformance import table
from tests.conformance.case_files import cases
from tests.conformance.languages import LANGUAGES
from tests.conformance.playing import Play
from tests.conformance.playing_aside import Aside
from tests.conformance.programs import Program
from tests.conformance.specs import servers
from tests.conformance.stage import Stage

MakeStage = Callable[[str], Awaitable[Stage]]
MakeProgram = Callable[..., Awaitable[Program]]


def pytest_configure(config: pytest.Config) -> None:
    """Names the mark of what is in the table."""
    config.addinivalue_line("markers", "conformance: plays a client's program, and is in the table at the end")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stage_of(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[MakeStage]:
    """The server of a group, started when it is first needed."""
    stages: dict[str, Stage] = {}
    opening: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def get(name: str) -> Stage:
        async with opening[name]:
            if name not in stages:
                stage = Stage(name, servers()[name], tmp_path_factory.mktemp("conformance") / name)
                await stage.open()
                stages[name] = stage
            return stages[name]

    yield get
    for stage in stages.values():
        await stage.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def program_of(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[MakeProgram]:
    """The program of a language, built and started once. Skips where its tools are missing; in CI that fails."""
    folder = tmp_path_factory.mktemp("programs")
    programs: dict[str, Program] = {}
    missing: dict[str, str] = {}
    building: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def get(name: str, role: str = "") -> Program:
        language = LANGUAGES[name]
        async with building[name]:
            if name not in missing:
                missing[name] = language.missing() or await language.build()
        if missing[name]:
            unavailable(name, missing[name])
        return programs.setdefault(name + role, Program(language, folder / f"{name}{role}.log"))

    yield get
    codes = {name: await program.close() for name, program in programs.items()}
    assert {name: code for name, code in codes.items() if code not in (0, None)} == {}


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def aside(request: pytest.FixtureRequest, stage_of: MakeStage, program_of: MakeProgram) -> AsyncIterator[Aside]:
    """Plays those of the selected cases that mostly wait, from the first test on."""
    chosen = [item.callspec.params for item in request.session.items if hasattr(item, "callspec")]
    keys = [(each["language"], each["case"]) for each in chosen if {"language", "case"} <= each.keys()]

    async def play(language: str, name: str) -> None:
        case = cases()[name]
        await Play(case, await stage_of(case.server), await program_of(language, "-aside")).run()

    playing = Aside([key for key in keys if key[1] in cases() and cases()[key[1]].aside], play)
    yield playing
    await playing.close()


def unavailable(language: str, why: str) -> None:
    """A language that cannot be played here."""
    if os.environ.get("RUNWRIGHT_CI"):
        pytest.fail(f"{language} cannot be played, and RUNWRIGHT_CI is set: {why}", pytrace=False)
    pytest.skip(f"{language}: {why}")


@pytest.fixture(scope="session")
def retained() -> dict[str, object]:
    """What one test leaves for the next: transcripts by language."""
    return {}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):  # type: ignore[no-untyped-def]
    """Notes what came of each case in each language."""
    report = yield
    table.note(item, report)
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints the table."""
    for line in table.lines():
        terminalreporter.write_line(line)
