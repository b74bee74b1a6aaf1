"""Mapping as data: canonical fields and activity kinds from a CRM's own properties, compiled once, applied per record.

A vendor folder ships `default_mapping.yaml`; settings override it key by key; what remains is checked against the
CRM's description before the first record is read. Here is what every vendor needs for that: parsing, checking,
and compiled mappers that cost microseconds (no pydantic, no `strptime` per record).
"""

import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from importlib.resources import files
from typing import cast

import yaml

from connectors.protocol import Finding
from connectors.values import clean_text, to_number
from core.errors import InvalidMapping
from core.records import ACTIVITY_KINDS, FIELD_TYPES, REQUIRED_FIELDS, Value
from core.yamltext import FAST

FieldSources = Mapping[str, tuple[str, ...]]
"""Canonical field to the CRM properties it is read from: the first that is not empty counts."""

Properties = Mapping[str, object]
"""One CRM row as it came: property name to value."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What the rulebook and the settings need, so that streams nobody uses are not read.

    Attributes:
        fields: canonical fields (`core.records.FIELD_TYPES`) that rules, identity or texts use.
        kinds: activity kinds (`core.records.ACTIVITY_KINDS`) that earn points or count as contact.
        history: canonical fields, or `stage`, whose past values matter.
    """

    fields: frozenset[str] = frozenset(FIELD_TYPES)
    kinds: frozenset[str] = frozenset(ACTIVITY_KINDS)
    history: frozenset[str] = frozenset()

    def any_of(self, kinds: Iterable[str]) -> bool:
        return not self.kinds.isdisjoint(kinds)


def load_mapping(package: str, overrides: Mapping[str, object] | None = None) -> dict[str, object]:
    """`default_mapping.yaml` of a vendor package with the settings' `mapping:` laid over it.

    Mappings merge key by key; lists and single values replace; null takes an entry out.
    """
    return _overlay(_shipped(package), overrides or {})


@lru_cache(maxsize=8)
def _shipped(package: str) -> Mapping[str, object]:
    """A vendor's own mapping, parsed once a process: a service builds its connectors for every cycle."""
    text = files(package).joinpath("default_mapping.yaml").read_text("utf-8")
    return cast("dict[str, object]", yaml.load(text, FAST))  # noqa: S506 - a safe loader


def _overlay(low: Mapping[str, object], high: Mapping[str, object]) -> dict[str, object]:
    merged = dict(low)
    for key, value in high.items():
        below = merged.get(key)
        if isinstance(value, Mapping) and isinstance(below, Mapping):
            merged[key] = _overlay(below, value)
        else:
            merged[key] = value
    return merged


def parse_fields(raw: Mapping[str, object], *, place: str) -> dict[str, tuple[str, ...]]:
    """`{canonical: property | [property, …] | null}` as sources.

    Raises:
        InvalidMapping: an unknown canonical name, or a value that is no property name.
    """
    parsed: dict[str, tuple[str, ...]] = {}
    for name, value in raw.items():
        if name not in FIELD_TYPES or name in {"title_rank", "domain"}:
            raise InvalidMapping(
                f"{name!r} is no field that can be mapped", place=f"{place}.{name}", hint=_meant(name, FIELD_TYPES)
            )
        names = [value] if isinstance(value, str) else value
        if names is None:
            continue
        if not isinstance(names, Sequence) or not names or not all(isinstance(n, str) and n for n in names):
            raise InvalidMapping("give one property name or a list of them", place=f"{place}.{name}")
        parsed[name] = tuple(names)
    return parsed


def check_fields(
    sources: FieldSources,
    available: Collection[str],
    *,
    place: str,
    explicit: Collection[str] = (),
    required: Iterable[str] = REQUIRED_FIELDS,
) -> tuple[dict[str, tuple[str, ...]], tuple[Finding, ...]]:
    """The sources that this CRM has, and a finding for each optional field left without any.

    Args:
        sources: as `parse_fields` made them.
        available: property names (dotted ones may name a path) that exist and may be read.
        place: connection and object, e.g. `hubspot: mapping.contact`.
        explicit: canonical names that the settings map themselves; these must exist as written.
        required: canonical names that must end up with a source.

    Raises:
        InvalidMapping: a required field has no source, or the settings name a property that does not exist.
    """
    usable: dict[str, tuple[str, ...]] = {}
    findings = []
    for name, properties in sources.items():
        found = tuple(p for p in properties if p in available)
        lacking = [p for p in properties if p not in available]
        if lacking and name in explicit:
            raise InvalidMapping(
                f"the CRM has no readable property {lacking[0]!r}",
                place=f"{place}.{name}",
                hint=_meant(lacking[0], available) or "correct the name in the settings, or give the app read access",
            )
        if found:
            usable[name] = found
        elif name not in required:
            findings.append(
                Finding(
                    "warning",
                    f"{place}.{name}",
                    f"{name} has no source here ({', '.join(properties)} not found or not readable); counted as missing",
                    f"map it: mapping → {name}: <property>, or remove it with null",
                )
            )
    for name in required:
        if name not in usable:
            tried = ", ".join(sources.get(name, ())) or "nothing is mapped"
            raise InvalidMapping(
                f"required field {name} has no source ({tried})",
                place=f"{place}.{name}",
                hint=f"map {name} to a property that exists and that the integration user may read",
            )
    return usable, tuple(findings)


def _meant(name: str, known: Collection[str]) -> str:
    close = get_close_matches(name, list(known), 1)
    return f"did you mean {close[0]!r}?" if close else ""


# --- compiled mappers -----------------------------------------------------------------------------------------------

