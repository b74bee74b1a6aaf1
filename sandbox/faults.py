"""Faults on purpose: what an emulator does wrong, to whom, how often, decided by a schedule or a seed."""

import random
import re
import threading
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal[
    "status",  # answer with the given status and body; nothing is processed
    "replace",  # process and commit, then answer with the given status and body instead
    "drop_before",  # close the connection; nothing is processed
    "drop_after",  # process and commit, then close the connection without an answer
    "late_commit",  # close the connection at once, process after `seconds`
    "delay",  # wait `seconds`, then process and answer
    "truncate",  # process, answer half of the body
    "slow",  # process, answer a few bytes a second for `seconds`
]
KINDS: tuple[str, ...] = ("status", "replace", "drop_before", "drop_after", "late_commit", "delay", "truncate", "slow")


@dataclass(slots=True)
class Fault:
    """One rule. `skip` calls pass first, then it strikes `times` times (None: for ever), each with chance `rate`."""

    kind: Kind
    method: str | None = None
    path: str = ""  # regular expression, searched in path?query
    skip: int = 0
    times: int | None = 1
    rate: float = 1.0
    seed: int = 0
    status: int = 503
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    struck: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"unknown fault kind {self.kind!r}; one of {', '.join(KINDS)}")
        self._random = random.Random(self.seed)
        self._pattern = re.compile(self.path)

    _random: random.Random = field(init=False, repr=False)
    _pattern: re.Pattern[str] = field(init=False, repr=False)

    def strikes(self, method: str, target: str) -> bool:
        if self.times is not None and self.struck >= self.times:
            return False
        if self.method is not None and self.method != method:
            return False
        if not self._pattern.search(target):
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        if self.rate < 1.0 and self._random.random() >= self.rate:
            return False
        self.struck += 1
        return True


class Faults:
    """The rules in force; the first that strikes wins."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rules: list[Fault] = []

    def add(self, rule: dict[str, Any]) -> None:
        with self._lock:
            self._rules.append(Fault(**rule))

    def clear(self) -> None:
        with self._lock:
            self._rules.clear()

    def listing(self) -> list[dict[str, Any]]:
        with self._lock:
            return [{"kind": r.kind, "method": r.method, "path": r.path, "struck": r.struck} for r in self._rules]

    def next(self, method: str, target: str) -> Fault | None:
        with self._lock:
            return next((rule for rule in self._rules if rule.strikes(method, target)), None)
