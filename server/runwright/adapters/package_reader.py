"""PackageReader: texts are read on another thread, one at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from runwright.adapters.package_documents import examine_document
from runwright.adapters.sidecars import SentSidecars
from runwright.core.fingerprint import fingerprint
from runwright.ports.packages import ReadPackage
from runwright.ports.schemas import SchemaChecker


class DocumentReader:
    """Reads one text after the other: a large one takes seconds of a processor, and so do many of them."""

    def __init__(self, schemas: SchemaChecker) -> None:
        """`schemas` must be used by nobody else: it is called from other threads."""
        self._schemas = schemas
        self._one = asyncio.Lock()

    async def read(self, document: str, sidecars: Sequence[bytes] = ()) -> ReadPackage:
        """See the port."""
        async with self._one:
            return await asyncio.to_thread(self._read, document, sidecars)

    def _read(self, document: str, sidecars: Sequence[bytes]) -> ReadPackage:
        examined = examine_document(document, self._schemas, SentSidecars(sidecars))
        if examined.package is None or examined.findings:
            return ReadPackage(None, examined.findings)
        package = examined.package
        stored = package.stored()
        canonical = package.canonical() if package.sidecars else stored
        return ReadPackage(package, (), stored, fingerprint(canonical, package.format))

    async def close(self) -> None:
        """Releases what schemas were checked with."""
        await self._schemas.close()
