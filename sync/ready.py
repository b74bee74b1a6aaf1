"""What must hold before a run or a set-up begins: every connection answers, and nothing waits for a person."""

import re
from collections.abc import Mapping, Sequence

from connectors import Connector
from core.errors import CannotStart, MikomiError
from sync.answers import readable


def require_ready(connectors: Mapping[str, Connector]) -> None:
    """Connect everywhere before anything is created anywhere.

    Raises:
        CannotStart: with the reason of each connection that does not work.
    """
    problems: list[tuple[str, MikomiError]] = []
    for name, connector in connectors.items():
        try:
            with readable(name):
                connector.prepare()
        except MikomiError as error:
            problems.append((name, error))
    if problems:
        raise cannot_start(problems)


def cannot_start(problems: Sequence[tuple[str, MikomiError]]) -> CannotStart:
    """One error out of several connections' reasons, with all that can be done next.

    Its exit code is the gravest of theirs: a CRM that cannot be reached is nothing that somebody typed.
    """
    hints = dict.fromkeys(error.hint for _, error in problems if error.hint)
    lines = (str(error) if _is_named(name, str(error)) else f"{name}: {error}" for name, error in problems)
    found = CannotStart("\n".join(lines), hint="; ".join(hints) or "mikomi doctor")
    found.exit_code = max((error.exit_code for _, error in problems), default=found.exit_code)
    return found


def _is_named(connection: str, message: str) -> bool:
    """Whether a message says whose it is: a place in the program's own code does not."""
    return re.search(rf"{re.escape(connection)}(?!/)", message) is not None
