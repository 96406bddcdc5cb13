"""Reads cases from their files, and says at once what is wrong with one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.conformance.hands import ABLE
from tests.conformance.languages import LANGUAGES
from tests.conformance.specs import servers

HERE = Path(__file__).parent
OPS = {
    *("connect", "close", "start", "snapshot", "cancel", "wait", "list", "list_events", "server_info"),
    *("resolve_effect", "unknown_effects", "serve_policy", "stop_policy", "resume"),
    *("serve_dispatcher", "stop_dispatcher", "told"),
    *("list_approvals", "get_approval", "decide_approval", "batch_decide", "watch_approvals"),
    *("list_grants", "revoke_grant"),
    *("subscribe", "read", "cursor", "unsubscribe", "serve_tools", "calls", "release", "stop_tools"),
    *("put_package", "get_package", "list_packages", "tag_package", "tag_history"),
    *("validate_package", "resolve_package", "package_fingerprint"),
}
_CASE_KEYS = {"name", "about", "server", "steps", "reasons", "connect", "aside"}
_STEP_KEYS = {"op", "do", "join", "args", "by", "background", "save", "expect", "expect_error", "until", "when"}


@dataclass(frozen=True)
class Step:
    """One thing that a program or the runner does, and what must come of it."""

    op: str = ""
    do: str = ""
    join: str = ""
    args: Mapping[str, Any] = field(default_factory=dict)
    by: str = ""  # another language's program than the one that plays
    background: str = ""
    save: Mapping[str, str] = field(default_factory=dict)
    expect: Any = None
    expect_error: Any = None
    until: Any = None  # asked again until this holds
    when: str = ""  # only in plays of this mode

    @property
    def title(self) -> str:
        """What a message calls it."""
        return self.op or self.do or f"join {self.join}"


@dataclass(frozen=True)
class Case:
    """One case: a server, and what is done and expected."""

    name: str
    about: str
    server: str
    steps: tuple[Step, ...]
    file: str
    reasons: tuple[str, ...] = ()  # reasons that its steps provoke in another form than `expect_error`
    connect: bool = True  # whether the runner connects the program before the first step
    aside: bool = False  # mostly waits: played beside the others, by a program of its own, on a server of its own


def _step(value: Mapping[str, Any], where: str) -> Step:
    strange = set(value) - _STEP_KEYS
    assert not strange, f"{where}: a step has no {sorted(strange)}; it has {sorted(_STEP_KEYS)}"
    step = Step(**value)
    assert sum(map(bool, (step.op, step.do, step.join))) == 1, f"{where}: exactly one of op, do and join"
    assert not step.op or step.op in OPS, f"{where}: there is no op {step.op}"
    assert not step.do or step.do in ABLE, f"{where}: the runner cannot do {step.do}; it can {sorted(ABLE)}"
    assert step.by in ("", *LANGUAGES), f"{where}: there is no language {step.by}"
    return step


def _case(value: Mapping[str, Any], file: str) -> Case:
    where = f"{file}: {value.get('name')}"
    strange = set(value) - _CASE_KEYS
    assert not strange, f"{where}: a case has no {sorted(strange)}; it has {sorted(_CASE_KEYS)}"
    assert value.get("name") and value.get("about") and value.get("steps"), f"{where}: name, about and steps are needed"
    server = value.get("server", "plain")
    assert server in servers(), f"{where}: servers.yaml has no {server}"
    steps = tuple(_step(step, f"{where}, step {number}") for number, step in enumerate(value["steps"], start=1))
    reasons = tuple(value.get("reasons", ()))
    flags = {name: value[name] for name in ("connect", "aside") if name in value}
    return Case(value["name"], value["about"], server, steps, file, reasons, **flags)


@cache
def cases(folder: str = "cases") -> dict[str, Case]:
    """Every case of the folder by its name; a file holds one or more, as documents."""
    found: dict[str, Case] = {}
    for path in sorted((HERE / folder).glob("*.yaml")):
        for value in yaml.safe_load_all(path.read_text()):
            case = _case(value, path.name)
            assert case.name not in found, f"{path.name}: {case.name} is in {found[case.name].file} too"
            found[case.name] = case
    return found


@cache
def known_failures() -> dict[str, dict[str, str]]:
    """Reasons by language and case."""
    return yaml.safe_load((HERE / "known_failures.yaml").read_text()) or {}
