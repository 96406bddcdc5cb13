"""A tool executor in a process of its own: four tools that read one directory and never leave it."""

import argparse
import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import grpc

from runwright._gen.runwright.callback.v1 import tool_executor_service_pb2 as pb
from runwright._gen.runwright.callback.v1 import tool_executor_service_pb2_grpc as pb_grpc

FILES, BYTES, MATCHES = 2_000, 128 * 1024, 100  # the most of each: a result has at most 1 MiB
IGNORED = {".git", ".venv", "node_modules", "__pycache__"}


class Workspace(pb_grpc.ToolExecutorServiceServicer):
    def __init__(self, root):
        self.root = Path(root).resolve(strict=True)

    def ExecuteTool(self, request, context):
        tools = {tool.__name__: tool for tool in (self.list_files, self.read_file, self.search, self.count_lines)}
        try:
            result = tools[request.tool](**json.loads(request.arguments_json))
        except (LookupError, TypeError, ValueError, OSError) as error:  # failed for certain, so the model is told
            return pb.ExecuteToolResponse(error=pb.ToolError(message=getattr(error, "strerror", None) or str(error)))
        return pb.ExecuteToolResponse(result=pb.ToolResult(data=json.dumps(result).encode()))

    def list_files(self):
        files = [{"path": path, "bytes": (self.root / path).stat().st_size} for path in self.paths()]
        return {"files": files, "truncated": len(files) == FILES}

    def read_file(self, path):
        file = (self.root / path).resolve()  # follows links first, so that none leads out
        if not file.is_relative_to(self.root) or IGNORED & set(file.parts) or not file.is_file():
            raise ValueError(f"{path} is not a file of this directory")
        data = file.read_bytes() if file.stat().st_size <= BYTES else b"\0"
        if b"\0" in data:
            raise ValueError(f"{path} is binary or larger than {BYTES} bytes")
        text = data.decode("utf-8", "replace")
        return {"path": path, "lines": len(text.splitlines()), "text": text}

    def search(self, text):
        lines = ((path, n, line) for path, lines in self.texts("") for n, line in enumerate(lines, start=1))
        found = [(path, n, line.strip()[:200]) for path, n, line in lines if text.lower() in line.lower()]
        return {"total": len(found), "matches": [dict(zip(("path", "line", "text"), at)) for at in found[:MATCHES]]}

    def count_lines(self, extension):
        counts = {path: len(lines) for path, lines in self.texts("." + extension.lstrip("."))}
        return {"files": len(counts), "lines": sum(counts.values()), "longest": max(counts, key=counts.get, default="")}
