"""The operator's policies while a server runs: read again when it is told so, and in force from the next walk."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

from runwright.adapters.operator_policies import read_operator_policies
from runwright.core.audit import AuditEntry, AuditKind
from runwright.core.errors import AgentError
from runwright.core.ids import Namespace
from runwright.core.policy_chain import OperatorRules
from runwright.runtime import AgentRuntime


class OperatorPolicyFile:
    """Reads the file on a thread. One that cannot be used is on the log and in the audit; the last good one stays."""

    def __init__(self, path: Path, runtime: AgentRuntime) -> None:
        """Has the runtime take over what the file says. Raises INVALID_REQUEST for one that cannot be used."""
        runtime.ports.policies.replace_operator_rules(read_operator_policies(path))
        self._path, self._runtime = path, runtime
        self._number = 0  # of the last reading: an older one that ends later counts for nothing

    def reload(self) -> None:
        """Begins to read the file; call it on the loop that serves."""
        self._number += 1
        number = self._number
        reading = asyncio.get_running_loop().run_in_executor(None, read_operator_policies, self._path)
        reading.add_done_callback(lambda done: self._read(number, done))

    def _read(self, number: int, reading: asyncio.Future[Mapping[Namespace, OperatorRules]]) -> None:
        if reading.cancelled() or number != self._number:
            return
        ports, error = self._runtime.ports, reading.exception()
        if error is None:
            ports.policies.replace_operator_rules(reading.result())
            digests = {name: rules.digest for name, rules in reading.result().items()}
            ports.log.info("policies read again", namespaces=sorted(digests), digests=digests)
            return
        said = error.message if isinstance(error, AgentError) else type(error).__name__
        ports.log.error("policies cannot be used; the last good ones stay in force", reason=said)
        ports.audit.note(AuditEntry(kind=AuditKind.RELOAD_FAILED, reason="--policies"))
