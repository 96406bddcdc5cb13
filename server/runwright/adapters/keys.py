"""The keys file: hashed keys and certificate subjects, with roles and namespace; read again when it changes.

A key is `rwk_<id>_<secret>`, the secret 256 random bits, so that its SHA-256 is
as good as a slow hash: there is nothing to guess. The file never holds a secret.
"""

from __future__ import annotations

import codecs
import fcntl
import hashlib
import json
import os
import secrets
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from msgspec import MsgspecError, Raw, Struct
from msgspec.json import Decoder
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from runwright.core.errors import AgentError, ErrorReason, invalid_request
from runwright.core.ids import Namespace
from runwright.core.package import ID_PATTERN
from runwright.core.principal import Principal, Role
from runwright.files import UnreadableFileError, read_file
from runwright.ports.access import Credentials
from runwright.ports.clock import Clock
from runwright.ports.log import OperatorLog

# How long a file that cannot be used is not tried again, while it stays as it is.
RETRY_US = 1_000_000
# How old the last look at the file may be: a system call for each call would cost a busy server more than the
# rest of what lets the call in.
LOOK_EVERY_US = 20_000
MAX_FILE_BYTES = 16 * 1024 * 1024  # some fifty thousand keys

Stamp = tuple[int, int, int, int]
Name = Annotated[str, Field(pattern=ID_PATTERN)]


class KeyEntry(BaseModel):
    """One line of the file. Exactly one of `sha256` (of a key) and `subject` (of a certificate)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Name
    name: Name
    namespace: Name = "default"
    roles: Annotated[frozenset[Role], Field(min_length=1)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    subject: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    expires_at: Annotated[int, Field(ge=0)] | None = None  # microseconds since 1970

    @model_validator(mode="after")
    def _is_one_credential(self) -> KeyEntry:
        if (self.sha256 is None) == (self.subject is None):
            raise ValueError("exactly one of sha256 and subject must be given")
        return self

    def principal(self) -> Principal:
        """Who this entry stands for. The credential changes whenever the entry does."""
        entry = hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]
        return Principal(self.name, Namespace(self.namespace), self.roles, f"{self.secret_id}:{entry}")

    @property
    def secret_id(self) -> str:
        """What stays while the entry has this id and this key or subject, whatever else is changed in it."""
        shown = hashlib.sha256((self.sha256 or self.subject or "").encode()).hexdigest()[:16]
        return f"{self.id}:{shown}"


class _Texts(Struct, forbid_unknown_fields=True):
    """The file, its entries as they are written."""

    keys: list[Raw] = []


_TEXTS = Decoder(_Texts)


class KeysFile(BaseModel):
    """The file as a whole."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    keys: tuple[KeyEntry, ...] = ()


def read_keys(path: Path) -> KeysFile:
    """Reads the file. Raises INVALID_REQUEST naming it and the place; never shows a value."""
    return _parsed(path, _bytes_of(path))


def _bytes_of(path: Path) -> bytes:
    try:
        return read_file(path, MAX_FILE_BYTES).removeprefix(codecs.BOM_UTF8)
    except UnreadableFileError as error:
        expected = "a keys file that can be read"
        raise invalid_request("--keys", expected, error.remedy, message=f"The keys file {error.message}.") from None


def _parsed(path: Path, data: bytes) -> KeysFile:
    try:
        return KeysFile.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        inside = ".".join(str(step) for step in first["loc"])
        remedy = "Make keys with `runwright keys add NAME --file FILE --role ROLE`; do not edit the file."
        raise _unusable(path, f"a keys file; {inside}: {first['msg']}", remedy) from None


@contextmanager
def changing_keys(path: Path) -> Iterator[None]:
    """Between reading and writing: nobody else changes the file, so that no key is lost and no revoked one returns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # The directory is locked: the file itself is another one after every change.
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def write_keys(path: Path, keys: KeysFile) -> None:
    """Replaces the file; a reader sees the old one or the new one. A new one is readable by its owner only.

    Whoever could read the old one can read the new one: owner, group and mode are kept. Raises INVALID_REQUEST, and
    changes nothing, when they cannot be, or the directory cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")  # no name that anybody can lay a link at
    try:
        _write(temporary, keys, _stat(path))
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        expected = f"replaceable by a file of the same owner, group and mode: {error.strerror}"
        raise _unusable(path, expected, "Run this as its owner.") from None
    _sync(path.parent)  # else a crash brings a revoked key back


