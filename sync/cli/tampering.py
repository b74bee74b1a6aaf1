"""What people do in the CRMs during the demo: edits as a user makes them, chosen so that their effect is known."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, func, select

from core.records import RecordRef, to_datetime
from sync.cli.practice import Holdings, Practice
from sync.look.people import KnownPerson, load_people
from sync.state import schema as t
from sync.texts import Say

NEW_TITLE = "部長"
HOUR_MS = 3_600_000
MOST_POINTS = 60
"""Only people below this are edited, so that no cap hides what an edit is worth."""


@dataclass(frozen=True, slots=True)
class Edit:
    """One thing that happens. `raises`: it must raise the person's score."""

    kind: Literal["title", "meeting", "inquiry", "convert"]
    person_id: int
    who: str
    ref: RecordRef
    email: str | None
    raises: bool

    def describe(self, say: Say) -> str:
        """What happened, in one sentence."""
        match self.kind:
            case "title":
                return say("{who} is promoted: a rep enters the title {title}", who=self.who, title=NEW_TITLE)
            case "meeting":
                return say("a rep logs a meeting with {who}", who=self.who)
            case "inquiry":
                return say("{who} sends an inquiry form", who=self.who)
            case "convert":
                return say("a rep converts the Lead {who}", who=self.who)


def choose_edits(connection: Connection, language: str) -> list[Edit]:
    """Up to four edits, each on another person."""
    edits: list[Edit] = []
    for person, kind, raises in _candidates(connection):
        ref = person.records[0].ref
        if person.person_id not in {edit.person_id for edit in edits} and kind not in {edit.kind for edit in edits}:
            edits.append(Edit(kind, person.person_id, person.name(language), ref, person.email, raises))
    return edits


def make_edits(market: Practice, edits: Sequence[Edit]) -> None:
    """Carry the edits out through the control API, as a user in the user interface would."""
    for edit in edits:
        match edit.kind:
            case "title":
                fields: dict[str, Any] = {"Title": NEW_TITLE}
                _salesforce(market, {"action": "update", "sobject": "Lead", "id": edit.ref.id, "fields": fields})
            case "meeting":
                end = market.now_ms() - HOUR_MS
                times = {"StartDateTime": _stamp(end - HOUR_MS), "EndDateTime": _stamp(end)}
                fields = {"Subject": "面談", "WhoId": edit.ref.id, **times}
                _salesforce(market, {"action": "create", "sobject": "Event", "fields": fields})
            case "inquiry":
                form = next(form for form in Holdings(market).forms() if "問い合わせ" in form["name"])
                submission = {"formId": form["id"], "values": [{"name": "email", "value": edit.email}]}
                market.control("hubspot", "events", {"form_submissions": [submission]})
            case "convert":
                _salesforce(market, {"action": "convert", "id": edit.ref.id, "opportunity": False})


def _salesforce(market: Practice, order: dict[str, Any]) -> None:
    market.control("salesforce", "records", order)


def _stamp(at: int) -> str:
    return to_datetime(at).strftime("%Y-%m-%dT%H:%M:%S.000+0000")


Kind = Literal["title", "meeting", "inquiry", "convert"]


def _candidates(connection: Connection) -> Iterator[tuple[KnownPerson, Kind, bool]]:
    """People with one record, and room below every cap that the edit's points could meet."""
    person, score = t.person.c, t.score.c
    low_rank = person.title_rank.in_(("staff", "leader")) | person.title_rank.is_(None)
    room = score.total.between(1, MOST_POINTS)
    # Salesforce makes no account for an owner who has left.
    active = select(t.owner.c.id).where(t.owner.c.system == "salesforce", t.owner.c.active, ~t.owner.c.is_queue)
    owned = t.record.c.owner_id.in_(active)
    wanted: tuple[tuple[Kind, str, str, Any, bool], ...] = (
        ("convert", "salesforce", "lead", (score.band == "A") & owned, False),
        ("meeting", "salesforce", "contact", room & (score.relationship <= 10), True),
        ("title", "salesforce", "lead", room & low_rank & score.fit.between(0, 20), True),
        ("inquiry", "hubspot", "contact", room & (score.engagement <= 15), True),
    )
    for kind, system, record_kind, where, raises in wanted:
        for one in _people(connection, system, record_kind, where):
            yield one, kind, raises


def _people(connection: Connection, system: str, kind: str, where: Any) -> list[KnownPerson]:
    record = t.record.c
    alive = (record.deleted_at.is_(None), record.successor_id.is_(None), record.person_id.is_not(None))
    single = select(record.person_id).where(*alive).group_by(record.person_id).having(func.count() == 1)
    statement = (
        select(t.score.c.person_id)
        .join(t.person, t.person.c.person_id == t.score.c.person_id)
        .join(t.record, record.person_id == t.score.c.person_id)
        .where(record.system == system, record.kind == kind, *alive, where, t.score.c.person_id.in_(single))
        .where(t.person.c.email.is_not(None), t.person.c.last_name.is_not(None), t.person.c.opted_out.is_(False))
        .order_by(t.score.c.priority.desc(), t.score.c.person_id)
        .limit(5)
    )
    return load_people(connection, connection.execute(statement).scalars().all())
