"""A rule file to a `Rulebook`, or one error that lists every mistake with its file, line and field."""

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from core.errors import InvalidRulebook
from core.mistakes import models_in, suggest
from core.rulebook.check import check_rulebook
from core.rulebook.model import KIND_KEYS, Rulebook
from core.yamltext import Path, Problem, Source, dotted, read_source

_HINT = "edit the rulebook at the places named; `mikomi init ANOTHER-FOLDER` writes a commented one to compare with"


def load_rulebook(text: str, *, source: str = "rulebook.yaml") -> Rulebook:
    """Read a rulebook from YAML text.

    Args:
        text: the file's content.
        source: the file's name, for messages only.

    Raises:
        InvalidRulebook: with the first mistake in `place` and `message`, and all others listed below it.
    """
    document = read_source(text)
    problems = list(document.problems)
    if document.value is None and problems:
        raise _error(source, problems)
    if not isinstance(document.value, dict):
        raise _error(source, [Problem(1, "", "a rulebook is a mapping: name, timezone, rules, bands, …")])
    try:
        rulebook = Rulebook.model_validate(document.value)
    except ValidationError as error:
        details = error.errors(include_url=False)
        # A list whose every item is wrong also counts as empty: that is no mistake of its own.
        found = [detail for detail in details if detail["type"] != "too_short" or not detail["input"]]
        problems += [_problem(document, detail) for detail in found]
        raise _error(source, problems) from None
    problems += [_at(document, path, message) for path, message in check_rulebook(rulebook)]
    if problems:
        raise _error(source, problems)
    return rulebook


def check_timezone(rulebook: Rulebook, zone: str, *, source: str = "rulebook.yaml") -> None:
    """Refuse a rulebook of another time zone than the settings': stored local days would mean something else.

    Raises:
        InvalidRulebook: naming both zones.
    """
    if rulebook.timezone != zone:
        raise InvalidRulebook(
            f"the rulebook counts days in {rulebook.timezone}, the settings in {zone}",
            place=f"{source}: timezone",
            hint=f"write `timezone: {zone}` in the rulebook, or `timezone: {rulebook.timezone}` in the settings",
        )


def _at(document: Source, path: Sequence[str | int], message: str) -> Problem:
    return Problem(document.line(path), _named(document, path), message)


def _error(source: str, problems: list[Problem]) -> InvalidRulebook:
    unique = sorted(dict.fromkeys(problems), key=lambda problem: problem.line)
    first, *rest = unique
    places = [f"{source}:{problem.line}" + (f": {problem.field}" if problem.field else "") for problem in unique]
    more = [f"\n{place}: {problem.message}" for place, problem in zip(places[1:], rest, strict=True)]
    return InvalidRulebook(first.message + "".join(more), place=places[0], hint=_HINT)


def _named(document: Source, path: Sequence[str | int]) -> str:
    """The path with the rule's own id instead of its number, where it has one."""
    if len(path) >= 2 and path[0] == "rules" and isinstance(document.value, dict):
        rules = document.value.get("rules")
        at = path[1]
        if isinstance(rules, list) and isinstance(at, int) and isinstance(rules[at], dict):
            rule_id = rules[at].get("id")
            if isinstance(rule_id, str):
                return dotted((f"rules[{rule_id}]", *path[2:]))
    return dotted(path)


def _problem(document: Source, details: Any) -> Problem:
    loc = details["loc"]
    # Inside a rule the third step names the kind of rule, which is written nowhere.
    path = _written_path(document.value, loc[:2] + loc[3:] if loc[:1] == ("rules",) and len(loc) > 2 else loc)
    kind: str = details["type"]
    message: str = details["msg"].removeprefix("Value error, ")
    if kind == "extra_forbidden":
        known = _keys_at(document.value, path[:-1])
        message = f"unknown key {path[-1]!r}{suggest(str(path[-1]), known)}"
    elif kind == "missing":
        message = f"the key {details['loc'][-1]!r} is missing"
    elif kind in ("union_tag_not_found", "union_tag_invalid"):
        message = f"say what the rule looks at: one of {', '.join(KIND_KEYS)}"
    elif kind == "literal_error":
        names = [name.strip("' ") for name in details["ctx"]["expected"].replace(" or ", ",").split(",")]
        message = f"unknown value {details['input']!r}{suggest(str(details['input']), names)}"
    elif kind == "too_short":
        message = "give at least one"
    elif kind.endswith("_type"):
        message = f"{message[0].lower()}{message[1:]}, not {details['input']!r}"
    return _at(document, path, message)


def _written_path(value: object, loc: Sequence[str | int]) -> Path:
    """Pydantic's location without the steps that name a type instead of something written in the file."""
    path: list[str | int] = []
    for at, step in enumerate(loc):
        last = at == len(loc) - 1
        if isinstance(value, dict) and isinstance(step, str):
            if step in value:
                value = value[step]
            elif not last:
                continue
            path.append(step)
        elif isinstance(value, list) and isinstance(step, int) and step < len(value):
            value = value[step]
            path.append(step)
    return tuple(path)


def _keys_at(document: object, path: Sequence[str | int]) -> set[str]:
    """The keys the language knows at a path of the file."""
    models: list[type[BaseModel]] = [Rulebook]
    for step in path:
        found: list[type[BaseModel]] = []
        for model in models:
            if isinstance(step, int):
                found.append(model)
                continue
            for name, info in model.model_fields.items():
                if (info.alias or name) == step:
                    found += models_in(info.annotation)
        models = found
        if isinstance(document, dict):
            document = document.get(step)
        elif isinstance(document, list) and isinstance(step, int):
            document = document[step]
    if isinstance(document, dict) and len(models) > 1:
        models = _of_kind(models, document)
    return {info.alias or name for model in models for name, info in model.model_fields.items()}


def _of_kind(models: list[type[BaseModel]], written: dict[str, object]) -> list[type[BaseModel]]:
    kinds = [key for key in KIND_KEYS if key in written]
    narrowed = [model for model in models if kinds and kinds[0] in model.model_fields]
    return narrowed or models
