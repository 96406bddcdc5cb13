"""Every case in every language."""

from __future__ import annotations

import pytest

from tests.conformance.case_files import Case, cases, known_failures
from tests.conformance.conftest import MakeProgram, MakeStage
from tests.conformance.languages import LANGUAGES
from tests.conformance.playing import Play
from tests.conformance.playing_aside import Aside

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.conformance]
# Those that mostly wait come last: by then they have been played beside the others.
PLAYS = [
    (language, name)
    for is_aside in (False, True)
    for language in LANGUAGES
    for name, case in cases().items()
    if case.aside is is_aside
]


@pytest.mark.parametrize(("language", "case"), PLAYS, ids=lambda value: value)
async def test_a_client_does_as_the_case_says(
    language: str, case: str, stage_of: MakeStage, program_of: MakeProgram, aside: Aside
) -> None:
    known = known_failures().get(language, {}).get(case)
    try:
        if cases()[case].aside:
            await aside.outcome(language, case)
        else:
            await play(cases()[case], language, stage_of, program_of)
    except AssertionError as error:
        if known:
            pytest.xfail(known)
        raise AssertionError(str(error)) from None
    assert not known, f"{case} passes in {language} now: take it out of known_failures.yaml ({known})"


async def play(case: Case, language: str, stage_of: MakeStage, program_of: MakeProgram) -> None:
    """Plays a case now, with the programs of all languages that it needs."""
    needed = {step.by for step in case.steps if step.by} | {language}
    programs = {name: await program_of(name) for name in sorted(needed)}
    await Play(case, await stage_of(case.server), programs[language], programs).run()
