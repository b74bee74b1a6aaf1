"""Whom we must not know: keyed hashes of addresses and records, and the door that turns them away.

Two kinds. On *request* (`mikomi forget`) a record is refused by its id, by any own address, by what it absorbed, succeeds or is
linked to; what hangs on it is refused with it. After a *privacy* deletion in a CRM, what that CRM still lists under the address
is refused, until a new record there carries it. The hashes need the state's key: without it the door stays closed.
"""

import hmac
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from sqlalchemy import Connection, delete, select

from core.errors import InvalidSettings, StateError
from core.identity import is_role_mailbox
from core.records import ActivityRow, Change, Deal, DealRole, Fact, Millis, Record, RecordRef, Tombstone
from sync.state import State, now_ms
from sync.state import schema as t
from sync.state.kept import get_kept_in
from sync.state.mirror.erase import addresses_of, erase_deals, erase_records
from sync.state.mirror.marks import NOBODY, touch
from sync.state.rows import chunks, insert_new, select_at
from sync.tokens import StateKey

REQUEST, PRIVACY = "request", "privacy"

_KEY = "mikomi_state_key"
_CHECK = "forgotten check"
_PURPOSE = "forgotten"

Hash = Callable[[str], str]


def use_key(state: State, key: StateKey) -> None:
    """Say which key the settings name (`state_key:`); otherwise it is looked for in the usual places."""
    state.engine.update_execution_options(**{_KEY: key})


def address_token(email: str) -> str:
    """What is hashed for an address, wherever it turns up."""
    return f"email\x1f{unicodedata.normalize('NFKC', email).strip().casefold()}"


def record_token(ref: RecordRef) -> str:
    """What is hashed for a record or a deal."""
    return f"{ref.kind}\x1f{ref.system}\x1f{ref.id}"


def remember(connection: Connection, tokens: Iterable[str], *, at: Millis) -> None:
    """Refuse these from now on, on request.

    Raises:
        InvalidSettings: there is no key.
        StateError: it is not the key that the others were hashed with.
    """
    seal = _sealer(connection)
    # An address that a CRM erased and a person then asked for stays asked for.
    rows = [{"hash": seal(token), "at": at, "reason": REQUEST} for token in dict.fromkeys(tokens)]
    insert_new(connection, t.forgotten, rows)


def remember_gone(connection: Connection, refs: Iterable[RecordRef], *, at: Millis) -> None:
    """After a permanent deletion: what that CRM still lists under these records' addresses is not theirs to keep."""
    tokens = {_gone_token(ref.system, email) for ref, own in addresses_of(connection, refs).items() for email in own}
    if not tokens:
        return
    try:
        seal = _sealer(connection)
    except InvalidSettings:
        return  # no key, no hash: the erasure must not wait for one, and records are recognised by their ids
    insert_new(
        connection, t.forgotten, [{"hash": seal(token), "at": at, "reason": PRIVACY} for token in sorted(tokens)]
    )


def refused(connection: Connection, refs: Iterable[RecordRef]) -> set[RecordRef]:
    """Those among these records that somebody asked us to forget."""
    wanted = list(refs)
    if not _anybody(connection):
        return set()
    known = _Known(connection)
    known.look_up(record_token(ref) for ref in wanted)
    return {ref for ref in wanted if record_token(ref) in known.tokens}


def check_key(connection: Connection) -> None:
    """Make sure that those who were forgotten can be told.

    Raises:
        InvalidSettings, StateError: the key is not here, or another one.
    """
    if _anybody(connection):
        _sealer(connection)


