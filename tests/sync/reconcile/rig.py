"""A company that has synced, and ways to go behind its back."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from core.rulebook import ADVISED, template_text
from sandbox.hubspot.object_types import resolve
from sync.backup import restore_backup, write_backup
from sync.progress import Progress, Silent
from sync.reconcile import ReconcileReport, reconcile
from sync.state import schema as t
from tests.sync.practice import Practice, control, set_up_sandbox

PEOPLE = 40


def many_handovers() -> str:
    """The advised rules, with so low a bar that many of a small company are handed over."""
    text = template_text(ADVISED)
    [line] = [line for line in text.splitlines() if line.startswith("handover:")]
    return text.replace(line, "handover: {name: sales, band: C, recent: 700d, rearm_below: 5, initial: all}")


@dataclass(frozen=True, slots=True)
class Company:
    """A company that has synced; `backup`: its state of a day before, when nobody had been handed over yet."""

    practice: Practice
    backup: Path


@contextmanager
def settled_company(folder: Path) -> Iterator[Company]:
    """Scores and tasks are written, and everything was read again: nothing is on its way."""
    with set_up_sandbox(seed=7, people=PEOPLE) as box:
        practice = Practice(box, folder, stage="fields", rulebook=many_handovers())
        practice.sync()
        backup = keep_copy(practice)
        practice.wait(86_400)
        practice.write_config(stage="all")
        practice.sync()
        practice.wait()
        practice.sync()
        practice.wait()
        yield Company(practice, backup)


def look(practice: Practice, *, heal: bool = False, progress: Progress | None = None) -> ReconcileReport:
    """One reconciliation with freshly built objects, as the command line does it."""
    with practice.app() as app, app.state() as state:
        name = app.rulebook.handover.name
        settings = app.loaded.settings
        return reconcile(state, settings, app.connectors, name, heal=heal, progress=progress or Silent())


def found(report: ReconcileReport) -> dict[str, dict[str, int]]:
    """By connection and class, how many differences."""
    return {
        name: {kind: difference.count for kind, difference in system.differences.items() if difference.count}
        for name, system in report.systems.items()
    }


def keep_copy(practice: Practice) -> Path:
    """The state as it is now, like a backup."""
    copy = practice.folder / "copy.sqlite3"
    with practice.state() as state:
        write_backup(state, copy)
    return copy


def restore_copy(practice: Practice, copy: Path) -> None:
    with practice.state() as state:
        restore_backup(state, copy)


def edit_unseen(practice: Practice, sobject: str, id: str, **fields: Any) -> None:
    """An edit in Salesforce that leaves the stamps as they were: no incremental reading can see it."""
    store = practice.box.salesforce_app.org.store
    with store.write():
        columns = ", ".join(f'"{name}" = ?' for name in fields)
        assert store.execute(f'UPDATE "{sobject}" SET {columns} WHERE Id = ?', (*fields.values(), id)) == 1


def touch_unseen(practice: Practice, type: str, id: str, **properties: str) -> None:
    """The same in HubSpot."""
    portal = practice.box.hubspot_app.portal
    shown = practice.hubspot("GET", f"/crm/v3/objects/{type}/{id}")["updatedAt"]
    stamp = round(datetime.fromisoformat(shown).timestamp() * 1000)
    portal.store.touch(resolve(type), [int(id)], dict[str, str | None](properties), stamp, stamp)


def salesforce_order(practice: Practice, **order: Any) -> Any:
    return control(practice.box.salesforce.url, "POST", "records", order)


def hubspot_order(practice: Practice, **order: Any) -> Any:
    return control(practice.box.hubspot.url, "POST", "records", order)


def live_records(practice: Practice, system: str, kind: str) -> list[dict[str, Any]]:
    alive = (t.record.c.system == system, t.record.c.kind == kind, t.record.c.deleted_at.is_(None))
    rows = practice.rows(t.record, *alive, t.record.c.successor_id.is_(None))
    return sorted((dict(row) for row in rows), key=lambda row: row["id"])
