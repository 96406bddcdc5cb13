"""A dispatcher of approvals as a process of its own: what it is notified of is in a file before it is acknowledged."""

from __future__ import annotations

import asyncio
import base64
import os
import sys
from pathlib import Path

from runwright._gen.runwright.callback.v1 import approval_dispatcher_service_pb2 as pb

from tests.e2e.server_process import ROOT, START_SECONDS
from tests.transport.dispatcher_hosts import DispatcherHost


class DispatcherProcess:
    """The process, and what is in its file."""

    def __init__(self, directory: Path) -> None:
        self.address = ""
        self._ledger = directory / "notifications"
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Returns once it serves."""
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.e2e.ledger_dispatcher", str(self._ledger)),
            stdout=asyncio.subprocess.PIPE,
            cwd=ROOT,
        )
        assert self._process.stdout is not None
        async with asyncio.timeout(START_SECONDS):
            what, port = (await self._process.stdout.readline()).decode().split()
        assert what == "serving"
        self.address = f"127.0.0.1:{port}"

    async def end(self) -> None:
        """Ends it."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    def notifications(self, run_id: str) -> list[pb.ApprovalNotification]:
        """What it was notified of in a run, in order."""
        lines = self._ledger.read_bytes().split() if self._ledger.exists() else []
        every = (pb.ApprovalNotification.FromString(base64.b64decode(line)) for line in lines)
        return [each for each in every if each.approval.run_id == run_id]


async def _serve(ledger: Path) -> None:
    with ledger.open("ab") as file:

        def acknowledge(notification: pb.ApprovalNotification) -> dict[str, str]:
            file.write(base64.b64encode(notification.SerializeToString()) + b"\n")
            file.flush()
            os.fsync(file.fileno())
            return {"reference": f"message of {notification.approval.approval_id}"}

        host = DispatcherHost(acknowledge)
        await host.start()
        print("serving", host.port, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1])))
