"""Fingerprints of packages, made without a server: what a run would be pinned to."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ._package_form import FORM

_FORM: dict[str, Any] = json.loads(FORM)
_EXACT = 2**53 - 1
_WHOLE = re.compile(r"\s*[+-]?[0-9]+(_[0-9]+)*(\.0+)?\s*\Z", re.ASCII)  # in quotes, as the server takes it, too


def package_fingerprint(package: Mapping[str, Any]) -> str:
    """`sha256:FORMAT:HEX` of a valid package, as it stands in its file.

    Raises ValueError for a package that says no format this library knows, or that holds
    what has no canonical form, such as NaN or half a character. Whether it is
    valid otherwise is `Client.validate_package`'s to say.
    """
    canonical = package_canonical(package)
    digest = hashlib.sha256(str(package["format"]).encode() + b"\0" + canonical)
    return f"sha256:{package['format']}:{digest.hexdigest()}"


def package_canonical(package: Mapping[str, Any]) -> bytes:
    """The canonical form of a valid package, RFC 8785: what its fingerprint is made of."""
    if package.get("format") not in (_FORM["spelled_out"], _FORM["left_out"]):
        raise ValueError(f"format must be {_FORM['spelled_out']} or {_FORM['left_out']}")
    whole = _spelled(package, _FORM["top"])
    return _json(_pruned(whole, _FORM["top"], everywhere=package["format"] == _FORM["left_out"])).encode()


def schema_digest(schema: Mapping[str, Any]) -> str:
    """`sha256:HEX` over the canonical form of a tool's schema: what packages and registrations call it by.

    Raises ValueError for what has no canonical form.
    """
    return f"sha256:{hashlib.sha256(canonical_json(schema)).hexdigest()}"


def canonical_json(value: Any) -> bytes:
    """JSON as RFC 8785 has it. Raises ValueError for what has no such form."""
    return _json(value).encode()


def _spelled(value: Any, part: str) -> Any:
    """A part with all its defaults, lists without a meaningful order sorted."""
    if not isinstance(value, Mapping):
        return value
    found = {name: inner for name, inner in value.items() if inner is not None}
    for name, says in _FORM["parts"][part].items():
        if "beside" in says:
            found.pop(name, None)
            continue
        if name not in found:
            if not says.keys() & {"default", "default_is"}:
                continue
            found[name] = _default(says, found)
        if "whole" in says and isinstance(found[name], str) and _WHOLE.match(found[name]):
            found[name] = int(found[name].partition(".")[0])
        if "part" in says:
            found[name] = _spelled(found[name], says["part"])
        elif "list_of" in says:
            found[name] = [_spelled(inner, says["list_of"]) for inner in found[name]]
        elif "map_of" in says:
            found[name] = {key: _spelled(inner, says["map_of"]) for key, inner in found[name].items()}
        if "sorted_by" in says:
            found[name] = sorted(found[name], key=lambda inner: inner[says["sorted_by"]])
    return found


def _pruned(value: Any, part: str, *, everywhere: bool) -> Any:
    """Without what is as it is by default: everywhere, or only where the field is younger than the format."""
    if not isinstance(value, Mapping):
        return value
    left: dict[str, Any] = {}
    for name, inner in value.items():
        says = _FORM["parts"][part].get(name, {})
        may_go = (everywhere or says.get("younger")) and says.keys() & {"default", "default_is"}
        if may_go and _json(inner) == _json(_default(says, value)):
            continue
        if "part" in says:
            left[name] = _pruned(inner, says["part"], everywhere=everywhere)
        elif "list_of" in says:
            left[name] = [_pruned(one, says["list_of"], everywhere=everywhere) for one in inner]
        elif "map_of" in says:
            left[name] = {key: _pruned(one, says["map_of"], everywhere=everywhere) for key, one in inner.items()}
        else:
            left[name] = inner
    return left


def _default(says: Mapping[str, Any], beside: Mapping[str, Any]) -> Any:
    if "default_is" in says:
        return beside.get(says["default_is"]["field"]) == says["default_is"]["equals"]
    return says["default"]


def _json(value: Any) -> str:
    match value:
        case bool() | None:
            return json.dumps(value)
        case str():
            value.encode()  # refuses half a character
            return json.dumps(value, ensure_ascii=False)
        case int() | float():
            return _number(value)
        case Mapping():
            keys = sorted(value, key=lambda key: key.encode("utf-16-be"))
            return "{" + ",".join(f"{_json(key)}:{_json(value[key])}" for key in keys) + "}"
        case Sequence():
            return "[" + ",".join(_json(inner) for inner in value) + "]"
        case _:
            raise ValueError(f"no JSON: {type(value).__name__}")


def _number(value: float) -> str:
    """As ECMAScript prints it, which RFC 8785 prescribes."""
    if isinstance(value, int) or (value.is_integer() and abs(value) < 1e21):
        if abs(value) > _EXACT:
            raise ValueError("a number beyond 2^53; write it as a text")
        return str(int(value))
    if not math.isfinite(value):
        raise ValueError("a number that is not finite; write it as a text")
    mantissa, _, exponent = f"{value!r}".partition("e")
    if not exponent:
        return mantissa
    power = int(exponent)
    if -7 < power < 0:  # 1e-05 and 1e-06, which ECMAScript prints without an exponent
        sign, digits = ("-", mantissa[1:]) if mantissa.startswith("-") else ("", mantissa)
        return f"{sign}0.{'0' * (-power - 1)}{digits.replace('.', '')}"
    return f"{mantissa}e{'+' if power > 0 else ''}{power}"
