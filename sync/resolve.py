"""Recognise: touched records become people. One short transaction per batch; a batch that dies is simply done again.

What a batch leaves behind is what a fresh load of the same CRMs would give: groups come from `core.identity` on closed
neighbourhoods, activities follow their record, and nothing remembers in which order facts arrived.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from core.handover import inherit_episodes, merge_episodes
from core.identity import Assignment, Group, IdentityInput, attributes, identity_input, is_role_mailbox, resolve
from core.identity.ids import assign_ids
from core.records import FIELD_TYPES, Account, Millis, Record, RecordRef
from sync.companies import company_of, settle_companies
from sync.offers import offer_once
from sync.progress import Progress
from sync.report import RunReport
from sync.settings import Settings
from sync.state import State, now_ms, outbox
from sync.state import schema as t
from sync.state.episodes import keep_episodes, load_episodes
from sync.state.loading import load_accounts, load_records, person_ids, predecessors, refs_of_people
from sync.state.mirror import NOBODY, PERSON_KINDS, mark_dirty
from sync.state.rows import by_place, chunks, delete_at, insert_new, select_at

BATCH = 500


def resolve_touched(state: State, settings: Settings, report: RunReport, progress: Progress) -> None:
    """Resolve everything that was touched since the last time."""
    with state.outside() as connection:
        total = connection.execute(select(func.count()).select_from(t.touched)).scalar_one()
    if not total:
        return
    progress.start("recognise people", total)
    while True:
        with state.begin() as connection:
            rows = connection.execute(
                select(t.touched).order_by(t.touched.c.system, t.touched.c.kind, t.touched.c.id).limit(BATCH)
            ).all()
            refs = [RecordRef(*row) for row in rows]
            if not refs:
                break
            report.records_resolved += _resolve_batch(connection, refs, settings)
            delete_at(connection, t.touched, refs)
        progress.advance("recognise people", len(refs))
    progress.finish("recognise people")


def _resolve_batch(connection: Connection, refs: Sequence[RecordRef], settings: Settings) -> int:
    people = {ref for ref in refs if ref.kind in PERSON_KINDS}
    accounts = [ref for ref in refs if ref.kind == "account"]
    people |= set(_records_at(connection, accounts))
    around = neighbourhood(connection, people)
    records = load_records(connection, around)
    previous = person_ids(connection, around)
    inputs = [identity_input(record) for record in records.values()] + _buried(connection, around - records.keys())
    found = resolve(inputs).groups
    groups = [group for group in found if any(ref in records for ref in group.records)]
    assigned = assign_ids(groups, previous, lambda: _new_person(connection))
    _move(connection, groups, assigned, previous)
    gone = {ref for ref in around if ref not in assigned.people}
    _let_go(connection, gone, previous)
    settle_companies(connection, records, accounts, around - records.keys())
    _describe(connection, groups, assigned, records, settings)
    _place_deals(connection, [ref for ref in refs if ref.kind == "deal"])
    return len(people)


def _buried(connection: Connection, refs: Iterable[RecordRef]) -> list[IdentityInput]:
    """Records that were merged or converted away and are gone themselves: they tie their past to the survivor."""
    row = t.record.c
    columns = (row.system, row.kind, row.id, row.successor_kind, row.successor_id, row.created_at)
    gone = row.deleted_at.is_not(None) & row.successor_id.is_not(None)
    return [
        IdentityInput(
            RecordRef(found["system"], found["kind"], found["id"]),
            successor=RecordRef(found["system"], found["successor_kind"], found["successor_id"]),
            created_at=found["created_at"],
        )
        for found in select_at(connection, t.record, refs, *columns, where=gone)
    ]


# --- neighbourhoods --------------------------------------------------------------------------------------------------


def neighbourhood(connection: Connection, refs: Iterable[RecordRef]) -> set[RecordRef]:
    """All records that addresses, links, succession or a common person tie to `refs`, and so on until nothing is new.

    Role mailboxes tie nobody, so they are not followed.
    """
    seen: set[RecordRef] = set()
    fresh = set(refs)
    while fresh:
        seen |= fresh
        fresh = _neighbours(connection, fresh) - seen
    return seen


def _neighbours(connection: Connection, refs: Collection[RecordRef]) -> set[RecordRef]:
    found: set[RecordRef] = set()
    mail, link, row = t.record_email.c, t.record_link.c, t.record.c
    emails = {m["email"] for m in select_at(connection, t.record_email, refs, mail.email)}
    for part in chunks(sorted(e for e in emails if not is_role_mailbox(e))):
        holders = connection.execute(select(mail.system, mail.kind, mail.id).where(mail.email.in_(part)))
        found |= {RecordRef(*holder) for holder in holders}
    for to in select_at(connection, t.record_link, refs, link.to_system, link.to_kind, link.to_id):
        found.add(RecordRef(to["to_system"], to["to_kind"], to["to_id"]))
    for system, kind, ids in by_place(refs):
        linked = (link.to_system == system, link.to_kind == kind, link.to_id.in_(ids))
        found |= {RecordRef(*at) for at in connection.execute(select(link.system, link.kind, link.id).where(*linked))}
    found.update(predecessors(connection, refs))
    people: set[int] = set()
    columns = (row.system, row.kind, row.successor_kind, row.successor_id, row.absorbed, row.person_id)
    for own in select_at(connection, t.record, refs, *columns):
        if own["successor_id"]:
            found.add(RecordRef(own["system"], own["successor_kind"], own["successor_id"]))
        found |= {RecordRef(own["system"], own["kind"], gone) for gone in own["absorbed"]}
        people |= {own["person_id"]} - {None}
    found |= set(refs_of_people(connection, people))
    return found


def _records_at(connection: Connection, accounts: Iterable[RecordRef]) -> list[RecordRef]:
    """The person records of these accounts."""
    found: list[RecordRef] = []
    by_system: dict[str, list[str]] = {}
    for ref in accounts:
        by_system.setdefault(ref.system, []).append(ref.id)
    for system, ids in by_system.items():
        for part in chunks(ids):
            where = (t.record.c.system == system, t.record.c.account_id.in_(part), t.record.c.deleted_at.is_(None))
            found += [
                RecordRef(system, *row)
                for row in connection.execute(select(t.record.c.kind, t.record.c.id).where(*where))
            ]
    return found


# --- people ----------------------------------------------------------------------------------------------------------


def _new_person(connection: Connection) -> int:
    empty = {"created_at": 0, "first_known_at": 0, "opted_out": False, "dirty": True, "restated": False}
    return int(connection.execute(insert(t.person).values(**empty).returning(t.person.c.person_id)).scalar_one())


def _move(
    connection: Connection, groups: Sequence[Group], assigned: Assignment, previous: Mapping[RecordRef, int]
) -> None:
    """Records, activities and hand-overs go to the person they belong to now."""
    _touch_companies(
        connection,
        {
            *assigned.aliases,
            *assigned.splits.values(),
            *(previous.get(r, NOBODY) for r in assigned.people if previous.get(r) != assigned.people[r]),
        },
    )
    for old, new in assigned.aliases.items():
        connection.execute(update(t.person_alias).where(t.person_alias.c.person_id == old).values(person_id=new))
        insert_new(connection, t.person_alias, [{"old_id": old, "person_id": new}])
        episodes = load_episodes(connection, [old, new])
        if old in episodes:
            own, others = offer_once(connection, (new, episodes.get(new, ())), (old, episodes[old]), now=now_ms())
            keep_episodes(connection, new, merge_episodes(own, others))
        connection.execute(update(t.outbox).where(t.outbox.c.person_id == old).values(person_id=new))
        connection.execute(update(t.activity).where(t.activity.c.person_id == old).values(person_id=new))
        _drop_person(connection, old)
        _restate(connection, [new])
    moved: dict[RecordRef, int] = {}
    came_from: dict[RecordRef, int] = {}
    for group in groups:
        person = assigned.people[group.records[0]]
        for ref in group.members:
            if previous.get(ref) != person:
                moved[ref] = person
                before = previous.get(ref, NOBODY)
                came_from[ref] = assigned.aliases.get(before, before)
    _set_person(connection, moved)
    _move_owed(connection, {ref: person for ref, person in moved.items() if came_from[ref] != NOBODY})
    mark_dirty(connection, set(moved.values()) & set(previous.values()))  # a new record shows nothing yet
    _move_activities(connection, {ref: (came_from[ref], person) for ref, person in moved.items()})
    for new, old in assigned.splits.items():
        moved_refs = frozenset(ref for ref, person in assigned.people.items() if person == new)
        all_of_old = load_episodes(connection, [old]).get(old, ())
        keep_episodes(connection, new, inherit_episodes(all_of_old, moved_refs))
        stayed = frozenset(ref for ref, person in assigned.people.items() if person == old)
        keep_episodes(connection, old, inherit_episodes(all_of_old, stayed))
        _restate(connection, [old, new])


def _move_owed(connection: Connection, people: Mapping[RecordRef, int]) -> None:
    """What is owed to a record concerns the person it belongs to now."""
    rows = [{"b_person": p, "b_system": ref.system, "b_kind": ref.kind, "b_id": ref.id} for ref, p in people.items()]
    if rows:
        connection.execute(_set_owed_person, rows)


_set_owed_person = (
    update(t.outbox)
    .where(
        t.outbox.c.system == bindparam("b_system"),
        t.outbox.c.kind == bindparam("b_kind"),
        t.outbox.c.id == bindparam("b_id"),
    )
    .values(person_id=bindparam("b_person"))
)


def _set_person(connection: Connection, people: Mapping[RecordRef, int | None]) -> None:
    rows = [{"b_person": p, "b_system": ref.system, "b_kind": ref.kind, "b_id": ref.id} for ref, p in people.items()]
    if rows:
        connection.execute(_set_records_person, rows)


_set_records_person = (
    update(t.record)
    .where(
        t.record.c.system == bindparam("b_system"),
        t.record.c.kind == bindparam("b_kind"),
        t.record.c.id == bindparam("b_id"),
    )
    .values(person_id=bindparam("b_person"))
)

_move_whose = (
    update(t.activity)
    .where(
        t.activity.c.person_id == bindparam("b_old"),
        t.activity.c.who == bindparam("b_who"),
        t.activity.c.source.in_(select(t.source.c.code).where(t.source.c.system == bindparam("b_system"))),
    )
    .values(person_id=bindparam("b_new"))
)


def _move_activities(connection: Connection, moves: Mapping[RecordRef, tuple[int, int]]) -> None:
    """The activities of records, by reference and by address, go from one person (or nobody) to another."""
    moving = {ref: (old, new) for ref, (old, new) in moves.items() if old != new}
    rows = [
        {"b_old": old, "b_new": new, "b_who": f"{ref.kind}/{ref.id}", "b_system": ref.system}
        for ref, (old, new) in moving.items()
    ]
    for row in select_at(connection, t.record_email, moving):
        old, new = moving[RecordRef(row["system"], row["kind"], row["id"])]
        if not is_role_mailbox(row["email"]):
            who = f"email/{row['email']}"
            rows.append({"b_old": old, "b_new": new, "b_who": who, "b_system": row["system"]})
    if rows:
        connection.execute(_move_whose, rows)


def _let_go(connection: Connection, gone: set[RecordRef], previous: Mapping[RecordRef, int]) -> None:
    """Records that were deleted without a successor leave their person, and take their activities with them."""
    left: set[int] = set()
    for ref in sorted(gone & previous.keys()):
        person = previous[ref]
        _move_activities(connection, {ref: (person, NOBODY)})
        _set_person(connection, {ref: None})
        outbox.cancel_gone(connection, ref, now=now_ms())
        left.add(person)
    _touch_companies(connection, left)
    for person in sorted(left):
        if connection.execute(select(t.record.c.id).where(t.record.c.person_id == person).limit(1)).first() is None:
            connection.execute(update(t.activity).where(t.activity.c.person_id == person).values(person_id=NOBODY))
            connection.execute(delete(t.handover).where(t.handover.c.person_id == person))
            _drop_person(connection, person)
    mark_dirty(connection, left)


def _touch_companies(connection: Connection, people: Iterable[int]) -> None:
    """The colleagues of people who move or leave: their company is not what it was."""
    for part in chunks(sorted(set(people) - {NOBODY})):
        companies = select(t.person.c.company_id).where(
            t.person.c.person_id.in_(part), t.person.c.company_id.is_not(None)
        )
        connection.execute(update(t.person).where(t.person.c.company_id.in_(companies)).values(dirty=True))


def _drop_person(connection: Connection, person: int) -> None:
    for table in (t.score, t.unassigned, t.handover, t.person):
        connection.execute(delete(table).where(table.c.person_id == person))


def _restate(connection: Connection, people: Iterable[int]) -> None:
    connection.execute(update(t.person).where(t.person.c.person_id.in_(list(people))).values(restated=True, dirty=True))


# --- attributes ------------------------------------------------------------------------------------------------------


def _describe(
    connection: Connection,
    groups: Sequence[Group],
    assigned: Assignment,
    records: Mapping[RecordRef, Record],
    settings: Settings,
) -> None:
    """Write each person's row; a row that changed makes the person dirty."""
    accounts = load_accounts(connection, {record.account for record in records.values() if record.account})
    order = attribute_order(settings)
    vendors = vendors_of(settings)
    rows: dict[int, dict[str, Any]] = {}
    sources: dict[int, RecordRef] = {}
    for group in groups:
        person = assigned.people[group.records[0]]
        own = [records[ref] for ref in group.records if ref in records]
        row = (
            attributes(own, accounts, order=order, vendors=vendors)
            if order
            else attributes(own, accounts, vendors=vendors)
        )
        known = {name: row.values.get(name) for name in FIELD_TYPES}
        rows[person] = {
            "created_at": row.created_at,
            "opted_out": row.opted_out,
            "recontact_on": row.recontact_on,
            **known,
        }
        if row.company is not None:
            sources[person] = row.company
    companies = company_of(connection, set(sources.values()))
    first = _first_known(connection, rows)
    before: dict[int, Any] = {}
    for part in chunks(rows):
        found = connection.execute(select(t.person).where(t.person.c.person_id.in_(part))).mappings()
        before.update({row["person_id"]: row for row in found})
    neighbours: set[int] = set()
    changed = []
    for person, values in rows.items():
        values["company_id"] = companies.get(sources[person]) if person in sources else None
        values["first_known_at"] = min(first.get(person, values["created_at"]), values["created_at"])
        old = before[person]
        if any(old[name] != value for name, value in values.items()):
            changed.append({"b_person": person, **{f"b_{name}": value for name, value in values.items()}})
            if old["company_id"] != values["company_id"]:
                neighbours |= {c for c in (old["company_id"], values["company_id"]) if c is not None}
    if changed:
        connection.execute(_rewrite_person, changed)
    for part in chunks(sorted(neighbours)):
        connection.execute(update(t.person).where(t.person.c.company_id.in_(part)).values(dirty=True))


