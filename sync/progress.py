"""What long work tells whoever watches: steps with counts. The CLI draws them; tests and services stay silent."""

from collections.abc import Callable
from typing import Protocol

from core.errors import Interrupted


class Progress(Protocol):
    """`total` is None while unknown. Calling `advance` with a new total corrects it."""

    def start(self, step: str, total: int | None = None) -> None: ...

    def advance(self, step: str, count: int = 1, total: int | None = None) -> None: ...

    def finish(self, step: str) -> None: ...


class Silent:
    """Nobody watches."""

    def start(self, step: str, total: int | None = None) -> None:
        """Say nothing."""

    def advance(self, step: str, count: int = 1, total: int | None = None) -> None:
        """Say nothing."""

    def finish(self, step: str) -> None:
        """Say nothing."""


class Stoppable:
    """Another progress that also ends the work where that is safe: between pages and batches, after their commit.

    Args:
        inner: who is told.
        is_asked: whether the work shall end.
        seen: called at every step, as a sign of life.

    Raises:
        Interrupted: from every method, once `is_asked` answers True.

    """

    def __init__(self, inner: Progress, is_asked: Callable[[], bool], seen: Callable[[], None] | None = None) -> None:
        self._inner = inner
        self._is_asked = is_asked
        self._seen = seen

    def start(self, step: str, total: int | None = None) -> None:
        self._check()
        self._inner.start(step, total)

    def advance(self, step: str, count: int = 1, total: int | None = None) -> None:
        self._inner.advance(step, count, total)
        self._check()

    def finish(self, step: str) -> None:
        self._inner.finish(step)
        self._check()

    def _check(self) -> None:
        if self._seen is not None:
            self._seen()
        if self._is_asked():
            raise Interrupted(
                "stopped where that is safe", hint="what was done is kept; the next run goes on from here"
            )
