"""Which company a record or account belongs to, kept up to date: `core.companies` on closed neighbourhoods of evidence.

A record with a known account belongs to the account's company and says nothing of its own. Accounts, and records without
one, are tied to each other by name, domain and corporate number; only a change of these leads to a new look.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, bindparam, select, update

from core.companies import CompanyInput, account_company, company_evidence, record_company, resolve_companies
from core.records import Record, RecordRef
from sync.state import schema as t
from sync.state.loading import load_accounts, load_records
from sync.state.mirror import touch
from sync.state.rows import by_place, chunks, delete_at, insert_new, select_at


def settle_companies(
    connection: Connection, records: Mapping[RecordRef, Record], accounts: Collection[RecordRef]
) -> None:
    """Bring companies up to date after these records and accounts changed. Whoever else moves with them is touched."""
    known = load_accounts(connection, {*accounts, *(r.account for r in records.values() if r.account)})
    inputs: dict[RecordRef, CompanyInput | None] = dict.fromkeys(accounts)
    inputs |= {ref: account_company(account) for ref, account in known.items()}
    inputs |= {ref: None if record.account in known else record_company(record) for ref, record in records.items()}
    before = _ties(connection, inputs)
    after = {ref: company_evidence(one) if one else frozenset() for ref, one in inputs.items()}
    changed = [ref for ref in inputs if before.get(ref, frozenset()) != after[ref]]
    delete_at(connection, t.company_tie, changed)
    rows = [
        {"tie": tie[:255], "system": ref.system, "kind": ref.kind, "id": ref.id}
        for ref in changed
        for tie in after[ref]
    ]
    insert_new(connection, t.company_tie, rows)
    if changed:
        ties = {tie for ref in changed for tie in (*before.get(ref, ()), *after[ref])}
        _resolve(connection, {*changed, *_tied(connection, ties)}, within={*records, *accounts})
    _follow_accounts(connection, records, known)


def company_of(connection: Connection, refs: Collection[RecordRef]) -> dict[RecordRef, int]:
    """The company of each record or account that has one."""
    found: dict[RecordRef, int] = {}
    for system, kind, ids in by_place(refs):
        table, where = _place(system, kind)
        statement = select(table.c.id, table.c.company_id).where(
            *where, table.c.id.in_(ids), table.c.company_id.is_not(None)
        )
        found.update({RecordRef(system, kind, id): company for id, company in connection.execute(statement)})
    return found


def _resolve(connection: Connection, refs: Collection[RecordRef], *, within: Collection[RecordRef]) -> None:
    accounts = load_accounts(connection, [ref for ref in refs if ref.kind == "account"])
    records = load_records(connection, [ref for ref in refs if ref.kind != "account"])
    inputs = [account_company(account) for account in accounts.values()]
    inputs += [record_company(record) for record in records.values()]
    keys = resolve_companies(inputs)
    names = {one.ref: one.name for one in inputs}
    ids = _company_ids(connection, {keys[ref]: names[ref] for ref in sorted(keys, reverse=True)})
    before = company_of(connection, refs)
    wanted = {ref: ids[keys[ref]] if ref in keys else None for ref in refs}
    moved = [ref for ref in refs if before.get(ref) != wanted[ref]]
    _set_company(connection, {ref: wanted[ref] for ref in moved})
    # Accounts of this batch too: the records that hang on them are looked at again.
    touch(connection, [ref for ref in moved if ref not in within])


def _follow_accounts(connection: Connection, records: Mapping[RecordRef, Record], known: Collection[RecordRef]) -> None:
    """Records with a known account take its company."""
    hanging = {ref: record.account for ref, record in records.items() if record.account and record.account in known}
    companies = company_of(connection, set(hanging.values()))
    before = company_of(connection, hanging.keys())
    wanted = {ref: companies.get(account) for ref, account in hanging.items()}
    _set_company(connection, {ref: company for ref, company in wanted.items() if before.get(ref) != company})


_set_account = (
    update(t.account)
    .where(t.account.c.system == bindparam("b_system"), t.account.c.id == bindparam("b_id"))
    .values(company_id=bindparam("b_company"))
)
_set_record = (
    update(t.record)
    .where(
        t.record.c.system == bindparam("b_system"),
        t.record.c.kind == bindparam("b_kind"),
        t.record.c.id == bindparam("b_id"),
    )
    .values(company_id=bindparam("b_company"))
)


def _set_company(connection: Connection, companies: Mapping[RecordRef, int | None]) -> None:
    accounts = [
        {"b_system": r.system, "b_id": r.id, "b_company": c} for r, c in companies.items() if r.kind == "account"
    ]
    records = [
        {"b_system": r.system, "b_kind": r.kind, "b_id": r.id, "b_company": c}
        for r, c in companies.items()
        if r.kind != "account"
    ]
    if accounts:
        connection.execute(_set_account, accounts)
    if records:
        connection.execute(_set_record, records)


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
        for part in chunks(sorted(fresh)):
            columns = (t.company_tie.c.system, t.company_tie.c.kind, t.company_tie.c.id)
            rows = connection.execute(select(*columns).where(t.company_tie.c.tie.in_(part)))
            found |= {RecordRef(*row) for row in rows}
        new = found - refs
        refs |= new
        fresh = {tie for own in _ties(connection, new).values() for tie in own} - seen
    return refs


def _place(system: str, kind: str) -> tuple[Any, tuple[Any, ...]]:
    """The table that holds a ref's company, and the condition of its system and kind."""
    if kind == "account":
        return t.account, (t.account.c.system == system,)
    return t.record, (t.record.c.system == system, t.record.c.kind == kind)
