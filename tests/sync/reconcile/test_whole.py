"""Both CRMs behind our back. One company for all tests: each leaves both sides equal."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import delete, select

from core.errors import Interrupted
from sync.progress import Silent, Stoppable
from sync.reconcile import reconcile
from sync.state import schema as t
from sync.state.kept import get_kept
from tests.sync.cli.rig import mikomi
from tests.sync.practice import Practice
from tests.sync.reconcile.rig import (
    Company,
    edit_unseen,
    found,
    hubspot_order,
    live_records,
    look,
    restore_copy,
    salesforce_order,
    settled_company,
    touch_unseen,
)


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Company]:
    with settled_company(tmp_path_factory.mktemp("company")) as made:
        yield made


@pytest.fixture
def practice(company: Company) -> Practice:
    settle(company.practice)
    return company.practice


def settle(practice: Practice) -> None:
    """Passes until nothing that an earlier test left is on its way, and our own writes were read again."""
    for _ in range(5):
        practice.wait()
        report = practice.sync()
        if not report.people_scored and not any(s.fields_written or s.rows_changed for s in report.systems.values()):
            return
    raise AssertionError(report)


def tasks(practice: Practice) -> dict[str, str]:
    """Key to id of every task of ours in both CRMs; a key that is there twice fails."""
    pairs = [(row["Mikomi_Key__c"], row["Id"]) for row in practice.salesforce_tasks()]
    pairs += [(row["properties"]["mikomi_key"], row["id"]) for row in practice.hubspot_tasks()]
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def content(practice: Practice) -> dict[str, list[str]]:
    """Every row of the state but those that every look leaves behind."""
    left_out = {"setting", "cursor", "calls_made", "lease", "credential", "run", "audit"}
    with practice.state() as state, state.read() as connection:
        return {
            name: sorted(repr(row) for row in connection.execute(select(table)))
            for name, table in t.metadata.tables.items()
            if name not in left_out
        }


def shown_versions(practice: Practice) -> dict[str, int]:
    """The score version that each Salesforce record shows."""
    return {
        row["Id"]: row["Mikomi_Score_Version__c"]
        for kind in ("Lead", "Contact")
        for row in practice.soql(f"SELECT Id, Mikomi_Score_Version__c FROM {kind} WHERE IsDeleted = false")
        if row["Mikomi_Score_Version__c"] is not None
    }


def test_equal_sides_are_equal_and_looking_changes_nothing(practice: Practice) -> None:
    before, there = content(practice), tasks(practice)
    report = look(practice)
    assert report.equal, report
    assert all(system.records > 20 for system in report.systems.values())
    assert sum(system.tasks for system in report.systems.values()) == len(there) > 5
    assert content(practice) == before
    healed = look(practice, heal=True)
    assert healed.equal
    after = content(practice)
    assert {
        name: [row for row in rows if row not in before[name]] for name, rows in after.items() if rows != before[name]
    } == {}
    assert (found(healed), tasks(practice)) == (found(report), there)


def test_edits_that_left_no_stamp_are_found_and_read(practice: Practice) -> None:
    lead, contact = live_records(practice, "salesforce", "lead")[0], live_records(practice, "hubspot", "contact")[0]
    deal = practice.rows(t.deal, t.deal.c.system == "salesforce")[0]
    account = practice.rows(t.account, t.account.c.system == "salesforce")[0]
    edit_unseen(practice, "Lead", lead["id"], Title="代表取締役社長")
    edit_unseen(practice, "Opportunity", deal["id"], Amount=123_456.0)
    edit_unseen(practice, "Account", account["id"], NumberOfEmployees=4_321)
    touch_unseen(practice, "contacts", contact["id"], jobtitle="情報システム部長")
    assert all(system.rows_changed == 0 for system in practice.sync().systems.values())  # no pass sees them
    before = content(practice)
    report = look(practice)
    assert found(report) == {"salesforce": {"different": 3}, "hubspot": {"different": 1}}
    named = {e for s in report.systems.values() for d in s.differences.values() for e in d.examples}
    assert named == {
        f"salesforce/lead/{lead['id']}",
        f"salesforce/deal/{deal['id']}",
        f"salesforce/account/{account['id']}",
        f"hubspot/contact/{contact['id']}",
    }
    assert content(practice) == before
    assert look(practice, heal=True).equal
    assert live_records(practice, "salesforce", "lead")[0]["fields"]["title"] == "代表取締役社長"
    assert live_records(practice, "hubspot", "contact")[0]["fields"]["title"] == "情報システム部長"
    assert practice.rows(t.deal, t.deal.c.id == deal["id"])[0]["amount"] == 123_456.0
    assert practice.sync().people_scored > 0


def test_what_is_gone_there_is_buried_here(practice: Practice) -> None:
    dealing = {row["id"] for row in practice.rows(t.deal_role)}
    [*_, lead] = live_records(practice, "salesforce", "lead")
    [*_, contact] = [row for row in live_records(practice, "hubspot", "contact") if row["id"] not in dealing]
    salesforce_order(practice, action="hard_delete", sobject="Lead", id=lead["id"])
    hubspot_order(practice, action="purge", type="contacts", id=contact["id"])
    assert found(look(practice)) == {"salesforce": {"gone_there": 1}, "hubspot": {"gone_there": 1}}
    assert lead["id"] in {row["id"] for row in live_records(practice, "salesforce", "lead")}
    assert look(practice, heal=True).equal
    assert lead["id"] not in {row["id"] for row in live_records(practice, "salesforce", "lead")}
    assert contact["id"] not in {row["id"] for row in live_records(practice, "hubspot", "contact")}


def test_what_is_missing_here_is_read_and_has_its_person_again(practice: Practice) -> None:
    lead = live_records(practice, "salesforce", "lead")[1]
    with practice.state() as state, state.begin() as connection:
        connection.execute(delete(t.record).where(t.record.c.id == lead["id"]))
        connection.execute(delete(t.record_email).where(t.record_email.c.id == lead["id"]))
    assert found(look(practice)) == {"salesforce": {"missing_here": 1}, "hubspot": {}}
    assert look(practice, heal=True).equal
    again = next(row for row in live_records(practice, "salesforce", "lead") if row["id"] == lead["id"])
    assert again["fields"] == lead["fields"]
    assert again["person_id"] is not None


def test_score_fields_that_somebody_changed_unseen_are_written_again(practice: Practice) -> None:
    lead, contact = live_records(practice, "salesforce", "lead")[0], live_records(practice, "hubspot", "contact")[0]
    edit_unseen(practice, "Lead", lead["id"], Mikomi_Score__c=3, Mikomi_Next_Action__c="?")
    touch_unseen(practice, "contacts", contact["id"], mikomi_band="D", mikomi_fit="99")
    before = content(practice)
    assert found(look(practice)) == {"salesforce": {"fields": 1}, "hubspot": {"fields": 1}}
    assert content(practice) == before
    report = look(practice, heal=True)
    assert report.equal
    assert found(look(practice)) == {"salesforce": {}, "hubspot": {}}  # owed, no longer believed to be there
    practice.sync()
    [shown] = practice.soql(f"SELECT Mikomi_Score__c FROM Lead WHERE Id = '{lead['id']}'")
    written = lead["written"]
    assert shown["Mikomi_Score__c"] == written["score"]
    properties = practice.hubspot("GET", f"/crm/v3/objects/contacts/{contact['id']}?properties=mikomi_band,mikomi_fit")
    assert properties["properties"]["mikomi_band"] == contact["written"]["band"]
    assert int(properties["properties"]["mikomi_fit"]) == contact["written"]["fit"]


def test_a_field_that_is_left_to_somebody_else_is_no_difference(practice: Practice) -> None:
    lead = live_records(practice, "salesforce", "lead")[2]
    written = lead["written"]["score"]
    place = {"system": "salesforce", "kind": "lead", "id": lead["id"], "field": "score"}
    with practice.state() as state, state.begin() as connection:
        connection.execute(t.contested.insert().values(**place, times=3, theirs="", at=0))
    edit_unseen(practice, "Lead", lead["id"], Mikomi_Score__c=1)
    report = look(practice, heal=True)
    assert (found(report)["salesforce"], report.systems["salesforce"].contested) == ({}, 1)
    edit_unseen(practice, "Lead", lead["id"], Mikomi_Score__c=written)
    with practice.state() as state, state.begin() as connection:
        connection.execute(delete(t.contested))


def test_forgotten_tasks_are_adopted_and_nobody_is_handed_over_again(practice: Practice) -> None:
    there = tasks(practice)
    episodes = {row["person_id"]: dict(row) for row in practice.rows(t.handover)}
    forgotten = practice.rows(t.outbox, t.outbox.c.effect == "task")[:4]
    people = [row["person_id"] for row in forgotten]
    with practice.state() as state, state.begin() as connection:
        connection.execute(delete(t.outbox).where(t.outbox.c.outbox_id.in_([row["outbox_id"] for row in forgotten])))
        connection.execute(delete(t.handover).where(t.handover.c.person_id.in_(people)))
    report = look(practice)
    assert sum(found(report)[name].get("forgotten_tasks", 0) for name in report.systems) == 4
    assert practice.rows(t.handover, t.handover.c.person_id.in_(people)) == []
    assert look(practice, heal=True).equal
    for row in practice.rows(t.handover, t.handover.c.person_id.in_(people)):
        before = episodes[row["person_id"]]
        same = ("number", "name", "state", "system", "kind", "id", "seeded")
        assert {name: row[name] for name in same} == {name: before[name] for name in same}
    kept = {row["key"]: row for row in practice.rows(t.outbox, t.outbox.c.effect == "task")}
    for row in forgotten:
        adopted = kept[row["key"]]
        for name in ("system", "kind", "id", "person_id", "crm_id"):
            assert adopted[name] == row[name]
        assert adopted["state"] == "done"
    assert practice.rows(t.audit, t.audit.c.action == "adopt")
    report_of_sync = practice.sync()
    assert (report_of_sync.tasks_owed, tasks(practice)) == (0, there)


def test_a_restored_backup_adopts_what_happened_since(practice: Practice, company: Company) -> None:
    """The state is a day older than the CRMs: it knows of no hand-over, and of scores that are no longer there."""
    there = tasks(practice)
    versions = shown_versions(practice)
    restore_copy(practice, company.backup)
    assert practice.rows(t.handover) == []
    report = look(practice, heal=True)
    assert report.equal, report
    adopted = sum(found(report)[name].get("forgotten_tasks", 0) for name in report.systems)
    assert adopted == len(there)
    keys = {row["key"]: row for row in practice.rows(t.outbox, t.outbox.c.effect == "task")}
    assert {key: row["crm_id"] for key, row in keys.items()} == there
    assert {row["state"] for row in keys.values()} == {"done"}
    passed = practice.sync()
    assert (passed.outcome, passed.tasks_owed) == ("ok", 0)
    assert tasks(practice) == there
    assert {row["state"] for row in practice.rows(t.handover, t.handover.c.seeded.is_(False))} == {"offered"}
    practice.wait()
    practice.sync()
    practice.wait()
    quiet = practice.sync()
    assert quiet.tasks_owed == 0
    assert quiet.daily or quiet.fields_owed == 0
    after = shown_versions(practice)
    assert after.keys() == versions.keys()
    assert all(after[record] >= version for record, version in versions.items())


def test_stopped_work_goes_on_where_it_was(practice: Practice) -> None:
    lead = live_records(practice, "salesforce", "lead")[0]
    title = practice.soql(f"SELECT Title FROM Lead WHERE Id = '{lead['id']}'")[0]["Title"]
    edit_unseen(practice, "Lead", lead["id"], Title="監査役")
    steps: list[str] = []

    class Watching(Silent):
        def advance(self, step: str, count: int = 1, total: int | None = None) -> None:
            steps.append(step)

    def is_asked() -> bool:
        return steps.count("compare salesforce") >= 4

    with pytest.raises(Interrupted):
        look(practice, progress=Stoppable(Watching(), is_asked))
    with practice.state() as state:
        kept = get_kept(state, "reconcile salesforce")
        assert "Lead" in kept["places"]
        assert kept["findings"]["differences"]["different"]["count"] == 1
    report = look(practice)
    assert found(report)["salesforce"] == {"different": 1}  # counted once, from the part that was kept
    with practice.state() as state:
        assert get_kept(state, "reconcile salesforce") is None
    edit_unseen(practice, "Lead", lead["id"], Title=title)


def test_a_paused_connection_is_not_called(practice: Practice) -> None:
    assert mikomi("pause", "hubspot", "--reason", "maintenance", "-c", practice.config_file).code == 0
    report = look(practice)
    assert report.systems["hubspot"].skipped
    assert (report.systems["hubspot"].calls, report.equal) == (0, False)
    assert report.systems["salesforce"].calls > 0
    assert mikomi("resume", "hubspot", "-c", practice.config_file).code == 0


def test_who_was_left_out_can_be_looked_at_alone_and_the_rest_stays_in_the_report(practice: Practice) -> None:
    assert mikomi("pause", "hubspot", "-c", practice.config_file).code == 0
    first = look(practice)
    assert mikomi("resume", "hubspot", "-c", practice.config_file).code == 0
    with practice.app() as app, app.state() as state:
        late, name = {"hubspot": app.connectors["hubspot"]}, app.rulebook.handover.name
        report = reconcile(state, app.loaded.settings, late, name, heal=True, progress=Silent(), before=first)
        assert app.connectors["salesforce"].counts.stream == 0
        kept = get_kept(state, "reconciled")
    assert report.equal
    assert report.systems["salesforce"] == first.systems["salesforce"]
    assert report.systems["hubspot"].records > 0
    assert kept["systems"].keys() == {"salesforce", "hubspot"}


def test_the_command_says_it_in_both_languages(practice: Practice) -> None:
    said = mikomi("reconcile", "-c", practice.config_file)
    assert said.code == 0, said
    assert "salesforce" in said.out
    lead = live_records(practice, "salesforce", "lead")[0]
    title = practice.soql(f"SELECT Title FROM Lead WHERE Id = '{lead['id']}'")[0]["Title"]
    edit_unseen(practice, "Lead", lead["id"], Title="相談役")
    practice.write_config(language="en")
    said = mikomi("reconcile", "-c", practice.config_file)
    assert said.code == 1
    assert "different content: 1" in said.out
    assert "mikomi reconcile --heal" in said.out
    machine = mikomi("reconcile", "--json", "-c", practice.config_file)
    assert machine.code == 1
    assert '"different"' in machine.out
    edit_unseen(practice, "Lead", lead["id"], Title=title)
    practice.write_config(language="ja")


def test_only_what_the_crm_has_is_called_equal(tmp_path: Path, practice: Practice) -> None:
    """A connection of which nothing was ever read is not called equal."""
    practice.write_config(state=f"sqlite:///{tmp_path / 'new.sqlite3'}")
    with practice.state():
        pass
    report = look(practice)
    assert not report.equal
    assert all(system.skipped for system in report.systems.values())
    practice.write_config(state="sqlite:///mikomi.sqlite3")
