"""What a rulebook reads: the fields and activity kinds without which its rules have nothing to say."""

from collections.abc import Iterator

from core.rulebook.conditions import PROPERTIES, When, Where
from core.rulebook.model import ActivityRule, AttributeRule, Rulebook


def fields_needed(rulebook: Rulebook) -> frozenset[str]:
    """Canonical fields (`core.records.FIELD_TYPES`) that attribute rules ask about."""
    return frozenset(name for rule in rulebook.rules if isinstance(rule, AttributeRule) for name in _fields(rule))


def kinds_needed(rulebook: Rulebook) -> frozenset[str]:
    """Activity kinds (`core.records.ACTIVITY_KINDS`) that activity rules count."""
    return frozenset(kind for rule in rulebook.rules if isinstance(rule, ActivityRule) for kind in rule.on)


def properties_tested(where: Where | None) -> set[str]:
    """The activity properties that a condition looks at."""
    if where is None:
        return set()
    names = {name for name in PROPERTIES if getattr(where, name) is not None}
    for part in (*(where.all or ()), *(where.any or ()), where.not_):
        names |= properties_tested(part)
    return names


def _fields(rule: AttributeRule) -> Iterator[str]:
    if rule.field is not None:
        yield rule.field
    if rule.when is not None:
        yield from _tested(rule.when)


def _tested(when: When) -> Iterator[str]:
    if when.field is not None:
        yield when.field
    for part in (*(when.all or ()), *(when.any or ()), *((when.not_,) if when.not_ else ())):
        yield from _tested(part)
