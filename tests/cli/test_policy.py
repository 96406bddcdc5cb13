"""`runwright policy simulate`: what rules would say of a call, and of a past run, without effect."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from runwright.testing import InProcessServer

from tests import builders as b
from tests.cli.conftest import Program
from tests.cli.files import TOOL, package_file
from tests.e2e.server_process import ROOT

CAREFUL = str(ROOT / "examples/careful/package.yaml")


def simulated(program: Program, *words: str, server: str = "127.0.0.1:1") -> str:
    """What it prints."""
    code, out, err = program("--server", server, "policy", "simulate", *words)
    assert (code, err) == (0, "")
    return out.strip()


def test_the_page_prints_what_the_program_prints(program: Program) -> None:
    page = (ROOT / "docs/policy.md").read_text()
    shown = re.findall(r"\$ \.venv/bin/runwright policy simulate (\S+) (--tainted )?--call '(.+)'\n(.+)\n", page)

    assert len(shown) == 3
    for file, tainted, call, printed in shown:
        words = [str(ROOT / file), *([tainted.strip()] if tainted else []), "--call", call]
        assert simulated(program, *words) == printed


def test_the_policies_on_the_page_are_those_of_the_example() -> None:
    page, example = (ROOT / "docs/policy.md").read_text(), Path(CAREFUL).read_text()
    [policies] = re.findall(r"```yaml\n(policies:.*?)```", page, re.DOTALL)

    assert policies in example


def test_the_operators_rules_are_heard_for_the_namespace_of_who_asks(program: Program, tmp_path: Path) -> None:
    rules = tmp_path / "policies.yaml"
    deny = "{then: deny, when: '!(\"admin\" in principal.roles)', code: closed}"
    rules.write_text(f"format: runwright-policies-v0\nnamespaces: {{team-b: [{{rules: [{deny}]}}]}}\n")
    call = ("--call", 'read_file={"path": "a"}', "--policies", str(rules))

    assert "allow by builtin:read-only" in simulated(program, CAREFUL, *call)
    assert "deny by operator.policies.0.rules.0 (closed)" in simulated(
        program, CAREFUL, *call, "--principal", "team-b/ann:caller"
    )
    assert "allow by" in simulated(program, CAREFUL, *call, "--principal", "team-b/ann:caller,admin")


def test_shadow_is_told_beside_the_decision_also_as_json(program: Program, tmp_path: Path) -> None:
    policies = [{"builtin": "read-only"}, {"mode": "shadow", "rules": [{"then": "ask", "code": "would_ask"}]}]
    file = str(package_file(tmp_path, policies=policies))

    line = simulated(program, file, "--call", f"{TOOL['name']}={{}}")
    said = json.loads(simulated(program, file, "--call", f"{TOOL['name']}={{}}", "-o", "json"))

    assert "in shadow mode ask by policies.1.rules.0 (would_ask)" in line
    assert (said["decision"]["verdict"], said["shadow"][0]["verdict"]) == ("ALLOW", "ASK")


@pytest.mark.parametrize("words", [(), ("--call", "look=[1]"), ("--call", "={}"), ("--call", "a={")])
def test_what_is_no_call_is_said(program: Program, words: tuple[str, ...]) -> None:
    code, out, err = program("policy", "simulate", CAREFUL, *words)

    assert (code, out) == (2, "")
    assert "--call" in err


def test_a_past_run_is_walked_again_with_what_was_decided_then(program: Program, tmp_path: Path) -> None:
    script = [b.asks("look"), b.asks({"tool": "look", "arguments": {"deep": True}}), b.says("done")]
    served = b.package(*script, tools=(b.tool(),))
    rule = {"when": "has(args.deep) && call.tainted", "then": "deny", "code": "deep"}
    policies = [{"builtin": "allow-declared"}, {"rules": [rule, {"stage": "output", "then": "deny", "code": "mute"}]}]
    stricter = served.model_dump(mode="json") | {"policy": "builtin:read-only", "policies": policies}
    stricter["tools"][0]["untrusted"] = True
    (tmp_path / "stricter.json").write_text(json.dumps(stricter))

    with InProcessServer(b.real_time_bench(packages=(served,)).runtime) as server:
        assert program("--server", server.address, "run", "--id", "one", "go")[0] == 0
        lines = simulated(program, str(tmp_path / "stricter.json"), "--run", "one", server=server.address)

    first, second, output = lines.splitlines()
    allowed = "allow by builtin:allow-declared (tool.declared)"
    assert first.endswith(f"{allowed}; then {allowed}")
    assert "deny by policies.1.rules.0 (deep); then allow by" in second
    assert output == "output: deny by policies.1.rules.1 (mute)"


def test_info_names_the_policies_of_a_package(program: Program) -> None:
    rules = [{"builtin": "read-only"}, {"rules": [{"then": "deny"}, {"then": "ask"}]}]
    package = b.package(b.says("done"), policy="builtin:read-only", policies=rules)

    with InProcessServer(b.real_time_bench(packages=(package,)).runtime) as server:
        code, out, _ = program("--server", server.address, "info")

    assert code == 0
    assert "builtin:read-only, 2 rules" in out


GATED = [
    {"builtin": "allow-declared"},
    {"rules": [{"stage": "post_tool", "when": 'result.text.contains("lamp")', "then": "deny", "code": "lamp"}]},
]


def test_what_a_call_would_come_to_is_walked_too(program: Program, tmp_path: Path) -> None:
    file = str(package_file(tmp_path, policies=GATED))
    call = ("--call", f"{TOOL['name']}={{}}")

    withheld = simulated(program, file, *call, "--result", "a lamp").splitlines()
    released = simulated(program, file, *call, "--result", '{"chairs": 2}').splitlines()

    assert withheld[1] == f"post_tool c1.1 {TOOL['name']}, 6 bytes: deny by policies.1.rules.0 (lamp)"
    assert released[1].endswith(", 13 bytes: allow by policies (policy.no_objection)")
    assert len(simulated(program, file, *call).splitlines()) == 1


def test_of_a_result_too_remote_policies_are_named_and_one_in_shadow_mode_changes_nothing(
    program: Program, tmp_path: Path
) -> None:
    words = ("--call", f"{TOOL['name']}={{}}", "--result", "a lamp")
    remote = {"remote": "compliance", "stages": ["post_tool"]}
    asked = str(package_file(tmp_path, "asked.yaml", policies=[GATED[0], remote]))
    shadow = str(package_file(tmp_path, "shadow.yaml", policies=[GATED[0], {**remote, "mode": "shadow"}]))

    would, not_held = simulated(program, asked, *words), simulated(program, shadow, *words)

    assert "remote policies would be asked: compliance (policies.1)" in would.splitlines()[1]
    assert not_held.splitlines()[1].endswith(", 6 bytes: allow by policies (policy.no_objection)")


def test_a_result_without_a_call_is_refused(program: Program) -> None:
    code, _, err = program("policy", "simulate", CAREFUL, "--run", "one", "--result", "x")

    assert code == 2 and "--result" in err


def test_results_of_a_past_run_are_walked_again_and_what_would_be_withheld_taints_nothing(
    program: Program, tmp_path: Path
) -> None:
    served = b.package(b.asks("look"), b.asks("look"), b.says("done"), tools=(b.tool(),))
    tainted = {"when": "call.tainted", "then": "deny", "code": "tainted"}
    as_file = served.model_dump(mode="json") | {"policy": "builtin:read-only"}
    as_file["tools"][0]["untrusted"] = True
    strict, lax = tmp_path / "strict.json", tmp_path / "lax.json"
    strict.write_text(json.dumps(as_file | {"policies": [*GATED, {"rules": [tainted]}]}))
    lax.write_text(json.dumps(as_file | {"policies": [GATED[0], {"rules": [tainted]}]}))

    with InProcessServer(b.real_time_bench(packages=(served,)).runtime) as server:
        assert program("--server", server.address, "run", "--id", "one", "go")[0] == 0
        withheld = simulated(program, str(strict), "--run", "one", server=server.address)
        shown = simulated(program, str(lax), "--run", "one", server=server.address)

    assert withheld.count("deny by policies.1.rules.0 (lamp)") == 2
    assert "(tainted)" not in withheld and "(tainted)" in shown


def test_arguments_that_no_tool_would_be_called_with_are_told_instead_of_decided_on(program: Program) -> None:
    said = simulated(program, CAREFUL, "--call", 'read_file={"path": 3}')

    assert "so no policy is heard" in said and "path" in said and "allow" not in said


def test_a_role_that_there_is_not_is_refused(program: Program) -> None:
    words = ("--call", 'read_file={"path": "a"}', "--principal", "ann:caller,observr")
    code, out, err = program("policy", "simulate", CAREFUL, *words)

    assert (code, out) == (2, "")
    assert "--principal" in err and "observr is no role. Did you mean observer?" in err
