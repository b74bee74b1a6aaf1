"""The last look at a fact before it leaves a connector: whatever a CRM answered, what goes on can be stored and computed with.

A fact whose identity or time is no such thing is refused (ValueError: its row is counted and left out). Anything else that is
unsound is taken out or cut, and counted: one bad value never costs a row. Sound facts, nearly all, pass as they are.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from core.records import (
    Account,
    Activity,
    ActivityRow,
    Change,
    Consent,
    Deal,
    DealRole,
    Fact,
    Millis,
    Owner,
    Record,
    RecordRef,
    Tombstone,
    Value,
)

LONGEST_TEXT = 65_536
"""Characters of one value: as many as the largest text property of either CRM takes."""

EARLIEST, LATEST = -2_208_988_800_000, 7_258_118_400_000
"""1900 and 2200: a stamp outside of them is a mistake, and computing with it another."""

LARGEST = 2**53
_ID = re.compile(r"[!-.0-~]{1,64}")  # printable ASCII but the slash, which separates the parts of a reference
_LONG_ID = re.compile(r"[!-.0-~]{1,128}")
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
UNREADABLE = (KeyError, ValueError, TypeError, AttributeError, IndexError, OverflowError, RecursionError)
"""What reading a row may raise where the row is not what the API promises. Nothing else is swallowed."""

_STAGE, _CURRENCY, _URL = 255, 8, 8_192

Problem = Callable[[str], None]


def check(fact: Fact, problem: Problem) -> Fact:
    """The fact, or a sound copy of it.

    Args:
        problem: told the place of every value that was taken out or cut, e.g. `record.owner_id`.

    Raises:
        ValueError: it cannot be told what the fact is about, or when it was.

    """
    return _CHECKS[type(fact)](fact, problem)


def _record(fact: Record, problem: Problem) -> Record:
    _require_ref(fact.ref)
    _require_times(fact.created_at, fact.modified_at)
    changed: dict[str, Any] = {}
    for name in ("fields", "answers", "written"):
        before: Mapping[str, Value] = getattr(fact, name)
        if (after := _values(before, f"record.{name}", problem)) is not before:
            changed[name] = after
    _take_ids(fact, ("owner_id",), changed, problem)
    _take_refs(fact, ("account", "successor"), changed, problem)
    for name, sound in (("links", _is_ref), ("absorbed", _is_id), ("emails", _is_address)):
        listed = getattr(fact, name)
        if not all(map(sound, listed)):
            problem(f"record.{name}")
            changed[name] = tuple(item for item in listed if sound(item))
    if "emails" in changed:
        fields = {name: value for name, value in changed.get("fields", fact.fields).items() if name != "email"}
        changed["fields"] = fields | ({"email": changed["emails"][0]} if changed["emails"] else {})
    consent = fact.consent
    flags = {name: getattr(consent, name) for name in ("email_opt_out", "do_not_call", "bounced")}
    basis = consent.legal_basis
    if not all(flag is None or isinstance(flag, bool) for flag in flags.values()) or _text(basis) != basis:
        problem("record.consent")
        said = {name: flag if isinstance(flag, bool) else None for name, flag in flags.items()}
        changed["consent"] = Consent(**said, legal_basis=_text(basis))
    return replace(fact, **changed) if changed else fact


def _account(fact: Account, problem: Problem) -> Account:
    _require_ref(fact.ref)
    _require_times(fact.modified_at)
    changed: dict[str, Any] = {}
    if (fields := _values(fact.fields, "account.fields", problem)) is not fact.fields:
        changed["fields"] = fields
    _take_ids(fact, ("owner_id",), changed, problem)
    _take_refs(fact, ("parent",), changed, problem)
    return replace(fact, **changed) if changed else fact


def _tombstone(fact: Tombstone, problem: Problem) -> Tombstone:
    _require_ref(fact.ref, _LONG_ID)
    _require_times(fact.at)
    changed: dict[str, Any] = {}
    _take_refs(fact, ("successor",), changed, problem)
    return replace(fact, **changed) if changed else fact


def _activity_row(fact: ActivityRow, problem: Problem) -> ActivityRow:
    _require_ref(fact.source, _LONG_ID)
    checked = tuple(_activity(activity, problem) for activity in fact.activities)
    return fact if all(map(_same, checked, fact.activities)) else ActivityRow(fact.source, checked)


def _activity(fact: Activity, problem: Problem) -> Activity:
    _require_times(fact.occurred_at, fact.known_at)
    if fact.record is not None:
        _require_ref(fact.record)
    elif not _is_address(fact.email):
        raise ValueError("an activity of nobody")
    changed: dict[str, Any] = {}
    _take_texts(
        fact, {"url": _URL, "asset": LONGEST_TEXT, "campaign": 1_024, "channel": 64, "direction": 16}, changed, problem
    )
    if fact.duration is not None and not (_is_whole(fact.duration) and 0 <= fact.duration < 2**31):
        problem("activity.duration")
        changed["duration"] = None
    return replace(fact, **changed) if changed else fact


def _deal(fact: Deal, problem: Problem) -> Deal:
    _require_ref(fact.ref)
    _require_times(fact.created_at, fact.modified_at, *(() if fact.closed_at is None else (fact.closed_at,)))
    changed: dict[str, Any] = {}
    if not isinstance(fact.stage, str):
        raise ValueError("a stage that is no text")  # noqa: TRY004 - whoever reads rows knows ValueError
    _take_texts(
        fact,
        {"stage": _STAGE, "name": LONGEST_TEXT, "currency": _CURRENCY, "loss_reason": LONGEST_TEXT},
        changed,
        problem,
    )
    changed |= {"stage": ""} if changed.get("stage", "") is None else {}
    _take_ids(fact, ("owner_id",), changed, problem)
    _take_refs(fact, ("account", "link"), changed, problem)
    if fact.people is not None and not all(map(_is_ref, fact.people)):
        problem("deal.people")
        changed["people"] = tuple(person for person in fact.people if _is_ref(person))
    for name in ("is_closed", "is_won"):
        if not isinstance(getattr(fact, name), bool):
            raise ValueError("a state that is neither true nor false")  # noqa: TRY004
    return replace(fact, **changed) if changed else fact


def _role(fact: DealRole, problem: Problem) -> DealRole:
    for ref in (fact.source, fact.deal, fact.record):
        _require_ref(ref)
    changed: dict[str, Any] = {}
    _take_texts(fact, {"role": 255}, changed, problem)
    return replace(fact, **changed) if changed else fact


def _change(fact: Change, problem: Problem) -> Change:
    _require_ref(fact.source, re.compile(r"[!-.0-~]{1,160}"))
    _require_ref(fact.ref)
    _require_times(fact.at)
    changed: dict[str, Any] = {}
    _take_texts(fact, {"old": LONGEST_TEXT, "new": LONGEST_TEXT, "by": 64}, changed, problem)
    return replace(fact, **changed) if changed else fact


def _owner(fact: Owner, problem: Problem) -> Owner:
    _require_ref(fact.ref)
    changed: dict[str, Any] = {}
    _take_texts(fact, {"name": 1_024, "email": 254}, changed, problem)
    changed |= {"name": fact.ref.id} if changed.get("name", "") is None else {}
    return replace(fact, **changed) if changed else fact


_CHECKS: Mapping[type, Callable[[Any, Problem], Fact]] = {
    Record: _record,
    Account: _account,
    Tombstone: _tombstone,
    ActivityRow: _activity_row,
    Deal: _deal,
    DealRole: _role,
    Change: _change,
    Owner: _owner,
}


# --- what is sound -----------------------------------------------------------------------------------------------------


def _same(one: object, other: object) -> bool:
    return one is other


def _is_id(value: object) -> bool:
    return isinstance(value, str) and _ID.fullmatch(value) is not None


def _is_ref(value: object) -> bool:
    return isinstance(value, RecordRef) and _is_id(value.id)


def _is_address(value: object) -> bool:
    return isinstance(value, str) and 3 <= len(value) <= 254 and _UNSTORABLE.search(value) is None


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _require_ref(ref: RecordRef, pattern: re.Pattern[str] = _ID) -> None:
    identifier: object = ref.id
    if not isinstance(identifier, str) or pattern.fullmatch(identifier) is None:
        raise ValueError("a record without a readable id")


def _require_times(*stamps: Millis) -> None:
    for stamp in stamps:
        if not _is_whole(stamp) or not EARLIEST <= stamp < LATEST:
            raise ValueError("a time that cannot be")


def _text(value: object, longest: int = LONGEST_TEXT) -> str | None:
    """A text that can be stored; None for what is none."""
    if not isinstance(value, str):
        return None
    if len(value) > longest:
        value = value[:longest]
    return value if value.isascii() and "\0" not in value else _UNSTORABLE.sub("", value)


def _values(values: Mapping[str, Value], place: str, problem: Problem) -> Mapping[str, Value]:
    """Canonical values without the unsound ones; the same mapping where all are sound."""
    found: dict[str, Value] | None = None
    for name, value in values.items():
        sound = _value(value)
        if sound is value or (sound == value and type(sound) is type(value)):
            continue
        problem(f"{place}.{name}")
        found = dict(values) if found is None else found
        if sound is None:
            del found[name]
        else:
            found[name] = sound
    return values if found is None else found


def _value(value: object) -> Value:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if abs(value) <= LARGEST else None
    if isinstance(value, float):
        return value if abs(value) < float("inf") else None
    return _text(value)


def _take_texts(fact: Any, lengths: Mapping[str, int], changed: dict[str, Any], problem: Problem) -> None:
    for name, longest in lengths.items():
        value = getattr(fact, name)
        if value is not None and (sound := _text(value, longest)) != value:
            problem(f"{type(fact).__name__.lower()}.{name}")
            changed[name] = sound or None


def _take_ids(fact: Any, names: tuple[str, ...], changed: dict[str, Any], problem: Problem) -> None:
    for name in names:
        value = getattr(fact, name)
        if value is not None and not _is_id(value):
            problem(f"{type(fact).__name__.lower()}.{name}")
            changed[name] = None


def _take_refs(fact: Any, names: tuple[str, ...], changed: dict[str, Any], problem: Problem) -> None:
    for name in names:
        value = getattr(fact, name)
        if value is not None and not _is_ref(value):
            problem(f"{type(fact).__name__.lower()}.{name}")
            changed[name] = None
