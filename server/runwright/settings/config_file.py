"""The configuration file: TOML, whose keys are the names of the settings."""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path

from runwright.settings.fields import FIELDS, Field
from runwright.settings.values import Finding, Value

MAX_FILE_BYTES = 1024 * 1024
_BY_NAME = {field.name: field for field in FIELDS}


def read_config(path: Path) -> tuple[dict[str, Value], list[Finding]]:
    """The settings that a file gives, and what is wrong in it; of a file that is no TOML, the first place.

    Relative paths begin where the file is.
    """
    try:
        table = _table(path)
    except tomllib.TOMLDecodeError as error:
        return {}, [Finding(str(path), "", f"TOML: {str(error).rstrip('.')}", "Correct the file.")]
    except RecursionError:
        return {}, [Finding(str(path), "", "TOML that is nested less deeply", "Correct the file.")]
    except (OSError, ValueError):
        expected = f"a readable UTF-8 file of at most {MAX_FILE_BYTES} bytes"
        return {}, [Finding(str(path), "", expected, "Check --config or RUNWRIGHT_CONFIG, and the file's mode.")]
    values: dict[str, Value] = {}
    findings: list[Finding] = []
    for key, given in table.items():
        field = _BY_NAME.get(key)
        if field is None:
            findings.append(_unknown(path, key))
            continue
        try:
            value = field.kind.placed(field.kind.from_toml(given), path.parent)
        except ValueError:
            findings.append(_wrong(path, field))
        else:
            values[key] = Value(field, value, str(path))
    return values, findings


def _table(path: Path) -> dict[str, object]:
    with path.open("rb") as file:
        data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise ValueError
    return tomllib.loads(data.decode("utf-8-sig"))


def _unknown(path: Path, key: str) -> Finding:
    near = difflib.get_close_matches(key, _BY_NAME, n=1)
    remedy = f"Did you mean {near[0]}?" if near else "Remove it; docs/configuration.md lists the keys."
    return Finding(str(path), key, f"one of the known keys ({', '.join(_BY_NAME)})", remedy)


def _wrong(path: Path, field: Field) -> Finding:
    return Finding(str(path), field.name, field.kind.expected, f"Correct {field.name} in the file.")
