"""What both CRMs and the state hold at one moment: read straight from the emulators' stores, each table once."""

from collections import defaultdict
from functools import cached_property
from typing import Any

from sandbox.hubspot.object_types import CONTACTS, resolve
from sync.state import schema as t
from tests.simulation.world import World

Row = dict[str, Any]

PREFIX = "mk1-"
"""Of every key of ours; the tasks by which `setup` probes a portal carry another."""

PERSON_KINDS = {"Lead": "lead", "Contact": "contact"}


class Seen:
    """One look, shared by all checks of one moment. A record is named `system/kind/id`."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._state: dict[str, list[Row]] = {}
        self._org: dict[str, list[Row]] = {}
        self._portal: dict[str, list[Row]] = {}

    def state(self, table: Any) -> list[Row]:
        """Every row of a table of the state."""
        if table.name not in self._state:
            self._state[table.name] = self._world.rows(table)
        return self._state[table.name]

    def org(self, sobject: str) -> list[Row]:
        """Every row of a Salesforce object as stored, the bin included: stamps are milliseconds, flags 0 and 1."""
        if sobject not in self._org:
            self._org[sobject] = self._world.org_rows(sobject)
        return self._org[sobject]

    def portal(self, kind: str) -> list[Row]:
        """Every row of a HubSpot type, the archived ones too."""
        if kind not in self._portal:
            self._portal[kind] = self._world.hubspot_rows(kind)
        return self._portal[kind]

    # --- people -------------------------------------------------------------------------------------------------------

    @cached_property
    def live(self) -> dict[str, Row]:
        """Live person records of both CRMs: what the mirror should say of their mapped fields."""
        accounts = {row["Id"]: row["Name"] for row in self.org("Account")}
        found: dict[str, Row] = {}
        for sobject, kind in PERSON_KINDS.items():
            for row in self.org(sobject):
                if not row["IsDeleted"] and not row.get("IsConverted"):
                    company = row["Company"] if sobject == "Lead" else accounts.get(row["AccountId"])
                    found[f"salesforce/{kind}/{row['Id']}"] = _facts(
                        row["Email"], row["LastName"], row["Title"], company
                    )
        for row in self.contacts:
            own = row["properties"]
            names = ("email", "lastname", "jobtitle", "company")
            found[f"hubspot/contact/{row['id']}"] = _facts(*(own.get(name) for name in names))
        return found

    @cached_property
    def contacts(self) -> list[Row]:
        """Live HubSpot contacts."""
        return [row for row in self.portal("contacts") if row["archived_ms"] is None]

    @cached_property
    def mirrored(self) -> dict[str, Row]:
        """Live person records of the mirror."""
        rows = self.state(t.record)
        return {name_of(row): row for row in rows if row["deleted_at"] is None and row["successor_id"] is None}

    @cached_property
    def shown(self) -> dict[str, Row]:
        """What live records show of score, band and version."""
        found: dict[str, Row] = {}
        for sobject, kind in PERSON_KINDS.items():
            for row in self.org(sobject):
                if (ref := f"salesforce/{kind}/{row['Id']}") in self.live:
                    names = ("Mikomi_Score__c", "Mikomi_Band__c", "Mikomi_Score_Version__c")
                    found[ref] = _values(*(row[name] for name in names))
        for row in self.contacts:
            names = ("mikomi_score", "mikomi_band", "mikomi_score_version")
            found[f"hubspot/contact/{row['id']}"] = _values(*(row["properties"].get(name) for name in names))
        return found

    # --- tasks --------------------------------------------------------------------------------------------------------

    @cached_property
    def tasks(self) -> dict[str, list[str]]:
        """Every task of ours in either CRM, deleted ones too: key to places."""
        found: dict[str, list[str]] = defaultdict(list)
        for row in self.org("Task"):
            if row["Mikomi_Key__c"] is not None:
                found[row["Mikomi_Key__c"]].append(f"salesforce/{row['Id']}")
        for row in self.portal("tasks"):
            key = row["properties"].get("mikomi_key") or ""
            if key.startswith(PREFIX):
                found[key].append(f"hubspot/{row['id']}")
        return dict(found)

    @cached_property
    def owed_tasks(self) -> dict[str, Row]:
        """The outbox's tasks by key."""
        return {row["key"]: row for row in self.state(t.outbox) if row["effect"] == "task"}

    # --- what hangs on people -----------------------------------------------------------------------------------------

    def people_on(self, kind: str, row_id: int) -> list[str]:
        """Live contacts that a HubSpot record is linked to."""
        portal = self._world.box.hubspot_app.portal
        with portal.store.transaction():
            return [f"hubspot/contact/{contact}" for contact, _ in portal.links.of(resolve(kind), row_id, CONTACTS)]

    @cached_property
    def met(self) -> set[tuple[str, str, str, str]]:
        """What people did, as the CRMs have it: (system, object, id of the row, record of the person)."""
        found = set()
        for row in self.org("Event"):
            found.add(("salesforce", "Event", str(row["Id"]), self._who(row["WhoId"]), row["IsDeleted"]))
        for row in self.org("Task"):
            if row["IsClosed"] and row["TaskSubtype"] == "Call" and row["Mikomi_Key__c"] is None:
                found.add(("salesforce", "Task", str(row["Id"]), self._who(row["WhoId"]), row["IsDeleted"]))
        for kind in ("calls", "meetings"):
            for row in self.portal(kind):
                for who in self.people_on(kind, row["id"]):
                    found.add(("hubspot", kind, str(row["id"]), who, row["archived_ms"] is not None))
        return {
            (system, name, row_id, who) for system, name, row_id, who, gone in found if who in self.live and not gone
        }

    @staticmethod
    def _who(record: str | None) -> str:
        kind = {"00Q": "lead", "003": "contact"}.get((record or "")[:3], "")
        return f"salesforce/{kind}/{record}"

    @cached_property
    def activities(self) -> list[Row]:
        """The mirror's activities, each with the `system` and `object` that it comes from."""
        sources = {row["code"]: row for row in self.state(t.source)}
        return [
            row | {"system": sources[row["source"]]["system"], "object": sources[row["source"]]["object"]}
            for row in self.state(t.activity)
        ]

    @cached_property
    def deals(self) -> dict[str, tuple[str, bool]]:
        """Live deals of both CRMs: stage, and whether it is won."""
        found = {
            f"salesforce/{row['Id']}": (row["StageName"], bool(row["IsWon"]))
            for row in self.org("Opportunity")
            if not row["IsDeleted"]
        }
        for row in self.portal("deals"):
            if row["archived_ms"] is None:
                own = row["properties"]
                found[f"hubspot/{row['id']}"] = (own["dealstage"], own.get("hs_is_closed_won") == "true")
        return found

    @cached_property
    def companies(self) -> dict[str, str]:
        """Live accounts and companies by name."""
        found = {f"salesforce/{row['Id']}": row["Name"] for row in self.org("Account") if not row["IsDeleted"]}
        for row in self.portal("companies"):
            if row["archived_ms"] is None:
                found[f"hubspot/{row['id']}"] = row["properties"].get("name")
        return found


def name_of(row: Row) -> str:
    return f"{row['system']}/{row['kind']}/{row['id']}"


def _facts(email: Any, last_name: Any, title: Any, company: Any) -> Row:
    values = {"email": (email or "").lower(), "last_name": last_name, "title": title, "company": company}
    return {name: value or None for name, value in values.items()}


def _values(score: Any, band: Any, version: Any) -> Row:
    whole = [None if value in (None, "") else int(float(value)) for value in (score, version)]
    return {"score": whole[0], "band": band or None, "score_version": whole[1]}
