"""`python -m bench.empty_server`: the least a grpc.aio server can be, the ceiling of a cold start."""

import asyncio

import grpc


async def _serve() -> None:
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"empty serving on 127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(_serve())
