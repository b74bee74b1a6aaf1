"""What is wrong with what a person wrote: what is allowed there, and what they probably meant. No library's own sentences."""

import re
import types
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "a text",
    "date": "a day such as 2026-12-29",
    "path": "a path",
    "tuple": "a list",
    "list": "a list",
    "dict": "a map of keys and values",
    "mapping": "a map of keys and values",
    "model": "a map of keys and values",
}
"""What should have stood there, by the first word of pydantic's error type."""


def suggest(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?`, or the whole list where it is short, or nothing."""
    names = sorted(known)
    near = get_close_matches(word, names, n=1, cutoff=0.6)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; known are {', '.join(names)}" if len(names) <= 20 else ""


def describe(detail: ErrorDetails, model: type[BaseModel], *, show: bool = True) -> str:
    """One of pydantic's findings in plain words, without its place.

    Args:
        detail: of `ValidationError.errors()`.
        model: what was validated.
        show: say what was written; not where it may be a secret.
    """
    kind, path, near = detail["type"], detail["loc"], ""
    if kind == "extra_forbidden":
        return f"unknown key{suggest(str(path[-1]), _keys(model, path[:-1]))}"
    if kind == "missing":
        return "this key is missing"
    if kind == "too_short":
        return "give at least one"
    if kind == "value_error":
        return detail["msg"].removeprefix("Value error, ")
    if kind == "literal_error":
        names = re.findall(r"'([^']*)'", detail["ctx"]["expected"])
        wanted = f"one of {', '.join(names)}"
        near = suggest(str(detail["input"]), names) if show and len(names) > 1 else ""
        near = near if "did you mean" in near else ""
    else:
        wanted = _wanted(detail, _field(model, path))
    written = f", not {detail['input']!r}" if show and not isinstance(detail["input"], dict | list) else ""
    return f"must be {wanted}{written}{near}" if wanted else detail["msg"].replace("Input should ", "must ", 1)


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """The models that an annotation allows."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (Annotated, Union, types.UnionType, tuple):
        return [model for part in get_args(annotation) for model in models_in(part)]
    return []


def _wanted(detail: ErrorDetails, field: FieldInfo | None) -> str:
    if detail["type"] == "string_pattern_mismatch":
        return f"a text of the form {detail['ctx']['pattern']}"
    first = detail["type"].partition("_")[0]
    if first in ("greater", "less"):
        first = "float" if field is not None and float in (field.annotation, *get_args(field.annotation)) else "int"
    limits = _limits(field) if field is not None and first in ("int", "float") else ""
    return _KINDS.get(first, "") + limits


def _limits(field: FieldInfo) -> str:
    """` from 1 to 100`, ` above 0, at most 600`, ` of at least 1`, or nothing."""
    names = ("ge", "gt", "le")
    found = {n: getattr(mark, n) for mark in field.metadata for n in names if getattr(mark, n, None) is not None}
    low, above, high = (found.get(name) for name in names)
    if low is not None and high is not None:
        return f" from {low} to {high}"
    if above is not None:
        return f" above {above}" + (f", at most {high}" if high is not None else "")
    return f" of at least {low}" if low is not None else ""


def _field(model: type[BaseModel], path: Sequence[str | int]) -> FieldInfo | None:
    """The field at a path; None where there is none of a model's own (an item of a list, a value of a map)."""
    models, field = [model], None
    for step in path:
        fields = [one.model_fields[str(step)] for one in models if str(step) in one.model_fields]
        field = fields[0] if fields else None
        models = models_in(field.annotation) if field is not None else []
    return field


def _keys(model: type[BaseModel], path: Sequence[str | int]) -> set[str]:
    """The keys that are known at a path."""
    field = _field(model, path)
    models = [model] if not path else models_in(field.annotation) if field is not None else []
    return {name for one in models for name in one.model_fields}
