"""Owners of names that are read again count wherever names count: for registrations and for who may approve."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from runwright.bootstrap.name_owners import reread_owners
from runwright.bootstrap.parts import build_runtime, credentials
from runwright.core.ids import DEFAULT_NAMESPACE
from runwright.core.principal import Principal
from runwright.settings import Settings

from tests.cli.files import package_file
from tests.runtime.watching import eventually
from tests.transport.known import add_key


async def test_owners_that_are_read_again_say_who_may_perform_and_configured_addresses_stay(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    for name in ("hal", "ann"):
        add_key(file, "executor", name=name)
    hal, ann = (Principal(name, DEFAULT_NAMESPACE, frozenset()) for name in ("hal", "ann"))
    settings = Settings(
        data=tmp_path / "data",
        packages=(package_file(tmp_path),),
        keys=file,
        executors={"shop": "ann@127.0.0.1:1"},
        executor_owners={"desk": ("hal",)},
    )
    keys, _ = credentials(settings, lambda error: None)

    async with build_runtime(settings, authenticator=keys) as (runtime, registry):
        approvers = runtime.ports.approvers
        before = [approvers.may_perform(who, "desk") for who in (hal, ann)]
        found = replace(settings, executors={}, executor_owners={"desk": ("ann",)})
        again = reread_owners(lambda: found, runtime, registry, settings)
        again.begin()
        await eventually(lambda: approvers.may_perform(ann, "desk"))
        after = [approvers.may_perform(who, name) for who in (hal, ann) for name in ("desk", "shop")]
        await again.close()

    assert before == [True, False]
    assert after == [False, False, True, True]
