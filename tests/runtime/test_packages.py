"""Which package answers in which namespace."""

from __future__ import annotations

import pytest
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.ids import Namespace
from runwright.runtime.package_lookup import PackageLookup
from runwright.runtime.packages import PackageCatalogue, Selector

from tests import builders as b

ONE, TWO, THREE = (b.package(b.says("hi"), id=name) for name in ("one", "two", "three"))
A, B = Namespace("team-a"), Namespace("team-b")


def ids(catalogue: PackageCatalogue, namespace: Namespace) -> list[str]:
    """What the namespace sees."""
    return [known.package.id for known in catalogue.of(namespace)]


def test_a_package_belongs_to_all_namespaces_unless_some_are_named() -> None:
    catalogue = PackageCatalogue((ONE, TWO, THREE), namespaces={"one": ["team-a"], "three": ["team-a", "team-b"]})

    assert ids(catalogue, A) == ["one", "two", "three"]
    assert ids(catalogue, B) == ["two", "three"]
    assert ids(catalogue, Namespace("another")) == ["two"]


def test_the_default_is_the_first_package_that_a_namespace_sees() -> None:
    catalogue = PackageCatalogue((ONE, TWO), namespaces={"one": ["team-a"]})

    assert [catalogue.of(namespace).default_id for namespace in (A, B)] == ["one", "two"]


async def test_a_chosen_default_that_a_namespace_does_not_see_is_no_default_there() -> None:
    catalogue = PackageCatalogue((ONE, TWO), "one", namespaces={"one": ["team-a"]})

    assert [catalogue.of(namespace).default_id for namespace in (A, B)] == ["one", None]
    with pytest.raises(AgentError, match="the default package") as caught:
        await PackageLookup(catalogue, None).resolve(B, Selector())
    assert caught.value.reason is ErrorReason.PACKAGE_NOT_FOUND


@pytest.mark.parametrize(("default", "namespaces"), [("onee", {}), (None, {"onee": ["team-a"]})])
def test_a_package_that_is_not_there_cannot_be_named(default: str | None, namespaces: dict[str, list[str]]) -> None:
    with pytest.raises(AgentError, match="no package onee") as caught:
        PackageCatalogue((ONE,), default, namespaces)

    assert caught.value.reason is ErrorReason.PACKAGE_NOT_FOUND
    assert caught.value.remedy.startswith("Did you mean one?")
