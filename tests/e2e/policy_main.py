"""A host of a remote policy as a process: `python -m tests.e2e.policy_main allow|deny|silent|defer=SECONDS PORT`.

It prints its port, and a line for each question before it answers it, which a silent one never does. One that defers
does so once for each subject, and allows it then.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import grpc
from runwright._gen.runwright.callback.v1 import policy_service_pb2 as pb
from runwright._gen.runwright.callback.v1 import policy_service_pb2_grpc as pb_grpc
from runwright._gen.runwright.v1 import policy_pb2


class Policy(pb_grpc.PolicyServiceServicer):
    """Says the same of whatever it is asked about, if it answers at all."""

    def __init__(self, mode: str) -> None:
        self._mode, _, seconds = mode.partition("=")
        self._seconds = int(seconds or 0)

    async def Decide(self, request: pb.DecideRequest, _: Any) -> pb.DecideResponse:
        """Says that it was asked."""
        print("asked", request.effect_id, request.attempt, flush=True)
        if self._mode == "silent":
            await asyncio.Event().wait()
        verdict = policy_pb2.POLICY_VERDICT_DENY if self._mode == "deny" else policy_pb2.POLICY_VERDICT_ALLOW
        answer = pb.DecideResponse(subject_digest=request.subject_digest, verdict=verdict, code="asked")
        if self._mode == "defer" and request.effect_id.endswith(".1"):
            answer.verdict = policy_pb2.POLICY_VERDICT_DEFER
            answer.defer_for.FromSeconds(self._seconds)
        return answer


async def main(mode: str, port: str) -> None:
    """Serves until it is ended."""
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    pb_grpc.add_PolicyServiceServicer_to_server(Policy(mode), server)
    bound = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    print(bound, flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
