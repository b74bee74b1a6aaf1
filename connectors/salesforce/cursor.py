"""Where a stream stands. A window [low, high) of stamps is read in the order (stamp, id); behind it the next one opens
`lookback` before its end, for rows that became visible late.
"""

import json
from dataclasses import dataclass

from connectors.protocol import Cursor
from core.records import Millis


@dataclass(frozen=True, slots=True)
class Window:
    """What is being read.

    Attributes:
        low: first stamp; None: from the beginning.
        high: first stamp no longer read; None: decided by the first answer's Date.
        after: (stamp, id) of the last row read; None: none yet.
    """

    low: Millis | None = None
    high: Millis | None = None
    after: tuple[Millis, str] | None = None

    def to_cursor(self) -> Cursor:
        """The place behind the last row read."""
        stamp, row = self.after or (None, None)
        return Cursor(json.dumps({"lo": self.low, "hi": self.high, "stamp": stamp, "id": row}, separators=(",", ":")))


def finished(high: Millis) -> Cursor:
    """The cursor of a window read to its end."""
    return Cursor(json.dumps({"hi": high}, separators=(",", ":")))


def resume(cursor: Cursor | None, *, lookback: Millis) -> Window:
    """The window to read next. Raises ValueError if the text is no cursor of ours."""
    if cursor is None:
        return Window()
    state = json.loads(cursor)
    if not isinstance(state, dict) or not isinstance(state.get("hi"), int):
        raise ValueError("not a Salesforce cursor")  # noqa: TRY004 - text from outside, not a wrong type in ours
    if "stamp" not in state:
        return Window(low=state["hi"] - lookback)
    after = (state["stamp"], state["id"]) if state["stamp"] is not None else None
    return Window(state["lo"], state["hi"], after)
