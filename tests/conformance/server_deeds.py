"""What the runner does to a server, its journal and its keys."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import Mapping
from typing import Any

from runwright.adapters.keys import KeysFile, read_keys, write_keys

from tests.adapters.models.fake_vendor import Answer
from tests.conformance.stage import Stage
from tests.e2e.scraping import scrape
from tests.transport.known import add_key as make_key


async def kill_server(stage: Stage, _: Mapping[str, Any]) -> Any:
    """SIGKILL; returns once the process is gone."""
    stage.server.kill()
    return {"exit_code": await stage.server.ended()}


async def start_server(stage: Stage, _: Mapping[str, Any]) -> None:
    """Another life behind the same address."""
    await stage.restart()


async def terminate_server(stage: Stage, _: Mapping[str, Any]) -> None:
    """SIGTERM; returns once health says that it does not serve."""
    stage.server.terminate()
    await stage.server.call.not_serving()


async def stop_server(stage: Stage, _: Mapping[str, Any]) -> Any:
    """SIGTERM; returns once the process is gone."""
    stage.server.terminate()
    return {"exit_code": await stage.server.ended()}


async def server_ended(stage: Stage, _: Mapping[str, Any]) -> Any:
    """Waits for the process to end by itself."""
    return {"exit_code": await stage.server.ended()}


async def other_journal(stage: Stage, _: Mapping[str, Any]) -> None:
    """The next life of a server that has ended begins without a past."""
    stage.other_journal()


async def copy_journal(stage: Stage, _: Mapping[str, Any]) -> None:
    """Keeps a copy of the whole data directory of a server that has ended."""
    stage.copy_journal()


async def put_back_journal(stage: Stage, _: Mapping[str, Any]) -> None:
    """The copy in the place of the data directory of a server that has ended."""
    shutil.rmtree(stage.server.data)
    shutil.copytree(stage.folder / "copied-data", stage.server.data)


async def spoil_journal(stage: Stage, args: Mapping[str, Any]) -> None:
    """Stored bytes of one run are no event any more, and what is derived from them is gone."""
    database = sqlite3.connect(stage.server.data / "journal.db")
    [(number,)] = database.execute("SELECT run_no FROM runs WHERE run_id = ?", (args["run_id"],))
    database.execute("UPDATE events SET data = x'ff' WHERE run_no = ? AND seq = 3", (number,))
    database.execute("UPDATE runs SET snapshot = x'00' WHERE run_no = ?", (number,))
    database.commit()
    database.close()


async def quarantine(stage: Stage, args: Mapping[str, Any]) -> None:
    """What starts of the server leave that one run has ended, each of them."""
    database = sqlite3.connect(stage.server.data / "journal.db")
    [(number,)] = database.execute("SELECT run_no FROM runs WHERE run_id = ?", (args["run_id"],))
    columns = "run_no, stage, tries, trials, told, alone, quarantined_at"
    database.execute(f"REPLACE INTO recovering ({columns}) VALUES (?, 0, 3, 3, 3, 3, 1)", (number,))
    database.commit()
    database.close()


async def add_key(stage: Stage, args: Mapping[str, Any]) -> Any:
    """A key that the server takes from now on."""
    return {"key": make_key(stage.keys_file, args["role"], name=args["name"])}


async def revoke_key(stage: Stage, args: Mapping[str, Any]) -> None:
    """The entries of that name are gone from the keys file."""
    left = tuple(entry for entry in read_keys(stage.keys_file).keys if entry.name != args["name"])
    write_keys(stage.keys_file, KeysFile(keys=left))


async def vendor_answers(stage: Stage, args: Mapping[str, Any]) -> None:
    """What the model vendor says next."""
    assert stage.vendor is not None
    stage.vendor.answers[:] = [Answer({"error": {}}, status=args["status"])]


async def open_gate(stage: Stage, args: Mapping[str, Any]) -> None:
    """Lets the gated model go on with the answer of a run."""
    _, writer = await asyncio.open_unix_connection(stage.folder / "gates" / args["run_id"])
    writer.close()


async def streams_ended(stage: Stage, _: Mapping[str, Any]) -> Any:
    """How many streams the present life has ended with an error, and with which."""
    found = await scrape(stage.server)
    name, method = "runwright_grpc_call_seconds_count", "runwright.v1.RuntimeService/Subscribe"
    rows = [each for family in found.families for each in family.samples if each.name == name]
    codes = {each.labels["code"]: int(each.value) for each in rows if each.labels["method"] == method}
    return {"failed": sum(codes.values()) - codes.get("OK", 0) - codes.get("CANCELLED", 0), "codes": codes}
