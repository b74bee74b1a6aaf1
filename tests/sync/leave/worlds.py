"""A person whose every trace is a word that stands nowhere else, in a small world of others."""

import json
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from core.handover import Episode
from core.records import DAY_MS, Change, DealRole, Fact, Record, RecordRef, Tombstone
from sync.progress import Silent
from sync.report import RunReport
from sync.resolve import resolve_touched
from sync.settings import Settings
from sync.state import State, outbox
from sync.state import schema as t
from sync.state.episodes import keep_episodes
from sync.state.mirror import Stored, store
from tests.sync.builders import NOW, a_deal, a_record, an_activity, ref

NAME, PHONE, COMPANY, ASSET = "金糸雀太郎", "03-5555-0117", "カナリヤ鳴鳥商会", "さえずり白書"
ADDRESS, SECOND, URL = "kanaria@songbird.example", "k.taro@private.example", "https://songbird.example/p?who=kanaria"
CANARIES = (NAME, "金糸雀", PHONE, COMPANY, "カナリヤ", ASSET, ADDRESS, SECOND, URL, "songbird")

CONTACT, LEAD, TWIN = ref("contact", "003L"), ref("lead", "00QL"), RecordRef("hubspot", "contact", "7001")
OTHER = ref("contact", "003K")


def the_contact(**more: Any) -> Record:
    fields = {"last_name": NAME, "phone": PHONE, "company": COMPANY, "title": "部長", "website": "songbird.example"}
    return a_record("003L", emails=(ADDRESS, SECOND), fields=fields, answers={"feedback_note": NAME}, **more)


def the_twin() -> Record:
    fields = {"last_name": NAME, "company": COMPANY}
    return a_record("7001", system="hubspot", email=ADDRESS, fields=fields)


def their_facts() -> list[Fact]:
    """Everything two CRMs say of them."""
    return [
        the_contact(),
        the_twin(),
        a_record("00QL", kind="lead", email=ADDRESS, fields={"last_name": NAME, "company": COMPANY}),
        an_activity("00TL", "call", CONTACT, asset=ASSET, days_ago=3),
        an_activity("00TM", "call", LEAD, asset=ASSET, days_ago=9),
        an_activity("f1", "form_submit", ADDRESS, system="hubspot", object="form", url=URL),
        an_activity("f2", "form_submit", SECOND, system="hubspot", object="form", url=URL),
        Change(ref("ContactHistory", "017L"), CONTACT, "title", NAME, "部長", NOW - DAY_MS),
        a_deal("006L", name=f"{NAME}様 導入", loss_reason=NAME),
        DealRole(ref("OpportunityContactRole", "00KL"), ref("deal", "006L"), CONTACT, "決裁者"),
    ]


def other_facts() -> list[Fact]:
    """Somebody else, and what they share with nobody."""
    return [
        a_record("003K", email="ito@plain.example", fields={"last_name": "伊藤", "company": "平野工業"}),
        an_activity("00TK", "call", OTHER, asset="一般資料"),
        Change(ref("ContactHistory", "017K"), OTHER, "title", "係長", "課長", NOW),
        a_deal("006K", name="平野工業 更新"),
        DealRole(ref("OpportunityContactRole", "00KK"), ref("deal", "006K"), OTHER, None),
    ]


def put(state: State, settings: Settings, *facts: Fact) -> Stored:
    with state.begin() as connection:
        stored = store(connection, facts)
    resolve_touched(state, settings, RunReport("r", "all", 0), Silent())
    return stored


def settle(state: State, settings: Settings) -> int:
    """Both people stored, scored and handed over as a pass would leave them; the leaver's number."""
    put(state, settings, *their_facts(), *other_facts())
    put(state, settings, Tombstone(LEAD, NOW - 5 * DAY_MS, CONTACT))
    people = numbers(state)
    with state.begin() as connection:
        for contact, mark in ((CONTACT, NAME), (OTHER, "伊藤")):
            person = people[contact]
            _own(connection, contact, person, mark)
    return people[CONTACT]


def _own(connection: Any, contact: RecordRef, person: int, mark: str) -> None:
    """What we decided about a person, wrote into a CRM, and owe it."""
    payload = {"owner_id": "005A", "subject": mark, "body": f"{mark} 様", "due": 20_000, "priority": "high"}
    for number in (1, 2):
        key = f"key-{contact.id}-{number}"
        outbox.want_task(connection, contact, person, key, payload, now=NOW)
    sent = t.outbox.update().where(t.outbox.c.key == f"key-{contact.id}-1")
    connection.execute(sent.values(state="done", done_at=NOW - 40 * DAY_MS, crm_id="00T9", message=mark))
    shown = {"values": {"score": 80, "reasons": mark}, "reason_key": "k"}
    outbox.want_fields(connection, {contact: (person, shown)}, now=NOW)
    fields = t.outbox.update().where(t.outbox.c.effect == "fields", t.outbox.c.id == contact.id)
    connection.execute(fields.values(state="done", done_at=NOW))
    at = {"system": contact.system, "kind": contact.kind, "id": contact.id}
    written = {"values": {"score": 80, "reasons": mark}, "digest": "d", "reason_key": "k", "at": NOW}
    connection.execute(t.acknowledged.insert().values(**at, **written))
    connection.execute(t.contested.insert().values(**at, field="score", times=1, theirs="x", at=NOW))
    connection.execute(t.unassigned.insert().values(person_id=person, at=NOW))
    keep_episodes(connection, person, [Episode(1, "sales", "offered", NOW, True, False, contact)])
    numbers_of_score = dict.fromkeys(("total", "priority", "fit", "engagement", "relationship", "withheld"), 1)
    connection.execute(
        t.score.insert().values(
            person_id=person,
            as_of=NOW,
            digest="d",
            band="A",
            trend="flat",
            reason_key="k",
            reasons=[{"asset": mark}],
            version=1,
            **numbers_of_score,
        )
    )


def numbers(state: State) -> dict[RecordRef, int]:
    with state.read() as connection:
        rows = connection.execute(select(t.record).where(t.record.c.person_id.is_not(None))).mappings()
        return {RecordRef(row["system"], row["kind"], row["id"]): row["person_id"] for row in rows}


def everything(state: State) -> str:
    """All rows of all tables as text."""
    with state.read() as connection:
        return "\n".join(
            json.dumps(dict(row), ensure_ascii=False, default=str)
            for table in t.metadata.sorted_tables
            for row in connection.execute(select(table)).mappings()
        )


def found_in(text: str) -> list[str]:
    return [canary for canary in CANARIES if canary in text]


def found_in_files(folder: Path) -> list[str]:
    """Canaries in any file below a folder, as `file: canary`."""
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            found += [f"{path.name}: {canary}" for canary in CANARIES if canary.encode() in content]
            found += [
                f"{path.name}: {canary}"
                for canary in CANARIES
                if json.dumps(canary)[1:-1].encode() in content and not canary.isascii()
            ]
    return found


def count(state: State, table: Any, *where: Any) -> int:
    with state.read() as connection:
        return int(connection.execute(select(func.count()).select_from(table).where(*where)).scalar_one())
