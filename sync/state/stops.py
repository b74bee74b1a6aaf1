"""What guards have stopped, and what a person has allowed: kept until it is settled, so that it keeps its name."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection

from core.records import Day, Millis
from sync.state.kept import get_kept_in, keep_in

_NAME = "guard stops"


@dataclass(frozen=True, slots=True)
class Stop:
    """One change that waits for a person.

    Attributes:
        guard: its name, as `--allow` takes it.
        message, hint: what was stopped, and what to do, for people.
        at: when it was stopped first; `tried_at` last.
        day: local day of the judgement, where judging is dear.
        allowed: a person said yes; it is not finished yet.
    """

    guard: str
    message: str
    hint: str
    at: Millis
    tried_at: Millis
    day: Day | None = None
    allowed: bool = False


def load_stops(connection: Connection) -> dict[str, Stop]:
    """All that is stopped or allowed now, by what it concerns (`rulebook`, `offered`, `emptied <system>`, …)."""
    kept: Mapping[str, Mapping[str, Any]] = get_kept_in(connection, _NAME) or {}
    return {key: Stop(**values) for key, values in kept.items()}


def keep_stop(connection: Connection, key: str, stop: Stop) -> None:
    _keep(connection, load_stops(connection) | {key: stop})


def drop_stops(connection: Connection, keys: Iterable[str]) -> None:
    gone = set(keys)
    _keep(connection, {key: stop for key, stop in load_stops(connection).items() if key not in gone})


def _keep(connection: Connection, stops: Mapping[str, Stop]) -> None:
    keep_in(connection, _NAME, {key: asdict(stop) for key, stop in stops.items()})
