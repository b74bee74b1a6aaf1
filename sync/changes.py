"""Changes of the settings and of the rulebook, found at the start of a run by comparing with what the last one saw.

Files are edited in an editor, so nobody tells us: what differs is noted in the audit log, key by key and rule by rule, with the
value before and the value after. Secrets never stand in the settings; what names people (addresses of owners, sign-in names) and
texts (labels, cautions, whatever a rule compares with that is no plain code) are kept as digests only.
"""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.engine import URL, make_url

from core.rulebook import Rulebook, scoring_digest, text_digest
from sync import audit
from sync.audit import Note
from sync.settings import Settings
from sync.state import State
from sync.state.kept import get_kept_in, keep_in

CONFIG, RULEBOOK, STAGE = "config", "rulebook", "stage"

_SEEN = "seen settings and rules"
_SECRET = ("secret", "token", "password", "private_key", "state_key")
_LONGEST = 200
_CODE = re.compile(r"[A-Za-z0-9_./:%+-]{1,64}")
_TEXTS = frozenset({"label", "caution", "description"})
_WORDING = _TEXTS | {"freshness", "name"}
_HANDOVER = frozenset({"handover", "surge"})


def note_changes(state: State, settings: Settings, rulebook: Rulebook) -> None:
    """Note what differs from the last run, if anything; costs one read where nothing does."""
    seen = {"settings": flatten_settings(settings), "rulebook": describe_rulebook(rulebook)}
    with state.outside() as connection:
        if _kept(connection) == seen:
            return
    with state.begin() as connection:
        before = _kept(connection) or {"settings": {}, "rulebook": {}}
        notes = _settings_notes(before["settings"], seen["settings"])
        notes += _rulebook_notes(before["rulebook"], seen["rulebook"])
        keep_in(connection, _SEEN, seen)
        audit.note_many(connection, notes)


def _kept(connection: Connection) -> Any:
    return get_kept_in(connection, _SEEN)


def flatten_settings(settings: Settings) -> dict[str, Any]:
    """Dotted keys to plain values: `connections.hubspot.daily_calls` → 50000."""
    found: dict[str, Any] = {}
    _flatten("", settings.model_dump(mode="json") | {"state": _without_password(settings.state)}, found)
    return found


def _without_password(url: str) -> str:
    """Which database it is. User, password and parameters (a password may stand there too) are left out."""
    parsed = make_url(url)
    return URL.create(
        parsed.drivername, host=parsed.host, port=parsed.port, database=parsed.database
    ).render_as_string()


def _flatten(path: str, value: Any, found: dict[str, Any]) -> None:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            name = f"{path}.{key}" if path else str(key)
            # Where a secret is kept is a setting; should one be written out in a file that is refused later, it stays hidden.
            hidden = any(word in str(key) for word in _SECRET) and not (isinstance(inner, Mapping) or inner is None)
            if hidden:
                found[name] = "hidden"
            else:
                _flatten(name, inner, found)
        return
    text = value if isinstance(value, str) else ""
    found[path] = audit.digest(value) if "@" in str(value) or len(text) > _LONGEST else value


def describe_rulebook(rulebook: Rulebook) -> dict[str, Any]:
    """A rulebook as plain values by rule and by other part: `rules.pricing-page.points` → 15; and the digests that name it."""
    document = rulebook.model_dump(exclude_none=True, by_alias=True)
    rules = {rule["id"]: {k: v for k, v in rule.items() if k != "id"} for rule in document.pop("rules")}
    return {
        "name": rulebook.name,
        "digest": scoring_digest(rulebook),
        "text": text_digest(rulebook),
        "rules": {name: _flatten_rules(f"rules.{name}", rule) for name, rule in rules.items()},
        "parts": {name: _flatten_rules(name, part) for name, part in document.items()},
    }


def _flatten_rules(path: str, value: Any) -> dict[str, Any]:
    if isinstance(value, Mapping) and value:
        inner = [(f"{path}.{key}", part) for key, part in value.items()]
    elif isinstance(value, list | tuple) and any(isinstance(item, Mapping) for item in value):
        inner = [(f"{path}.{number}", item) for number, item in enumerate(value, 1)]
    else:
        return {path: _rule_value(value, text=_topic(path) in _TEXTS)}
    return {name: found for key, part in inner for name, found in _flatten_rules(key, part).items()}


def _topic(path: str) -> str:
    """What a value is part of: `label` of `rules.pricing-page.label.ja`, `handover` of `handover.band`."""
    parts = path.split(".")
    return parts[2] if parts[0] == "rules" else parts[0]


def _rule_value(value: Any, *, text: bool) -> Any:
    if isinstance(value, list | tuple):
        return [_rule_value(item, text=text) for item in value]
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else f"{value.normalize():f}"
    if isinstance(value, str) and (text or not _CODE.fullmatch(value)):
        return audit.digest(value)
    return value


def _settings_notes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Note]:
    changed = [key for key in sorted(before.keys() | after.keys()) if before.get(key) != after.get(key)]
    notes = []
    if "stage" in changed:
        old = {"stage": before["stage"]} if before else None
        notes.append(Note(STAGE, "settings", "the settings name another stage", old=old, new={"stage": after["stage"]}))
        changed.remove("stage")
    if changed:
        old = {key: before[key] for key in changed if key in before} or None
        new = {key: after[key] for key in changed if key in after} or None
        why = "the settings were changed" if before else "the first run with these settings"
        notes.append(Note(CONFIG, "settings", why, old=old, new=new))
    return notes


def _rulebook_notes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Note]:
    if before == after:
        return []
    digests = ("digest", "text")
    new: dict[str, Any] = {key: after[key] for key in digests}
    if not before:
        new |= {"name": after["name"], "rules": len(after["rules"])}
        return [Note(RULEBOOK, "rulebook", "the first run with this rulebook", new=new)]
    old: dict[str, Any] = {key: before[key] for key in digests}
    changed: list[str] = []
    for kind in ("rules", "parts"):
        was, now = before[kind], after[kind]
        new |= _named(kind, "added", [name for name in now if name not in was])
        new |= _named(kind, "removed", [name for name in was if name not in now])
        new |= _named(kind, "changed", [name for name in now if name in was and now[name] != was[name]])
        for name in was.keys() | now.keys():
            values, fresh = was.get(name, {}), now.get(name, {})
            keys = [key for key in values.keys() | fresh.keys() if values.get(key) != fresh.get(key)]
            old |= {key: values[key] for key in keys if key in values}
            new |= {key: fresh[key] for key in keys if key in fresh}
            changed += keys
    return [Note(RULEBOOK, "rulebook", _why_rules(changed), old=old, new=new)]


def _why_rules(changed: Sequence[str]) -> str:
    """The weightiest of what changed: numbers, then who is handed over, then words."""
    topics = {_topic(key) for key in changed} - _WORDING
    if topics - _HANDOVER:
        return "other numbers"
    if topics:
        return "another hand-over, the same numbers"
    return "other wording, the same numbers" if changed else "another order, the same numbers"


def _named(kind: str, what: str, names: Sequence[str]) -> dict[str, list[str]]:
    return {f"{kind} {what}": sorted(names)} if names else {}
