"""What a rulebook needs of the state: columns, kinds and reach. Less is loaded than is kept."""

from dataclasses import dataclass

from core.records import ACTIVITY_KINDS, HUMAN_KINDS
from core.rulebook import AccountRule, ActivityRule, DealRule, InactiveRule, Rulebook
from core.rulebook.needs import fields_needed, properties_tested


@dataclass(frozen=True, slots=True)
class Needs:
    """What must be loaded for one rulebook.

    Attributes:
        fields: person fields that rules look at.
        properties: activity properties that rules look at.
        kinds: codes of the activity kinds that rules or "last human contact" look at.
        deals: whether any rule looks at deals.
        colleagues: whether a rule counts the active people of a company.
        active_within: how many days back such a rule looks; None: all of them.
    """

    fields: tuple[str, ...]
    properties: tuple[str, ...]
    kinds: tuple[int, ...]
    deals: bool
    colleagues: bool
    active_within: int | None


def needs_of(rulebook: Rulebook) -> Needs:
    """Read the needs off the rules."""
    activity = [rule for rule in rulebook.rules if isinstance(rule, ActivityRule) and rule.points]
    account = [rule.account.people_active.within for rule in rulebook.rules if isinstance(rule, AccountRule)]
    kinds = {kind for rule in activity for kind in rule.on} | HUMAN_KINDS
    asks_deals = any(
        isinstance(rule, DealRule) or (isinstance(rule, InactiveRule) and "open_deal" in rule.unless)
        for rule in rulebook.rules
    )
    bounded = [within for within in account if within is not None]
    return Needs(
        fields=tuple(sorted(fields_needed(rulebook))),
        properties=tuple(sorted({name for rule in activity for name in properties_tested(rule.where)})),
        kinds=tuple(sorted(ACTIVITY_KINDS[kind] for kind in kinds)),
        deals=asks_deals,
        colleagues=bool(account),
        active_within=max(bounded) if len(bounded) == len(account) and bounded else None,
    )
