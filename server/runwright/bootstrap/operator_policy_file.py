"""The operator's policies while a server runs: read again when it is told so, and in force from the next walk."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from runwright.adapters.operator_policies import read_operator_policies
from runwright.bootstrap.reread import Reread
from runwright.core.ids import Namespace
from runwright.core.policy_chain import OperatorRules
from runwright.runtime import AgentRuntime


def operator_policy_file(path: Path, runtime: AgentRuntime) -> Reread[Mapping[Namespace, OperatorRules]]:
    """Has the runtime take over what the file says. Raises INVALID_REQUEST for one that cannot be used."""

    async def take(rules: Mapping[Namespace, OperatorRules]) -> Mapping[str, object]:
        runtime.ports.policies.replace_operator_rules(rules)
        digests = {name: each.digest for name, each in rules.items()}
        dispatchers = {name: each.dispatchers for name, each in rules.items() if each.dispatchers}
        return {"namespaces": sorted(rules), "digests": digests, "dispatchers": dispatchers}

    runtime.ports.policies.replace_operator_rules(read_operator_policies(path))
    return Reread(runtime, what="policies", option="--policies", read=partial(read_operator_policies, path), take=take)
