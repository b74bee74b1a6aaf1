"""Every text of ours that a person reads has a Japanese translation with the same values in it."""

import ast
import string
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest
from babel.messages.pofile import read_po

from sync.texts import speaker

ROOT = Path(__file__).parents[3]


def spoken() -> Iterator[tuple[str, str]]:
    """(place, message id) of every `say(...)` in sync; a name stands for the texts assigned to it in its module."""
    for path in sorted((ROOT / "sync").rglob("*.py")):
        tree = ast.parse(path.read_text("utf-8"))
        assigned: dict[str, list[ast.expr]] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign):
                for target in node.targets:
                    if isinstance(target, ast.Name):
                        assigned.setdefault(target.id, []).append(node.value)
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and name_of(node.func) in {"say", "_say"} and node.args:
                for text in texts_of(node.args[0], assigned):
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", text


def name_of(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def texts_of(node: ast.expr, assigned: dict[str, list[ast.expr]]) -> Iterator[str]:
    match node:
        case ast.Constant(value=str(text)):
            yield text
        case ast.IfExp(body=body, orelse=orelse):
            yield from texts_of(body, assigned)
            yield from texts_of(orelse, assigned)
        case ast.Name(id=name) if name in assigned:
            for value in assigned[name]:
                yield from texts_of(value, assigned)
        case _:
            pytest.fail(f"say() with something that cannot be looked up: {ast.unparse(node)}")


def catalog() -> dict[str, str]:
    with files("sync").joinpath("locale", "ja.po").open("rb") as stream:
        return {str(m.id): str(m.string) for m in read_po(stream, locale="ja") if m.id}


def places(text: str) -> set[str]:
    """A number may stand twice in one language: as it is, and as the word that goes with it."""
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def test_the_search_finds_what_is_there() -> None:
    assert len(set(spoken())) > 100


def test_every_text_is_translated() -> None:
    known = catalog()
    assert [f"{place}: {text}" for place, text in spoken() if not known.get(text)] == []


def test_no_translation_is_left_over() -> None:
    used = {text for _, text in spoken()}
    assert sorted(catalog().keys() - used) == []


@pytest.mark.parametrize(("text", "translation"), sorted(catalog().items()))
def test_a_translation_keeps_its_values(text: str, translation: str) -> None:
    assert places(translation) == places(text)


def test_speaking() -> None:
    assert speaker("ja")("Band {band}", band="A") == "ランク A"
    assert speaker("en")("Band {band}", band="A") == "Band A"
    assert speaker("ja")("not in the catalogue") == "not in the catalogue"


@pytest.mark.parametrize(("count", "said"), [("1", "1 task"), (1, "1 task"), (0, "0 tasks"), ("1,001", "1,001 tasks")])
def test_words_go_with_their_number(count: object, said: str) -> None:
    assert speaker("en")("{count} {count:task|tasks}", count=count) == said
    assert speaker("ja")("{count} {count:task|tasks}", count=count) == f"タスク{count}件"
