"""`runwright doctor`: content with what is whole, and one line that names each kind of damage."""

from __future__ import annotations

import json
import os
import random
import socket
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import apsw
import pytest
from msgspec.structs import replace
from runwright.adapters.sqlite import SqliteJournal
from runwright.adapters.sqlite.tables import SCHEMA_VERSION
from runwright.cli.checks import Check, Status
from runwright.cli.checks.certificate import check_certificate
from runwright.cli.checks.directory import check_fsync, check_space
from runwright.cli.checks.versions import check_versions
from runwright.core.audit import AuditEntry, AuditKind
from runwright.core.outcomes import RunStatus
from runwright.core.space import LeastSpace
from runwright.testing import ManualClock
from runwright.wire.checked_row import RowColumns, RowEnd, SnapshotRow
from runwright.wire.state_row import decode_state, encode_state

from tests import builders as b
from tests.cli.conftest import Program
from tests.cli.files import TOOL, config_file, package_file
from tests.e2e.executor import running_executor
from tests.transport.known import certificate

PASSED_OVER = {("disk space", "warn"), ("fsync", "warn"), ("executor", "warn")}
NO_PROCESS = 2**22 + 1  # above the highest number Linux gives
Examine = Callable[[], tuple[int, dict[str, list[str]]]]


@pytest.fixture
async def data(tmp_path: Path) -> AsyncIterator[Path]:
    """A data directory with two runs of 12 events, closed properly, and a package."""
    package_file(tmp_path)
    journal = SqliteJournal.open(tmp_path / "data")
    runtime = b.Bench(journal=journal).runtime()
    for run in ("run-1", "run-2"):
        await runtime.run_text(b.request(run, "hello"))
    await journal.close()
    yield tmp_path / "data"


@pytest.fixture
def examine(program: Program, data: Path) -> Examine:
    """Asks the doctor; gives the exit code and the lines that are not ok, by check, without their check's name."""

    def ask() -> tuple[int, dict[str, list[str]]]:
        file = data.parent / "runwright.toml"
        if not file.exists():
            file.write_text('data = "data"\npackages = ["one.yaml"]')
        code, out, err = program("doctor", "--config", str(file), "-o", "json")
        assert err == ""
        bad: dict[str, list[str]] = {}
        for check in json.loads(out):
            message = (check["name"], check["status"])
            if (
                message not in {("disk space", "warn"), ("fsync", "warn"), ("executor", "warn")}
                and check["status"] != "ok"
            ):
                bad.setdefault(check["name"], []).append(f"{check['status']} {check['found']} -> {check['remedy']}")
        return code, bad

    return ask


def edit(data: Path, *statements: str) -> None:
    """Changes a closed journal behind its back."""
    db = apsw.Connection(str(data / "journal.db"))
    for statement in statements:
        db.execute(statement)
    db.close()


def cut_off(data: Path) -> Path:
    """Leaves the journal as if its server had been killed and -wal had gone. Gives its anchor."""
    edit(data, "INSERT INTO meta (key, value) VALUES ('in_use', 1)")
    return data / "journal.head"


def contents(directory: Path) -> dict[str, bytes]:
    """Every file with its bytes."""
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_what_is_whole_is_ok_and_stays_untouched(examine: Examine, data: Path) -> None:
    before = contents(data)

    assert examine() == (0, {})
    assert contents(data) == before


async def test_a_journal_in_use_is_read_beside_its_server(examine: Examine, data: Path) -> None:
    journal = SqliteJournal.open(data)
    runtime = b.Bench(journal=journal).runtime()
    await runtime.run_text(b.request("run-3"))

    assert examine() == (0, {})

    await runtime.run_text(b.request("run-4"))
    await journal.close()
    assert examine() == (0, {})


def test_the_lines_for_people_name_check_state_and_remedy(program: Program, data: Path) -> None:
    (data / "journal.db").chmod(0o644)

    code, out, _ = program("doctor", "--data", str(data))

    assert code == 1
    lines = out.splitlines()
    assert f"FAIL permissions     others may use journal.db -> chmod 600 {data}/journal.db" in lines
    assert "ok   hash chains     2 runs, 24 events and 6 contents are as written" in lines


