"""The audit log: one chain however many write, whatever is written, and nobody alters it unseen."""

import multiprocessing
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from contextlib import closing
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as budget
from hypothesis import strategies as st
from sqlalchemy import Connection, delete, select, text, update

from core.errors import LeaseLost, StateError
from sync import audit
from sync.audit import Note
from sync.state import State, open_state
from sync.state import schema as t


def write(state: State, count: int, *, action: str = "write-fields") -> None:
    notes = [
        Note(action, f"salesforce/contact/{n}", "score 40 → 62", old={"score": 40}, new={"score": 62, "band": "B"})
        for n in range(count)
    ]
    with state.begin() as connection:
        audit.note_many(connection, notes)


def check(state: State) -> audit.Verdict:
    with state.read() as connection:
        return audit.verify(connection)


def test_an_empty_log_is_intact(state: State) -> None:
    assert check(state) == audit.Verdict(0, audit.Link(0, audit.GENESIS))


def test_rows_say_who_what_old_new_and_why(state: State) -> None:
    with state.begin() as connection, audit.acting(run_id="r1", actor="user sato"):
        audit.note(connection, "pause", "hubspot", new={"until": 5}, why="maintenance")
        audit.note(connection, "resume", "hubspot", old={"until": 5}, why="done", run_id="r2", actor="mikomi")
    with state.begin() as connection:
        audit.note(connection, "sweep", "hubspot", why="due")
    with state.read() as connection:
        rows = [dict(row) for row in audit.look(connection, limit=10)]
    told = [(r["seq"], r["run_id"], r["actor"], r["action"], r["subject"], r["old"], r["new"], r["why"]) for r in rows]
    assert told == [
        (1, "r1", "user sato", "pause", "hubspot", None, {"until": 5}, "maintenance"),
        (2, "r2", "mikomi", "resume", "hubspot", {"until": 5}, None, "done"),
        (3, None, "mikomi", "sweep", "hubspot", None, None, "due"),
    ]
    assert [row["before"] for row in rows] == [audit.GENESIS, rows[0]["hash"], rows[1]["hash"]]
    assert check(state) == audit.Verdict(3, audit.Link(3, rows[2]["hash"]))


def test_what_is_rolled_back_was_never_noted(state: State) -> None:
    write(state, 2)
    with pytest.raises(ZeroDivisionError), state.begin() as connection:
        audit.note(connection, "pause", "hubspot", why="x")
        raise ZeroDivisionError
    write(state, 1)
    assert check(state).rows == 3
    assert check(state).intact, check(state)


def test_reading_filters_by_subject_time_and_action(state: State) -> None:
    with state.begin() as connection:
        audit.note_many(
            connection,
            [
                Note("write-fields", "salesforce/contact/1", "a", at=100),
                Note("write-fields", "salesforce/contact/10", "b", at=200),
                Note("create-task", "salesforce/contact/1", "c", at=300),
                Note("write-fields", "salesforce%/contact/1", "d", at=400),
            ],
        )

    def whys(**filters: Any) -> str:
        with state.read() as connection:
            return "".join(row["why"] for row in audit.look(connection, **({"limit": 9} | filters)))

    assert whys() == "abcd"
    assert whys(about="salesforce/contact/1") == "ac"
    assert whys(about="salesforce") == "abc"
    assert whys(about="%") == ""
    assert whys(since=200) == "bcd"
    assert whys(action="write") == "abd"
    assert whys(action="create-task") == "c"
    assert whys(limit=2) == "cd"


def alter(column: str, value: Any) -> Callable[[Connection], None]:
    return lambda connection: connection.execute(update(t.audit).where(t.audit.c.seq == 3).values({column: value}))  # type: ignore[return-value]


def alter_and_seal(connection: Connection) -> None:
    """Who knows the rule and seals the altered row anew still breaks the next one."""
    row = dict(connection.execute(select(t.audit).where(t.audit.c.seq == 3)).mappings().one()) | {"why": "altered"}
    connection.execute(update(t.audit).where(t.audit.c.seq == 3).values(why="altered", hash=audit.seal(row)))


def swap(connection: Connection) -> None:
    for old, new in ((3, 99), (4, 3), (99, 4)):
        connection.execute(update(t.audit).where(t.audit.c.seq == old).values(seq=new))


def remove(*numbers: int) -> Callable[[Connection], None]:
    return lambda connection: connection.execute(delete(t.audit).where(t.audit.c.seq.in_(numbers)))  # type: ignore[return-value]


def forget_head(connection: Connection) -> None:
    connection.execute(delete(t.setting).where(t.setting.c.name == "audit head"))


