"""The walls of the house: who may import whom, and what core may never touch."""

import ast
import importlib.metadata
import importlib.util
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("connectors", "core", "sandbox", "sync")
SDKS = {"simple_salesforce": "connectors/salesforce/api.py", "hubspot": "connectors/hubspot/api.py"}

CORE_ALLOWED = {
    "__future__", "abc", "array", "bisect", "base64", "calendar", "collections", "contextlib", "dataclasses", "datetime",
    "decimal", "difflib", "enum", "fractions", "functools", "hashlib", "hmac", "importlib", "itertools", "json", "math",
    "operator", "re", "string", "textwrap", "types", "typing", "unicodedata", "zoneinfo",
    "pydantic", "pydantic_core", "ibis", "numpy", "yaml",
}  # fmt: skip
CORE_RESOURCE_MODULES = 2  # rulebook templates and the lexicon: each kind of packaged data is read by one module


pytestmark = pytest.mark.xdist_group("walls")  # one process parses everything, once


@cache
def modules() -> tuple[tuple[str, Path, ast.Module], ...]:
    """(dotted name, path relative to the root, tree) of every module of ours."""
    found = []
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            relative = path.relative_to(ROOT)
            parts = relative.with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            found.append((name, relative, ast.parse(path.read_text("utf-8"))))
    return tuple(found)


def imports(tree: ast.AST) -> Iterator[str]:
    """Every module an AST imports; `from a import b` counts as `a.b` as well as `a`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def vendors() -> list[str]:
    return sorted(p.name for p in (ROOT / "connectors").iterdir() if (p / "__init__.py").exists())


def breaches(name: str, relative: Path, tree: ast.Module) -> Iterator[str]:
    """Which walls a module breaks, one sentence each."""
    top = name.split(".", maxsplit=1)[0]
    for target in imports(tree):
        first, *rest = target.split(".")
        if top == "core":
            if first in PACKAGES and first != "core":
                yield f"core imports {target}"
            elif first != "core" and first not in CORE_ALLOWED:
                yield f"core imports {first}"
        if top == "sandbox" and first in {"core", "connectors", "sync"}:
            yield f"sandbox imports {target}"
        if top == "connectors":
            if first in {"sync", "sandbox"}:
                yield f"connectors imports {target}"
            inside = name.split(".")[1:2]
            if first == "connectors" and rest and rest[0] in vendors() and rest[:1] != inside:
                yield f"{name} imports the vendor folder {target}"
        if top == "sync":
            if first == "connectors" and rest and rest[0] in vendors():
                yield f"sync reaches into {target}"
            if first == "sandbox" and not str(relative).startswith("sync/cli"):
                yield f"{name} starts the sandbox"
            if first in {"duckdb", "adbc_driver_sqlite", "adbc_driver_manager"} and "engine" not in relative.parts:
                yield f"{name} imports {first}"
        if (
            first in SDKS
            and str(relative) != SDKS[first]
            and not (top == "connectors" and name == f"connectors.{first}")
        ):
            yield f"{name} imports the SDK {first}"


def test_every_module_keeps_the_walls() -> None:
    found = [f"{relative}: {why}" for name, relative, tree in modules() for why in breaches(name, relative, tree)]
    assert found == []


@pytest.mark.parametrize(
    ("relative", "code", "why"),
    [
        ("core/x.py", "import sqlite3", "core imports sqlite3"),
        ("core/x.py", "from connectors import protocol", "core imports connectors"),
        ("sync/x.py", "import connectors.hubspot.api", "sync reaches into connectors.hubspot.api"),
        ("connectors/salesforce/x.py", "from connectors.hubspot import api", "the vendor folder"),
        ("connectors/salesforce/connector.py", "import simple_salesforce", "the SDK simple_salesforce"),
        ("sandbox/x.py", "import core.records", "sandbox imports core.records"),
        ("sync/cycle.py", "import sandbox", "starts the sandbox"),
    ],
)
def test_a_planted_breach_is_caught(relative: str, code: str, why: str) -> None:
    path = Path(relative)
    name = ".".join(path.with_suffix("").parts)
    assert any(why in breach for breach in breaches(name, path, ast.parse(code)))


def test_core_reads_no_clock() -> None:
    """`datetime.now()`, `date.today()`, `time.time()` and friends have no place in core."""
    found = [
        f"{relative}:{node.lineno}"
        for name, relative, tree in modules()
        if name.split(".")[0] == "core"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr in {"now", "today", "utcnow", "time_ns"}
        and not (isinstance(node.value, ast.Name) and node.value.id in {"self", "snapshot"})
    ]  # fmt: skip
    assert found == []


def test_core_reads_packaged_data_in_few_places() -> None:
    found = [
        name for name, _, tree in modules() if name.startswith("core") and "importlib.resources" in set(imports(tree))
    ]
    assert len(found) <= CORE_RESOURCE_MODULES, found


def test_no_import_cycles() -> None:
    graph: dict[str, set[str]] = {}
    known = {name for name, _, _ in modules()}
    for name, _, tree in modules():
        body = [
            node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)
        ]  # lazy imports break no cycle
        targets = {t for node in body for t in imports(node) if t in known and t != name}
        graph[name] = {t for t in targets if not any(o != t and o.startswith(f"{t}.") for o in targets)}
    state: dict[str, int] = {}

    def visit(node: str, path: tuple[str, ...]) -> None:
        assert state.get(node) != 1, f"import cycle: {' -> '.join((*path, node))}"
        if state.get(node) == 2:
            return
        state[node] = 1
        for target in sorted(graph[node]):
            visit(target, (*path, node))
        state[node] = 2

    for name in sorted(graph):
        visit(name, ())


def test_no_utils_and_no_giant_classes() -> None:
    for name, _, tree in modules():
        assert name.split(".")[-1] not in {"utils", "helpers", "misc", "common"}, name
        for node in ast.walk(tree):
            # A grammar's transformer has one callback a rule; that is the parser's shape, not ours.
            if isinstance(node, ast.ClassDef) and "Transformer" not in "".join(map(ast.unparse, node.bases)):
                methods = [n for n in node.body if isinstance(n, ast.FunctionDef) and not n.name.startswith("do_")]
                assert len(methods) < 20, f"{name}.{node.name} has {len(methods)} methods"


def test_nobody_else_owns_our_names() -> None:
    """A foreign wheel with a top-level `core` would silently shadow ours."""
    owners = importlib.metadata.packages_distributions()
    for package in PACKAGES:
        assert set(owners.get(package, ["mikomi"])) == {"mikomi"}, owners[package]
        spec = importlib.util.find_spec(package)
        assert spec is not None
        assert spec.origin is not None
        assert Path(spec.origin).is_relative_to(ROOT), spec.origin


def test_every_test_folder_is_a_package() -> None:
    folders = {path.parent for path in (ROOT / "tests").rglob("test_*.py")}
    assert [str(f) for f in folders if not (f / "__init__.py").exists()] == []
