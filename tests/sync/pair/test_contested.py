"""An administrator has mapped a field of ours to something else: we say so, and stop."""

from sync.drift import contested_fields, resume_field
from sync.state import schema as t
from tests.sync.pair.world import Company, company

WRONG = {"hubspot": "mikomi_score", "salesforce": "NumberOfEmployees", "rule": "always_salesforce"}


def test_a_field_that_the_native_sync_keeps_overwriting_is_left_alone_until_it_is_resumed() -> None:
    with company(stage="fields", native={"map": [WRONG]}) as firm:
        contacts = [firm.contact(email=f"sato{n}@aoi.example", lastname=f"佐藤{n}") for n in range(3)]
        firm.go(2)
        written = firm.settle(9)
        assert written[0] > 0
        assert written[-3:] == [0, 0, 0], written
        with firm.state() as state, state.read() as connection:
            (found,) = contested_fields(connection)
        assert (found.system, found.field, found.records, found.left_alone) == ("hubspot", "score", 3, True)
        assert {shown(firm, contact)[0] for contact in contacts} == {None}, "theirs: the lead has no employees"
        assert {row["Mikomi_Score__c"] for row in firm.soql("SELECT Mikomi_Score__c FROM Lead")} == {30}
        promoted = {"jobtitle": "一般社員"}
        firm.in_hubspot(action="update", type="contacts", id=contacts[0], properties=promoted)
        firm.in_salesforce(
            action="update", sobject="Lead", id=firm.record_of(contacts[0]), fields={"Title": "一般社員"}
        )
        assert firm.settle(3)[-1] == 0
        assert shown(firm, contacts[0]) == (None, "D"), "everything else goes on"

        firm.native(map=[{**WRONG, "rule": "dont_sync"}])
        with firm.state() as state, state.begin() as connection:
            assert resume_field(connection, "hubspot", "score") == 3
        assert firm.settle(3) == [3, 0, 0]
        assert [shown(firm, contact)[0] for contact in contacts] == ["0", "30", "30"]
        assert firm.rows(t.contested) == []


def shown(firm: Company, contact: str) -> tuple[str | None, str | None]:
    """Score and band on a HubSpot contact."""
    path = f"/crm/v3/objects/contacts/{contact}?properties=mikomi_score,mikomi_band"
    properties = firm.hubspot("GET", path)["properties"]
    return properties["mikomi_score"], properties["mikomi_band"]
