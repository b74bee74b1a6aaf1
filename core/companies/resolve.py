"""Which company a record or account belongs to: one key per buyer.

Evidence, strongest first:

1. **An account record**: a person's record with an account belongs to that account's company.
2. **Corporate number** (法人番号, valid check digit; also as invoice number `T…`): equal numbers are one company, different
   ones never. All sites of a corporation share its number, so head office and site stay apart by 3 and 4.
3. **Account ids**: two accounts of one CRM are two buyers (head office and plant, or duplicates that only a person should
   merge), unless their numbers are equal and neither is the other's parent.
4. **A site** (a name ending in 工場, 支店, Plant, …) is not its head office.
5. **Name and domain**: equal normalised names with equal domains; then equal names of which one has no domain. Equal names
   with different domains are different companies. Free-mail domains are no domains.
6. **Domain alone**: for a record without a company name, where just one company has that domain; and for a Japanese and a
   Latin name, where the domain has just one of each.

Nothing is joined across a contradiction: what fits two companies that must stay apart belongs to neither (`core.joining`).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import combinations

from core.companies.forms import core_name, corporate_number, is_site, mail_domain, web_domain
from core.joining import join
from core.records import Account, Record, RecordRef, Value
from core.spelling import letters, script_of

_KEY_LENGTH = 200


@dataclass(frozen=True, slots=True)
class CompanyInput:
    """What is known of the company of one account, or of one person's record.

    Attributes:
        domain: of the website or mail address, as `web_domain` or `mail_domain` give it.
        number: corporate number as written in the CRM.
        parent: the parent account; `account`: the account that a person's record belongs to.
        is_account: `ref` is an account, not a person's record.
    """

    ref: RecordRef
    name: str | None = None
    domain: str | None = None
    number: str | None = None
    parent: RecordRef | None = None
    account: RecordRef | None = None
    is_account: bool = False


def account_company(account: Account) -> CompanyInput:
    """What an account says of its company."""
    return CompanyInput(
        account.ref,
        name=_text(account.fields.get("company")),
        domain=web_domain(_text(account.fields.get("website"))),
        number=_text(account.fields.get("corporate_number")),
        parent=account.parent,
        is_account=True,
    )


def record_company(record: Record) -> CompanyInput:
    """What a person's record says of the company: its own website first, else the first company mail address."""
    domains = (mail_domain(email) for email in (_text(record.fields.get("email")), *record.emails))
    return CompanyInput(
        record.ref,
        name=_text(record.fields.get("company")),
        domain=web_domain(_text(record.fields.get("website"))) or next((one for one in domains if one), None),
        number=_text(record.fields.get("corporate_number")),
        account=record.account,
    )


def _text(value: Value) -> str | None:
    return value if isinstance(value, str) and value.strip() else None


@dataclass(frozen=True, slots=True)
class _Buyer:
    """One account, or all records without one that say the same."""

    core: str
    domain: str | None
    number: str | None
    account: RecordRef | None = None
    parent: RecordRef | None = None
    site: bool = False


def resolve_companies(inputs: Iterable[CompanyInput]) -> Mapping[RecordRef, str]:
    """The company key (at most 255 characters) of every account and record; those that say nothing are left out.

    Keys: `n:<corporate number>` (with `/…` for its other sites), else `a:<account reference>`, else `c:<name>|<domain>`,
    else `d:<domain>`. Order does not matter, and a neighbourhood that is closed under `company_evidence` gives the same
    keys as the whole.
    """
    given = sorted(inputs, key=lambda one: one.ref)
    buyers: dict[_Buyer, int] = {}
    place: dict[RecordRef, int] = {}
    accounts = {one.ref for one in given if one.is_account}
    for one in given:
        if one.is_account or one.account not in accounts:
            buyer = _buyer(one)
            if buyer is not None:
                place[one.ref] = buyers.setdefault(buyer, len(buyers))
    keys = _keys(list(buyers))
    found = {ref: keys[i] for ref, i in place.items()}
    for one in given:
        if one.account in accounts and not one.is_account and one.account in found:
            found[one.ref] = found[one.account]
    return found


def company_evidence(one: CompanyInput) -> frozenset[str]:
    """What ties this input to others: gather inputs that share evidence, and those that share theirs, in turn."""
    buyer = _buyer(one)
    ties = {f"a:{ref}" for ref in (one.account, one.parent, one.ref if one.is_account else None) if ref}
    if buyer:
        ties.update(
            f"{kind}:{text}" for kind, text in (("n", buyer.number), ("c", buyer.core), ("d", buyer.domain)) if text
        )
    return frozenset(ties)


def _buyer(one: CompanyInput) -> _Buyer | None:
    core = core_name(one.name)
    if one.domain and core == letters(one.domain):
        core = ""  # HubSpot names a company after its domain until someone gives it a name
    number = corporate_number(one.number)
    if not one.is_account and not (core or number or one.domain):
        return None
    account = one.ref if one.is_account else None
    return _Buyer(core, one.domain, number, account, one.parent, bool(core) and is_site(one.name))


def _keys(buyers: Sequence[_Buyer]) -> list[str]:
    groups = [[i] for i in range(len(buyers))]
    for alike in (_surely_alike, _named_alike, _domain_alike):
        groups = _join_groups(groups, buyers, alike(groups, buyers))
    keys = [""] * len(buyers)
    for key, group in _name_groups(groups, buyers):
        for i in group:
            keys[i] = key
    return keys