@pytest.mark.parametrize(
    ("tamper", "broken"),
    [
        pytest.param(alter("why", "altered"), 3, id="why"),
        pytest.param(alter("actor", "user other"), 3, id="actor"),
        pytest.param(alter("at", 1), 3, id="at"),
        pytest.param(alter("new", {"score": 61, "band": "B"}), 3, id="new"),
        pytest.param(alter("old", None), 3, id="old"),
        pytest.param(alter("subject", "salesforce/contact/9"), 3, id="subject"),
        pytest.param(alter("run_id", "r9"), 3, id="run"),
        pytest.param(alter("before", "f" * 64), 3, id="before"),
        pytest.param(alter("hash", "f" * 64), 3, id="hash"),
        pytest.param(alter_and_seal, 4, id="sealed anew"),
        pytest.param(swap, 3, id="swapped"),
        pytest.param(remove(3), 3, id="one taken out"),
        pytest.param(remove(1), 1, id="first taken out"),
        pytest.param(remove(5, 6), 5, id="last taken out"),
        pytest.param(remove(1, 2, 3, 4, 5, 6), 1, id="all taken out"),
        pytest.param(forget_head, 6, id="end forgotten"),
    ],
)
def test_tampering_is_found_at_its_first_row(state: State, tamper: Callable[[Connection], None], broken: int) -> None:
    write(state, 6)
    assert check(state).intact, check(state)
    with state.begin() as connection:
        tamper(connection)
    verdict = check(state)
    assert verdict.broken == broken
    assert verdict.why


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(alphabet=st.characters(codec=None), max_size=20)
    | st.sampled_from(["\0", "\ud800", "\u202eabc", "=cmd", "<script>"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@budget(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    old=VALUES,
    new=VALUES,
    subject=st.text(st.characters(codec=None), max_size=300),
    why=st.text(st.characters(codec=None)),
)
def test_whatever_is_noted_is_kept_and_sealed(state: State, old: Any, new: Any, subject: str, why: str) -> None:
    with state.begin() as connection:
        audit.note(connection, "x", subject, old=old, new=new, why=why)
    assert check(state).intact, check(state)


def append(url: str, begin: Any, rounds: int) -> None:
    state = open_state(url)
    begin.wait()
    for _ in range(rounds):
        write(state, 3)
    state.close()


def test_several_processes_write_one_chain(database: str) -> None:
    open_state(database).close()
    fresh = multiprocessing.get_context("spawn")
    begin = fresh.Barrier(3)
    others = [fresh.Process(target=append, args=(database, begin, 10)) for _ in range(3)]
    for process in others:
        process.start()
    for process in others:
        process.join(60)
    assert [process.exitcode for process in others] == [0, 0, 0]
    state = open_state(database)
    verdict = check(state)
    state.close()
    assert (verdict.rows, verdict.end.seq, verdict.intact) == (90, 90, True)


def test_kill_nine_leaves_a_whole_chain(database: str) -> None:
    """SIGKILL in the middle of appending, several times: what was committed is there, and goes on."""
    program = textwrap.dedent(
        """
        import sys
        from sync import audit
        from sync.audit import Note
        from sync.state import open_state
        state = open_state(sys.argv[1])
        print("ready", flush=True)
        while True:
            with state.begin() as connection:
                audit.note_many(connection, [Note("x", f"s/{n}", "y", new=n) for n in range(50)])
        """
    )
    open_state(database).close()
    for pause in (0.02, 0.11):
        with subprocess.Popen([sys.executable, "-c", program, database], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(pause)
            process.kill()
    state = open_state(database)
    verdict = check(state)
    assert verdict.intact, verdict
    assert verdict.rows % 50 == 0
    write(state, 1)
    assert check(state).rows == verdict.rows + 1
    state.close()


def test_an_overtaken_run_notes_nothing(tmp_path: Any) -> None:
    state = open_state(f"sqlite:///{tmp_path / 's.sqlite3'}")
    with state.alone():
        with state.begin(fenced=False) as connection:
            connection.execute(update(t.lease).values(token=t.lease.c.token + 1))
        with pytest.raises(LeaseLost):
            write(state, 1)
    assert check(state).rows == 0
    state.close()


@pytest.mark.parametrize("archived", [0, 3])
def test_where_the_written_end_was_taken_out_the_log_goes_on_and_says_so(state: State, archived: int) -> None:
    write(state, 5)
    with state.begin() as connection:
        if archived:
            rows = connection.execute(select(t.audit).order_by(t.audit.c.seq).limit(archived)).mappings().all()
            link = {"seq": rows[-1]["seq"], "hash": rows[-1]["hash"]}
            connection.execute(delete(t.audit).where(t.audit.c.seq <= archived))
            connection.execute(t.setting.insert().values(name="audit anchor", value=link))
        connection.execute(delete(t.setting).where(t.setting.c.name == "audit head"))
    for _ in range(4):
        write(state, 2)
    with state.read() as connection:
        seen = [(row["seq"], row["action"]) for row in audit.look(connection, limit=100)]
    assert [seq for seq, _ in seen] == list(range(archived + 1, 15))
    assert [seq for seq, action in seen if action == audit.LOST] == [6]
    verdict = check(state)
    assert (verdict.broken, verdict.why) == (6, audit.END_LOST)


def test_a_document_that_is_no_json_any_more_is_an_altered_row(tmp_path: Path) -> None:
    """A file that somebody edits by hand; PostgreSQL takes no such document."""
    with closing(open_state(f"sqlite:///{tmp_path / 'state.sqlite3'}")) as state:
        write(state, 5)
        with state.begin() as connection:
            connection.execute(text("UPDATE audit SET new = 'x' WHERE seq = 3"))
        verdict = check(state)
        assert (verdict.broken, verdict.why) == (3, audit.ALTERED)
        with state.read() as connection:
            assert [row["seq"] for row in audit.look(connection, limit=9)] == [1, 2, 3, 4, 5]
            with pytest.raises(StateError, match="row 3"):
                audit.export(connection, 10**15, StringIO())
