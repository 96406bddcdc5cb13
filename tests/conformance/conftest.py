"""Programs and servers for the whole session, and the table of what came out."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio

pytest.register_assert_rewrite("tests.e2e.client", "tests.e2e.server_process")

from tests.conformance import table  # noqa: E402
from tests.conformance.languages import LANGUAGES  # noqa: E402
from tests.conformance.programs import Program  # noqa: E402
from tests.conformance.specs import servers  # noqa: E402
from tests.conformance.stage import Stage  # noqa: E402

MakeStage = Callable[[str], Awaitable[Stage]]
MakeProgram = Callable[[str], Awaitable[Program]]


def pytest_configure(config: pytest.Config) -> None:
    """Names the mark of what is in the table."""
    config.addinivalue_line("markers", "conformance: plays a client's program, and is in the table at the end")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stage_of(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[MakeStage]:
    """The server of a group, started when it is first needed."""
    stages: dict[str, Stage] = {}

    async def get(name: str) -> Stage:
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

    async def get(name: str) -> Program:
        language = LANGUAGES[name]
        if name not in programs and name not in missing:
            why = language.missing() or await language.build()
            if why:
                missing[name] = why
            else:
                programs[name] = Program(language, folder / f"{name}.log")
        if name in missing:
            unavailable(name, missing[name])
        return programs[name]

    yield get
    codes = {name: await program.close() for name, program in programs.items()}
    assert {name: code for name, code in codes.items() if code not in (0, None)} == {}


def unavailable(language: str, why: str) -> None:
    """A language that cannot be played here."""
    if os.environ.get("RUNWRIGHT_CI"):
        pytest.fail(f"{language} cannot be played, and RUNWRIGHT_CI is set: {why}", pytrace=False)
    pytest.skip(f"{language}: {why}")


@pytest.fixture(scope="session")
def kept() -> dict[str, object]:
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
