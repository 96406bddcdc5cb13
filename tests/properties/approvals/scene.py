"""A world, made up from a seed: packages whose calls are asked about, who is there, and whose executors' names are."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from runwright.core.package import RuntimePackage
from runwright.core.policy_chain import NO_OPERATOR, OperatorRules
from runwright.core.policy_rules import PolicySpec

from tests import builders as b
from tests.properties.approvals.dispatchers import CHAT
from tests.properties.approvals.people import People
from tests.properties.approvals.rules import (
    CONDITIONS,
    OF_ANSWERS,
    OF_STARTS,
    Approval,
    Approvers,
    Offer,
    Package,
    Policy,
    Rule,
    Tool,
)

TOOLS: Mapping[str, Tool] = {
    tool.name: tool
    for tool in (
        Tool("look", "disk", "read", idempotent=True),
        Tool("send", "mail", "write", idempotent=False),
        Tool("fetch", "disk", "network", idempotent=True, untrusted=True),
        Tool("wipe", "disk", "process", idempotent=False, grantable=False),
    )
}
_MORE: Mapping[str, dict[str, Any]] = {
    "send": {"unavailable_timeout_ms": 60_000, "timeout_ms": 10_000},
    "fetch": {"max_attempts": 3, "unavailable_timeout_ms": 30_000},
    "wipe": {"reconcilable": True, "reconcile_for": "60s"},
}
PATHS = ("/out/a", "/out/b", "/secret/a")
TEXTS = ("done", "no")  # what the model answers in the end
NAMES = ("writes", "other")
SCOPES = ("run", "session", "agent_and_principal", "namespace")
MATCHERS = ("exact_arguments", "constraints", "any")
PACKAGES = 96  # different ones; to make one takes longer than most histories


@dataclass(frozen=True)
class Made:
    """A package, and what the model knows of it."""

    package: RuntimePackage
    known: Package


@functools.cache
def made(number: int) -> Made:
    """One of PACKAGES. Every second one is about grants: its rules ask for one approval alone."""
    rng = Random(number)
    approvals = {name: _approval(rng, 1.0 if number % 2 else 0.5) for name in NAMES}
    policies = _policies(rng, NAMES[:1] if number % 2 else NAMES)
    rounds = [_calls(rng, PATHS[:1] if number % 2 else PATHS) for _ in range(rng.randint(1, 3))]
    parallel = rng.choice([1, 2, 8])
    package = b.package(
        *(b.asks(*calls) for calls in rounds),
        b.says(rng.choice(TEXTS)),
        id=f"package-{number}",
        tools=tuple(b.tool(**dataclasses.asdict(tool), **_MORE.get(tool.name, {})) for tool in TOOLS.values()),
        policy="builtin:read-only",
        policies=[policy.as_file() for policy in policies],
        approvals={name: each.as_file() for name, each in approvals.items()},
        budget={"rounds": 6, "tool_calls": rng.choice([3, 24, 24, 24]), "parallel_calls": parallel},
    )
    return Made(package, Package(package.fingerprint(), TOOLS, policies, approvals))


def _policies(rng: Random, names: tuple[str, ...]) -> tuple[Policy, ...]:
    """Mostly ones that ask."""
    allows = Policy(builtin=rng.choice(["allow-declared", "allow-declared", "read-only"]))
    asks = Policy(tuple(_rule(rng, names, ["ask", "ask", "ask", "allow"]) for _ in range(rng.randint(1, 2))))
    first = Rule(rng.choice(["always", "writes", "sends", "is mild"]), "ask", rng.choice(names))
    of_run = [_rule_of_run(rng, names)] if rng.random() < 0.3 else []
    return (allows, Policy((first, *of_run)), *([asks] if rng.random() < 0.5 else []))


def _rule_of_run(rng: Random, names: tuple[str, ...]) -> Rule:
    """One that is about the start of a run, or about its answer."""
    stage, conditions = rng.choice([("run_start", OF_STARTS), ("output", OF_ANSWERS)])
    return Rule(rng.choice([*conditions]), "ask", rng.choice(names) if names else "", stage)


def _rule(rng: Random, names: tuple[str, ...], thens: list[str]) -> Rule:
    then = rng.choice(thens)
    return Rule(rng.choice([*CONDITIONS]), then, rng.choice(names) if then == "ask" and names else "")


def _approval(rng: Random, offers: float) -> Approval:
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
    offer = _offer(rng) if rng.random() < offers else None
    told = (CHAT,) if rng.random() < 0.4 else ()
    delegates = ("bob", "cal", "hal", "ivy") if rng.random() < 0.6 else ()
    escalate = Approvers(roles=("admin",), principals=("ann",), turn="70s") if rng.random() < 0.3 else None
    return Approval(sets, rng.choice(["3m", "1h"]), on_expiry, rng.random() < 0.25, offer, delegates, told, escalate)


def _offer(rng: Random) -> Offer:
    scopes = tuple(scope for scope in SCOPES if rng.random() < 0.7) or ("namespace",)
    matchers = tuple(matcher for matcher in MATCHERS if rng.random() < 0.7) or ("any",)
    return Offer(scopes, matchers, rng.choice([1, 2, 5]), rng.choice(["2m", "1h"]), rng.random() < 0.4)


def _calls(rng: Random, paths: tuple[str, ...]) -> list[dict[str, Any]]:
    """The calls of one answer of the model; identical ones among them."""
    calls = [
        {"tool": rng.choice([*TOOLS, "send"]), "arguments": {"path": rng.choice(paths), "size": rng.choice([1, 9])}}
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
        numbers = range(1, PACKAGES, 2) if rng.random() < 0.5 else range(PACKAGES)
        if people.keys and rng.random() < 0.2:
            people.roles["bot"] = ("dispatcher",)
        packages = [made(number) for number in rng.sample(numbers, rng.choice([1, 1, 2]))]
        return cls(packages, people, random_operator(rng) if rng.random() < 0.3 else ())


def random_operator(rng: Random) -> tuple[Policy, ...]:
    """What an operator may write; nothing at times."""
    if rng.random() < 0.3:
        return ()
    words = ["allow", "ask", "ask", "deny"] if rng.random() < 0.9 else ["interrupt", "allow"]
    of_run = [_rule_of_run(rng, ())] if rng.random() < 0.15 else []
    return (Policy((*(_rule(rng, (), words) for _ in range(rng.randint(1, 2))), *of_run)),)


def as_rules(policies: tuple[Policy, ...]) -> OperatorRules:
    """The operator's rules as the server takes them, with a digest that is theirs alone."""
    if not policies:
        return NO_OPERATOR
    specs = tuple(PolicySpec.model_validate(policy.as_file()) for policy in policies)
    return OperatorRules(specs, f"sha256:{policies!r}")
