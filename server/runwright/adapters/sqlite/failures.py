"""What SQLite's exceptions mean to the callers of a journal."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import apsw

from runwright.core.errors import AgentError, ErrorReason

NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})
# After a failed fsync the kernel may have dropped the pages: whether they were written can no longer be found out.
_FSYNC = frozenset({apsw.SQLITE_IOERR_FSYNC, apsw.SQLITE_IOERR_DIR_FSYNC})


def translate(error: Exception, system_errno: int = 0) -> AgentError:
    """The error to raise instead. JOURNAL_CORRUPT means that the store can no longer be relied on.

    `system_errno` is the connection's, read before anything else is done with it.
    """
    match error:
        case apsw.FullError():
            return full(system_errno)
        case apsw.IOError() if getattr(error, "extendedresult", 0) not in _FSYNC and system_errno in NO_SPACE:
            return full(system_errno)
        case apsw.BusyError():
            return busy("Another program holds the journal's file.")
        case apsw.IOError():
            return corrupt("The disk failed a write or a read of the journal.")
        case apsw.CorruptError() | apsw.NotADBError():
            return corrupt("The journal's file is damaged.")
        case _:
            return AgentError(ErrorReason.INTERNAL, "The journal failed unexpectedly.", metadata={"incident_id": ""})


def is_damage(error: Exception) -> bool:
    """True when what was read cannot be what was written: of the file, or of the disk below it."""
    if isinstance(error, apsw.IOError):
        return getattr(error, "extendedresult", 0) not in _FSYNC
    return isinstance(error, apsw.CorruptError | apsw.NotADBError | apsw.TooBigError | UnicodeDecodeError)


def unusable(error: apsw.Error, system_errno: int = 0) -> AgentError:
    """The error to raise when a file cannot be opened as a journal."""
    failure = translate(error, system_errno)
    if failure.reason is ErrorReason.INTERNAL:  # a statement met other tables than ours, or no file it could open
        return corrupt("The file journal.db cannot be used as a journal.")
    return failure


def full(system_errno: int = 0) -> AgentError:
    """There is no room for another append. `errno` is the name of what the system said, where it said anything."""
    metadata = {"retry_after": "30s"}
    if system_errno in NO_SPACE:
        metadata["errno"] = errno.errorcode[system_errno]
    return AgentError(ErrorReason.JOURNAL_FULL, "The journal's disk or quota is full.", metadata=metadata)


def with_space(error: AgentError, directory: Path) -> AgentError:
    """The error; one that says that there is no room also says how much there is."""
    if error.reason is not ErrorReason.JOURNAL_FULL or "disk_free" in error.metadata:
        return error
    try:
        free = shutil.disk_usage(directory).free
    except OSError:
        return error
    message = f"{error.message} The disk of the data directory has {free} bytes free."
    return AgentError(error.reason, message, metadata={**error.metadata, "disk_free": str(free)})


def busy(message: str, remedy: str = "") -> AgentError:
    """Somebody else holds what is needed; `remedy` where more is known of them than that."""
    return AgentError(ErrorReason.JOURNAL_BUSY, message, metadata={"retry_after": "2s"}, remedy=remedy)


def of_run(run_id: str, error: AgentError) -> AgentError:
    """What was met on the way to a run is damage to that run, where nothing says of which it is."""
    if error.reason is not ErrorReason.JOURNAL_CORRUPT or error.metadata.get("run_id"):
        return error
    message = f"Run {run_id}: {error.message}"
    named = corrupt(message, run_id=run_id, first_bad=error.metadata.get("first_bad", ""))
    named.__cause__ = error
    return named


def corrupt(message: str, *, run_id: str = "", first_bad: str = "") -> AgentError:
    """What is stored cannot be read, or what was written may not be there."""
    return AgentError(ErrorReason.JOURNAL_CORRUPT, message, metadata={"run_id": run_id, "first_bad": first_bad})