def _write(temporary: Path, keys: KeysFile, old: os.stat_result | None) -> None:
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        value = keys.model_dump(mode="json", exclude_none=True)
        for entry in value["keys"]:
            entry["roles"].sort()
        json.dump(value, file, indent=1)
        file.flush()
        if old is not None:
            now = os.fstat(descriptor)
            if (now.st_uid, now.st_gid) != (old.st_uid, old.st_gid):
                os.fchown(descriptor, old.st_uid, old.st_gid)
            os.fchmod(descriptor, stat.S_IMODE(old.st_mode))  # after the owner: a change of owner may clear bits
        os.fsync(descriptor)


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def new_key() -> tuple[str, str, str]:
    """An id, a key to hand out once, and the hash to keep."""
    key_id = secrets.token_hex(4)
    key = f"rwk_{key_id}_{secrets.token_hex(32)}"
    return key_id, key, hashlib.sha256(key.encode()).hexdigest()


class KeyFileAuthenticator:
    """Authenticator over a keys file. A file that turns bad keeps the last good one in force, loudly."""

    def __init__(
        self,
        path: Path,
        clock: Clock,
        log: OperatorLog,
        failed: Callable[[AgentError], None] = lambda _: None,
        *,
        look_every_us: int = LOOK_EVERY_US,
    ) -> None:
        """Raises INVALID_REQUEST when the file cannot be used. `failed` is called when a changed file cannot be."""
        self._failed = failed
        self._look_every_us = look_every_us
        self._looked_at = clock.now()
        self._path = path
        self._clock = clock
        self._log = log
        self._seen: Stamp | None = self._stamp()
        self._failed_at = 0
        self._failure = ""  # what was said of the file that cannot be used
        self._known = _read_again(path, {})

    def authenticate(self, credentials: Credentials) -> Principal:
        """The principal of a key, else of a certificate subject."""
        self._refresh()
        found = self._found(credentials)
        if found is None:
            self._refresh(at_once=True)  # a key that was just made is in force
            found = self._found(credentials)
        if found is None:
            expected = "a key or client certificate that is listed and has not expired"
            message = "The call is not authenticated."
            raise AgentError(ErrorReason.UNAUTHENTICATED, message, metadata={"expected": expected})
        return found

    def _found(self, credentials: Credentials) -> Principal | None:
        offered = self._known.offered(credentials)
        return next((principal for principal, entry in offered if self._is_valid(entry)), None)

    def is_current(self, principal: Principal) -> bool:
        """False once the principal's entry is gone, was changed or has expired."""
        self._refresh()
        entry = self._known.by_principal.get(principal)
        return entry is not None and self._is_valid(entry)

    def principals(self) -> Iterator[Principal]:
        """Everybody who has a credential that holds."""
        self._refresh()
        return (principal for principal, entry in self._known.by_principal.items() if self._is_valid(entry))

    def still_has(self, principal: Principal, role: Role) -> bool:
        """See the port."""
        self._refresh()
        known = self._known.by_secret_id.get(principal.credential.rpartition(":")[0], ())
        return any(
            (now.name, now.namespace) == (principal.name, principal.namespace)
            and now.has_any(frozenset({role}))
            and self._is_valid(entry)
            for now, entry in known
        )

    def _is_valid(self, entry: KeyEntry) -> bool:
        return entry.expires_at is None or self._clock.now() < entry.expires_at

    def _refresh(self, *, at_once: bool = False) -> None:
        now = self._clock.now()
        if 0 <= now - self._looked_at < self._look_every_us and not at_once:
            return
        self._looked_at = now
        if self._stamp() != self._seen or (self._failure and not 0 <= now - self._failed_at < RETRY_US):
            self._read()

    def reload(self) -> None:
        """Reads the file whether or not it seems to have changed."""
        self._read()

    def _read(self) -> None:
        """Only what could be read counts as seen: anything else is tried again until it can be."""
        stamp = self._stamp()
        try:
            known = _read_again(self._path, self._known.by_text)
        except AgentError as error:
            self._seen, self._failed_at = stamp, self._clock.now()
            if error.message != self._failure:
                message = "keys file cannot be used; the last good one stays in force, and it is tried again"
                self._log.error(message, reason=error.message)
            self._failure = error.message
            self._failed(error)
            return
        self._known, self._seen, self._failure = known, stamp, ""
        self._log.info("keys file read again", keys=len(known.by_principal))

    def _stamp(self) -> Stamp:
        try:
            found = self._path.stat()
        except OSError:
            return (0, 0, 0, 0)
        # With the time of change: a mode or an owner that lets us read changes nothing else.
        return (found.st_mtime_ns, found.st_size, found.st_ino, found.st_ctime_ns)


