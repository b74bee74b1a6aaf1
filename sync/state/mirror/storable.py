"""The mirror's door: only what both databases hold goes in, and what was left out is counted, never silently lost.

PostgreSQL refuses NUL, lone surrogates, text longer than its column, numbers outside it, and NaN in a document; SQLite takes
some of that and gives it back in ways that its other readers cannot read. Connectors clean what they read; nothing that slips
through one may stop a page. A text loses the characters that cannot be stored; an id or address that cannot be stored is
none; a row without an id of its own is left out by name.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass, replace
from math import isfinite
from typing import Any, get_args, get_type_hints

from core.records import FIELD_TYPES, Activity, ActivityRow, Change, Consent, DealRole, Fact, Record, RecordRef

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_INT32, _INT64 = 2**31, 2**63

_ID = 64
_SOURCE_ID: Mapping[type, int] = {ActivityRow: 128, Activity: 128, DealRole: 140, Change: 160}
"""Longest ids of rows, in characters; of records, accounts, deals and owners it is `_ID`."""

_WHOLE = {"owner_id": _ID, "email": 320, "emails": 320, "currency": 8, "by": _ID}
"""Texts that mean nothing when they are cut: longer ones are none."""

_CUT = {"stage": 255, "channel": 64, "direction": 16, "role": 255}
"""Texts that are cut at the width of their column. All others are as long as they like."""

_SMALL = frozenset({"day", "duration", "recontact_on"})
"""Numbers in columns of 32 bits."""


def _parts(kind: type) -> tuple[tuple[str, bool], ...]:
    """A dataclass's fields, and whether each may be without a value."""
    hints = get_type_hints(kind)
    return tuple((part.name, type(None) in get_args(hints[part.name])) for part in fields(kind))


_PARTS = {kind: _parts(kind) for kind in (*get_args(Fact), Activity, Consent)}


class _Nothing:
    """What a value becomes that cannot be stored in any form."""


_NOTHING = _Nothing()


def make_storable(facts: Iterable[Fact]) -> tuple[list[Fact], Counter[str]]:
    """The facts as they can be stored, and how much was left out of them by place (`contact.title (characters)`).

    A fact that needs nothing is handed on as it is.
    """
    problems: Counter[str] = Counter()
    kept: list[Fact] = []
    for fact in facts:
        looks_fine = _LOOKS.get(type(fact))
        if looks_fine is not None and looks_fine(fact):
            kept.append(fact)
            continue
        door = _Door(_place(fact), problems)
        clean = door.fact(fact)
        if clean is _NOTHING:
            problems[f"{door.place} row"] += 1
        else:
            kept.append(clean)
    return kept, problems


def storable_text(text: str) -> str:
    """A text without NUL; a lone surrogate is the replacement character."""
    if text.isascii():
        return text.replace("\x00", "")
    return _UNSTORABLE.sub(lambda found: "" if found[0] == "\x00" else "\ufffd", text)


def _place(fact: Any) -> str:
    ref = getattr(fact, "source", None) or fact.ref
    return _UNSTORABLE.sub("", ref.kind)[:_ID]