def test_a_flipped_byte_in_an_event_names_run_and_sequence_number(examine: Examine, data: Path) -> None:
    flip = "UPDATE events SET data = CAST(substr(data, 1, 20) || x'ff' || substr(data, 22) AS BLOB) WHERE seq = 2"
    edit(data, f"{flip} AND run_no = 1")

    code, bad = examine()

    assert code == 1
    (line,) = bad["hash chains"]
    assert line.startswith("FAIL run run-1: first bad event: 2, ")
    assert "backup" in line


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("DELETE FROM events WHERE run_no = 1 AND seq = 2", "run run-1: event 2 is missing"),
        ("DELETE FROM events WHERE run_no = 1 AND seq = 12", "run run-1: event 12 is missing at the end"),
        (
            "UPDATE events SET previous_hash = zeroblob(32) WHERE run_no = 2 AND seq = 1",
            "run run-2: first bad event: 1",
        ),
        ("UPDATE runs SET run_id = 'run-9' WHERE run_no = 2", "run run-9: first bad event: 1"),
        ("DELETE FROM runs WHERE run_no = 2", "run number 2: it has events but no row"),
        (
            "UPDATE events SET kind = 3 WHERE run_no = 1 AND seq = 4",
            "run run-1: first bad event: 4, the columns beside",
        ),
        ("UPDATE events SET agent_id = 'a' WHERE run_no = 1 AND seq = 4", "run run-1: first bad event: 4, the columns"),
        ("UPDATE runs SET open = 1 WHERE run_no = 1", "run run-1: its row is not as it was written"),
        ("UPDATE runs SET labels = '[]' WHERE run_no = 1", "run run-1: its row is not as it was written"),
        (
            "UPDATE runs SET snapshot = CAST(substr(snapshot, 1, 99) AS BLOB)",
            "run run-1: its row is not as it was written",
        ),
        (
            "DELETE FROM contents WHERE data = CAST('\"a lamp\"' AS BLOB)",
            "first bad event: 8, a content of it is missing",
        ),
        (
            "UPDATE contents SET data = CAST('jello' AS BLOB) WHERE data = CAST('hello' AS BLOB)",
            "its bytes are not those of its digest",
        ),
    ],
)
def test_what_was_taken_away_or_exchanged_is_named(examine: Examine, data: Path, statement: str, said: str) -> None:
    edit(data, statement)

    code, bad = examine()

    assert code == 1
    assert said in bad["hash chains"][0]


@pytest.mark.parametrize(("name", "status"), [("journal.db", "FAIL"), ("LOCK", "FAIL"), (".", "warn")])
def test_modes_that_let_others_in_are_named_with_the_command(
    examine: Examine, data: Path, name: str, status: str
) -> None:
    (data / name).chmod(0o755)

    code, bad = examine()

    assert code == (1 if status == "FAIL" else 0)
    assert bad["permissions"][0].startswith(status)
    assert f"chmod {'700' if name == '.' else '600'} {data / name}" in bad["permissions"][0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"{NO_PROCESS} {socket.gethostname()}\n", f"process {NO_PROCESS}, which is no longer alive"),
        ("1 elsewhere\n", "on another host, elsewhere"),
        ("hello\n", "does not name a process"),
    ],
)
def test_a_lock_text_that_cannot_be_relied_on_is_a_warning(examine: Examine, data: Path, text: str, said: str) -> None:
    (data / "LOCK").write_text(text)

    code, bad = examine()

    assert code == 0
    assert said in bad["lock"][0]


def test_a_living_holder_is_named(program: Program, data: Path) -> None:
    (data / "LOCK").write_text(f"{os.getpid()} {socket.gethostname()}\n")

    assert f"process {os.getpid()} on this host" in program("doctor", "--data", str(data))[1]


async def test_an_executor_that_does_not_answer_is_named_with_its_address(program: Program, tmp_path: Path) -> None:
    package_file(tmp_path)
    silent = socket.create_server(("127.0.0.1", 0))  # takes connections and says nothing
    address = f"127.0.0.1:{silent.getsockname()[1]}"

    code, out, _ = program("doctor", "--config", str(config_file(tmp_path, executor=address)))

    silent.close()
    assert code == 1
    assert f"FAIL executor        desk does not answer at {address} -> Start executor desk there" in out


