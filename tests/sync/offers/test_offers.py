"""One person, one task, and never none: whatever merges, deletions and refusals happen before the task is made."""

import pytest

from core.errors import Gone, Rejected, Transient
from core.records import RecordRef, Tombstone
from sync.state import State, deadletters
from tests.sync.offers.rig import RULE, Desk

BUSY = Transient("busy")
REFUSED = Rejected("no", code=RULE)


@pytest.fixture
def desk(state: State) -> Desk:
    return Desk(state)


def offered_twice(desk: Desk, id: str) -> None:
    """Handed over, cooled, and hot again: the second task is on its way."""
    desk.add(id)
    desk.run()
    assert desk.tasks() == [id]
    desk.title(id, "担当")
    desk.run()
    desk.title(id, "部長")


# --- two people turn out to be one ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("obstacle", [BUSY, REFUSED])
@pytest.mark.parametrize("older", [True, False])
def test_a_duplicate_that_was_never_offered_takes_nothing_back(
    desk: Desk, obstacle: Transient | Rejected, older: bool
) -> None:
    """Past hand-overs are none that stand: the second one is this person's own."""
    if older:
        desk.add("003B", title="担当")
        desk.run()
    offered_twice(desk, "003A")
    if not older:
        desk.add("003B", title="担当")
    desk.org.refusing["003A"] = obstacle
    desk.run()
    assert [state for state, _ in desk.ends()] == ["done", "new" if obstacle is BUSY else "dead"]
    desk.delete("003B", into="003A")
    desk.run()
    desk.org.refusing.clear()
    desk.org.at += 86_400_000
    desk.run()
    assert desk.tasks() == ["003A", "003A"]
    assert [(e.number, e.seeded) for e in desk.episodes("003A")] == [(1, False), (2, False)]
    desk.run()
    assert desk.number("003A") == 2


@pytest.mark.parametrize("made", ["003A", "003B", None])
def test_of_two_who_stand_offered_one_task_is_made(desk: Desk, made: str | None) -> None:
    """The one that a rep has already stays; of two that wait the earlier."""
    for id in ("003A", "003B"):
        if id != made:
            desk.org.refusing[id] = BUSY
        desk.add(id)
        desk.run()
    desk.delete("003B", into="003A")
    desk.run()
    desk.org.refusing.clear()
    desk.run()
    desk.run()
    assert desk.tasks() == [made or "003A"]
    assert sorted(desk.ends()) == [("cancelled", "cancelled"), ("done", None)]
    assert [e.seeded for e in desk.episodes("003A")] == ([True, False] if made == "003B" else [False, True])


def test_a_task_that_was_given_up_takes_no_other_back(desk: Desk) -> None:
    """The first one's task is dropped by hand: the second one's is the only one there will be."""
    desk.org.refusing["003A"] = REFUSED
    desk.add("003A")
    desk.run()
    with desk.state.begin() as connection:
        deadletters.drop(connection, deadletters.list_dead(connection), reason="dropped by hand", now=desk.org.at)
    desk.org.refusing["003B"] = BUSY
    desk.add("003B")
    desk.run()
    desk.delete("003B", into="003A")
    desk.run()
    desk.org.refusing.clear()
    desk.run()
    assert desk.tasks() == ["003A"]


def test_what_is_taken_back_is_the_offer_that_stands_and_no_other(desk: Desk) -> None:
    """A refused task of a hand-over long ago is not the one that the two people have twice."""
    desk.org.refusing["003B"] = REFUSED
    desk.add("003B")
    desk.run()
    desk.title("003B", "担当")
    desk.run()
    desk.add("003A")
    desk.run()
    desk.org.refusing["003B"] = BUSY
    desk.title("003B", "部長")
    desk.run()
    assert [state for state, _ in desk.ends()] == ["dead", "done", "new"]
    desk.delete("003B", into="003A")
    desk.run()
    assert [row["message"] for row in desk.rows() if row["state"] == "cancelled"] == ["one person, one task"]
    assert desk.rows()[2]["state"] == "cancelled"


# --- the record goes before the task is made -----------------------------------------------------------------------------


@pytest.mark.parametrize("permanent", [False, True])
def test_who_lives_on_in_another_record_is_offered_there(desk: Desk, permanent: bool) -> None:
    desk.org.refusing["003A"] = BUSY
    desk.add("003A", "sato@acme.example")
    desk.add("003B", "sato@acme.example")
    desk.run()
    assert [row["id"] for row in desk.rows()] == ["003A"]
    desk.delete("003A", permanent=permanent)
    desk.run()
    desk.run()
    assert desk.tasks() == ["003B"]
    assert desk.number("003B") == 1
    assert [(e.number, e.record and e.record.id) for e in desk.episodes("003B")] == [(1, "003B")]
    [lost, _] = desk.rows()
    assert (lost["state"], lost["code"]) == ("cancelled", "gone")
    assert permanent or lost["done_at"] is not None


