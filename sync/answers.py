"""An answer of a CRM in a shape that nobody foresaw is the API's broken word, not the end of the program."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from core.errors import Unexpected
from sync.log import get_log, places

_SHAPES = (TypeError, ValueError, LookupError, AttributeError)
"""What reading a document fails with where a part of it is of another kind than expected, or lacks."""

_log = get_log(__name__)


@contextmanager
def readable(system: str) -> Iterator[None]:
    """Around everything that a connector does for one connection: this one stops, counted and paused like other faults of a
    CRM, and the others go on.

    Raises:
        Unexpected: a connector could not read an answer. What is wrong elsewhere in the program stays what it is.

    """
    try:
        yield
    except _SHAPES as error:
        if not _is_connectors(error.__traceback__):
            raise
        where = f"{type(error).__name__} ({places(error.__traceback__)})"
        _log.error("answer not readable", connection=system, cause=type(error).__name__, exc_info=error)
        raise Unexpected(f"an answer has another shape than the one documented: {where}", system=system) from error


def _is_connectors(trace: TracebackType | None) -> bool:
    """Whether it came from a connector's code, or from what that calls, and not from what calls it or is called back by it."""
    ours = ""
    while trace is not None:
        package = str(trace.tb_frame.f_globals.get("__name__", "")).split(".")[0]
        ours = package if package in {"connectors", "sync"} else ours
        trace = trace.tb_next
    return ours == "connectors"