async def test_an_executor_is_dialled_as_the_server_would_without_a_proxy(
    examine: Examine, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "grpc_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    async with running_executor() as executor:
        config_file(data.parent, executor=executor.address)

        code, bad = examine()

    assert (code, bad.get("executor")) == (0, None)


async def test_an_executor_that_answers_is_ok(examine: Examine, data: Path) -> None:
    async with running_executor() as executor:
        config_file(data.parent, executor=executor.address)

        assert examine() == (0, {})


def test_every_finding_in_a_package_is_named(examine: Examine, data: Path) -> None:
    package_file(data.parent, tools=[{**TOOL, "parameters": {"type": "objekt"}}])

    code, bad = examine()

    assert code == 1
    assert "one.yaml, tools.0.parameters, line 1" in bad["package"][0]


def test_a_journal_of_a_newer_version_is_told_from_a_damaged_one(examine: Examine, data: Path) -> None:
    edit(data, "UPDATE meta SET value = 99 WHERE key = 'schema_version'")

    code, bad = examine()

    assert (code, list(bad)) == (1, ["journal"])
    assert f"schema version 99 is newer than {SCHEMA_VERSION}" in bad["journal"][0]


def test_random_bytes_are_no_journal_and_are_left_alone(examine: Examine, data: Path) -> None:
    noise = random.Random(1).randbytes(100_000)
    (data / "journal.db").write_bytes(noise)

    code, bad = examine()

    assert code == 1
    assert bad["journal"][0].startswith("FAIL The journal's file is damaged.")
    assert (data / "journal.db").read_bytes() == noise


def test_a_damaged_page_is_found(examine: Examine, data: Path) -> None:
    with (data / "journal.db").open("r+b") as file:
        file.seek(4096 * 2)
        file.write(b"\xff" * 4096)

    code, bad = examine()

    assert code == 1
    assert bad.keys() & {"integrity_check", "journal"}


def test_a_database_of_somebody_else_is_no_journal(examine: Examine, data: Path) -> None:
    edit(data, "DROP TABLE meta")

    assert "a database, but no journal" in examine()[1]["journal"][0]


@pytest.mark.parametrize("is_file", [False, True])
def test_a_missing_directory_is_named_and_not_made(program: Program, tmp_path: Path, is_file: bool) -> None:
    data = tmp_path / "gone"
    if is_file:
        data.write_text("")

    code, out, _ = program("doctor", "--data", str(data))

    assert code == 1
    assert f"FAIL data directory  {data} {'is not a directory' if is_file else 'does not exist'} -> " in out
    assert is_file or not data.exists()


def test_a_wrong_configuration_is_one_of_the_checks(examine: Examine, data: Path) -> None:
    config_file(data.parent, "stall_seconds = -1").write_text('data = "data"\nstall_seconds = -1')

    code, bad = examine()

    assert (code, list(bad)) == (1, ["configuration"])


def test_without_anything_to_check_nothing_fails(program: Program) -> None:
    code, out, _ = program("doctor")

    assert code == 0
    assert "FAIL" not in out


def test_old_libraries_a_full_and_a_slow_disk_are_told() -> None:
    def states(*checks: Check) -> list[Status]:
        return [check.status for check in checks]

    assert states(*check_versions(sqlite="3.51.2", grpcio="1.80.0")) == [Status.OK, Status.FAIL, Status.FAIL]
    assert states(*check_versions(sqlite="3.51.3", grpcio="1.85.1")) == [Status.OK] * 3
    assert states(check_fsync(20.1), check_fsync(19.9)) == [Status.WARN, Status.OK]
    gib = 1024**3
    least = LeastSpace()
    assert states(check_space(gib - 1, 2 * gib, least), check_space(9 * gib, 100 * gib, least)) == [Status.WARN] * 2
    assert states(check_space(11 * gib, 100 * gib, least), check_space(1, 100, LeastSpace(0, 0))) == [Status.OK] * 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda data: (data / "journal.head").unlink(), "warn there is no journal.head"),
        (lambda data: (data / "journal.head").write_text("torn"), "warn journal.head cannot be read or is not whole"),
        (
            lambda data: edit(data, "DELETE FROM events WHERE position = 24"),
            "FAIL the journal has lost events: it ends",
        ),
        (lambda data: cut_off(data).unlink(), "FAIL the journal was not closed"),
        (lambda data: cut_off(data).write_text("torn"), "FAIL the journal was not closed"),
    ],
)
def test_a_journal_is_held_against_its_anchor(
    examine: Examine, data: Path, change: Callable[[Path], object], said: str
) -> None:
    change(data)

    _, bad = examine()

    assert bad["head anchor"][0].startswith(said)


