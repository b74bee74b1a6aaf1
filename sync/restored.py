"""After a restore the CRMs hold tasks that the state has forgotten: they are taken in before anybody is handed over again.

A backup is older than the CRMs. What it says was not sent may have been sent since, and people were handed over of whom it knows
nothing. So nothing in it counts as certainly not made: what is owed is looked for first, in the bin too, and so is what is owed
from then on, until each CRM's tasks were compared with the state, as `mikomi reconcile --heal` does it.
"""

import logging
from collections.abc import Collection

from sqlalchemy import Connection, delete, func, update

from connectors import Connector
from core.records import Millis
from sync.deliver import SENDER
from sync.progress import Progress
from sync.reconcile.report import SystemFindings
from sync.reconcile.tasks import compare_tasks
from sync.sending import Bounds
from sync.state import State
from sync.state import schema as t
from sync.state.kept import get_kept, get_kept_in, keep_in
from sync.state.outbox import CANCELLED, RESTORED, TASK

MARK = "backup"
"""The setting in a backup file that says where it comes from."""

_log = logging.getLogger(__name__)


def doubt(connection: Connection) -> None:
    """As part of the transaction that puts a backup in place: what it owes may have been sent since.

    Tasks are left as a run that died would leave them, so that the next one bounds what may still be carried out, by its own
    clock. The same goes for bounds that stand in the backup: they are of another time.
    """
    box = t.outbox.c
    owed = (box.effect == TASK, box.state.in_(("new", "unknown")), func.coalesce(box.code, "") != CANCELLED)
    connection.execute(update(t.outbox).where(*owed).values(state="unknown", code=None, message=None))
    refused = (box.effect == TASK, box.state == "dead", box.hold_until.is_(None))
    connection.execute(update(t.outbox).where(*refused).values(hold_until=0))  # looked for when they are revived
    connection.execute(delete(t.setting).where(t.setting.c.name == MARK))
    keep_in(connection, SENDER, "a backup")
    keep_in(connection, RESTORED, {"known": [], "again": {}})


def notice_copy(state: State) -> None:
    """A backup that was put in the place of the state by hand instead of by `mikomi restore` still says that it is one."""
    if get_kept(state, MARK) is None:
        return
    with state.begin() as connection:
        doubt(connection)
    _log.warning("a backup was put in place by hand")


def take_in_tasks(
    state: State,
    connector: Connector,
    name: str,
    systems: Collection[str],
    progress: Progress,
    *,
    bounds: Bounds,
    now: Millis,
) -> None:
    """Take in what one CRM has of ours and a restored state does not; nothing where that was done.

    Where the CRM lets a key be there twice, once more after the quarantine: until then a request that was under way when the
    backup was put in place may still be carried out.

    Args:
        name: of the hand-over in the rulebook.
        systems: all connections; when each was looked at, nothing is in doubt any more.

    Raises:
        ConnectorError: the system cannot be asked; its tasks stay in doubt.

    """
    kept = get_kept(state, RESTORED)
    if kept is None or connector.name in kept["known"]:
        return
    if (
        0 < kept["again"].get(connector.name, now) - now <= bounds.quarantine
    ):  # further ahead: by a clock that stood ahead
        return
    compare_tasks(state, connector, name, SystemFindings(), progress, heal=True, now=now)
    with state.begin() as connection:
        kept = get_kept_in(connection, RESTORED)
        if connector.name in kept["again"] or connector.capabilities.task_key is True:
            kept["known"].append(connector.name)
        else:
            kept["again"][connector.name] = now + bounds.quarantine
        if set(systems) <= set(kept["known"]):
            connection.execute(delete(t.setting).where(t.setting.c.name == RESTORED))
        else:
            keep_in(connection, RESTORED, kept)