def find_forgotten(connection: Connection) -> Iterator[RecordRef]:
    """Records in this database that must not be here, and no activity is left under a forgotten address.

    For a database that was filled from elsewhere; it reads all addresses and ids.
    """
    seal = _sealer(connection)
    listed = set(connection.execute(select(t.forgotten.c.hash).where(t.forgotten.c.reason == REQUEST)).scalars())
    mail, row, activity = t.record_email.c, t.record.c, t.activity.c
    streamed = {"yield_per": 1_000}
    found: dict[RecordRef, None] = {}
    for at in connection.execute(select(mail.email, mail.system, mail.kind, mail.id), execution_options=streamed):
        if seal(address_token(at.email)) in listed:
            found[RecordRef(at.system, at.kind, at.id)] = None
    for system, kind, id in connection.execute(select(row.system, row.kind, row.id), execution_options=streamed):
        ref = RecordRef(system, kind, id)
        if seal(record_token(ref)) in listed:
            found[ref] = None
    of_nobody = select(activity.who).where(activity.person_id == NOBODY, activity.who.startswith("email/")).distinct()
    whos = [
        who
        for who in connection.execute(of_nobody, execution_options=streamed).scalars()
        if seal(address_token(who.removeprefix("email/"))) in listed
    ]
    for part in chunks(whos):
        connection.execute(delete(t.activity).where(activity.person_id == NOBODY, activity.who.in_(part)))
    deals = connection.execute(select(t.deal.c.system, t.deal.c.id), execution_options=streamed)
    refs = (RecordRef(system, "deal", id) for system, id in deals)
    erase_deals(connection, [ref for ref in refs if seal(record_token(ref)) in listed])
    yield from found


def screen(connection: Connection, facts: Iterable[Fact]) -> tuple[list[Fact], int]:
    """The facts that may be stored, and how many were turned away.

    Raises:
        StateError: people were forgotten, and the key that tells who is not here.
    """
    listed = list(facts)
    if not _anybody(connection):
        return listed, 0
    known = _Known(connection)
    known.look_up(token for fact in listed for token in _tokens(fact))
    fresh = _follow(listed, known)
    if fresh:
        now = now_ms()
        remember(connection, [record_token(ref) for ref in fresh], at=now)
        _bury(connection, fresh, now)
    living = (fact for fact in listed if isinstance(fact, Record) and record_token(fact.ref) not in known.tokens)
    known.lift({token for record in living for token in _gone_tokens(record)})
    kept: list[Fact] = []
    turned_away = 0
    for fact in listed:
        left = _without(fact, known)
        turned_away += left is not fact
        if left is not None:
            kept.append(left)
    return kept, turned_away


def _follow(facts: Iterable[Fact], known: "_Known") -> list[RecordRef]:
    """Records of forgotten people that were not known as theirs yet: by address, by link, by what they absorbed."""
    fresh: dict[RecordRef, None] = {}
    moved = True
    listed = [fact for fact in facts if _same_person(fact)]
    while moved:
        moved = False
        for fact in listed:
            theirs = [ref for ref in _same_person(fact) if record_token(ref) not in known.tokens]
            if theirs and any(token in known.tokens for token in _person_tokens(fact)):
                fresh |= dict.fromkeys(theirs)
                known.tokens |= {record_token(ref) for ref in theirs}
                moved = True
    return list(fresh)


def _same_person(fact: Fact) -> tuple[RecordRef, ...]:
    """The records that are one person as this fact says: itself, and what it lives on as."""
    if isinstance(fact, Record | Tombstone) and (isinstance(fact, Record) or fact.successor is not None):
        return (fact.ref, fact.successor) if fact.successor is not None else (fact.ref,)
    return ()


def _person_tokens(fact: Fact) -> Iterable[str]:
    if isinstance(fact, Record):
        yield from (address_token(email) for email in fact.emails if not is_role_mailbox(email))
        yield from (record_token(ref) for ref in fact.links)
        yield from (record_token(RecordRef(fact.ref.system, fact.ref.kind, id)) for id in fact.absorbed)
    yield from (record_token(ref) for ref in _same_person(fact))


def _tokens(fact: Fact) -> Iterable[str]:
    """Everything about a fact that may be on the list."""
    if isinstance(fact, Record):
        yield from _person_tokens(fact)
        yield from _gone_tokens(fact)
    elif isinstance(fact, Tombstone):
        yield record_token(fact.ref)
        yield from _person_tokens(fact)
    elif isinstance(fact, ActivityRow):
        for activity in fact.activities:
            if activity.record is not None:
                yield record_token(activity.record)
            elif activity.email:
                yield address_token(activity.email)
                yield _gone_token(fact.source.system, activity.email)
    elif isinstance(fact, Deal):
        yield record_token(fact.ref)
        yield from (record_token(ref) for ref in fact.people or ())
    elif isinstance(fact, DealRole):
        yield record_token(fact.record)
    elif isinstance(fact, Change):
        yield record_token(fact.ref)


