"""What an org looks like to its integration user: described once a day, held against the mapping, cut into streams."""

from collections import Counter
from dataclasses import replace
from typing import Any

from connectors.calls import Clock
from connectors.mapping import Usage
from connectors.salesforce.facts import Translator
from connectors.salesforce.resources import Part, SalesforceApi
from connectors.salesforce.schema import OBJECTS, Layout, Shape, WrittenMapping, lay_out, shape_of
from connectors.salesforce.streams import Stream, plan_streams
from connectors.values import LocalDays
from core.errors import Unexpected
from core.records import DAY_MS, Millis

DESCRIBED = (*OBJECTS, "Campaign")
LIFE_MS = DAY_MS


class OrgLook:
    """The org as it was when it was last looked at.

    Attributes:
        lenient: optional fields that the mapping names and the org lacks are left out, not refused.
        lacking: optional fields of the mapping that have no source, by place.
        known: the layout, None before the first look.
    """

    def __init__(
        self,
        api: SalesforceApi,
        mapping: WrittenMapping,
        usage: Usage,
        days: LocalDays,
        problems: Counter[str],
        currency: str | None,
        clock: Clock,
    ) -> None:
        self.lenient = False
        self.lacking: tuple[str, ...] = ()
        self.known: Layout | None = None
        self._api = api
        self._mapping = mapping
        self._usage = usage
        self._days = days
        self._problems = problems
        self._currency = currency
        self._clock = clock
        self._shapes: dict[str, Shape] | None = None
        self._looked_at: Millis = 0
        self._streams: tuple[Stream, ...] = ()

    def shapes(self) -> dict[str, Shape]:
        """Describes of all objects in one call, kept for a day. Objects that the user may not see are missing."""
        if self._shapes is None or abs(self._clock.now() - self._looked_at) > LIFE_MS:
            self.forget()
            parts = [Part("GET", f"sobjects/{name}/describe") for name in DESCRIBED]
            answers = self._api.composite(parts, endpoint="describe")
            shapes: dict[str, Shape] = {}
            for name, answer in zip(DESCRIBED, answers, strict=True):
                if answer.status == 200:
                    shapes[name] = self._shape(name, answer.body)
                elif answer.status not in {403, 404}:
                    raise self._api.part_error(answer)
            self._shapes = shapes
            self._looked_at = self._clock.now()
        return self._shapes

    def _shape(self, name: str, body: Any) -> Shape:
        try:
            return shape_of(body)
        except TypeError as error:
            raise Unexpected(f"the description of {name} has no fields", system=self._api.name) from error

    def layout(self) -> Layout:
        """The mapping, held against the org. Raises InvalidMapping."""
        shapes = self.shapes()
        if self.known is None:
            mapping = self._mapping
            if self.lenient:
                mapping = replace(mapping, explicit=dict.fromkeys(mapping.explicit, frozenset()))
            self.known = lay_out(self._api.name, mapping, shapes, shapes.get("Account"), self._usage)
            self.lacking = tuple(finding.subject for finding in self.known.findings)
            translator = Translator(self._api.name, self.known, self._days, self._count, self._currency)
            self._streams = plan_streams(translator, self._usage)
        return self.known

    def streams(self) -> tuple[Stream, ...]:
        """The streams of this org for this use, in reading order."""
        self.layout()
        return self._streams

    def forget(self) -> None:
        """The org has changed under us: the next question looks again."""
        self._shapes = self.known = None

    def _count(self, place: str) -> None:
        self._problems[place] += 1
