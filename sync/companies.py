"""Which company a record or account belongs to, kept up to date: `core.companies` on closed neighbourhoods of evidence.

A record with a known account belongs to the account's company and says nothing of its own. All other records that say the
same of their company are one *buyer*, so that ten thousand people of one company cost what one does. Accounts and buyers
are tied to each other by name, domain and corporate number; only a change of these leads to a new look.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, select, update

from core.companies import CompanyInput, account_company, company_evidence, record_company, resolve_companies
from core.records import Record, RecordRef
from sync.state import schema as t
from sync.state.loading import load_accounts
from sync.state.mirror import touch
from sync.state.rows import by_place, chunks, delete_at, digest, insert_new, select_at

NAMES_PER_DOMAIN = 200
"""A company's own domain is not shared by more buyers than this, however many ways its name is written."""

TIE = 255
"""Characters of a tie that count: what is longer is a text in a field for names."""

ANYWHERE = "*"
"""The system of buyers: they belong to no CRM."""


def settle_companies(
    connection: Connection,
    records: Mapping[RecordRef, Record],
    accounts: Collection[RecordRef],
    gone: Collection[RecordRef] = (),
) -> None:
    """Bring companies up to date after these records and accounts changed, and `gone` records went.

    Whoever else moves with them is touched.
    """
    known = load_accounts(connection, {*accounts, *(r.account for r in records.values() if r.account)})
    said = {ref: _said(record) for ref, record in records.items() if record.account not in known}
    inputs: dict[RecordRef, CompanyInput | None] = dict.fromkeys(accounts)
    inputs |= {ref: account_company(account) for ref, account in known.items()}
    inputs |= {one.ref: one for one in said.values() if one is not None}
    dropped = _set_buyers(connection, {ref: said.get(ref) for ref in records} | dict.fromkeys(gone))
    inputs |= dict.fromkeys(dropped)
    before = _ties(connection, inputs)
    after = {
        ref: frozenset(tie[:TIE] for tie in company_evidence(one)) if one else frozenset()
        for ref, one in inputs.items()
    }
    changed = [ref for ref in inputs if before.get(ref, frozenset()) != after[ref]]
    delete_at(connection, t.company_tie, changed)
    rows = [{"tie": tie, "system": r.system, "kind": r.kind, "id": r.id} for r in changed for tie in after[r]]
    insert_new(connection, t.company_tie, rows)
    if changed:
        ties = {tie for ref in changed for tie in (*before.get(ref, ()), *after[ref])}
        _resolve(connection, {*changed, *_tied(connection, ties)}, within={*records, *accounts})
    _follow(connection, records, known, said)


def company_of(connection: Connection, refs: Collection[RecordRef]) -> dict[RecordRef, int]:
    """The company of each record, account or buyer that has one."""
    found: dict[RecordRef, int] = {}
    for system, kind, ids in by_place(refs):
        table, where = _place(system, kind)
        statement = select(table.c.id, table.c.company_id).where(
            *where, table.c.id.in_(ids), table.c.company_id.is_not(None)
        )
        found.update({RecordRef(system, kind, id): company for id, company in connection.execute(statement)})
    return found


# --- buyers ----------------------------------------------------------------------------------------------------------


def _said(record: Record) -> CompanyInput | None:
    """What a record without an account says of its company, under the name of its buyer; None if nothing."""
    one = record_company(record)
    if not (one.name or one.domain or one.number):
        return None
    ref = RecordRef(ANYWHERE, "buyer", digest([one.name, one.domain, one.number]))
    return CompanyInput(ref, name=one.name, domain=one.domain, number=one.number)


def _set_buyers(connection: Connection, said: Mapping[RecordRef, CompanyInput | None]) -> list[RecordRef]:
    """Note each record's buyer, make the new ones, and drop those that nobody is left of: these are returned."""
    row = t.record.c
    stored = select_at(connection, t.record, said, row.system, row.kind, row.id, row.buyer)
    before = {RecordRef(r["system"], r["kind"], r["id"]): r["buyer"] for r in stored}
    after = {ref: one.ref.id if one else None for ref, one in said.items()}
    moved = {ref: after[ref] for ref, old in before.items() if old != after[ref]}
    if not moved:
        return []
    made = {one.ref.id: one for one in said.values() if one is not None}
    rows = [{"id": key, "name": one.name, "domain": one.domain, "number": one.number} for key, one in made.items()]
    insert_new(connection, t.buyer, rows)
    keys = [{"b_system": r.system, "b_kind": r.kind, "b_id": r.id, "b_value": value} for r, value in moved.items()]
    connection.execute(_set_record_buyer, keys)
    left = {before[ref] for ref in moved} - {None}
    for part in chunks(sorted(left)):
        left -= set(connection.execute(select(row.buyer).where(row.buyer.in_(part)).distinct()).scalars())
    for part in chunks(sorted(left)):
        connection.execute(delete(t.buyer).where(t.buyer.c.id.in_(part)))
    return [RecordRef(ANYWHERE, "buyer", key) for key in sorted(left)]


def _load_buyers(connection: Connection, refs: Iterable[RecordRef]) -> list[CompanyInput]:
    found = []
    for part in chunks(ref.id for ref in refs):
        for row in connection.execute(select(t.buyer).where(t.buyer.c.id.in_(part))).mappings():
            ref = RecordRef(ANYWHERE, "buyer", row["id"])
            found.append(CompanyInput(ref, name=row["name"], domain=row["domain"], number=row["number"]))
    return found


# --- resolution ------------------------------------------------------------------------------------------------------


