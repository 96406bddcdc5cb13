"""A tool executor: four tools that read one directory, and one that writes a file of one name into it.

`workspace_tools.py DIR [HOST:PORT]` serves them.
"""

import json
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
from runwright._gen.runwright.callback.v1 import tool_executor_service_pb2 as pb
from runwright._gen.runwright.callback.v1 import tool_executor_service_pb2_grpc as pb_grpc


class Workspace(pb_grpc.ToolExecutorServiceServicer):
    def ExecuteTool(self, request, context):
        try:
            result = getattr(self, f"tool_{request.tool}")(**json.loads(request.arguments_json))
        except (AttributeError, LookupError, TypeError, ValueError, OSError) as error:  # told to the model
            return pb.ExecuteToolResponse(error=pb.ToolError(message=f"{request.tool} is not possible: {error!r}"))
        return pb.ExecuteToolResponse(result=pb.ToolResult(data=json.dumps(result).encode()))

    def tool_list_files(self):
        return {"files": [{"path": name, "bytes": path.stat().st_size} for name, path in self.files().items()]}

    def tool_read_file(self, path):
        return {"path": path, "text": "\n".join(self.lines(self.files()[path]))}

    def tool_search(self, text):
        lines = ((name, n, line) for name, path in self.files().items() for n, line in enumerate(self.lines(path), 1))
        found = [{"path": p, "line": n, "text": t.strip()[:200]} for p, n, t in lines if text.lower() in t.lower()]
        return {"total": len(found), "matches": found[:100]}

    def tool_count_lines(self, extension):
        counts = {name: len(self.lines(path)) for name, path in self.files().items() if name.endswith(extension)}
        return {"files": len(counts), "lines": sum(counts.values()), "longest": max(counts, key=counts.get, default="")}

    def tool_write_report(self, text):  # beside the old one first: nobody sees a half-written report
        data, draft, report = text.encode(), Path(".runwright-report.md"), Path("runwright-report.md")
        draft.unlink(missing_ok=True)
        with draft.open("xb") as file:
            file.write(data)
        draft.replace(report)
        return {"path": str(report), "bytes": len(data)}

    def files(self):  # nothing else can be read: nothing outside the directory, no link, nothing hidden
        found = []
        for folder, folders, names in os.walk("."):
            folders[:] = sorted(f for f in folders if not f.startswith((".", "node_modules", "__pycache__")))
            found += [Path(folder, name) for name in sorted(names) if name[0] != "."]
        return {str(p): p for p in found[:2000] if os.access(p, os.R_OK) and p.is_file() and not p.is_symlink()}

    def lines(self, path):  # binary and large files have none
        data = path.read_bytes() if 0 < path.stat().st_size <= 128 * 1024 else b""
        return [] if b"\0" in data else data.decode("utf-8", "replace").splitlines()


if __name__ == "__main__":
    os.chdir(sys.argv[1])
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})  # they wait for sigwait, below
    server = grpc.server(ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
    pb_grpc.add_ToolExecutorServiceServicer_to_server(Workspace(), server)
    port = server.add_insecure_port(*sys.argv[2:] or ["127.0.0.1:7761"])
    server.start()
    print(f"executor serving on 127.0.0.1:{port}", flush=True)
    signal.sigwait({signal.SIGINT, signal.SIGTERM})
    server.stop(grace=2).wait()