Problem = Callable[[str], None]
"""Called with the canonical name (or place) of a value that could not be read; the row goes on without it."""

FieldMapper = Callable[[Properties], dict[str, Value]]


def compile_fields(sources: FieldSources, problem: Problem, types: Mapping[str, str] = FIELD_TYPES) -> FieldMapper:
    """A function from a CRM row to canonical values; empty and unreadable ones are absent.

    A dotted source (`Account.Name`) is a path through nested rows.
    """
    plan = [(name, types[name] == "number", names[0], names[1:]) for name, names in sources.items()]
    dotted = any("." in name for names in sources.values() for name in names)
    read: Callable[[Properties, str], object] = _read_path if dotted else _read_plain

    def apply(row: Properties) -> dict[str, Value]:
        fields: dict[str, Value] = {}
        for name, is_number, first, others in plan:
            raw = read(row, first)
            if raw is None or raw == "":
                for other in others:
                    raw = read(row, other)
                    if raw is not None and raw != "":
                        break
                else:
                    continue
            value: Value = to_number(raw) if is_number else clean_text(raw if type(raw) is str else str(raw))
            if value is not None:
                fields[name] = value
            elif is_number:
                problem(name)
        return fields

    return apply


def _read_plain(row: Properties, name: str) -> object:
    return row.get(name)


def _read_path(row: Properties, path: str) -> object:
    value: object = row
    for step in path.split("."):
        if not isinstance(value, Mapping):
            return None
        value = value.get(step)
    return value


# --- tables: which kind of activity a row is ---------------------------------------------------------------------------

Test = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class KindRule:
    """`kinds` of a row whose properties all pass `when`; none: the row means nothing."""

    kinds: tuple[str, ...]
    when: tuple[tuple[str, Test], ...]


class KindTable:
    """An ordered table of conditions; the first that holds says what the row is.

    In YAML: `[{kind: call_attempt, when: {hs_call_status: [BUSY, NO_ANSWER]}}, {kind: call}]`. `kind` is a name, a list
    or null. A condition is a value, a list of values, or `{contains: …}`, `{not_contains: …}`, `{not: …}`,
    `{matches: regex}`, `{exists: true|false}`. Texts compare after NFKC and without regard to case.

    Attributes:
        kinds: every kind the table can give.
        properties: every property it looks at.
    """

    def __init__(self, rules: Sequence[KindRule]) -> None:
        self._rules = tuple(rules)
        self.kinds = frozenset(kind for rule in rules for kind in rule.kinds)
        self.properties = tuple(dict.fromkeys(name for rule in rules for name, _ in rule.when))

    def __call__(self, row: Properties) -> tuple[str, ...]:
        for rule in self._rules:
            if all(test(_comparable(row.get(name))) for name, test in rule.when):
                return rule.kinds
        return ()


def parse_table(raw: object, *, place: str) -> KindTable:
    """A `KindTable` from its YAML form. Raises InvalidMapping naming row and cause."""
    if raw is None:
        raw = []
    if not isinstance(raw, Sequence) or isinstance(raw, str):
        raise InvalidMapping("give a list of {kind, when} rows", place=place)
    rules = []
    for number, row in enumerate(raw, 1):
        here = f"{place}[{number}]"
        if not isinstance(row, Mapping) or "kind" not in row or set(row) - {"kind", "when"}:
            raise InvalidMapping("a row is {kind: …, when: {property: condition}}", place=here)
        kind = row["kind"]
        kinds = tuple(kind) if isinstance(kind, list) else () if kind is None else (str(kind),)
        for name in kinds:
            if name not in ACTIVITY_KINDS:
                raise InvalidMapping(f"{name!r} is no activity kind", place=here, hint=_meant(name, ACTIVITY_KINDS))
        when = row.get("when") or {}
        if not isinstance(when, Mapping):
            raise InvalidMapping("when is {property: condition}", place=here)
        rules.append(KindRule(kinds, tuple((str(name), _parse_test(c, here)) for name, c in when.items())))
    return KindTable(rules)


def _parse_test(condition: object, place: str) -> Test:
    if not isinstance(condition, Mapping):
        wanted = _texts(condition)
        return lambda text: text in wanted
    tests = []
    for word, given in condition.items():
        match word:
            case "contains":
                tests.append(_contains(_texts(given), expected=True))
            case "not_contains":
                tests.append(_contains(_texts(given), expected=False))
            case "not":
                tests.append(_outside(_texts(given)))
            case "exists":
                tests.append(_exists(bool(given)))
            case "matches":
                tests.append(_matches(str(given), place))
            case _:
                raise InvalidMapping(
                    f"unknown condition {word!r}", place=place, hint="contains, not_contains, not, matches, exists"
                )
    return lambda text: all(test(text) for test in tests)


def _contains(parts: Collection[str], *, expected: bool) -> Test:
    return lambda text: any(part in text for part in parts) is expected


def _outside(unwanted: Collection[str]) -> Test:
    return lambda text: text not in unwanted


def _exists(expected: bool) -> Test:
    return lambda text: bool(text) is expected


def _matches(pattern: str, place: str) -> Test:
    try:
        compiled = re.compile(pattern, re.IGNORECASE)
    except re.error as error:
        raise InvalidMapping(f"not a regular expression: {error}", place=place) from error
    return lambda text: compiled.search(text) is not None


def _texts(given: object) -> frozenset[str]:
    values = given if isinstance(given, (list, tuple)) else [given]
    return frozenset(_comparable(value) for value in values)


def _comparable(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return unicodedata.normalize("NFKC", str(value)).strip().casefold()