_REWRITTEN = ("created_at", "first_known_at", "opted_out", "recontact_on", "company_id", *FIELD_TYPES)

_rewrite_person = (
    update(t.person)
    .where(t.person.c.person_id == bindparam("b_person"))
    .values(dirty=True, **{name: bindparam(f"b_{name}") for name in _REWRITTEN})
)


def _first_known(connection: Connection, people: Iterable[int]) -> dict[int, Millis]:
    found: dict[int, Millis] = {}
    for part in chunks(people):
        statement = (
            select(t.activity.c.person_id, func.min(t.activity.c.known_at))
            .where(t.activity.c.person_id.in_(part))
            .group_by(t.activity.c.person_id)
        )
        found.update((person, at) for person, at in connection.execute(statement))
    return found


def _place_deals(connection: Connection, refs: Sequence[RecordRef]) -> None:
    """Give deals their company, and mark everyone whom a changed deal concerns."""
    for ref in refs:
        deal = (
            connection.execute(select(t.deal).where(t.deal.c.system == ref.system, t.deal.c.id == ref.id))
            .mappings()
            .first()
        )
        if deal is None:
            continue
        company = None
        if deal["account_id"]:
            where = (t.account.c.system == ref.system, t.account.c.id == deal["account_id"])
            company = connection.execute(select(t.account.c.company_id).where(*where)).scalar()
        roles = select(t.record.c.person_id).join(
            t.deal_role,
            (t.record.c.system == t.deal_role.c.system)
            & (t.record.c.kind == t.deal_role.c.kind)
            & (t.record.c.id == t.deal_role.c.id),
        )
        persons = [
            p
            for p in connection.execute(
                roles.where(t.deal_role.c.system == ref.system, t.deal_role.c.deal == ref.id)
            ).scalars()
            if p
        ]
        if company is None and persons:
            where_person = t.person.c.person_id.in_(persons)
            company = connection.execute(select(func.min(t.person.c.company_id)).where(where_person)).scalar()
        duplicate = _linked_deal(connection, deal)
        connection.execute(
            update(t.deal).where(t.deal.c.deal_id == deal["deal_id"]).values(company_id=company, duplicate_of=duplicate)
        )
        copies = (t.deal.c.link_system == ref.system, t.deal.c.link_id == ref.id)  # whichever of the pair came first
        stands = deal["deal_id"] if deal["deleted_at"] is None else None
        connection.execute(update(t.deal).where(*copies).values(duplicate_of=stands))
        companies = {c for c in (company, deal["company_id"]) if c is not None}
        if companies:
            connection.execute(update(t.person).where(t.person.c.company_id.in_(companies)).values(dirty=True))
        mark_dirty(connection, persons)


def _linked_deal(connection: Connection, deal: Any) -> int | None:
    """The paired CRM's deal that this one copies: one linked pair is one outcome, the link's target is the original."""
    if not deal["link_id"]:
        return None
    where = (t.deal.c.system == deal["link_system"], t.deal.c.id == deal["link_id"], t.deal.c.deleted_at.is_(None))
    return connection.execute(select(t.deal.c.deal_id).where(*where)).scalar()


def vendors_of(settings: Settings) -> dict[str, str]:
    """Connection name to vendor."""
    return {name: str(section["vendor"]) for name, section in settings.connections.items()}


def attribute_order(settings: Settings) -> tuple[tuple[str, str], ...]:
    """(connection, kind) in the order in which attributes are believed, as the settings say; empty: core's default."""
    pairs = (entry.partition("/") for entry in settings.identity.order)
    return tuple((system, kind) for system, _, kind in pairs)


__all__ = ["Account", "attribute_order", "neighbourhood", "resolve_touched", "vendors_of"]
