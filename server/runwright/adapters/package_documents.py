"""Packages from YAML or JSON texts: the package in one, and all its faults in one answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from runwright.adapters.cel_conditions import condition_problem, summary_problem
from runwright.adapters.hidden_faults import hidden_faults
from runwright.adapters.package_rules import Rule, explained
from runwright.adapters.providers.model_parameters import parameter_faults
from runwright.adapters.sidecars import NoSidecars, Sidecars
from runwright.adapters.yaml_documents import Document, DocumentError, read_document
from runwright.core.fingerprint import canonical_json, has_canonical_form
from runwright.core.near import did_you_mean
from runwright.core.package import NO_ARGUMENTS, ProviderRoute, RuntimePackage, is_sidecar
from runwright.core.package_findings import WHOLE, FindingRule, PackageFinding
from runwright.core.policy_rules import MAX_CONDITION_BYTES, MAX_RULES, STAGES, PolicyRule
from runwright.core.schema_digests import is_schema_digest
from runwright.ports.conditions import CONDITION_REMEDY, SUMMARY_REMEDY, VARIABLES
from runwright.ports.schemas import SchemaChecker

MAX_DOCUMENT_BYTES = 1024 * 1024
MAX_SHOWN_BYTES = 1536 * 1024  # of a package with its schemas: GetPackage shows them twice, in a message of 4 MiB
MAX_FINDINGS = 100
_MOST_ROUTES = 64  # looked at; more than eight are a fault by themselves
NO_MODELS: Mapping[str, str] = {}
LONGEST_STEP, LONGEST_PATH, LONGEST_WORDS = 128, 512, 512  # characters, of what somebody has written
_EXAMPLE = "Begin with format: runwright-package-v0, id, agent and provider, as examples/workspace/package.yaml does."
_SCHEMA = "Write parameters as JSON Schema (draft 2020-12), as in {type: object, properties: {path: {type: string}}}."
# What `_beyond_fields` says with the entry that breaks it.
_SAID_OF_ENTRIES = frozenset({"repeated_tool", "repeated_route", "inexact", "sidecar", "unknown_approval"})
_MEND = "Mend it there, and check it with `runwright package validate`."
_EMPTY = Rule("a package, and it is empty", _EXAMPLE, FindingRule.REQUIRED)
_NUMBER = Rule(
    "a number that JSON can hold exactly: within 2^53, neither NaN nor infinite",
    "Write such a number as a text, in quotes.",
    FindingRule.NUMBER,
)
_TEXT = Rule("a text of Unicode characters", "Leave out the half of a character.", FindingRule.TYPE)
_EITHER = Rule("no `parameters` beside `schema_digest`", "Remove one of the two.")
_UNNAMED = Rule("a schema that a tool names by `schema_digest`", "Remove it, or name it.")
_OTHER_SCHEMA = Rule("the schema whose digest this is", "Put back what it was, or write the digest that it has now.")
_REPEATED_TOOL = Rule(
    "another name than the tools before it", "Rename it, or remove one of the two.", FindingRule.UNIQUE
)
_REPEATED_ROUTE = Rule(
    "a route that does not come before it already", "Remove it, or name another model.", FindingRule.UNIQUE
)


class ExaminedDocument(Struct, frozen=True):
    """The package of a text, everything that is wrong with it, and the text as it was read.

    A package whose only faults are schemas of tools or conditions is there, too: more can be found of it.
    """

    package: RuntimePackage | None
    findings: Sequence[PackageFinding]
    document: Document | None = None


def examine_document(
    text: str,
    schemas: SchemaChecker | None,
    sidecars: Sidecars | None = None,
    models: Mapping[str, str] = NO_MODELS,
) -> ExaminedDocument:
    """The package in a text, or everything that is wrong with it, by place, up to the first hundred findings.

    Schemas that it names by digest are found in `sidecars`, or in the text itself. Without `schemas` neither schemas
    nor conditions are examined. `models` are the kinds of the adapters for real models, by name: their parameters are
    examined. Blocks for up to some seconds, whatever the text is.
    """
    if len(text.encode(errors="replace")) > MAX_DOCUMENT_BYTES:
        rule = f"at most {MAX_DOCUMENT_BYTES} bytes"
        return _unread(rule, FindingRule.SIZE, "Divide it between packages, or shorten its texts.")
    try:
        document = read_document(text)
    except DocumentError as error:
        return _unread(error.rule, FindingRule.SYNTAX, _MEND, (error.line, error.column))
    except (ValueError, RecursionError):
        return _unread("YAML or JSON that can be read", FindingRule.SYNTAX, _MEND)
    if document.value is None and not document.faults:
        return ExaminedDocument(None, [placed(document, (), _EMPTY)], document)
    package, found = _examined(document, schemas, sidecars or NoSidecars(), models)
    return ExaminedDocument(package, found, document)


def placed(document: Document, where: Sequence[str | int], rule: Rule) -> PackageFinding:
    """A finding at a path of a document, with its line and column."""
    line, column = document.place(where)
    return _finding(where, rule, line, column)


def _finding(where: Sequence[str | int], rule: Rule, line: int, column: int) -> PackageFinding:
    return PackageFinding(
        path=_shown(".".join(_shown(str(step), LONGEST_STEP) for step in where), LONGEST_PATH) or WHOLE,
        rule=rule.kind,
        expected=_shown(rule.expected, LONGEST_WORDS),
        remedy=_shown(rule.remedy, LONGEST_WORDS),
        line=line,
        column=column,
        meant=rule.meant,
    )


def _shown(text: str, longest: int) -> str:
    """As much of a text as fits into an answer; half a character is shown as `?`."""
    whole = text.encode("utf-8", "replace").decode()
    return whole if len(whole) <= longest else f"{whole[:longest]}…"


def _unread(expected: str, kind: FindingRule, remedy: str, place: tuple[int, int] = (0, 0)) -> ExaminedDocument:
    return ExaminedDocument(None, [_finding((), Rule(expected, remedy, kind), *place)])


def _examined(
    document: Document, schemas: SchemaChecker | None, sidecars: Sidecars, models: Mapping[str, str]
) -> tuple[RuntimePackage | None, list[PackageFinding]]:
    """The package unless it is none, and the first findings by place: only those are put into words."""
    package: RuntimePackage | None = None
    broken: list[tuple[Sequence[str | int], Rule | ErrorDetails]] = []
    value, of_sidecars = _with_sidecars(document.value, sidecars)
    broken += of_sidecars
    broken += _beyond_fields(value, schemas, models)
    try:
        package = RuntimePackage.model_validate(value)
    except ValidationError as error:
        faults = error.errors(include_url=False)
        fields = {one["loc"] for one in faults}
        # What a field wants says more than that its value is no JSON.
        broken = [each for each in broken if each[1] not in (_NUMBER, _TEXT) or tuple(each[0]) not in fields]
        is_said = bool(broken)
        broken += [
            (one["loc"], one)
            for one in (*faults, *hidden_faults(value, faults))
            if not (is_said and one["type"] in _SAID_OF_ENTRIES)
        ]
    except (ValueError, RecursionError):
        broken = broken or [((), _NUMBER)]
    # A part that is no JSON was left out: that it is missing, or null, is no second fault.
    faulty = {tuple(fault.path) for fault in document.faults}
    found: list[tuple[tuple[int, int], Sequence[str | int], Rule | ErrorDetails]] = [
        ((fault.line, fault.column), fault.path, Rule(fault.rule, _MEND, FindingRule.SYNTAX))
        for fault in document.faults
    ]
    found += [(document.place(where), where, what) for where, what in broken if tuple(where) not in faulty]
    found.sort(key=lambda one: one[0])
    if package is not None and not found and (size := _shown_bytes(package)) > MAX_SHOWN_BYTES:
        found.append((document.place(()), (), _too_large(size)))
    findings = [
        _finding(where, what if isinstance(what, Rule) else explained(what), *place)
        for place, where, what in found[:MAX_FINDINGS]
    ]
    return (None if document.faults else package), findings


def _shown_bytes(package: RuntimePackage) -> int:
    """The size of its canonical form and of the schemas that its tools name, each as often as it is named."""
    sizes = {digest: len(canonical_json(schema)) for digest, schema in package.sidecars.items()}
    return len(package.canonical()) + sum(sizes.get(tool.schema_digest or "", 0) for tool in package.tools)


def _too_large(size: int) -> Rule:
    rule = f"a canonical form, with each schema as often as a tool names it, of at most {MAX_SHOWN_BYTES} bytes"
    return Rule(f"{rule}, not {size}", "Divide it between packages, or shorten its schemas.", FindingRule.SIZE)


def _beyond_fields(
    value: object, schemas: SchemaChecker | None, models: Mapping[str, str]
) -> Iterator[tuple[Sequence[str | int], Rule]]:
    """What no single field tells: values without a canonical form, repetitions, what others refuse."""
    yield from _inexact(value, ())
    if not isinstance(value, Mapping):
        return
    yield from _repeated_routes(value)
    yield from _refused_parameters(value, models)
    yield from _unknown_approvals(value)
    if schemas is not None:
        yield from _unusable_conditions(value.get("policies"))
    tools = value.get("tools")
    names: set[object] = set()
    for index, tool in enumerate(tools if isinstance(tools, list) else ()):
        if not isinstance(tool, Mapping):
            continue
        name, parameters = tool.get("name"), tool.get("parameters")
        if isinstance(name, str) and name in names:
            yield ("tools", index, "name"), _REPEATED_TOOL
        names.add(name if isinstance(name, str) else None)
        if schemas is not None:
            yield from _unusable_summary(("tools", index, "summary"), tool.get("summary"))
        sidecar = _sidecar_of(value, tool)
        for field, schema in (
            ("parameters", parameters),
            ("schema_digest", sidecar),
            ("model_view", tool.get("model_view")),
        ):
            if schemas is not None and isinstance(schema, dict) and has_canonical_form(schema):
                problem = schemas.schema_problem(schema)
                if problem:
                    which = f"tool {name[:LONGEST_STEP]}" if isinstance(name, str) else "the tool"
                    words = f"the schema of {which} cannot be used: {problem.rstrip('.')}"
                    yield ("tools", index, field), Rule(words, _SCHEMA, FindingRule.SCHEMA)


def _unknown_approvals(value: Mapping[object, object]) -> Iterator[tuple[Sequence[str | int], Rule]]:
    """Rules that name an approval which the package does not have."""
    held, policies = value.get("approvals"), value.get("policies")
    known = [name for name in held if isinstance(name, str)] if isinstance(held, Mapping) else []
    for index, policy in enumerate(policies if isinstance(policies, list) else ()):
        rules = policy.get("rules") if isinstance(policy, Mapping) else None
        for number, rule in enumerate(rules if isinstance(rules, list) else ()):
            name = rule.get("approval") if isinstance(rule, Mapping) else None
            if isinstance(name, str) and name and name not in known:
                there = f"there are: {', '.join(known[:MAX_FINDINGS])}" if known else "there are none"
                words = f"the name of one of `approvals`; {there}"[:LONGEST_WORDS]
                remedy = f"{did_you_mean(name, known)}Write it below `approvals`, or leave it out."
                yield ("policies", index, "rules", number, "approval"), Rule(words, remedy, FindingRule.CHOICE)


def _sidecar_of(value: Mapping[object, object], tool: Mapping[object, object]) -> object:
    """The schema that a tool names by digest, if it is there."""
    sidecars, digest = value.get("sidecars"), tool.get("schema_digest")
    return sidecars.get(digest) if isinstance(sidecars, Mapping) and isinstance(digest, str) else None


def _with_sidecars(value: object, sidecars: Sidecars) -> tuple[object, list[tuple[Sequence[str | int], Rule]]]:
    """The package with the schemas that its tools name by digest, and what is wrong with those."""
    if not isinstance(value, Mapping) or not isinstance(value.get("tools"), list):
        return value, list(sidecars.unnamed(()))
    held = value.get("sidecars")
    found: dict[object, object] = dict(held) if isinstance(held, Mapping) else {}
    broken: list[tuple[Sequence[str | int], Rule]] = []
    named: set[str] = set()
    for index, tool in enumerate(value["tools"]):
        digest = tool.get("schema_digest") if isinstance(tool, Mapping) else None
        if not isinstance(digest, str) or not is_schema_digest(digest):
            continue  # there is none, or it is said of the field
        named.add(digest)
        if tool.get("parameters") not in (None, NO_ARGUMENTS):
            broken.append((("tools", index, "parameters"), _EITHER))
        if digest not in found:
            schema = sidecars.find(digest)
            if isinstance(schema, Rule):
                broken.append((("tools", index, "schema_digest"), schema))
            else:
                found[digest] = schema
    broken += sidecars.unnamed(named)
    for key, schema in (held if isinstance(held, Mapping) else {}).items():
        if isinstance(key, str) and is_schema_digest(key) and isinstance(schema, dict):
            if key not in named:
                broken.append((("sidecars", key), _UNNAMED))
            elif has_canonical_form(schema) and not is_sidecar(key, schema):
                broken.append((("sidecars", key), _OTHER_SCHEMA))
    return ({**value, "sidecars": found} if found and not isinstance(held, str | list) else value), broken


def _routes(value: Mapping[object, object]) -> list[tuple[Sequence[str | int], object]]:
    """The routes to models, each where it stands."""
    fallbacks = value.get("fallbacks")
    more = fallbacks[:_MOST_ROUTES] if isinstance(fallbacks, list) else []
    return [(("provider",), value.get("provider")), *((("fallbacks", n), route) for n, route in enumerate(more))]


def _refused_parameters(
    value: Mapping[object, object], models: Mapping[str, str]
) -> Iterator[tuple[Sequence[str | int], Rule]]:
    """Of routes over the adapters that are known. What an adapter of another name takes, nobody knows here."""
    for where, route in _routes(value) if models else ():
        match route:
            case {"adapter": str(adapter), "parameters": dict(parameters)} if adapter in models:
                for inside, rule in parameter_faults(models[adapter], parameters):
                    yield (*where, "parameters", *inside), rule


def _repeated_routes(value: Mapping[object, object]) -> Iterator[tuple[Sequence[str | int], Rule]]:
    seen: list[ProviderRoute] = []
    for where, written in _routes(value):
        try:
            route = ProviderRoute.model_validate(written)
        except (ValueError, RecursionError):
            continue  # said of its fields
        if route in seen:
            yield where, _REPEATED_ROUTE
        seen.append(route)


def _unusable_conditions(policies: object) -> Iterator[tuple[Sequence[str | int], Rule]]:
    """Of as many rules as a package may have: each takes a while to compile."""
    rules = [
        (("policies", index, "rules", number, "when"), rule)
        for index, policy in enumerate(policies if isinstance(policies, list) else ())
        if isinstance(policy, Mapping) and isinstance(policy.get("rules"), list)
        for number, rule in enumerate(policy["rules"])
        if isinstance(rule, Mapping)
    ]
    for where, rule in rules[:MAX_RULES]:
        condition, stage = rule.get("when"), rule.get("stage", PolicyRule.model_fields["stage"].default)
        if not isinstance(condition, str) or not isinstance(stage, str) or stage not in STAGES:
            continue  # said of its fields, as it is of one that is too long
        if condition and len(condition.encode("utf-8", "surrogatepass")) <= MAX_CONDITION_BYTES:
            problem = condition_problem(condition, VARIABLES[STAGES[stage]])
            if problem:
                yield where, Rule(f"the condition cannot be used: {problem}", CONDITION_REMEDY)


def _unusable_summary(where: Sequence[str | int], summary: object) -> Iterator[tuple[Sequence[str | int], Rule]]:
    """Of a summary that is not too long: of that it is said."""
    if isinstance(summary, str) and summary and len(summary.encode("utf-8", "surrogatepass")) <= MAX_CONDITION_BYTES:
        problem = summary_problem(summary)
        if problem:
            yield where, Rule(f"the summary cannot be used: {problem}", SUMMARY_REMEDY)


def _inexact(value: object, where: tuple[str | int, ...]) -> Iterator[tuple[Sequence[str | int], Rule]]:
    """Every number and text without a canonical form. Documents are nested at most 100 deep."""
    if has_canonical_form(value):
        return
    match value:
        case dict():
            for key, inner in value.items():
                if not has_canonical_form(key):
                    yield where, _TEXT
                yield from _inexact(inner, (*where, key))
        case list():
            for index, inner in enumerate(value):
                yield from _inexact(inner, (*where, index))
        case str():
            yield where, _TEXT
        case _:
            yield where, _NUMBER
