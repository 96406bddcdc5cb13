"""Files that hold secrets: made for their owner alone, and looked at for who else may use them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO


def exposure(path: Path) -> str:
    """Who else may use a file, in words; nothing when nobody may, or when there is no such file.

    The group may read what belongs to root when we are somebody else: that is how a secret is handed to a service.
    """
    try:
        found = path.stat()
    except OSError:
        return ""
    beyond = found.st_mode & (stat.S_IRWXG | stat.S_IRWXO) & ~(stat.S_IXGRP | stat.S_IXOTH)
    if found.st_uid == 0 and os.geteuid() != 0:
        beyond &= ~stat.S_IRGRP
    if not beyond:
        return ""
    may_change = beyond & (stat.S_IWGRP | stat.S_IWOTH)
    return f"others may {'change' if may_change else 'read'} {path} ({stat.S_IMODE(found.st_mode):04o})"


@contextmanager
def created(path: Path) -> Iterator[TextIO]:
    """A new text file for its owner alone (0600), removed again when the block fails.

    Raises FileExistsError for whatever is there already, also for a link that leads nowhere: nothing is overwritten
    or followed, so that nobody else decides where a secret goes.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o600)  # whatever the umask says
            yield file
    except BaseException:
        path.unlink(missing_ok=True)
        raise