async def test_a_changed_and_a_missing_audit_entry_are_found(examine: Examine, data: Path) -> None:
    journal = SqliteJournal.open(data)
    audit = journal.audit(ManualClock())
    for number in range(3):
        audit.note(AuditEntry(kind=AuditKind.RELOAD_FAILED, reason=str(number)))
    await journal.close()
    assert examine() == (0, {})

    edit(data, "UPDATE audit SET data = x'0801' WHERE number = 2")
    assert examine()[1]["audit chain"][0].startswith("FAIL first bad entry: 2")
    edit(data, "DELETE FROM audit WHERE number = 2")
    assert examine()[1]["audit chain"][0].startswith("FAIL entry 2 is missing")
    edit(data, "DELETE FROM audit WHERE number > 1")
    assert examine()[1]["audit chain"][0].startswith("FAIL entry 2 is missing at the end: there should be 3")


def test_a_row_that_says_another_state_than_its_events_is_found(examine: Examine, data: Path) -> None:
    db = apsw.Connection(str(data / "journal.db"))
    ((snapshot, position, own_hash),) = db.execute("SELECT snapshot, last_position, hash FROM runs WHERE run_no = 2")
    state = decode_state(snapshot[33:])
    assert state is not None
    other = replace(state, round=7)
    row = SnapshotRow.of(encode_state(other), RowColumns.of(other, RunStatus.COMPLETED))
    db.execute(
        "UPDATE runs SET snapshot = ? WHERE run_no = 2", (row.checked(RowEnd(position, own_hash, is_open=False)),)
    )
    db.close()

    code, bad = examine()

    assert code == 1
    assert bad["run states"][0].startswith("FAIL run run-2: its row says another state than its events")


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE meta SET value = 7 WHERE key = 'cursor_key'", "meta cursor_key is not what it should be"),
        (
            """INSERT INTO callbacks (namespace, callback_id, owner, executor, address, tools, server_name, credential,
            lease, expires_at) VALUES ('n', 'one', 'o', 'desk', '127.0.0.1:1', '[', '', '', 1, 1)""",
            "registration one of namespace n is not as it was written",
        ),
    ],
)
def test_what_the_journal_says_of_other_things_is_read_as_well(
    examine: Examine, data: Path, statement: str, said: str
) -> None:
    edit(data, statement)

    code, bad = examine()

    assert code == 1
    assert said in bad["other entries"][0]


def test_an_index_that_lost_an_entry_is_found(examine: Examine, data: Path) -> None:
    edit(
        data,
        "PRAGMA writable_schema = ON",
        "UPDATE sqlite_schema SET sql = replace(sql, 'open = 1', 'open = 0') WHERE name = 'runs_open'",
    )

    code, bad = examine()

    assert code == 1
    assert "missing from index runs_open" in bad["integrity_check"][0]


def test_a_journal_near_its_bound_is_a_warning(program: Program, data: Path) -> None:
    size = (data / "journal.db").stat().st_size

    code, out, _ = program("doctor", "--data", str(data), "--journal-max-bytes", str(size + 4096))

    assert code == 0
    (line,) = [line for line in out.splitlines() if "journal size" in line]
    assert line.startswith("warn")
    assert "retention_days" in line


def test_a_certificate_is_read_and_its_end_is_told(program: Program, data: Path) -> None:
    cert, key_file = certificate(data.parent / "tls", "server")  # good for two days
    (data.parent / "noise.pem").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")

    code, out, _ = program("doctor", "--data", str(data), "--tls-cert", str(cert), "--tls-key", str(key_file))
    wrong, message, _ = program("doctor", "--data", str(data), "--tls-cert", str(data.parent / "noise.pem"))

    (line,) = [line for line in out.splitlines() if " certificate " in line]
    assert line.startswith("warn")
    assert "1 days from now -> Renew it" in line
    assert "holds no certificate that can be read" in message
    assert (code, wrong) == (0, 1)


def test_a_certificate_expires(data: Path) -> None:
    cert, _ = certificate(data.parent / "tls", "server")
    now = datetime.now(UTC)

    found = [check.status for days in (-60, 0, 3) for check in check_certificate(cert, now + timedelta(days=days))]

    assert found == [Status.OK, Status.WARN, Status.FAIL]
