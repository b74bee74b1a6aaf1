"""One SQLite library at a time on one file.

The engine reads SQLite through ADBC, which brings a SQLite library of its own. Two libraries in one process do not see each
other's locks (POSIX locks belong to the process, and closing any handle drops them all): the one that closes last believes
itself alone and removes the write-ahead log under the other. So whoever opens the file with another library first waits
until no connection of ours is in use, has those that are kept for reuse closed, and ours wait for it. Other processes are not concerned: their locks are seen.

What cannot wait (a lease's beat) goes through the stranger's own library meanwhile: `beside`.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from weakref import WeakSet, WeakValueDictionary

from sqlalchemy import Engine

Aside = Callable[[str, str, tuple[str | int, ...]], int]
"""Carries out a change and then a count, both with these values, in one transaction of their own; the count.

Raises StateUnavailable where that cannot be done now.
"""


class Gate:
    """Many of ours, or one stranger."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._ours = 0
        self._stranger = False
        self._aside: Aside | None = None  # while ours are closed and a stranger's library may have the file open
        self._guests = 0
        self._engines: WeakSet[Engine] = WeakSet()

    def keep(self, engine: Engine) -> None:
        """Connections of this engine may stay open between uses; those are closed when a stranger comes."""
        with self._changed:
            self._engines.add(engine)

    @contextmanager
    def ours(self) -> Iterator[None]:
        """While a connection of Python's own library is in use."""
        with self._changed:
            self._changed.wait_for(lambda: not self._stranger)
            self._ours += 1
        try:
            yield
        finally:
            with self._changed:
                self._ours -= 1
                self._changed.notify_all()

    @contextmanager
    def stranger(self, aside: Aside | None = None) -> Iterator[None]:
        """While another library has the file open. Never inside `ours`: it would wait for itself.

        Args:
            aside: how what cannot wait goes through that library meanwhile; without it that waits too.

        """
        with self._changed:
            self._changed.wait_for(lambda: not self._stranger and not self._ours)
            self._stranger = True
        try:
            for engine in list(self._engines):
                engine.dispose()
            with self._changed:
                self._aside = aside
                self._changed.notify_all()
            yield
        finally:
            with self._changed:
                self._aside = None
                self._changed.wait_for(lambda: not self._guests)
                self._stranger = False
                self._changed.notify_all()

    @contextmanager
    def beside(self) -> Iterator[Aside | None]:
        """The way through the stranger that has the file open, who stays until the block ends; None where there is no stranger,
        and none comes before.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._aside is not None or not self._stranger)
            aside = self._aside
            self._guests += aside is not None
            self._ours += aside is None
        try:
            yield aside
        finally:
            with self._changed:
                self._guests -= aside is not None
                self._ours -= aside is None
                self._changed.notify_all()


_gates: WeakValueDictionary[str, Gate] = WeakValueDictionary()
_making = threading.Lock()


def gate_of(path: str) -> Gate:
    """The gate of a file, the same for everybody in this process."""
    with _making:
        gate = _gates.get(path)
        if gate is None:
            gate = _gates[path] = Gate()
        return gate