def _join_groups(
    groups: list[list[int]], buyers: Sequence[_Buyer], edges: Iterable[tuple[int, int]]
) -> list[list[int]]:
    def conflict(one: int, other: int) -> bool:
        return any(_apart(buyers[i], buyers[j]) for i in groups[one] for j in groups[other])

    joined, _ = join(len(groups), edges, conflict)
    return [sorted(i for place in places for i in groups[place]) for places in joined]


def _apart(one: _Buyer, other: _Buyer) -> bool:
    same_number = one.number is not None and one.number == other.number
    if one.number and other.number and not same_number:
        return True
    if one.account and other.account and _related(one, other):
        return True
    if same_number:
        return False
    if one.account and other.account and one.account.system == other.account.system:
        return True
    return bool(one.domain and other.domain and one.domain != other.domain)


def _related(one: _Buyer, other: _Buyer) -> bool:
    return (
        one.parent == other.account
        or other.parent == one.account
        or (one.parent is not None and one.parent == other.parent)
    )


_Edges = Iterable[tuple[int, int]]


def _pairs(groups: Sequence[Sequence[int]], buyers: Sequence[_Buyer], key: Callable[[_Buyer], object]) -> _Edges:
    shelves: dict[object, set[int]] = {}
    for place, group in enumerate(groups):
        for i in group:
            value = key(buyers[i])
            if value:
                shelves.setdefault(value, set()).add(place)
    return [pair for places in shelves.values() for pair in combinations(sorted(places), 2)]


def _surely_alike(groups: Sequence[Sequence[int]], buyers: Sequence[_Buyer]) -> _Edges:
    by_number = _pairs(groups, buyers, lambda b: (b.number, b.core if b.site else "") if b.number else None)
    by_name = _pairs(groups, buyers, lambda b: (b.core, b.domain) if b.core and b.domain else None)
    return [*by_number, *by_name]


def _named_alike(groups: Sequence[Sequence[int]], buyers: Sequence[_Buyer]) -> _Edges:
    return _pairs(groups, buyers, lambda b: b.core)


def _domain_alike(groups: Sequence[Sequence[int]], buyers: Sequence[_Buyer]) -> _Edges:
    """Nameless ones to the only named company of their domain; a Japanese name to the only Latin one of its domain."""
    shelves: dict[str, set[int]] = {}
    for place, group in enumerate(groups):
        for i in group:
            if buyers[i].domain:
                shelves.setdefault(buyers[i].domain or "", set()).add(place)
    edges: list[tuple[int, int]] = []
    for places in shelves.values():
        kinds: dict[str, list[int]] = {"nameless": [], "japanese": [], "latin": []}
        for place in sorted(places):
            kind = _kind([buyers[i] for i in groups[place]])
            if kind:
                kinds[kind].append(place)
        named = [*kinds["japanese"], *kinds["latin"]]
        one_each = len(kinds["japanese"]) == len(kinds["latin"]) == 1
        if one_each:
            edges.append((named[0], named[1]))
        if len(named) == 1 or one_each or not named:
            hub = named or kinds["nameless"]
            edges += [(one, other) for one in hub for other in kinds["nameless"] if one != other]
    return edges


def _kind(group: Sequence[_Buyer]) -> str | None:
    """`nameless`, `japanese` or `latin`; None for a site, which a domain never identifies."""
    if any(buyer.site for buyer in group):
        return None
    scripts = {script_of(buyer.core) for buyer in group if buyer.core}
    if not scripts:
        return "nameless"
    return "latin" if scripts == {"latin"} else "japanese"


def _name_groups(groups: Iterable[Sequence[int]], buyers: Sequence[_Buyer]) -> Iterable[tuple[str, Sequence[int]]]:
    named = [(_own_key([buyers[i] for i in group]), group) for group in groups]
    by_number: dict[str, list[tuple[tuple[bool, bool, str], str, Sequence[int]]]] = {}
    for key, group in named:
        members = [buyers[i] for i in group]
        number = next((buyer.number for buyer in members if buyer.number), None)
        if number is None:
            yield key, group
            continue
        rank = (any(b.site for b in members), any(b.parent is not None for b in members), key)
        by_number.setdefault(number, []).append((rank, key, group))
    for number, holders in by_number.items():
        holders.sort(key=lambda holder: holder[0])
        for place, (rank, key, group) in enumerate(holders):
            head = place == 0 and not rank[0]
            yield (f"n:{number}" if head else _short(f"n:{number}/{key}")), group


def _own_key(members: Sequence[_Buyer]) -> str:
    """Without regard to the corporate number: an account, else the fullest name and domain."""
    accounts = sorted(buyer.account for buyer in members if buyer.account)
    if accounts:
        return _short(f"a:{accounts[0]}")
    core = min((b.core for b in members if b.core), key=lambda c: (script_of(c) == "latin", c), default="")
    domain = min((b.domain for b in members if b.domain and (b.core == core or not core)), default="")
    return _short(f"c:{core}|{domain}" if core else f"d:{domain}")


def _short(key: str) -> str:
    if len(key) <= _KEY_LENGTH:
        return key
    return f"{key[: _KEY_LENGTH // 2]}#{sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()[:40]}"