def _resolve(connection: Connection, refs: Collection[RecordRef], *, within: Collection[RecordRef]) -> None:
    accounts = load_accounts(connection, [ref for ref in refs if ref.kind == "account"])
    inputs = [account_company(account) for account in accounts.values()]
    inputs += _load_buyers(connection, [ref for ref in refs if ref.kind == "buyer"])
    keys = resolve_companies(inputs)
    names = {one.ref: one.name for one in inputs}
    ids = _company_ids(connection, {keys[ref]: names[ref] for ref in sorted(keys, reverse=True)})
    before = company_of(connection, refs)
    wanted = {ref: ids[keys[ref]] if ref in keys else None for ref in refs}
    moved = [ref for ref in refs if before.get(ref) != wanted[ref]]
    _set_company(connection, {ref: wanted[ref] for ref in moved})
    # Whoever hangs on what moved is looked at again.
    touch(connection, [ref for ref in moved if ref.kind == "account" and ref not in within])
    for part in chunks(ref.id for ref in moved if ref.kind == "buyer" and ref in before):
        columns = (t.record.c.system, t.record.c.kind, t.record.c.id)
        holders = [RecordRef(*row) for row in connection.execute(select(*columns).where(t.record.c.buyer.in_(part)))]
        touch(connection, [ref for ref in holders if ref not in within])


def _follow(
    connection: Connection,
    records: Mapping[RecordRef, Record],
    known: Collection[RecordRef],
    said: Mapping[RecordRef, CompanyInput | None],
) -> None:
    """Records take the company of their account, else of their buyer."""
    hangs: dict[RecordRef, RecordRef | None] = {}
    for ref, record in records.items():
        one = said.get(ref)
        hangs[ref] = record.account if record.account in known else one.ref if one else None
    companies = company_of(connection, {to for to in hangs.values() if to is not None})
    before = company_of(connection, hangs.keys())
    wanted = {ref: companies.get(to) if to is not None else None for ref, to in hangs.items()}
    _set_company(connection, {ref: company for ref, company in wanted.items() if before.get(ref) != company})


def _set_company(connection: Connection, companies: Mapping[RecordRef, int | None]) -> None:
    for kind, statement in (("account", _set_account), ("buyer", _set_buyer), ("record", _set_record)):
        rows = [
            {"b_system": ref.system, "b_kind": ref.kind, "b_id": ref.id, "b_value": company}
            for ref, company in companies.items()
            if kind == (ref.kind if ref.kind in {"account", "buyer"} else "record")
        ]
        if rows:
            connection.execute(statement, rows)


_is_record = (
    t.record.c.system == bindparam("b_system"),
    t.record.c.kind == bindparam("b_kind"),
    t.record.c.id == bindparam("b_id"),
)
_set_record = update(t.record).where(*_is_record).values(company_id=bindparam("b_value"))
_set_record_buyer = update(t.record).where(*_is_record).values(buyer=bindparam("b_value"))
_set_buyer = update(t.buyer).where(t.buyer.c.id == bindparam("b_id")).values(company_id=bindparam("b_value"))
_set_account = (
    update(t.account)
    .where(t.account.c.system == bindparam("b_system"), t.account.c.id == bindparam("b_id"))
    .values(company_id=bindparam("b_value"))
)


def _company_ids(connection: Connection, names: Mapping[str, str | None]) -> dict[str, int]:
    """The surrogate of each key, given out on first sight."""
    found: dict[str, int] = {}
    for part in chunks(names):
        rows = connection.execute(select(t.company.c.key, t.company.c.company_id).where(t.company.c.key.in_(part)))
        found.update((key, company) for key, company in rows)
    for key in names:
        if key not in found:
            statement = t.company.insert().values(key=key, name=names[key]).returning(t.company.c.company_id)
            found[key] = connection.execute(statement).scalar_one()
    return found


# --- evidence --------------------------------------------------------------------------------------------------------


def _ties(connection: Connection, refs: Iterable[RecordRef]) -> dict[RecordRef, frozenset[str]]:
    found: dict[RecordRef, set[str]] = {}
    for row in select_at(connection, t.company_tie, refs):
        found.setdefault(RecordRef(row["system"], row["kind"], row["id"]), set()).add(row["tie"])
    return {ref: frozenset(ties) for ref, ties in found.items()}


def _tied(connection: Connection, ties: Collection[str]) -> set[RecordRef]:
    """Everything that these ties hold together, and what that is tied to, and so on."""
    refs: set[RecordRef] = set()
    seen: set[str] = set()
    fresh = set(ties)
    while fresh:
        seen |= fresh
        found: set[RecordRef] = set()
        for part in chunks(sorted(fresh - _crowded(connection, fresh))):
            columns = (t.company_tie.c.system, t.company_tie.c.kind, t.company_tie.c.id)
            rows = connection.execute(select(*columns).where(t.company_tie.c.tie.in_(part)))
            found |= {RecordRef(*row) for row in rows}
        new = found - refs
        refs |= new
        fresh = {tie for own in _ties(connection, new).values() for tie in own} - seen
    return refs


def _crowded(connection: Connection, ties: Iterable[str]) -> set[str]:
    """Domains that so many different names use that they say nothing of any: not followed, or each newcomer would cost all."""
    crowded: set[str] = set()
    tie = t.company_tie.c.tie
    for part in chunks(sorted(one for one in ties if one.startswith("d:"))):
        statement = select(tie).where(tie.in_(part)).group_by(tie).having(func.count() > NAMES_PER_DOMAIN)
        crowded |= set(connection.execute(statement).scalars())
    return crowded


def _place(system: str, kind: str) -> tuple[Any, tuple[Any, ...]]:
    """The table that holds a ref's company, and the condition of its system and kind."""
    if kind == "account":
        return t.account, (t.account.c.system == system,)
    if kind == "buyer":
        return t.buyer, ()
    return t.record, (t.record.c.system == system, t.record.c.kind == kind)
