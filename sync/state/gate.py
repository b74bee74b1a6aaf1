"""One SQLite library at a time on one file.

The engine reads SQLite through ADBC, which brings a SQLite library of its own. Two libraries in one process do not see each
other's locks (POSIX locks belong to the process, and closing any handle drops them all): the one that closes last believes
itself alone and removes the write-ahead log under the other. So whoever opens the file with another library first waits
until no connection of ours is in use, has those that are kept for reuse closed, and ours wait for it. Other processes are not concerned: their locks are seen.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakSet, WeakValueDictionary

from sqlalchemy import Engine


class Gate:
    """Many of ours, or one stranger."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._ours = 0
        self._stranger = False
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
    def stranger(self) -> Iterator[None]:
        """While another library has the file open. Never inside `ours`: it would wait for itself."""
        with self._changed:
            self._changed.wait_for(lambda: not self._stranger and not self._ours)
            self._stranger = True
        try:
            for engine in list(self._engines):
                engine.dispose()
            yield
        finally:
            with self._changed:
                self._stranger = False
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
