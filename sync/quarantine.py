"""Tasks that may have been made: looked for before anything is sent again.

Found, deleted by the rep or not: done. Not found: where the CRM refuses a second task with the same key, it is sent again at
once. Where it does not, only after the bound on late commits and on the search index: a negative answer that is younger says
nothing. Found twice (the bound was broken): the first stays, later ones that nobody touched are removed, and a person is told.
"""

import logging
from collections.abc import Sequence

from connectors import Connector, FoundTask
from core.errors import ConnectorError
from sync import audit
from sync.sending import Sending
from sync.state import State, outbox
from sync.state.mirror import mark_dirty
from sync.state.rows import chunks
from sync.traces import note_found

LOOKED_FOR_AT_ONCE = 100

_log = logging.getLogger(__name__)


def look_for_tasks(sending: Sending) -> None:
    """Settle the tasks whose outcome is unknown, as far as it can be known by now.

    Raises:
        ConnectorError: the system cannot be asked; nothing is sent.

    """
    state, connector = sending.state, sending.connector
    with state.outside() as connection:
        entries = outbox.unresolved(connection, connector.name)
    for part in chunks(entries, LOOKED_FOR_AT_ONCE):
        asked_at = sending.clock()
        found = connector.find_tasks({entry.key: entry.ref for entry in part if entry.key is not None})
        state.require_lease()
        doubles: list[FoundTask] = []
        with state.begin() as connection:
            for entry in part:
                tasks = found.get(entry.key or "", ())
                if tasks:
                    kept, younger = tell_apart(tasks)
                    outbox.settle_done(connection, [(entry, kept.crm_id)], now=asked_at)
                    note_found(connection, entry, kept.crm_id)
                    mark_dirty(connection, outbox.unveil(connection, {entry.person_id}, "handover_no"))
                    sending.report.tasks_created += 1
                    doubles += younger
                elif sending.unique or asked_at >= (entry.hold_until or 0):
                    outbox.release(connection, entry, now=asked_at)
                else:
                    sending.report.postponed += 1
        if doubles:
            sending.report.doubled += len(doubles)
            remove_doubles(sending, doubles)


def tell_apart(tasks: Sequence[FoundTask]) -> tuple[FoundTask, list[FoundTask]]:
    """The task of a key that stays (the oldest that is not deleted, else the oldest), and the others that still exist.

    A listing that changes while it is read names a task twice: it is one, as it was seen last.
    """
    each = {task.crm_id: task for task in tasks}
    ordered = sorted(each.values(), key=lambda task: (task.deleted, task.created_at, len(task.crm_id), task.crm_id))
    kept, *others = ordered
    return kept, [task for task in others if not task.deleted]


def remove_doubles(sending: Sending, doubles: Sequence[FoundTask]) -> None:
    """Delete second tasks that nobody has touched; those that somebody works on stay, and are named."""
    for task in doubles:
        remove_double(sending.state, sending.connector, task)


def remove_double(state: State, connector: Connector, task: FoundTask) -> bool:
    """Delete one second task, unless somebody has touched it; whether it is gone."""
    state.require_lease()
    new = {"key": task.key, "crm_id": task.crm_id}
    subject = f"{connector.name}/task/{task.crm_id}"
    if not task.touched:
        with state.begin() as connection:
            audit.note(connection, "remove-double", subject, new=new, why="a second task with the same key, untouched")
    removed = not task.touched and _remove(connector, task)
    _log.error("%s: a second task of one hand-over: %s", connector.name, "removed" if removed else "left")
    if not removed:
        why = "a second task with the same key, in use" if task.touched else "whether it was removed is not known"
        with state.begin() as connection:
            audit.note(connection, "double", subject, new=new, why=why)
    return removed


def _remove(connector: Connector, task: FoundTask) -> bool:
    """False where the CRM does not let us: the task stays, and is named."""
    try:
        connector.remove_task(task.crm_id)
    except ConnectorError as error:
        _log.warning("%s: a second task could not be removed: %s", connector.name, error.message)
        return False
    return True
