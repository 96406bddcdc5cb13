"""A run that is killed in the middle reads like one in peace, and the same in every language."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conformance.case_files import cases
from tests.conformance.conftest import MakeProgram, MakeStage
from tests.conformance.languages import LANGUAGES
from tests.conformance.matchers import differences
from tests.conformance.playing import Play

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.conformance]


@pytest.mark.parametrize("case", cases("transcripts"))
@pytest.mark.parametrize("language", LANGUAGES)
async def test_a_killed_run_reads_like_one_in_peace(
    language: str, case: str, stage_of: MakeStage, program_of: MakeProgram, retained: dict[str, Any]
) -> None:
    program = await program_of(language)
    played = cases("transcripts")[case]
    stage = await stage_of(played.server)

    in_peace = (await Play(played, stage, program).run())["transcript"]
    killed = (await Play(played, stage, program, mode="killed").run())["transcript"]

    assert len(in_peace) > 10
    assert differences(in_peace, killed) == differences(killed, in_peace) == []
    for other, read in retained.items():
        assert differences(read, killed) == differences(killed, read) == [], f"other than in {other}"
    retained[language] = killed