class _Entry(Struct, frozen=True):
    """An entry, and what is made of it: some digests, which take the most of a reading."""

    entry: KeyEntry
    principal: Principal
    secret_id: str
    found: tuple[tuple[Principal, KeyEntry]]  # as it is found where nobody shares what it is found by

    @classmethod
    def of(cls, entry: KeyEntry) -> _Entry:
        principal = entry.principal()
        return cls(entry, principal, entry.secret_id, ((principal, entry),))


def _read_again(path: Path, before: Mapping[bytes, _Entry]) -> _Known:
    """The file as it is now; an entry that stands there as before is not read again. It is read on the event loop.

    Raises as `read_keys` does, in whose words the fault of a file is told.
    """
    data = _bytes_of(path)
    try:
        texts = [bytes(text) for text in _TEXTS.decode(data).keys]
        by_text = {text: before.get(text) or _Entry.of(KeyEntry.model_validate_json(text)) for text in texts}
    except (MsgspecError, ValidationError):
        entries = [_Entry.of(entry) for entry in _parsed(path, data).keys]
        return _Known(entries, {})
    return _Known([*by_text.values()], by_text)


_Found = tuple[tuple[Principal, KeyEntry], ...]


def _add(index: dict[str, _Found], name: str, entry: _Entry) -> None:
    """Makes no new container for an entry that is alone: the collector would go through all of them."""
    index[name] = (*index[name], *entry.found) if name in index else entry.found


class _Known:
    """The entries of a file, found by what a call brings and by who it turned out to be.

    A key is found by its hash: how long the search takes says something about
    the hash of a guess at most, and nothing about a key of 256 random bits.
    """

    def __init__(self, entries: Sequence[_Entry], by_text: Mapping[bytes, _Entry]) -> None:
        """`by_text` are the entries by what stands in the file for each."""
        self.by_text = by_text
        self.by_principal = {each.principal: each.entry for each in entries}
        self.by_secret_id: dict[str, _Found] = {}
        self._by_hash: dict[str, _Found] = {}
        self._by_subject: dict[str, _Found] = {}
        for each in {each.principal: each for each in entries}.values():
            _add(self.by_secret_id, each.secret_id, each)
            if each.entry.sha256 is not None:
                _add(self._by_hash, each.entry.sha256, each)
            if each.entry.subject is not None:
                _add(self._by_subject, each.entry.subject, each)

    def offered(self, credentials: Credentials) -> Sequence[tuple[Principal, KeyEntry]]:
        """The entries of a key; without one those of a certificate's subjects."""
        if credentials.bearer is not None:
            return self._by_hash.get(hashlib.sha256(credentials.bearer.encode("utf-8", "replace")).hexdigest(), ())
        return [known for subject in credentials.subjects for known in self._by_subject.get(subject, ())]


def _unusable(path: Path, expected: str, remedy: str) -> AgentError:
    return invalid_request("--keys", expected, remedy, message=f"{path} must be {expected}.")
