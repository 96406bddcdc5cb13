"""A host of a remote policy as a process of its own: `python -m tests.e2e.policy_main allow|silent PORT`.

It prints its port, and a line for each question before it answers it, which a silent one never does.
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
    """Allows whatever it is asked about, if it answers at all."""

    def __init__(self, *, answers: bool) -> None:
        self._answers = answers

    async def Decide(self, request: pb.DecideRequest, _: Any) -> pb.DecideResponse:
        """Says that it was asked."""
        print("asked", request.effect_id, request.attempt, flush=True)
        if not self._answers:
            await asyncio.Event().wait()
        return pb.DecideResponse(
            subject_digest=request.subject_digest, verdict=policy_pb2.POLICY_VERDICT_ALLOW, code="asked"
        )


async def main(mode: str, port: str) -> None:
    """Serves until it is ended."""
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    pb_grpc.add_PolicyServiceServicer_to_server(Policy(answers=mode == "allow"), server)
    bound = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    print(bound, flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