class _Door:
    """One fact's way in. Values that are fine come back as the same objects."""

    def __init__(self, place: str, problems: Counter[str]) -> None:
        self.place = place
        self._problems = problems

    def fact(self, value: Any) -> Any:
        """A dataclass with storable values; `_NOTHING` if a value that it cannot be without is not."""
        kind = type(value)
        changed: dict[str, Any] = {}
        for name, optional in _PARTS[kind]:
            before = getattr(value, name)
            if before is None or before is True or before is False:
                continue
            after = self.ref(before, kind, name) if type(before) is RecordRef else self.value(name, before)
            if after is before:
                continue
            if after is _NOTHING:
                if not optional:
                    return _NOTHING
                after = None
            changed[name] = after
        return replace(value, **changed) if changed else value

    def ref(self, ref: RecordRef, kind: type = RecordRef, name: str = "") -> Any:
        """A reference as it is, or `_NOTHING`: half an id is another one's."""
        longest = _SOURCE_ID.get(kind, _ID) if name == "source" else _ID
        if 0 < len(ref.id) <= longest and not _is_unstorable(ref.id) and not _is_unstorable(ref.kind):
            return ref
        return self._left_out(name or "link", "id")

    def value(self, name: str, value: Any) -> Any:
        kind = type(value)
        if kind is str:
            return self._text(name, value)
        if kind is int:
            limit = _INT32 if name in _SMALL else _INT64
            return value if -limit <= value < limit else self._left_out(name, "range")
        if kind is float:
            return value if isfinite(value) else self._left_out(name, "range")
        if kind is tuple:
            return self._all(name, value)
        if isinstance(value, Mapping):
            return self._document(name, value)
        if is_dataclass(value):
            return self.fact(value)
        return self._left_out(name, "type")

    def _text(self, name: str, text: str) -> Any:
        if _is_unstorable(text):
            self._left_out(name, "characters")
            text = storable_text(text)
        if name in _WHOLE and len(text) > _WHOLE[name]:
            return self._left_out(name, "length")
        if name in _CUT and len(text) > _CUT[name]:
            self._left_out(name, "length")
            return text[: _CUT[name]]
        return text

    def _all(self, name: str, values: tuple[Any, ...]) -> tuple[Any, ...]:
        after = [self.ref(one, name=name) if type(one) is RecordRef else self.value(name, one) for one in values]
        if all(new is old for new, old in zip(after, values, strict=True)):
            return values
        return tuple(one for one in after if one is not _NOTHING)

    def _document(self, name: str, document: Mapping[str, Any]) -> Mapping[str, Any]:
        """Fields by canonical name; each of its type, or left out."""
        changed: dict[str, Any] = {}
        for key, before in document.items():
            after = self._entry(name, key, before)
            if after is not before:
                changed[key] = after
        if not changed:
            return document
        merged = {**document, **changed}
        return {key: value for key, value in merged.items() if value is not _NOTHING}

    def _entry(self, name: str, key: str, value: Any) -> Any:
        if value is None:
            return value
        if name == "fields":
            fits = type(value) in (int, float) if FIELD_TYPES.get(key) == "number" else type(value) is str
        else:
            fits = isinstance(value, (str, int, float))
        if not fits:
            return self._left_out(key, "type")
        if type(value) is str:
            return self._plain(key, value)
        return value if value is True or value is False else self.value(key, value)

    def _plain(self, key: str, text: str) -> str:
        if not _is_unstorable(text):
            return text
        self._left_out(key, "characters")
        return storable_text(text)

    def _left_out(self, name: str, why: str) -> _Nothing:
        self._problems[f"{self.place}.{name} ({why})"] += 1
        return _NOTHING


# --- the quick look: nearly every fact is fine, and a first load brings millions ------------------------------------------


def _looks_fine(texts: Iterable[str], numbers: Iterable[float]) -> bool:
    return not _is_unstorable("".join(texts)) and all(-_INT32 < number < _INT32 for number in numbers)


def _record_looks_fine(record: Record) -> bool:
    texts = [record.ref.id, record.ref.kind, *record.emails, *record.absorbed]
    numbers: list[float] = [0]
    for name, value in record.fields.items():
        is_number = FIELD_TYPES.get(name) == "number"
        if type(value) is str and not is_number:
            texts.append(value)
        elif (type(value) is int or type(value) is float) and is_number:
            numbers.append(value)
        else:
            return False
    refs = [ref for ref in (record.ref, record.account, record.successor, *record.links) if ref is not None]
    ids = [record.owner_id or "", *(ref.id for ref in refs)]
    for document in (record.answers, record.written):
        for value in document.values():
            if isinstance(value, str):
                texts.append(value)
            elif isinstance(value, (int, float)):
                numbers.append(value)
            elif value is not None:
                return False
    legal_basis = record.consent.legal_basis or ""
    if not all(0 < len(ref.id) <= _ID for ref in refs) or len(ids[0]) > _ID:
        return False
    if any(len(email) > _WHOLE["emails"] for email in record.emails):
        return False
    stamps = (record.created_at, record.modified_at)
    return all(-_INT64 < stamp < _INT64 for stamp in stamps) and _looks_fine((*texts, *ids, legal_basis), numbers)


def _row_looks_fine(row: ActivityRow) -> bool:
    return 0 < len(row.source.id) <= _SOURCE_ID[ActivityRow] and all(map(_activity_looks_fine, row.activities))


def _activity_looks_fine(act: Activity) -> bool:
    texts = [
        act.source.id,
        act.source.kind,
        act.kind,
        *(one for one in (act.email, act.url, act.asset, act.campaign, act.channel, act.direction) if one),
    ]
    if act.record is not None:
        texts += (act.record.id, act.record.kind)
        if not 0 < len(act.record.id) <= _ID:
            return False
    short = (
        len(act.direction or "") <= _CUT["direction"]
        and len(act.email or "") <= _WHOLE["email"]
        and len(act.channel or "") <= _CUT["channel"]
    )
    stamps = -_INT64 < act.occurred_at < _INT64 and -_INT64 < act.known_at < _INT64
    return short and stamps and _looks_fine(texts, (act.day, act.duration or 0))


_LOOKS: Mapping[type, Callable[[Any], bool]] = {Record: _record_looks_fine, ActivityRow: _row_looks_fine}


def _is_unstorable(text: str) -> bool:
    return "\x00" in text if text.isascii() else _UNSTORABLE.search(text) is not None
