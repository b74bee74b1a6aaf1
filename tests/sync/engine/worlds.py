"""A generated world of the scoring tests, written into a state database as the cycle would have."""

from typing import Any

from sqlalchemy import Connection, insert

from sync.state import State
from sync.state import schema as t

Row = dict[str, Any]


def store_world(state: State, world: dict[str, list[Row]]) -> None:
    with state.begin() as connection:
        connection.execute(insert(t.source).values(code=1, system="salesforce", object="Task"))
        for person in world["person"]:
            connection.execute(insert(t.person).values(**person, dirty=True, restated=False))
            connection.execute(insert(t.record).values(**record_row(person["person_id"])))
        for activity in world["activity"]:
            connection.execute(insert(t.activity).values(**activity_row(activity)))
        store_deals(connection, world)


def record_row(person_id: int) -> Row:
    return {
        "system": "salesforce", "kind": "contact", "id": f"003{person_id}", "person_id": person_id, "created_at": 0,
        "modified_at": 0, "changed_at": 0, "fingerprint": "", "fields": {}, "absorbed": [], "emails": [], "links": [], "consent": {}, "answers": {},
        "written": {},
    }  # fmt: skip


def activity_row(activity: Row) -> Row:
    row = {key: value for key, value in activity.items() if key != "duplicate"}
    return row | {
        "duplicate_of": 99 if activity["duplicate"] else None,
        "source": 1,
        "source_id": str(activity["id"]),
        "who": f"contact/003{activity['person_id']}",
        "known_inexact": False,
        "machine": activity["suspect"],
    }


def store_deals(connection: Connection, world: dict[str, list[Row]]) -> None:
    for deal in world["deal"]:
        connection.execute(
            insert(t.deal).values(
                deal_id=deal["deal_id"], system="salesforce", id=f"006{deal['deal_id']}", company_id=deal["company_id"],
                stage="x", is_closed=deal["won"] or deal["lost"], is_won=deal["won"], created_at=deal["created_at"],
                closed_at=deal["closed_at"], modified_at=0,
            )
        )  # fmt: skip
    for number, role in enumerate(world["deal_person"]):
        connection.execute(
            insert(t.deal_role).values(
                system="salesforce", source_id=f"00K{number}", deal=f"006{role['deal_id']}", kind="contact",
                id=f"003{role['person_id']}",
            )
        )  # fmt: skip
