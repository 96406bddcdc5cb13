"""Packages from YAML or JSON files."""

from __future__ import annotations

from pathlib import Path

import yaml
from pydantic import ValidationError

from runwright.core.errors import AgentError, ErrorReason
from runwright.core.package import RuntimePackage
from runwright.ports.schemas import SchemaChecker

MAX_FILE_BYTES = 1024 * 1024
_EXACT = "numbers that JSON can hold exactly"


def load_package(path: Path) -> RuntimePackage:
    """Reads one package. Raises PACKAGE_INVALID naming the file, the path inside and the rule."""
    value = _read(path)
    try:
        return RuntimePackage.model_validate(value)
    except ValidationError as error:
        raise _findings(path, error)[0] from None
    except ValueError:
        raise _invalid(path, "", _EXACT) from None


def examine_package(path: Path, schemas: SchemaChecker) -> tuple[RuntimePackage | None, list[AgentError]]:
    """The package of a file and everything that is wrong with it: a PACKAGE_INVALID for each finding."""
    try:
        package = RuntimePackage.model_validate(_read(path))
    except AgentError as error:
        return None, [error]
    except ValidationError as error:
        return None, _findings(path, error)
    except ValueError:
        return None, [_invalid(path, "", _EXACT)]
    problems = [(index, schemas.schema_problem(tool.parameters)) for index, tool in enumerate(package.tools)]
    return package, [
        _invalid(path, f"tools.{index}.parameters ({package.tools[index].name})", problem.rstrip("."))
        for index, problem in problems
        if problem
    ]


def _read(path: Path) -> object:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise _invalid(path, "", f"at most {MAX_FILE_BYTES} bytes")
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        raise _invalid(path, "", "a readable UTF-8 file") from None
    try:
        value: object = yaml.load(text, Loader=_StrictLoader)
    except (yaml.YAMLError, RecursionError, ValueError) as error:  # ValueError: a number of thousands of digits
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}" if mark else ""
        raise _invalid(path, where, "YAML or JSON, without repeated keys and without aliases") from None
    return value


def _findings(path: Path, error: ValidationError) -> list[AgentError]:
    found = error.errors(include_url=False, include_input=False)
    return [_invalid(path, ".".join(str(step) for step in one["loc"]), one["msg"]) for one in found]


class _StrictLoader(yaml.SafeLoader):
    """Refuses repeated keys, of which YAML lets the last one win unnoticed, and aliases, which grow when expanded."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, "alias", mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[object, object]:
        seen: set[object] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, str) and key in seen:
                raise yaml.constructor.ConstructorError(None, None, "repeated key", key_node.start_mark)
            seen.add(key if isinstance(key, str) else id(key_node))
        return super().construct_mapping(node, deep=deep)


def _invalid(path: Path, inside: str, rule: str) -> AgentError:
    place = f"{path}, {inside}" if inside else str(path)
    return AgentError(
        ErrorReason.PACKAGE_INVALID,
        f"{place}: {rule}.",
        metadata={"package": str(path), "path": inside, "rule": rule},
    )
