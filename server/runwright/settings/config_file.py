"""The configuration file: TOML, whose keys are the names of the settings."""

from __future__ import annotations

import tomllib
from pathlib import Path

from runwright.core.near import did_you_mean
from runwright.files import UnreadableFileError, read_text
from runwright.settings.fields import FIELDS, Field
from runwright.settings.values import Finding, Value

MAX_FILE_BYTES = 1024 * 1024
_CHECK = "Mend that line; `runwright config check --config FILE` reads it again."
_BY_NAME = {field.name: field for field in FIELDS}


def read_config(path: Path) -> tuple[dict[str, Value], list[Finding]]:
    """The settings that a file gives, and what is wrong in it; of a file that is no TOML, the first place.

    Relative paths begin where the file is.
    """
    try:
        table = _table(path)
    except tomllib.TOMLDecodeError as error:
        return {}, [Finding(str(path), "", f"TOML: {str(error).rstrip('.')}", _CHECK)]
    except RecursionError:
        return {}, [Finding(str(path), "", "TOML that is nested less deeply", _CHECK)]
    except UnreadableFileError as error:
        return {}, [Finding(str(path), "", f"a file that can be read, but it {error.cause}", error.remedy)]
    values: dict[str, Value] = {}
    findings: list[Finding] = []
    for key, toml_value in table.items():
        field = _BY_NAME.get(key)
        if field is None:
            findings.append(_unknown(path, key))
            continue
        try:
            value = field.kind.placed(field.kind.from_toml(toml_value), path.parent)
        except ValueError:
            findings.append(_wrong(path, field))
        else:
            values[key] = Value(field, value, str(path))
    return values, findings


def _table(path: Path) -> dict[str, object]:
    return tomllib.loads(read_text(path, MAX_FILE_BYTES))


def _unknown(path: Path, key: str) -> Finding:
    remedy = did_you_mean(key, _BY_NAME).strip() or "Remove it; `runwright config show` lists the keys."
    return Finding(str(path), key, f"one of the known keys ({', '.join(_BY_NAME)})", remedy)


def _wrong(path: Path, field: Field) -> Finding:
    return Finding(str(path), field.name, field.kind.expected, f"Write it as in `{field.example(str(path))}`.")
