"""Whatever the order of edits, polls and passes: one person, each happening once, one task, and in the end silence."""

from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.records import ACTIVITY_KINDS
from sync.state import schema as t
from tests.sync.pair.test_pair import CALL
from tests.sync.pair.world import OUR_MAPPING, Company, company
from tests.sync.practice import people_by_record

NUMBERS = count(1)
TITLES = ("部長", "本部長", "課長", "代表取締役")
UNMAPPED = [{**row, "rule": "dont_sync"} for row in OUR_MAPPING]

steps = st.one_of(
    st.tuples(st.sampled_from(["hubspot", "salesforce"]), st.sampled_from(TITLES)),
    st.tuples(st.sampled_from(["call", "webinar", "convert", "pass", "poll", "poll and pass", "rename"]), st.none()),
)


@pytest.fixture(scope="module")
def firm() -> Iterator[Company]:
    with company() as made:
        yield made


@settings(
    max_examples=3,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(ours=st.booleans(), todo=st.lists(steps, min_size=2, max_size=6))
def test_one_life_in_any_order(firm: Company, ours: bool, todo: list[tuple[str, str | None]]) -> None:
    firm.native(map=OUR_MAPPING if ours else UNMAPPED)
    life = Life(firm)
    for name, title in [("poll and pass", None), *todo]:
        life.take(name, title)
    written = firm.settle(6)
    assert written[-2:] == [0, 0], written
    person = life.person()
    counted = [a for a in firm.rows(t.activity, t.activity.c.person_id == person) if a["duplicate_of"] is None]
    kinds = [row["kind"] for row in counted]
    assert kinds.count(ACTIVITY_KINDS["call"]) == life.calls
    assert kinds.count(ACTIVITY_KINDS["webinar_attend"]) == life.webinars
    assert len(firm.rows(t.handover, t.handover.c.person_id == person)) <= 1
    own = firm.soql(f"SELECT Id FROM Task WHERE WhoId = '{life.record}' AND Mikomi_Key__c != null")
    assert len(own) == len(firm.rows(t.handover, t.handover.c.person_id == person))
    assert life.scores() == {firm.rows(t.score, t.score.c.person_id == person)[0]["total"]}
    assert firm.native()["errors"] == []


class Life:
    """One person in both CRMs, and what has happened to them."""

    def __init__(self, firm: Company) -> None:
        self.firm = firm
        self.number = next(NUMBERS)
        self.contact = firm.contact(email=f"person{self.number}@aoi.example", lastname=f"佐藤{self.number}")
        self.calls = self.webinars = self.names = 0
        self.converted = False

    @property
    def record(self) -> str:
        return self.firm.record_of(self.contact)

    def take(self, name: str, title: str | None) -> None:
        """One step; what is not possible now is passed over."""
        firm = self.firm
        match name:
            case "hubspot":
                firm.in_hubspot(action="update", type="contacts", id=self.contact, properties={"jobtitle": title or ""})
            case "salesforce":
                self.edit(Title=title)
            case "rename":
                self.names += 1
                self.edit(Email=f"person{self.number}-{self.names}@aoi.example")
            case "call":
                self.calls += 1
                firm.log("calls", self.contact, **{**CALL, "hs_call_title": f"ご相談 {self.calls}"})
            case "webinar" if not self.webinars:
                self.webinars += 1
                name = f"ウェビナー {self.number}"
                firm.attend(self.contact, name, event=990_000 + self.number, record=self.live())
            case "convert" if not self.converted:
                self.converted = True
                firm.in_salesforce(action="convert", id=self.record, opportunity=False)
            case "pass":
                firm.box.clock.advance(60)
                firm.sync()
            case "poll":
                firm.native(poll_now=True)
            case "poll and pass":
                firm.go()

    def edit(self, **fields: Any) -> None:
        """Somebody edits the live record in Salesforce."""
        record = self.live()
        kind = "Lead" if record.startswith("00Q") else "Contact"
        self.firm.in_salesforce(action="update", sobject=kind, id=record, fields=fields)

    def live(self) -> str:
        """The live record in Salesforce, of which the native sync may not know yet."""
        record = self.record
        if self.converted and record.startswith("00Q"):
            (lead,) = self.firm.soql(f"SELECT ConvertedContactId FROM Lead WHERE Id = '{record}'")
            record = lead["ConvertedContactId"]
        return record

    def person(self) -> int:
        """The one person that both records are."""
        people = people_by_record(self.firm)
        kind = "lead" if self.record.startswith("00Q") else "contact"
        found = {people[f"hubspot/contact/{self.contact}"], people[f"salesforce/{kind}/{self.record}"]}
        assert len(found) == 1
        return found.pop()

    def scores(self) -> set[float]:
        """The score as both CRMs show it."""
        path = f"/crm/v3/objects/contacts/{self.contact}?properties=mikomi_score"
        kind = "Lead" if self.record.startswith("00Q") else "Contact"
        (row,) = self.firm.soql(f"SELECT Mikomi_Score__c FROM {kind} WHERE Id = '{self.record}'")
        return {float(self.firm.hubspot("GET", path)["properties"]["mikomi_score"]), row["Mikomi_Score__c"]}
