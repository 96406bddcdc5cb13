"""A process beside the server that checks schemas and arguments, or evaluates conditions, and can be stopped."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import weakref
from contextlib import suppress
from enum import Enum

from msgspec import Struct

from runwright.adapters import schema_worker as worker

DEFAULT_CHECK_MS = 500
DEFAULT_CHECK_BYTES = 256 * 1024 * 1024
# The bound is on processor time; this is for a process that gets none, or was stopped: so many times that.
DEFAULT_WALL_FACTOR = 20
_LAST_SECONDS = 1.0  # between the end of its socket and its own
_START = (
    "import sys; milliseconds, memory, *sys.path = sys.argv[1:]; "
    "from runwright.adapters.{worker} import main; main(int(milliseconds), int(memory))"
)
# What ends a process that takes too much: its own timer, or an allocation that was refused.
_SPENT = frozenset({-signal.SIGPROF, -signal.SIGABRT})


class CheckLimits(Struct, frozen=True):
    """What one check may take: milliseconds of processor time, and the process bytes of address space.

    An answer that has not come after `wall_factor` times the milliseconds is not waited for any longer.
    """

    milliseconds: int = DEFAULT_CHECK_MS
    memory: int = DEFAULT_CHECK_BYTES
    wall_factor: int = DEFAULT_WALL_FACTOR


class Verdict(Enum):
    """What came of a check."""

    VALID = 1
    INVALID = 2
    TOO_COSTLY = 3
    FAILED = 4  # no process could be started, or it was lost twice


class Checked(Struct, frozen=True):
    """A verdict; of an invalid one where and why, empty if finding that out took too long; whether it came slowly.

    `answer` is what a valid one says beside that.
    """

    verdict: Verdict
    where: str = ""
    is_slow: bool = False
    answer: str = ""


class _LostError(Exception):
    """The process ended for a reason that is not the question's."""


class SchemaProcess:
    """One such process, started when it is first needed and again after it had to be ended.

    `check` blocks its thread for as long as the limits allow; threads take turns.
    The process is a fresh interpreter (nothing is forked), has no environment
    and ends with the server: the other end of its socket is closed then.
    """

    def __init__(self, limits: CheckLimits, worker: str = "schema_worker", *, start_seconds: float = 0) -> None:
        """`worker` is the module of this package that answers the questions.

        The first answer of a process is waited for so much longer: it has libraries to load.
        """
        self._limits = limits
        self._start_seconds = start_seconds
        self._start_code = _START.format(worker=worker)
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._finalizer: weakref.finalize[[subprocess.Popen[bytes], socket.socket], SchemaProcess] | None = None
        self._closed = False

    @property
    def pid(self) -> int | None:
        """The process's id while there is one."""
        return self._process.pid if self._process else None

    @property
    def _wall_seconds(self) -> float:
        return self._limits.wall_factor * self._limits.milliseconds / 1000

    def check(self, question_kind: bytes, schema: str, instance: bytes = b"") -> Checked:
        """Asks the process. One that was lost on the way is replaced once."""
        text = schema.encode()
        question = worker.LENGTHS.pack(len(question_kind), len(text), len(instance)) + question_kind + text + instance
        with self._lock:
            for _ in range(2):
                try:
                    return self._ask(question)
                except (_LostError, OSError):
                    self._end()
        return Checked(Verdict.FAILED)

    def close(self) -> None:
        """Ends the process, also in the middle of a check; the process is not started again."""
        self._closed = True
        process = self._process
        if process is not None:
            process.kill()
        with self._lock:
            self._end()

    def _ask(self, question: bytes) -> Checked:
        connection = self._socket or self._start()
        try:
            connection.sendall(question)
            letter, said = self._heard(connection)
            connection.settimeout(self._wall_seconds)
            if letter == worker.INVALID:
                where = self._where(connection)
                return Checked(Verdict.INVALID, where, not where or said == worker.SLOW)
        except TimeoutError:
            self._end()
            return Checked(Verdict.TOO_COSTLY)
        except (_LostError, OSError):
            if self._end(_LAST_SECONDS) in _SPENT:
                return Checked(Verdict.TOO_COSTLY)
            raise
        verdict = Verdict.VALID if letter == worker.VALID else Verdict.TOO_COSTLY
        return Checked(verdict, is_slow=said == worker.SLOW, answer=said)

    def _where(self, connection: socket.socket) -> str:
        try:
            letter, text = self._heard(connection)
        except (_LostError, OSError):  # it took too long: that the arguments are wrong is known all the same
            self._end()
            return ""
        return text if letter == worker.WHERE else ""

    def _heard(self, connection: socket.socket) -> tuple[bytes, str]:
        header = worker.exactly(connection.recv, worker.HEADER.size)
        if header is None:
            raise _LostError
        letter, length = worker.HEADER.unpack(header)
        data = worker.exactly(connection.recv, length)
        if data is None:
            raise _LostError
        return letter, data.decode()

    def _start(self) -> socket.socket:
        if self._closed:
            raise _LostError
        ours, theirs = socket.socketpair()
        limits = self._limits
        arguments = [str(limits.milliseconds), str(limits.memory), *sys.path]
        with theirs:
            try:
                process = subprocess.Popen(
                    [sys.executable, "-I", "-c", self._start_code, *arguments],
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    env={},
                )
            except OSError:
                ours.close()
                raise
        ours.settimeout(self._start_seconds + self._wall_seconds)
        self._process, self._socket = process, ours
        self._finalizer = weakref.finalize(self, _put_away, process, ours)
        return ours

    def _end(self, seconds: float = 0) -> int | None:
        """Ends the process, if there is one, unless it does so itself within some seconds. Returns its status."""
        process, connection, self._process, self._socket = self._process, self._socket, None, None
        if process is None or connection is None:
            return None
        if self._finalizer is not None:
            self._finalizer.detach()
        if seconds:
            with suppress(subprocess.TimeoutExpired):
                process.wait(seconds)
        return _put_away(process, connection)


def _put_away(process: subprocess.Popen[bytes], connection: socket.socket) -> int:
    connection.close()
    process.kill()  # harmless when it has ended
    return process.wait()
