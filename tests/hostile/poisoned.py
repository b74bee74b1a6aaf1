"""A sandbox whose answers are poisoned on their way: values of rows, or whole bodies."""

import json
import random
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sandbox import Sandbox
from sandbox.server import CONTROL, Request, Response, Server
from tests.hostile.poison import TEXTS, WRONG, encode

ROW_LISTS = ("records", "results")


@dataclass(slots=True)
class Poison:
    """What is done to the answers while it is on. `rows`: the share of rows that get one bad value each."""

    seed: int
    rows: float = 0.2
    values: Sequence[Any] = (*TEXTS, *WRONG)
    keep: frozenset[str] = frozenset()  # names of values that stay as they are
    on: bool = True
    struck: int = 0
    spoiled: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._lock = threading.Lock()

    _random: random.Random = field(init=False, repr=False)
    _lock: threading.Lock = field(init=False, repr=False)

    def taint(self, request: Request, response: Response) -> Response:
        if not self.on or response.status not in {200, 207} or not is_reading(request):
            return response
        try:
            document = json.loads(response.body)
        except ValueError:
            return response
        with self._lock:
            self._walk(document)
        return Response(response.status, encode(document).encode(), response.headers, response.content_type)

    def _walk(self, document: Any) -> None:
        if isinstance(document, list):
            for entry in document:
                self._walk(entry)
        if not isinstance(document, dict):
            return
        for name, value in document.items():
            if name in ROW_LISTS and isinstance(value, list):
                for row in value:
                    if isinstance(row, dict) and "from" not in row and self._random.random() < self.rows:
                        self._spoil(row)
            elif name == "compositeResponse" or name == "body":
                self._walk(value)

    def _spoil(self, row: dict[str, Any]) -> None:
        places = list(leaves(row))
        places = [(place, name) for place, name in places if name not in self.keep]
        if not places:
            return
        place, name = self._random.choice(places)
        self.spoiled.add(str(row.get("Id") or row.get("id")))
        place[name] = self._random.choice(self.values)
        self.struck += 1


def leaves(row: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    """Every place of a row that holds a value, nested ones too."""
    for name, value in row.items():
        if name in {"attributes", "associations", "paging"}:  # the API's own frame, not what people write
            continue
        if isinstance(value, dict):
            yield from leaves(value)
        yield row, name


def is_reading(request: Request) -> bool:
    """Reads of rows: not the schema, not tokens, not writes."""
    path = request.path
    if path.startswith(CONTROL) or "/oauth" in path or "/properties" in path or "describe" in path:
        return False
    if "/query" in path or path.endswith(("/search", "/batch/read", "/composite/batch")):
        return True
    return request.method == "GET" and "/crm/" in path


@contextmanager
def poisoned(box: Sandbox, poison: Poison) -> Iterator[Poison]:
    """Answers of both emulators are tainted until the block ends."""
    before = [(server, server.answer) for server in box._servers]

    def tainted(server: Server) -> Any:
        answer = server.answer
        return lambda request: poison.taint(request, answer(request))

    for server in box._servers:
        server.answer = tainted(server)  # type: ignore[method-assign]
    try:
        yield poison
    finally:
        for server, answer in before:
            server.answer = answer  # type: ignore[method-assign]
