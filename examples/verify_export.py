"""Checks an export of a run with nothing but the standard library: `python verify_export.py FILE`.

An export is JSON lines as `runwright export` writes them: a header, the events
in order, the contents they refer to. This program shares no code with the server.
"""

import base64
import hashlib
import json
import sys
from pathlib import Path


def check(lines):
    """Yields every fault it finds; nothing when the export is whole."""
    header = next(lines)["header"]
    if header["format"] != 1:
        yield f"form {header['format']} is not known here"
    start = b"runwright-chain-v1\0" + header["namespace"].encode() + b"\0" + header["run_id"].encode()
    previous, events, contents, mentioned = hashlib.sha256(start).digest(), 0, {}, b""
    for line in lines:
        if event := line.get("event"):
            events += 1
            data = base64.b64decode(event["data"])
            if base64.b64decode(event["previous_hash"]) != previous:
                yield f"event {events} does not follow the one before"
            previous = hashlib.sha256(previous + data).digest()
            if base64.b64decode(event["hash"]) != previous:
                yield f"event {events} was changed"
            mentioned += data
        elif content := line.get("content"):
            contents.setdefault(content["digest"], hashlib.sha256()).update(base64.b64decode(content.get("data", "")))
        else:
            yield "a line is neither an event nor a content"
    if events != int(header["events"]) or previous != base64.b64decode(header["head_hash"]):
        yield f"the header promises {header['events']} events with another end"
    for digest, found in contents.items():
        if "sha256:" + found.hexdigest() != digest:
            yield f"content {digest} was changed"
        if digest.encode() not in mentioned:
            yield f"content {digest} is not mentioned by any event"


if __name__ == "__main__":
    with Path(sys.argv[1]).open(encoding="utf-8") as file:
        faults = list(check(json.loads(line) for line in file))
    print("\n".join(faults) or "whole: the chain holds and every content matches its digest")
    sys.exit(1 if faults else 0)
