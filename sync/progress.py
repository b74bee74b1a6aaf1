"""What long work tells whoever watches: steps with counts. The CLI draws them; tests and services stay silent."""

from typing import Protocol


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