def test_who_is_hot_no_more_is_not_shown_as_handed_over(desk: Desk) -> None:
    """No task exists anywhere, so nothing says that there is one."""
    desk.org.refusing["003A"] = BUSY
    desk.add("003A", "sato@acme.example")
    desk.add("003B", "sato@acme.example", title="担当")
    desk.run()
    desk.delete("003A")
    desk.run()
    desk.run()
    assert (desk.tasks(), desk.number("003B"), desk.episodes("003B")) == ([], None, ())


def test_a_record_that_went_between_reading_and_sending(desk: Desk) -> None:
    """The refusal says it first; the other record gets the hand-over in the next pass."""
    desk.org.refusing["003A"] = Gone("deleted", code="ENTITY_IS_DELETED")
    desk.add("003A", "sato@acme.example")
    desk.add("003B", "sato@acme.example")
    record = desk.org.records["003A"]
    fetch_is_newer(desk, "003A")
    desk.run()
    assert desk.ends() == [("dead", "gone")]
    assert desk.org.records["003A"] == record
    desk.delete("003A")
    desk.run()
    desk.run()
    assert desk.tasks() == ["003B"]
    assert desk.number("003B") == 1


@pytest.mark.parametrize("noticed", [True, False])
def test_an_undeleted_record_gets_its_task_after_all(desk: Desk, noticed: bool) -> None:
    """Under the same key, whether the deletion was seen as such or only in the refusal."""
    desk.org.refusing["003A"] = Gone("deleted", code="ENTITY_IS_DELETED")
    desk.add("003A")
    fetch_is_newer(desk, "003A")
    desk.run()
    assert desk.ends() == [("dead", "gone")]
    if noticed:
        desk.delete("003A")
        desk.run()
        desk.undelete("003A")
    desk.org.refusing.clear()
    report = desk.run()
    assert report.tasks_owed == 1
    desk.run()
    assert desk.tasks() == ["003A"]
    assert [row["state"] for row in desk.rows()] == ["done"]
    assert [e.number for e in desk.episodes("003A")] == [1]


def test_a_key_that_was_used_is_not_said_to_be_owed(desk: Desk) -> None:
    """The record came back from the bin, the task had been made: nothing is owed, and nobody is told otherwise."""
    desk.add("003A")
    desk.run()
    desk.delete("003A")
    desk.run()
    desk.org.shown.clear()
    desk.undelete("003A")
    report = desk.run()
    assert (report.tasks_owed, desk.tasks()) == (0, ["003A"])


def test_a_task_follows_its_record_however_often_it_was_postponed(desk: Desk) -> None:
    desk.org.refusing["003A"] = BUSY
    desk.add("003A")
    for _ in range(7):
        desk.run()
    assert desk.rows()[0]["attempts"] >= 6
    desk.org.refusing["003A"] = Gone("merged", survivor="003B", code="ENTITY_IS_DELETED")
    fetch_is_newer(desk, "003A", into="003B")
    desk.add("003B", "other@acme.example", title="担当")
    desk.run()
    desk.run()
    assert desk.tasks() == ["003B"]
    assert [row["state"] for row in desk.rows()] == ["done"]


def test_a_task_that_follows_in_circles_ends(desk: Desk) -> None:
    for id, into in (("003A", "003B"), ("003B", "003A")):
        desk.add(id, f"{id}@acme.example", title="部長" if id == "003A" else "担当")
        desk.org.refusing[id] = Gone("merged", survivor=into, code="ENTITY_IS_DELETED")
        fetch_is_newer(desk, id, into=into)
    desk.run()
    for _ in range(10):
        desk.run()
    assert desk.tasks() == []
    assert {state for state, _ in desk.ends()} == {"dead"}


def test_gone_is_not_believed_of_a_record_that_is_there(desk: Desk) -> None:
    """Another reference was meant: the refusal stands as it is, and is tried again another day."""
    desk.org.refusing["003A"] = Gone("invalid reference", code="INVALID_CROSS_REFERENCE_KEY")
    desk.add("003A")
    desk.run()
    assert desk.ends() == [("dead", "INVALID_CROSS_REFERENCE_KEY")]
    desk.org.refusing.clear()
    desk.org.at += 86_400_000
    desk.run()
    desk.run()
    assert desk.tasks() == ["003A"]
    assert desk.number("003A") == 1


def fetch_is_newer(desk: Desk, id: str, *, into: str | None = None) -> None:
    """What is asked for by name is gone already, while the pages that were read still show it."""
    successor = RecordRef("salesforce", "contact", into) if into else None
    desk.org.newer[id] = Tombstone(RecordRef("salesforce", "contact", id), desk.org.at, successor)
