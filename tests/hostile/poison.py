"""Values that nobody means well by, and the ways to put them in front of the connectors."""

import json
from typing import Any

from hypothesis import strategies as st

LONG = "長" * 32_000
TEXTS: tuple[str, ...] = (
    "",
    " ",
    "\0",
    "a\0b",
    "\ud800",
    "x\udfffy",
    "\udc00\ud800",
    "\u202egnp.exe\u202c",
    "\u200f\u200e\u2066x\u2069",
    "=cmd|' /C calc'!A0",
    "+1+1",
    "@SUM(A1)",
    "-2+3",
    "\t=1",
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "javascript:alert(1)",
    "' OR Id != '",
    "\\' OR Name LIKE '%",
    "\\",
    "%_",
    "\x1b[31m\x1b]0;title\x07",
    "a\r\nb\u2028c\u2029d\x85e",
    "[bold]markup[/bold]",
    "{0} {name} %s %d",
    "ﷺ" * 50,
    "e" + "\u0301" * 500,
    "👩\u200d👩\u200d👧",
    "NaN",
    "null",
    "1e400",
    "9" * 400,
    "-0",
    "0x10",
    "٣",
    "²",
    "2026-02-30",
    "9999-99-99T99:99:99Z",
    "-2026-01-01",
    "0000-00-00T00:00:00.000+0000",
    "99999999999999999999",
    LONG,
)
"""Each a person's input somewhere, or a broken program's."""

WRONG: tuple[Any, ...] = (
    None,
    True,
    -0.0,
    1e308,
    2**63,
    -(10**30),
    [],
    ["x"],
    {},
    {"value": "x"},
    [[[[[[]]]]]],
)
"""Of the wrong type wherever a text is expected."""

VALUES = st.sampled_from([*TEXTS, *WRONG]) | st.text(st.characters(codec=None), max_size=30)


def encode(document: Any) -> str:
    """JSON as a careless server sends it: lone surrogates as escapes, so that the transport lets them through."""
    return json.dumps(document, ensure_ascii=True)


def poison_rows(rows: list[dict[str, Any]], path: tuple[str, ...], value: Any) -> list[dict[str, Any]]:
    """A copy of rows where the value at `path` of every second one is replaced."""
    copied: list[dict[str, Any]] = json.loads(json.dumps(rows))
    for row in copied[::2]:
        place = row
        for step in path[:-1]:
            if not isinstance(place.get(step), dict):
                break
            place = place[step]
        else:
            place[path[-1]] = value
    return copied


DEEP = '{"results":' + "[" * 100_000 + "]" * 100_000 + "}"
DOUBLE = '{"results": [], "results": [{"id": "1", "id": "2"}]}'
HUGE_NUMBER = '{"results": [], "total": ' + "9" * 10_000 + "}"
BIG = '{"results": ["' + "x" * 10_000_000 + '"]}'
NOT_JSON = ("", "null", "[]", "42", '"x"', "{", '{"results": null}', '{"results": [null]}', '{"results": {}}', "<html>")
BODIES = {
    "deep": DEEP,
    "double keys": DOUBLE,
    "huge number": HUGE_NUMBER,
    "10 MB": BIG,
    **{f"body {text or 'empty'}": text for text in NOT_JSON},
}
"""Whole answers, all with status 200."""
