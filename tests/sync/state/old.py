"""State databases as earlier versions left them, with data in every table."""

from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, MetaData, create_engine

import sync.state

ROWS: dict[str, list[dict[str, Any]]] = {
    "source": [{"code": 1, "system": "salesforce", "object": "Task"}],
    "company": [{"company_id": 5, "key": "n:アクメ精機", "name": "アクメ精機株式会社"}],
    "person": [
        {
            "person_id": number,
            "company_id": 5,
            "created_at": 1,
            "first_known_at": 1,
            "opted_out": False,
            "title": "部長",
            "dirty": False,
            "restated": False,
        }
        for number in (41, 43)
    ],
    "record": [
        {
            "system": "salesforce",
            "kind": "contact",
            "id": "003L",
            "person_id": 41,
            "created_at": 1,
            "modified_at": 2,
            "fingerprint": "f",
            "email": "sato@acme.example",
            "fields": {"last_name": "佐藤"},
            "emails": ["sato@acme.example"],
            "links": [],
            "absorbed": [],
            "consent": {},
            "answers": {},
            "written": {"score": 80},
        }
    ],
    "record_email": [{"email": "sato@acme.example", "system": "salesforce", "kind": "contact", "id": "003L"}],
    "activity": [
        {
            "person_id": 41,
            "occurred_at": 10 + n,
            "id": n,
            "kind": 10,
            "known_at": 11,
            "day": 0,
            "suspect": False,
            "source": 1,
            "source_id": f"00T{n}",
            "who": "contact/003L",
            "known_inexact": False,
            "machine": False,
        }
        for n in range(50)
    ],
    "outbox": [
        {
            "outbox_id": 7,
            "effect": "task",
            "system": "salesforce",
            "kind": "contact",
            "id": "003L",
            "person_id": 41,
            "key": "key-1",
            "state": "unknown",
            "version": 1,
            "payload": {"subject": "電話"},
            "digest": "d",
            "attempts": 1,
            "created_at": 1,
            "due_at": 1,
        }
    ],
    "handover": [
        {
            "person_id": 41,
            "number": 1,
            "name": "sales",
            "state": "offered",
            "system": "salesforce",
            "kind": "contact",
            "id": "003L",
            "at": 1,
            "armed": True,
            "seeded": False,
        }
    ],
    "cursor": [{"system": "salesforce", "stream": "Contact", "value": "c", "updated_at": 1}],
    "setting": [{"name": "timezone", "value": "Asia/Tokyo"}],
    "run": [{"run_id": "r1", "started_at": 1, "finished_at": 2, "outcome": "ok", "report": {"people": 1}}],
}


def migrations() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(sync.state.__file__).parent / "migrations"))
    return config


def upgrade(connection: Connection, revision: str) -> None:
    config = migrations()
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def fill_0001(engine: Engine) -> None:
    """An empty database as version 0001 left it after a while."""
    with engine.connect() as connection:
        upgrade(connection, "0001")
        tables = MetaData()
        tables.reflect(connection)
        for name, rows in ROWS.items():
            for row in rows:
                connection.execute(tables.tables[name].insert().values(**row))
        connection.commit()


def make_0001(path: Path) -> None:
    engine = create_engine(f"sqlite:///{path}")
    fill_0001(engine)
    engine.dispose()
