"""Where a run can die or be overtaken: around each transaction of its state."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection

from sync.state import State


class Crash(BaseException):
    """The process is gone: nothing that was not committed happened."""


@contextmanager
def crashing(state: State, at: tuple[int, bool] | None, on_commit: list[Any]) -> Iterator[None]:
    """Die at the given commit of this state: before it (True) or just after (False)."""
    begin, seen = state.begin, [0]

    @contextmanager
    def begin_or_die(*, fenced: bool = True) -> Iterator[Connection]:
        if not fenced:  # beats and leases are not of the run
            with begin(fenced=False) as connection:
                yield connection
            return
        seen[0] += 1
        dying = at is not None and seen[0] == at[0]
        with begin() as connection:
            yield connection
            if dying and at is not None and at[1]:
                raise Crash
        if dying:
            raise Crash
        for notice in on_commit:
            notice()

    if at is None and not on_commit:
        yield
        return
    state.begin = begin_or_die  # type: ignore[method-assign]
    try:
        yield
    finally:
        state.begin = begin  # type: ignore[method-assign]


@contextmanager
def watching(state: State, before_each: Any) -> Iterator[None]:
    """Call something before each transaction of the run begins."""
    begin = state.begin

    @contextmanager
    def begin_watched(*, fenced: bool = True) -> Iterator[Connection]:
        if fenced:
            before_each()
        with begin(fenced=fenced) as connection:
            yield connection

    state.begin = begin_watched  # type: ignore[method-assign]
    try:
        yield
    finally:
        state.begin = begin  # type: ignore[method-assign]
