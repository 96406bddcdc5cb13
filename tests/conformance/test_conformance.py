"""Every case in every language."""

from __future__ import annotations

import pytest

from tests.conformance.case_files import cases, known_failures
from tests.conformance.conftest import MakeProgram, MakeStage
from tests.conformance.languages import LANGUAGES
from tests.conformance.playing import Play

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.conformance]


@pytest.mark.parametrize("case", cases())
@pytest.mark.parametrize("language", LANGUAGES)
async def test_a_client_does_as_the_case_says(
    language: str, case: str, stage_of: MakeStage, program_of: MakeProgram
) -> None:
    known = known_failures().get(language, {}).get(case)
    program = await program_of(language)
    played = cases()[case]
    needed = {step.by for step in played.steps if step.by} - {language}
    others = {name: await program_of(name) for name in sorted(needed)}
    play = Play(played, await stage_of(played.server), program, {**others, language: program})
    try:
        await play.run()
    except AssertionError as error:
        if known:
            pytest.xfail(known)
        raise AssertionError(str(error)) from None
    assert not known, f"{case} passes in {language} now: take it out of known_failures.yaml ({known})"
