"""Keys and certificates for tests, made on the spot."""

from __future__ import annotations

import subprocess
from pathlib import Path

from runwright.adapters.clock import SystemClock
from runwright.adapters.keys import KeyEntry, KeyFileAuthenticator, KeysFile, new_key, read_keys, write_keys
from runwright.core.principal import Role

from tests.builders import ListLog

Metadata = tuple[tuple[str, str], ...]


def bearer(key: str) -> Metadata:
    """The metadata that carries a key."""
    return (("authorization", f"Bearer {key}"),)


def add_key(file: Path, role: str, namespace: str = "default", **fields: object) -> str:
    """Adds a key of one role to a keys file and returns it."""
    key_id, key, digest = new_key()
    known = read_keys(file).keys if file.exists() else ()
    entry = {"id": key_id, "name": f"{role}-{namespace}", "namespace": namespace, "roles": {Role(role)}, **fields}
    if "subject" not in fields:
        entry["sha256"] = digest
    write_keys(file, KeysFile(keys=(*known, KeyEntry.model_validate(entry))))
    return key


def authenticator(file: Path, log: ListLog | None = None) -> KeyFileAuthenticator:
    """What knows the keys of a file, and looks at it for every call."""
    return KeyFileAuthenticator(file, SystemClock(), log or ListLog(), look_every_us=0)


def keys_for(folder: Path, *roles: str) -> tuple[list[str], KeyFileAuthenticator]:
    """One key for each role, and what knows them."""
    file = folder / "keys.json"
    keys = [add_key(file, role) for role in roles]
    return keys, authenticator(file)


def certificate(folder: Path, name: str, *, authority: str | None = None, names: str = "") -> tuple[Path, Path]:
    """A certificate and key for localhost, signed by an authority made before, or by itself.

    `names` are the alternative names instead of localhost, 127.0.0.1 and its own.
    """
    folder.mkdir(exist_ok=True)
    cert, key = folder / f"{name}.pem", folder / f"{name}.key"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
        "-subj",
        f"/CN={name}",
    ]
    command += [
        "-addext",
        f"subjectAltName={names or f'DNS:localhost,IP:127.0.0.1,DNS:{name}'}",
        "-keyout",
        str(key),
        "-out",
        str(cert),
    ]
    if authority is None:
        command += ["-addext", "basicConstraints=critical,CA:TRUE"]
    else:
        command += ["-CA", str(folder / f"{authority}.pem"), "-CAkey", str(folder / f"{authority}.key")]
        command += ["-addext", "basicConstraints=critical,CA:FALSE"]
    subprocess.run(command, check=True, capture_output=True)
    return cert, key
