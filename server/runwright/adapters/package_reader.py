"""PackageReader: texts are read in a process of its own, one at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from msgspec.msgpack import encode
from msgspec.structs import replace

from runwright.adapters import package_worker
from runwright.adapters.package_documents import NO_MODELS
from runwright.adapters.schema_process import Checked, CheckLimits, SchemaProcess, Verdict
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.package_findings import WHOLE, FindingRule, PackageFinding
from runwright.ports.packages import ReadPackage

# Of one text. The most that is read, 50,000 values, takes about three seconds and 250 MiB.
READ_LIMITS = CheckLimits(milliseconds=20_000, memory=1024 * 1024 * 1024, wall_factor=3)
START_SECONDS = 20.0  # for a busy machine; it takes one
MAX_WAITING = 64


class DocumentReader:
    """Reads one text after the other: a large one takes seconds of a processor.

    Its process is started with the first text, and again after one that it came to no end with.
    """

    def __init__(
        self,
        schemas: CheckLimits | None = None,
        limits: CheckLimits = READ_LIMITS,
        *,
        models: Mapping[str, str] = NO_MODELS,
    ) -> None:
        """The bounds of one check of a schema, those of one text, and the kinds of real models by adapter."""
        self._limits = limits
        self._examined_by = package_worker.ExaminedBy(schemas or CheckLimits(), models)
        self._process = SchemaProcess(limits, "package_worker", start_seconds=START_SECONDS)
        self._thread = ThreadPoolExecutor(1, "runwright-packages")
        self._waiting = 0

    async def read(self, document: str, sidecars: Sequence[bytes] = ()) -> ReadPackage:
        """See the port. Who waits behind too many others is told at once that nothing can be read."""
        if self._waiting >= MAX_WAITING:
            raise _not_now()
        self._waiting += 1
        try:
            checked = await asyncio.get_running_loop().run_in_executor(self._thread, self._checked, document, sidecars)
        finally:
            self._waiting -= 1
        match checked.verdict:
            case Verdict.VALID:
                return package_worker.said(checked.answer)
            case Verdict.TOO_COSTLY:
                return ReadPackage(None, (self._too_costly(),))
            case _:
                raise _not_now()

    async def close(self) -> None:
        """Ends the process. Who still waits is told that nothing can be read."""
        await asyncio.to_thread(self._process.close)
        self._thread.shutdown(wait=False)

    def _checked(self, document: str, sidecars: Sequence[bytes]) -> Checked:
        by = replace(self._examined_by, sidecars=tuple(sidecars))
        return self._process.check(package_worker.READ, document, encode(by))

    def _too_costly(self) -> PackageFinding:
        seconds, room = self._limits.milliseconds / 1000, self._limits.memory // 2**20
        return PackageFinding(
            path=WHOLE,
            rule=FindingRule.SIZE,
            expected=f"a package that is examined within {seconds:g} s of processor time and {room} MiB",
            remedy="Divide it between packages, or write simpler schemas and conditions.",
        )


def _not_now() -> AgentError:
    message = "No package can be examined at the moment."
    metadata = {"limit": str(MAX_WAITING), "retry_after": "2s"}
    return AgentError(ErrorReason.OVERLOADED, message, metadata=metadata, remedy="Try again later.")