def _without(fact: Fact, known: "_Known") -> Fact | None:
    """The fact as it may be stored: itself, less of it, or nothing."""

    def barred(ref: RecordRef | None) -> bool:
        return ref is not None and record_token(ref) in known.tokens

    if isinstance(fact, Record | Tombstone):
        return None if barred(fact.ref) and fact.ref.kind != "deal" else fact
    if isinstance(fact, DealRole):
        return None if barred(fact.record) else fact
    if isinstance(fact, Change):
        return None if barred(fact.ref) and fact.ref.kind != "deal" else fact
    if isinstance(fact, ActivityRow):
        system = fact.source.system
        kept = tuple(
            activity
            for activity in fact.activities
            if not barred(activity.record) and not (activity.email and known.bars_address(system, activity.email))
        )
        # An empty row still withdraws what it meant before.
        return fact if len(kept) == len(fact.activities) else replace(fact, activities=kept)
    if isinstance(fact, Deal):
        people = None if fact.people is None else tuple(ref for ref in fact.people if not barred(ref))
        left = replace(fact, people=people)
        if barred(fact.ref):
            left = replace(left, name=None, loss_reason=None)
        return fact if left == fact else left
    return fact


def _bury(connection: Connection, refs: Sequence[RecordRef], now: Millis) -> None:
    """Records that turn out to be a forgotten person's: what is stored of them goes, and their person is looked at anew."""
    row = t.record.c
    stored = [
        RecordRef(r["system"], r["kind"], r["id"])
        for r in select_at(connection, t.record, refs, row.system, row.kind, row.id)
    ]
    for ref in stored:
        at = (row.system == ref.system, row.kind == ref.kind, row.id == ref.id)
        connection.execute(t.record.update().where(*at).values(deleted_at=now, successor_kind=None, successor_id=None))
    erase_records(connection, refs)
    touch(connection, stored)


class _Known:
    """The tokens that are on the list, of those that were looked up."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._seal = _sealer(connection)
        self.tokens: set[str] = set()

    def look_up(self, tokens: Iterable[str]) -> None:
        hashes = {self._seal(token): token for token in dict.fromkeys(tokens)}
        for part in chunks(hashes):
            found = select(t.forgotten.c.hash).where(t.forgotten.c.hash.in_(part))
            self.tokens |= {hashes[hash] for hash in self._connection.execute(found).scalars()}

    def lift(self, tokens: set[str]) -> None:
        """A new record in that CRM carries the address: what is listed under it counts again."""
        back = [self._seal(token) for token in sorted(tokens & self.tokens)]
        self.tokens -= tokens
        if back:
            self._connection.execute(
                delete(t.forgotten).where(t.forgotten.c.hash.in_(back), t.forgotten.c.reason == PRIVACY)
            )

    def bars_address(self, system: str, email: str) -> bool:
        return address_token(email) in self.tokens or _gone_token(system, email) in self.tokens


def _gone_token(system: str, email: str) -> str:
    return f"gone\x1f{system}\x1f{email.strip().casefold()}"


def _gone_tokens(record: Record) -> list[str]:
    return [_gone_token(record.ref.system, email) for email in record.emails]


def _anybody(connection: Connection) -> bool:
    return connection.execute(_ANYBODY).first() is not None


_ANYBODY = select(t.forgotten.c.hash).limit(1)


def _sealer(connection: Connection) -> Hash:
    """HMAC-SHA-256 under this state's key, in hex; the key is held against the one that was used before."""
    options = connection.engine.get_execution_options()
    key: StateKey | None = options.get(_KEY)
    if key is None:
        key = StateKey(connection.engine.url.render_as_string(hide_password=False))
    secret = key.derive(_PURPOSE)

    def seal(token: str) -> str:
        return hmac.digest(secret, token.encode("utf-8", "surrogatepass"), "sha256").hex()

    check = seal("check")
    kept = get_kept_in(connection, _CHECK)
    if kept is None:
        insert_new(connection, t.setting, [{"name": _CHECK, "value": check}])
    elif not hmac.compare_digest(str(kept), check):
        raise StateError(
            "the state key is not the one under which forgotten people are remembered, so they could not be told",
            hint="put the key back (MIKOMI_STATE_KEY, `state_key:`, or the .key file beside the state)",
        )
    return seal
