"""Deals, their stages, and when they were closed."""

from collections.abc import Mapping, Sequence

from connectors.hubspot.facts import FactReader, Row, long_id
from connectors.values import clean_text, parse_millis, to_number
from core.records import Deal, Millis, RecordRef, day_start

Stages = Mapping[str, tuple[bool, bool]]
"""Deal stage id to (closed, won)."""


class DealReader:
    """Turns deal rows into facts."""

    def __init__(self, facts: FactReader) -> None:
        self._facts = facts

    def read(
        self, row: Row, stages: Stages, people: Sequence[str], company: str | None, home_currency: str | None
    ) -> Deal:
        properties, names = row["properties"], self._facts.meaning.deal
        stage = properties.get("dealstage") or ""
        closed, won = stages.get(stage) or (
            properties.get("hs_is_closed") == "true",
            properties.get("hs_is_closed_won") == "true",
        )
        get = {part: properties.get(name) for part, name in names.items()}.get
        amount = to_number(get("amount"))
        link = get("link")
        reason = get("loss_reason")
        return Deal(
            RecordRef(self._facts.system, "deal", row["id"]),
            created_at=parse_millis(properties.get("createdate") or row["createdAt"]),
            modified_at=parse_millis(row["updatedAt"]),
            stage=stage,
            is_closed=closed,
            is_won=won,
            closed_at=self._closed_at(row, stages, stage) if closed else None,
            name=clean_text(get("name") or ""),
            account=RecordRef(self._facts.system, "account", company) if company else None,
            people=tuple(RecordRef(self._facts.system, "contact", p) for p in people),
            amount=float(amount) if amount is not None else None,
            currency=get("currency") or home_currency,
            loss_reason=clean_text(reason) if closed and not won and reason else None,
            owner_id=properties.get("hubspot_owner_id") or None,
            link=RecordRef(self._facts.linked_system, "deal", long_id(link))
            if self._facts.linked_system and link
            else None,
        )

    def _closed_at(self, row: Row, stages: Stages, stage: str) -> Millis:
        """The change into this outcome: the oldest of the newest versions that mean the same; else the close date."""
        outcome = stages.get(stage)
        entered = None
        for version in (row.get("propertiesWithHistory") or {}).get("dealstage") or ():
            if outcome is None or stages.get(str(version.get("value"))) != outcome:
                break
            entered = parse_millis(version["timestamp"])
        if entered is not None:
            return entered
        if closes := row["properties"].get("closedate"):
            return day_start(self._facts.day_of(parse_millis(closes)), self._facts.day_of.zone)
        return parse_millis(row["updatedAt"])
