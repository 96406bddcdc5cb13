"""A world, made up from a seed: packages whose calls are asked about, who is there, and whose executors' names are."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from runwright.core.package import RuntimePackage
from runwright.core.policy_chain import NO_OPERATOR, OperatorRules
from runwright.core.policy_rules import PolicySpec

from tests import builders as b
from tests.properties.approvals.people import People
from tests.properties.approvals.rules import CONDITIONS, Approval, Approvers, Package, Policy, Rule, Tool

TOOLS: Mapping[str, Tool] = {
    tool.name: tool
    for tool in (
        Tool("look", "disk", "read", idempotent=True),
        Tool("send", "mail", "write", idempotent=False),
        Tool("fetch", "disk", "network", idempotent=True),
        Tool("wipe", "disk", "process", idempotent=False),
    )
}
_MORE: Mapping[str, dict[str, Any]] = {
    "send": {"unavailable_timeout_ms": 60_000, "timeout_ms": 10_000},
    "fetch": {"max_attempts": 3, "unavailable_timeout_ms": 30_000},
    "wipe": {"reconcilable": True, "reconcile_for": "60s"},
}
PATHS = ("/out/a", "/out/b", "/secret/a")
NAMES = ("writes", "other")
PACKAGES = 96  # different ones; to make one takes longer than most histories


@dataclass(frozen=True)
class Made:
    """A package, and what the model knows of it."""

    package: RuntimePackage
    known: Package


@functools.cache
def made(number: int) -> Made:
    """One of PACKAGES."""
    rng = Random(number)
    approvals = {name: _approval(rng) for name in NAMES}
    policies = _policies(rng)
    rounds = [_calls(rng) for _ in range(rng.randint(1, 3))]
    parallel = rng.choice([1, 2, 8])
    package = b.package(
        *(b.asks(*calls) for calls in rounds),
        b.says("done"),
        id=f"package-{number}",
        tools=tuple(
            b.tool(
                tool.name,
                executor=tool.executor,
                effect=tool.effect,
                idempotent=tool.idempotent,
                **_MORE.get(tool.name, {}),
            )
            for tool in TOOLS.values()
        ),
        policy="builtin:read-only",
        policies=[policy.as_file() for policy in policies],
        approvals={name: each.as_file() for name, each in approvals.items()},
        budget={"rounds": 6, "tool_calls": rng.choice([3, 24, 24, 24]), "parallel_calls": parallel},
    )
    return Made(package, Package(package.fingerprint(), TOOLS, policies, approvals))


def _policies(rng: Random) -> tuple[Policy, ...]:
    """Mostly ones that ask."""
    allows = Policy(builtin=rng.choice(["allow-declared", "allow-declared", "read-only"]))
    asks = Policy(tuple(_rule(rng, NAMES, ["ask", "ask", "ask", "allow"]) for _ in range(rng.randint(1, 2))))
    first = Rule(rng.choice(["always", "writes", "sends", "is mild"]), "ask", rng.choice(NAMES))
    return (allows, Policy((first,)), asks) if rng.random() < 0.5 else (allows, Policy((first,)))


def _rule(rng: Random, names: tuple[str, ...], thens: list[str]) -> Rule:
    then = rng.choice(thens)
    return Rule(rng.choice([*CONDITIONS]), then, rng.choice(names) if then == "ask" and names else "")


def _approval(rng: Random) -> Approval:
    last = rng.choice(
        [Approvers(roles=("approver",)), Approvers(roles=("approver",)), Approvers(principals=("ann", "hal"))]
    )
    first = rng.choice(
        [
            Approvers(principals=("bob", "cal"), turn="20s"),
            Approvers(roles=("admin",), principals=("cid", "bob"), turn="90s"),
        ]
    )
    middle = Approvers(roles=("caller", "executor"), turn="10s")
    sets = rng.choice([(last,), (first, last), (first, middle, last)])
    on_expiry = rng.choice(["deny", "deny", "abort_run"])
    return Approval(sets, rng.choice(["3m", "1h"]), on_expiry, rng.random() < 0.25)


def _calls(rng: Random) -> list[dict[str, Any]]:
    """The calls of one answer of the model; identical ones among them."""
    calls = [
        {"tool": rng.choice([*TOOLS, "send"]), "arguments": {"path": rng.choice(PATHS), "size": rng.choice([1, 9])}}
        for _ in range(rng.randint(1, 3))
    ]
    return [*calls, calls[0]] if rng.random() < 0.2 else calls


@dataclass
class Scene:
    """What a history begins with."""

    packages: list[Made]
    people: People
    operator: tuple[Policy, ...]

    @classmethod
    def of(cls, rng: Random) -> Scene:
        """One that follows from the generator."""
        people = People(keys=rng.random() < 0.93)
        if people.keys:
            owners = [{}, {}, {"mail": ["hal"]}, {"disk": ["ivy"], "mail": ["hal", "ivy"]}, {"disk": ["ivy", "bob"]}]
            people.owners = {name: list(owned) for name, owned in rng.choice(owners).items()}
            if rng.random() < 0.2 and "mail" not in people.owners:
                people.configured = {"mail": rng.choice(["bob", "ann"])}
        else:
            people.roles = {"local": ("admin",)}
        packages = [made(number) for number in rng.sample(range(PACKAGES), rng.randint(1, 2))]
        return cls(packages, people, random_operator(rng) if rng.random() < 0.3 else ())


def random_operator(rng: Random) -> tuple[Policy, ...]:
    """What an operator may write; nothing at times."""
    if rng.random() < 0.3:
        return ()
    words = ["allow", "ask", "ask", "deny"] if rng.random() < 0.9 else ["interrupt", "allow"]
    return (Policy(tuple(_rule(rng, (), words) for _ in range(rng.randint(1, 2)))),)


def as_rules(policies: tuple[Policy, ...]) -> OperatorRules:
    """The operator's rules as the server takes them, with a digest that is theirs alone."""
    if not policies:
        return NO_OPERATOR
    specs = tuple(PolicySpec.model_validate(policy.as_file()) for policy in policies)
    return OperatorRules(specs, f"sha256:{policies!r}")
