"""Changes of the settings and of the rulebook, found at the start of a run by comparing with what the last one saw.

Files are edited in an editor, so nobody tells us: what differs is noted in the audit log, key by key and rule by rule. Secrets
never stand in the settings; what names people (addresses of owners, sign-in names) is kept as a digest only.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, select

from core.rulebook import Rulebook, scoring_digest, text_digest
from sync import audit
from sync.audit import Note
from sync.settings import Settings
from sync.state import State
from sync.state import schema as t
from sync.state.kept import keep_in

CONFIG, RULEBOOK, STAGE = "config", "rulebook", "stage"

_SEEN = "seen configuration"
_SOURCES = {"env", "file", "keyring"}
_SECRET = ("secret", "token", "password", "private_key", "state_key")
_LONGEST = 200


def note_changes(state: State, settings: Settings, rulebook: Rulebook) -> None:
    """Note what differs from the last run, if anything; costs one read where nothing does."""
    seen = {"settings": flatten_settings(settings), "rulebook": describe_rulebook(rulebook)}
    with state.read() as connection:
        if _kept(connection) == seen:
            return
    with state.begin() as connection:
        before = _kept(connection) or {"settings": {}, "rulebook": {}}
        notes = _settings_notes(before["settings"], seen["settings"])
        notes += _rulebook_notes(before["rulebook"], seen["rulebook"])
        keep_in(connection, _SEEN, seen)
        audit.note_many(connection, notes)


def _kept(connection: Connection) -> Any:
    return connection.execute(select(t.setting.c.value).where(t.setting.c.name == _SEEN)).scalar()


def flatten_settings(settings: Settings) -> dict[str, Any]:
    """Dotted keys to plain values: `connections.hubspot.daily_calls` → 50000."""
    found: dict[str, Any] = {}
    _flatten("", settings.model_dump(mode="json"), found)
    return found


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
    """The digests of a rulebook: of what changes numbers, of everything, of each rule and of each other part."""
    document = rulebook.model_dump(mode="json", exclude_none=True, by_alias=True)
    rules = document.pop("rules")
    return {
        "name": rulebook.name,
        "digest": scoring_digest(rulebook),
        "text": text_digest(rulebook),
        "rules": {str(rule["id"]): audit.digest(rule) for rule in rules},
        "parts": {name: audit.digest(part) for name, part in document.items()},
    }


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
    told = ("name", "digest", "text")
    new: dict[str, Any] = {key: after[key] for key in told}
    if not before:
        new["rules"] = len(after["rules"])
        return [Note(RULEBOOK, "rulebook", "the first run with this rulebook", new=new)]
    for kind in ("rules", "parts"):
        old_parts, new_parts = before[kind], after[kind]
        new |= _named(kind, "added", [name for name in new_parts if name not in old_parts])
        new |= _named(kind, "removed", [name for name in old_parts if name not in new_parts])
        both = [name for name in new_parts if name in old_parts]
        new |= _named(kind, "changed", [name for name in both if new_parts[name] != old_parts[name]])
    why = "other numbers" if before["digest"] != after["digest"] else "other wording, the same numbers"
    return [Note(RULEBOOK, "rulebook", why, old={key: before[key] for key in told}, new=new)]


def _named(kind: str, what: str, names: list[str]) -> dict[str, list[str]]:
    return {f"{kind} {what}": sorted(names)} if names else {}
