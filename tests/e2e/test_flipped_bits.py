"""One bit of a stored file flips: nothing altered is sent or shown, no call is made twice, the others go on."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest
import pytest_asyncio

from tests.e2e.conftest import SOAK
from tests.e2e.flip_life import REFUSED, counted, live
from tests.e2e.flip_scene import FILES, Scene, make_scene

FLIPS = 400 if SOAK else 14
SEED = 20_231
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return await make_scene(tmp_path_factory.mktemp("flips"))


def flip(scene: Scene, seed: int, target: Path) -> str:
    """A copy of one of the directories with one other bit; which one it is."""
    chance = random.Random(SEED + seed)
    source = scene.crashed if seed % 2 else scene.whole
    shutil.copytree(source, target)
    names = [name for name in FILES if (target / name).exists() and (target / name).stat().st_size]
    weights = {"journal.db": 8, "journal.db-wal": 3, "journal.head": 1}
    name = chance.choices(names, [weights[name] for name in names])[0]
    data = bytearray((target / name).read_bytes())
    bit = chance.randrange(8 * len(data))
    data[bit // 8] ^= 1 << (bit % 8)
    (target / name).write_bytes(data)
    return f"seed {seed}: bit {bit % 8} of byte {bit // 8} of {source.name}/{name}"


async def test_an_untouched_directory_goes_on_whole(scene: Scene, tmp_path: Path) -> None:
    for name, source in (("crashed", scene.crashed), ("whole", scene.whole)):
        shutil.copytree(source, tmp_path / name)

        findings = await live(scene, tmp_path / name)

        assert findings.wrong == []
        assert (findings.kind, findings.held) == ("nothing seen", set())


async def test_whichever_bit_flips_nothing_altered_is_sent_or_shown(scene: Scene, tmp_path: Path) -> None:
    kinds, wrong = [], []
    for seed in range(FLIPS):
        directory = tmp_path / str(seed)
        what = flip(scene, seed, directory)

        findings = await live(scene, directory)

        kinds.append(f"{what.rpartition('/')[2]} {findings.kind}")
        wrong += [f"{what}: {each}" for each in findings.wrong]
        shutil.rmtree(directory)
    print(f"{FLIPS} flips: {counted(kinds)}")
    assert wrong == []
    assert any(not kind.endswith(REFUSED) for kind in kinds), "not every flip may end at the start"
