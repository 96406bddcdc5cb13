"""What a runtime needs before it can run anything, and how it says what is missing."""

from __future__ import annotations

import pytest
from runwright.adapters.ids import RandomIds
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.package import RuntimePackage
from runwright.core.request import RunRequest
from runwright.runtime import AgentRuntimeBuilder
from runwright.testing import FunctionTools

from tests import builders as b
from tests.runtime.watching import key

PORTS = ("journal", "clock", "ids", "tools", "schemas", "log")
OTHER = b.package(b.says("hi"), id="other")
NOBODYS = "sha256:runwright-package-v0:" + "0" * 64


def builder(**changes: object) -> AgentRuntimeBuilder:
    """A complete builder, but for the changes."""
    parts = b.Bench()
    complete = {
        "journal": parts.journal,
        "clock": parts.clock,
        "ids": RandomIds(),
        "tools": parts.tools,
        "schemas": parts.schemas,
        "log": parts.log,
        "providers": parts.providers,
        "packages": parts.packages,
    }
    return AgentRuntimeBuilder(**{**complete, **changes})  # type: ignore[arg-type]


def refusal(made: AgentRuntimeBuilder) -> AgentError:
    """Why nothing can be built."""
    with pytest.raises(AgentError) as caught:
        made.build()
    return caught.value


@pytest.mark.parametrize("port", PORTS)
def test_a_missing_port_is_named(port: str) -> None:
    error = refusal(builder(**{port: None}))

    assert (error.reason, error.metadata) == (ErrorReason.PORT_MISSING, {"port": port})


def test_all_missing_ports_are_named_at_once() -> None:
    error = refusal(AgentRuntimeBuilder())

    assert error.metadata == {"port": ", ".join(PORTS)}


def test_two_packages_with_one_id_are_refused() -> None:
    twin = b.package(b.says("hi"), id="other", agent={"id": "twin"})

    error = refusal(builder(packages=(OTHER, twin)))

    assert error.reason is ErrorReason.PACKAGE_INVALID
    assert (error.metadata["package"], error.metadata["path"]) == ("other", "id")


def test_an_unknown_default_package_is_refused() -> None:
    error = refusal(builder(default_package_id="nobody"))

    assert (error.reason, error.metadata) == (ErrorReason.PACKAGE_NOT_FOUND, {"package": "nobody"})


def test_a_schema_nobody_can_check_is_refused_with_its_place() -> None:
    bad = b.package(tools=(b.tool("a"), b.tool("z", parameters={"type": "object", "$ref": "http://elsewhere/x"})))

    error = refusal(builder(packages=(bad,)))

    assert error.reason is ErrorReason.PACKAGE_INVALID
    assert (error.metadata["package"], error.metadata["path"]) == ("helper-package", "tools.1.parameters")


START_REFUSALS: dict[str, tuple[dict[str, object], RunRequest, ErrorReason, dict[str, str]]] = {
    "an unknown package id": (
        {},
        b.request(package_id="nobody"),
        ErrorReason.PACKAGE_NOT_FOUND,
        {"package": "nobody"},
    ),
    "an unknown fingerprint": (
        {},
        b.request(package_fingerprint=NOBODYS),
        ErrorReason.PACKAGE_NOT_FOUND,
        {"package": NOBODYS},
    ),
    "no package at all": (
        {"packages": ()},
        b.request(),
        ErrorReason.PACKAGE_NOT_FOUND,
        {"package": "the default package"},
    ),
    "another agent": (
        {},
        b.request(agent_id="somebody"),
        ErrorReason.AGENT_MISMATCH,
        {"agent_id": "somebody", "expected": "helper"},
    ),
    "a provider nobody registered": (
        {"providers": {}},
        b.request(),
        ErrorReason.PROVIDER_MISSING,
        {"adapter": "scripted", "known": "none"},
    ),
    "an executor without an address": (
        {"tools": FunctionTools({}, unknown={"tools"})},
        b.request(),
        ErrorReason.EXECUTOR_MISSING,
        {"executor": "tools"},
    ),
}


@pytest.mark.parametrize("name", START_REFUSALS)
async def test_a_start_that_cannot_run_is_refused_before_anything_is_written(name: str) -> None:
    changes, requested, reason, metadata = START_REFUSALS[name]
    made = builder(**changes)
    runtime = made.build()

    with pytest.raises(AgentError) as caught:
        await runtime.start_run(requested)

    assert (caught.value.reason, caught.value.metadata) == (reason, metadata)
    assert made.journal is not None
    assert await made.journal.load(key()) is None


@pytest.mark.parametrize(
    ("requested", "expected"),
    [
        (b.request(), b.one_call_package()),
        (b.request(package_id="other"), OTHER),
        (b.request(package_fingerprint=OTHER.fingerprint()), OTHER),
        (b.request(agent_id="helper"), b.one_call_package()),
    ],
)
async def test_the_package_that_is_asked_for_answers(requested: RunRequest, expected: RuntimePackage) -> None:
    runtime = builder(packages=(b.one_call_package(), OTHER)).build()

    ended = await runtime.run_text(requested)

    assert ended.state.package_fingerprint == expected.fingerprint()


async def test_the_default_package_can_be_chosen() -> None:
    runtime = builder(packages=(b.one_call_package(), OTHER), default_package_id="other").build()

    ended = await runtime.run_text(b.request())

    assert ended.state.package_id == "other"
