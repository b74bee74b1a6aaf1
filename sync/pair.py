"""HubSpot and Salesforce joined by HubSpot's own sync: what the settings' `pair:` block means for everything else.

Source: DESIGN §5 ("A pair"), SETTLED 13. Scores are written in both systems; tasks and hand-over fields in one, because the
native sync copies the other's tasks and mirrors mapped fields.
"""

from collections.abc import Mapping
from typing import Any

from core.errors import InvalidSettings
from sync.settings import Loaded, Pair, Settings

HANDOVER_FIELDS = frozenset({"handover_no", "handover_state", "handed_over_at"})
"""Fields that stand in one system of a pair only."""


def check_pair(loaded: Loaded) -> None:
    """Hold the block against the connections.

    Raises:
        InvalidSettings: with file and line: an unknown connection, one of another vendor, or a contradiction.

    """
    settings, pair = loaded.settings, loaded.settings.pair
    if pair is None:
        return
    for vendor, name in (("salesforce", pair.salesforce), ("hubspot", pair.hubspot)):
        section = settings.connections.get(name)
        if section is None or section["vendor"] != vendor:
            fitting = [other for other, one in settings.connections.items() if one["vendor"] == vendor]
            raise InvalidSettings(
                f"{name!r} is no {vendor} connection",
                place=loaded.place("pair", vendor),
                hint=f"one of {', '.join(fitting)}" if fitting else f"add a connection with vendor: {vendor}",
            )
    if pair.tasks not in ("", pair.salesforce, pair.hubspot):
        raise InvalidSettings(
            f"{pair.tasks!r} is no connection of the pair",
            place=loaded.place("pair", "tasks"),
            hint=f"{pair.salesforce} or {pair.hubspot}",
        )
    others = {pair.salesforce, pair.hubspot} - {task_system(settings)}
    if pair.tasks and others & set(settings.tasks.systems) and pair.tasks not in settings.tasks.systems:
        raise InvalidSettings(
            f"{', '.join(settings.tasks.systems)} contradicts pair.tasks, which is {pair.tasks}",
            place=loaded.place("tasks", "systems"),
            hint=f"tasks of a pair stand in one system: name {pair.tasks}, or leave tasks.systems out",
        )
    stated = settings.connections[pair.hubspot].get("linked_system", pair.salesforce)
    if stated != pair.salesforce:
        raise InvalidSettings(
            f"{stated!r} contradicts the pair, which joins {pair.hubspot} to {pair.salesforce}",
            place=loaded.place("connections", pair.hubspot, "linked_system"),
            hint="leave linked_system out: it follows from pair",
        )


def connection_section(settings: Settings, name: str) -> Mapping[str, Any]:
    """A connection's block, with what follows from the pair."""
    section, pair = settings.connections[name], settings.pair
    if pair is None or name != pair.hubspot:
        return section
    return {**section, "linked_system": pair.salesforce}


def task_system(settings: Settings) -> str | None:
    """The one connection of the pair that gets tasks and hand-over fields; None without a pair.

    `pair.tasks`, else the first of the two that `tasks.systems` names, else Salesforce.
    """
    pair = settings.pair
    if pair is None:
        return None
    named = (name for name in settings.tasks.systems if name in (pair.salesforce, pair.hubspot))
    return pair.tasks or next(named, pair.salesforce)


def silent_system(settings: Settings) -> str | None:
    """The other connection of the pair, where neither tasks nor hand-over fields are written."""
    pair = settings.pair
    if pair is None:
        return None
    return pair.hubspot if task_system(settings) == pair.salesforce else pair.salesforce


def copied_activities(pair: Pair | None) -> Mapping[str, str]:
    """Connection into which the native sync copies activities, to the one they come from."""
    return {} if pair is None else {pair.salesforce: pair.hubspot}
