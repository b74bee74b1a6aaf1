"""The mirror: idempotent, echoes touch nobody, rows replace what they meant, tombstones bury."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from core.records import DAY_MS, ActivityRow, Change, DealRole, Owner, RecordRef, Tombstone
from sync.state import State, open_state
from sync.state import schema as t
from sync.state.mirror import NOBODY, store
from tests.sync.builders import NOW, a_deal, a_record, an_account, an_activity, ref
from tests.sync.databases import BOTH, POSTGRESQL, fresh_database


def count(state: State, table: object) -> int:
    with state.read() as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()  # type: ignore[arg-type]


def put(state: State, *facts: object) -> int:
    with state.begin() as connection:
        return store(connection, facts).changed  # type: ignore[arg-type]


def forget_touched(state: State) -> None:
    with state.begin() as connection:
        connection.execute(t.touched.delete())


EVERYTHING = (
    Owner(ref("owner", "005A"), "営業一郎", "rep@mikomi.example", active=True),
    an_account("001A", "アクメ精機株式会社"),
    a_record("003A", email="sato@acme.example"),
    an_activity("00TA", "call", ref("contact", "003A")),
    a_deal("006A"),
    DealRole(ref("OpportunityContactRole", "00KA"), ref("deal", "006A"), ref("contact", "003A"), "決裁者"),
    Change(ref("LeadHistory", "017A"), ref("contact", "003A"), "title", "課長", "部長", NOW),
)


def test_storing_twice_changes_once(state: State) -> None:
    assert put(state, *EVERYTHING) == len(EVERYTHING)
    forget_touched(state)
    assert put(state, *EVERYTHING) == 0
    assert count(state, t.touched) == 0


def test_our_own_write_is_no_change(state: State) -> None:
    record = a_record("003A", email="sato@acme.example")
    put(state, record)
    forget_touched(state)
    echo = replace(record, modified_at=NOW + 5, written={"score": 80, "band": "A"})
    assert put(state, echo) == 0
    assert count(state, t.touched) == 0
    with state.read() as connection:
        row = connection.execute(select(t.record)).mappings().one()
    assert (row["modified_at"], row["written"]) == (NOW + 5, {"score": 80, "band": "A"})


@pytest.mark.parametrize(
    "changed",
    [
        {"fields": {"title": "課長"}},
        {"emails": ("other@acme.example",)},
        {"owner_id": "005B"},
        {"links": (RecordRef("hubspot", "contact", "7"),)},
        {"successor": RecordRef("salesforce", "contact", "003B")},
        {"answers": {"response": "accepted"}},
    ],
)
def test_whatever_scoring_or_identity_reads_is_a_change(state: State, changed: dict[str, object]) -> None:
    record = a_record("003A", email="sato@acme.example")
    put(state, record)
    forget_touched(state)
    assert put(state, replace(record, **changed)) == 1  # type: ignore[arg-type]
    assert count(state, t.touched) == 1


def test_addresses_and_links_are_replaced(state: State) -> None:
    record = a_record(
        "003A", emails=("a@acme.example", "b@acme.example"), links=(RecordRef("hubspot", "contact", "1"),)
    )
    put(state, record)
    put(state, replace(record, emails=("b@acme.example",), links=()))
    with state.read() as connection:
        assert list(connection.execute(select(t.record_email.c.email)).scalars()) == ["b@acme.example"]
    assert count(state, t.record_link) == 0


def test_a_row_that_changes_meaning_is_superseded(state: State) -> None:
    put(state, an_activity("00vA", "webinar_register", ref("contact", "003A"), object="CampaignMember"))
    put(state, an_activity("00vA", "webinar_attend", ref("contact", "003A"), object="CampaignMember"))
    with state.read() as connection:
        kinds = list(connection.execute(select(t.activity.c.kind)).scalars())
    assert kinds == [7]


def test_a_withdrawn_row_leaves_nothing(state: State) -> None:
    row = an_activity("00UA", "meeting", ref("contact", "003A"), object="Event")
    put(state, row)
    assert put(state, ActivityRow(row.source, ())) == 1
    assert count(state, t.activity) == 0


def test_a_rescheduled_meeting_moves(state: State) -> None:
    put(state, an_activity("00UA", "meeting", ref("contact", "003A"), object="Event", days_ago=1))
    put(state, an_activity("00UA", "meeting", ref("contact", "003A"), object="Event", days_ago=4))
    with state.read() as connection:
        assert list(connection.execute(select(t.activity.c.occurred_at)).scalars()) == [NOW - 4 * DAY_MS]


def test_the_first_stamp_seen_of_an_inexact_fact_stays(state: State) -> None:
    first = an_activity("9", "meeting", ref("contact", "003A"), known_at=NOW - 50, known_inexact=True)
    later = an_activity("9", "meeting", ref("contact", "003A"), known_at=NOW, known_inexact=True)
    put(state, first)
    assert put(state, later) == 0
    with state.read() as connection:
        assert connection.execute(select(t.activity.c.known_at)).scalar_one() == NOW - 50


def test_unknown_people_wait_in_nobodys_name(state: State) -> None:
    put(state, an_activity("1", "form_submit", "new@acme.example", object="form"))
    with state.read() as connection:
        row = connection.execute(select(t.activity)).mappings().one()
    assert (row["person_id"], row["who"]) == (NOBODY, "email/new@acme.example")


def test_a_tombstone_buries_once_and_names_the_heir(state: State) -> None:
    put(state, a_record("00QA", kind="lead", email="a@acme.example"), a_record("003A", email="a@acme.example"))
    forget_touched(state)
    stone = Tombstone(ref("lead", "00QA"), NOW, ref("contact", "003A"))
    assert put(state, stone) == 1
    assert put(state, stone) == 0
    with state.read() as connection:
        assert {row.id for row in connection.execute(select(t.touched))} == {"00QA", "003A"}


def test_a_deleted_task_never_happened(state: State) -> None:
    put(state, an_activity("00TA", "call", ref("contact", "003A")))
    assert put(state, Tombstone(RecordRef("salesforce", "Task", "00TA"), NOW)) == 1
    assert count(state, t.activity) == 0


def test_a_deals_complete_set_of_people_replaces_the_old(state: State) -> None:
    put(state, a_deal("1", people=(ref("contact", "A"), ref("contact", "B"))))
    assert put(state, a_deal("1", people=(ref("contact", "B"),))) == 1
    with state.read() as connection:
        assert list(connection.execute(select(t.deal_role.c.id)).scalars()) == ["B"]


def test_an_undeleted_record_is_a_change(state: State) -> None:
    record = a_record("003A", email="a@acme.example")
    put(state, record, Tombstone(record.ref, NOW))
    assert put(state, record) == 1


TEXT = st.text(max_size=40).map(lambda s: s.replace("\x00", "").encode("utf-8", "ignore").decode())


@pytest.fixture(scope="module", params=BOTH)
def two_states(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[State, State]]:
    """The one that lives through everything is of either kind; what it is compared with is in memory."""
    with fresh_database(request.param, request, tmp_path_factory.mktemp("mirror")) as url:
        states = open_state(url if request.param == POSTGRESQL else "sqlite://"), open_state("sqlite://")
        yield states
        for one in states:
            one.close()


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(st.tuples(st.sampled_from("ABC"), TEXT, st.sampled_from(["call", "meeting"])), max_size=12))
def test_any_history_ends_as_its_last_state(two_states: tuple[State, State], rows: list[tuple[str, str, str]]) -> None:
    """Storing a history row by row leaves what storing only the last state of each source leaves."""
    left, right = two_states
    for one in two_states:
        with one.begin() as connection:
            connection.execute(t.activity.delete())
    facts = [an_activity(id, kind, ref("contact", "003A"), asset=asset or None) for id, asset, kind in rows]
    for fact in facts:
        put(left, fact)
    put(right, *{fact.source: fact for fact in facts}.values())
    with left.read() as first, right.read() as second:
        stored = select(t.activity).order_by(t.activity.c.id)
        assert first.execute(stored).all() == second.execute(stored).all()
