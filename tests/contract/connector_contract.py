"""What every connector promises, kept over real HTTP. A vendor signs by subclassing with one fixture, `crm`."""

import random
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Protocol

import pytest

from connectors.fields import OUTPUT_FIELDS
from connectors.protocol import Connector, Cursor, FieldWrite, Page, TaskWrite, WriteResult
from core.errors import Gone, Rejected, Transient, Unauthorized, Unexpected
from core.handover import task_key
from core.records import Activity, ActivityRow, Deal, DealRole, Fact, Record, RecordRef, Tombstone, Value

DAY = 20_000
SECRET_WORDS = ("Bearer", "access_token")


class PracticeCrm(Protocol):
    """A CRM to practise on, and hands to do in it what its users do.

    Attributes:
        secret: the credential in use, which must never show.
        page_size: rows a page holds in connectors made by `connect` (small, so that a few people fill several pages).
        owner_id: an active user.
    """

    secret: str
    page_size: int
    owner_id: str

    def connect(self, *, secret: str | None = None) -> Connector:
        """A new connector object on the same connection; its waits between retries take no time."""
        ...

    def add_people(self, count: int) -> list[RecordRef]:
        """People made by one import: all carry one modified stamp, safely in the past."""
        ...

    def rename(self, refs: Sequence[RecordRef], last_name: str) -> None:
        """A user edits these records now, all in one instant."""
        ...

    def answer(self, ref: RecordRef, name: str, value: str) -> None:
        """A rep fills one of our fields (canonical name), now."""
        ...

    def log_call(self, ref: RecordRef) -> None:
        """A rep logs a connected call with this person, now."""
        ...

    def open_deal(self, refs: Sequence[RecordRef]) -> None:
        """A rep opens a deal with these people, now."""
        ...

    def delete(self, ref: RecordRef) -> None: ...

    def merge(self, survivor: RecordRef, loser: RecordRef) -> RecordRef:
        """Merge two records; returns where both live on."""
        ...

    def settle(self) -> None:
        """Let time pass until all that happened is visible and no overlap reaches back to it."""
        ...

    def turn_clock(self, seconds: float) -> None:
        """The CRM's clock is set on, or back."""
        ...

    def fail_next(
        self, *, kind: str = "status", status: int = 503, body: str = "", times: int = 1, path: str = ""
    ) -> None:
        """The next calls go wrong (kinds as in `sandbox.faults`)."""
        ...

    def shown(self, ref: RecordRef, name: str) -> Value:
        """What the CRM shows in one of our fields (canonical name)."""
        ...

    def task_keys(self) -> list[str]:
        """The keys of all tasks that carry one."""
        ...

    def calls(self) -> int:
        """Calls that reached the CRM so far, token calls excepted."""
        ...


def facts_of(pages: Iterable[Page]) -> list[Fact]:
    return [fact for page in pages for fact in page.facts]


def cursors_of(pages: Iterable[Page], start: Mapping[str, Cursor] | None = None) -> dict[str, Cursor]:
    return {**(start or {}), **{page.stream: page.cursor for page in pages}}


def people_in(facts: Iterable[Fact]) -> dict[str, Record]:
    return {fact.ref.id: fact for fact in facts if isinstance(fact, Record)}


def activities_in(facts: Iterable[Fact]) -> list[Activity]:
    return [a for fact in facts if isinstance(fact, ActivityRow) for a in fact.activities]


def scores(ref: RecordRef, score: int, version: int = 1) -> FieldWrite:
    return FieldWrite(ref, {"score": score, "band": "A", "reasons": "・資料請求 +15", "score_version": version})


class ConnectorContract:
    """Subclass it as `Test<Vendor>` and provide the fixture `crm`, which yields a fresh `PracticeCrm`."""

    # --- looking -------------------------------------------------------------------------------------------------

    def test_check_passes_after_setup(self, crm: PracticeCrm) -> None:
        connector = crm.connect()
        list(connector.apply_setup())
        diagnosis = connector.check()
        assert [f for f in diagnosis.findings if f.level == "error"] == []
        assert any(f.level == "ok" for f in diagnosis.findings)
        assert diagnosis.signals

    def test_check_names_what_is_missing_and_what_to_do(self, crm: PracticeCrm) -> None:
        diagnosis = crm.connect().check()
        about_fields = [f for f in diagnosis.findings if "mikomi setup --apply" in f.hint]
        assert about_fields, "before setup our fields are missing, and check says which command makes them"

    def test_check_says_why_a_credential_fails(self, crm: PracticeCrm) -> None:
        diagnosis = crm.connect(secret="wrong-0000-secret").check()
        errors = [f for f in diagnosis.findings if f.level == "error"]
        assert errors
        assert errors[0].hint
        assert "wrong-0000-secret" not in repr(diagnosis)

    def test_check_writes_nothing(self, crm: PracticeCrm) -> None:
        connector = crm.connect()
        before = [step.done for step in connector.plan_setup()]
        connector.check()
        assert connector.counts.write == 0
        assert crm.task_keys() == []
        assert [step.done for step in crm.connect().plan_setup()] == before

    # --- reading -------------------------------------------------------------------------------------------------

    def test_refs_and_stamps_are_ours(self, crm: PracticeCrm) -> None:
        refs = crm.add_people(3)
        connector = crm.connect()
        people = people_in(facts_of(connector.read({})))
        assert {people[ref.id].ref for ref in refs} == set(refs)
        for record in people.values():
            assert record.ref.system == connector.name
            assert record.ref.kind in connector.capabilities.person_kinds
            assert 946_684_800_000 < record.created_at <= connector.now()
            assert 946_684_800_000 < record.modified_at <= connector.now()
            assert record.emails == tuple(email.lower() for email in record.emails)

    def test_every_stream_ends_with_one_final_page(self, crm: PracticeCrm) -> None:
        crm.add_people(crm.page_size + 1)
        connector = crm.connect()
        pages = list(connector.read({}))
        finals = [page.stream for page in pages if page.final]
        assert sorted(finals) == sorted(connector.capabilities.streams)
        for stream in connector.capabilities.streams:
            assert [p.final for p in pages if p.stream == stream][-1]

    def test_equal_stamps_lose_nothing(self, crm: PracticeCrm) -> None:
        refs = crm.add_people(crm.page_size * 3 + 7)
        connector = crm.connect()
        first = list(connector.read({}))
        assert {r.id for r in refs} <= people_in(facts_of(first)).keys()
        crm.settle()
        crm.rename(refs, "一斉更新")
        crm.settle()
        changed = people_in(facts_of(connector.read(cursors_of(first))))
        assert {i for i, r in changed.items() if r.fields["last_name"] == "一斉更新"} == {r.id for r in refs}

    def test_each_record_is_read_once_in_a_run(self, crm: PracticeCrm) -> None:
        refs = crm.add_people(crm.page_size * 2 + 3)
        ids = [f.ref.id for f in facts_of(crm.connect().read({})) if isinstance(f, Record)]
        assert len(ids) == len(set(ids)) >= len(refs)

    def test_resuming_from_any_page_loses_nothing(self, crm: PracticeCrm) -> None:
        refs = crm.add_people(crm.page_size * 2 + 5)
        whole = list(crm.connect().read({}))
        for cut in range(len(whole) + 1):
            before = whole[:cut]
            after = crm.connect().read(cursors_of(before))
            assert {r.id for r in refs} <= people_in([*facts_of(before), *facts_of(after)]).keys()

    def test_a_change_while_reading_is_not_lost(self, crm: PracticeCrm) -> None:
        refs = crm.add_people(crm.page_size * 2 + 5)
        connector = crm.connect()
        pages: list[Page] = []
        for page in connector.read({}):
            if not pages:
                crm.rename([refs[0], refs[-1]], "途中変更")
            pages.append(page)
        crm.settle()
        seen = people_in([*facts_of(pages), *facts_of(connector.read(cursors_of(pages)))])
        assert seen[refs[0].id].fields["last_name"] == "途中変更"
        assert seen[refs[-1].id].fields["last_name"] == "途中変更"

    def test_a_clock_that_stood_ahead_loses_nothing(self, crm: PracticeCrm) -> None:
        refs = crm.add_people(3)
        crm.settle()
        cursors = cursors_of(crm.connect().read({}))
        crm.turn_clock(2 * 86_400)
        cursors = cursors_of(crm.connect().read(cursors), cursors)
        crm.turn_clock(-2 * 86_400)
        crm.rename(refs[:1], "改姓")
        crm.settle()
        facts = facts_of(crm.connect().read(cursors))
        assert people_in(facts)[refs[0].id].fields["last_name"] == "改姓"

    @pytest.mark.parametrize("seed", [1, 2, 3])
    def test_any_history_converges(self, crm: PracticeCrm, seed: int) -> None:
        """Edits, deletions and readings cut short anywhere, in any order: in the end the mirror is the truth."""
        chance = random.Random(seed)
        refs = crm.add_people(crm.page_size * 2 + 3)
        names: dict[str, str] = {}
        gone: set[str] = set()
        mirror: dict[str, Record] = {}
        cursors: dict[str, Cursor] = {}

        def read(pages: int | None) -> None:
            for page in islice(crm.connect().read(cursors), pages):
                mirror.update(people_in(page.facts))
                cursors[page.stream] = page.cursor

        for step in range(10):
            alive = [r for r in refs if r.id not in gone]
            match chance.choice(["rename", "rename", "delete", "settle", "read", "cut"]):
                case "rename":
                    some = chance.sample(alive, chance.randint(1, len(alive)))
                    crm.rename(some, f"版{step}")
                    names |= {r.id: f"版{step}" for r in some}
                case "delete":
                    gone.add(alive[0].id)
                    crm.delete(alive[0])
                case "settle":
                    crm.settle()
                case "read":
                    read(None)
                case "cut":
                    read(chance.randint(1, 4))
        crm.settle()
        read(None)
        for fact in facts_of(crm.connect().sweep([r.ref for r in mirror.values()])):
            if isinstance(fact, Tombstone):
                mirror.pop(fact.ref.id, None)
        assert mirror.keys() == {r.id for r in refs} - gone
        for identifier, name in names.items():
            if identifier not in gone:
                assert mirror[identifier].fields["last_name"] == name

    def test_a_quiet_reading_is_silent_and_cheap(self, crm: PracticeCrm) -> None:
        crm.add_people(crm.page_size + 2)
        connector = crm.connect()
        cursors = cursors_of(connector.read({}))
        crm.settle()
        cursors = cursors_of(connector.read(cursors), cursors)
        before, streams = crm.calls(), connector.counts.stream
        quiet = list(connector.read(cursors))
        assert [f for f in facts_of(quiet) if not isinstance(f, Tombstone)] == []
        assert connector.counts.stream - streams <= len(connector.capabilities.streams)
        assert crm.calls() - before <= len(connector.capabilities.streams) + 2

    def test_a_call_becomes_an_activity_of_the_person(self, crm: PracticeCrm) -> None:
        ref, other = crm.add_people(2)
        connector = crm.connect()
        cursors = cursors_of(connector.read({}))
        crm.settle()
        crm.log_call(ref)
        crm.settle()
        calls = [a for a in activities_in(facts_of(connector.read(cursors))) if a.kind == "call"]
        assert [a.record for a in calls] == [ref]
        assert calls[0].occurred_at <= calls[0].known_at <= connector.now()
        assert other not in {a.record for a in calls}

    def test_a_deal_is_read_open(self, crm: PracticeCrm) -> None:
        refs = crm.add_people(2)
        connector = crm.connect()
        cursors = cursors_of(connector.read({}))
        crm.settle()
        crm.open_deal(refs)
        crm.settle()
        facts = facts_of(connector.read(cursors))
        deals = [f for f in facts if isinstance(f, Deal)]
        assert len(deals) == 1
        assert not deals[0].is_closed
        assert deals[0].closed_at is None

    def test_what_hangs_on_people_is_read_by_their_names(self, crm: PracticeCrm) -> None:
        first, second, third = crm.add_people(3)
        for ref in (first, first, second, third):
            crm.log_call(ref)
        crm.open_deal([first, third])
        crm.settle()
        connector = crm.connect()
        everything = facts_of(connector.read({}))

        def theirs(facts: Iterable[Fact], *refs: RecordRef) -> set[Activity]:
            return {activity for activity in activities_in(facts) if activity.record in refs}

        about = facts_of(connector.read_about([first, second, first]))
        assert theirs(about, first, second) == theirs(everything, first, second)
        assert len(theirs(about, first)) == 2
        assert not theirs(about, third)
        deals = {f.ref for f in everything if isinstance(f, Deal)}
        assert {f.deal if isinstance(f, DealRole) else f.ref for f in about if isinstance(f, (Deal, DealRole))} <= deals
        assert facts_of(connector.read_about([])) == []

    def test_a_deleted_record_becomes_a_tombstone(self, crm: PracticeCrm) -> None:
        refs = crm.add_people(3)
        connector = crm.connect()
        cursors = cursors_of(connector.read({}))
        crm.delete(refs[1])
        crm.settle()
        facts = [*facts_of(connector.read(cursors)), *facts_of(connector.sweep(refs))]
        gone = {f.ref for f in facts if isinstance(f, Tombstone)}
        assert refs[1] in gone
        assert not gone & {refs[0], refs[2]}

    def test_a_merged_record_is_followed_to_its_survivor(self, crm: PracticeCrm) -> None:
        first, second = crm.add_people(2)
        connector = crm.connect()
        cursors = cursors_of(connector.read({}))
        crm.settle()
        survivor = crm.merge(first, second)
        crm.settle()
        facts = [*facts_of(connector.read(cursors)), *facts_of(connector.sweep([first, second]))]
        losers = {first, second} - {survivor}
        followed = {f.ref for f in facts if isinstance(f, Tombstone) and f.successor == survivor}
        absorbed = {RecordRef(f.ref.system, f.ref.kind, i) for f in facts if isinstance(f, Record) for i in f.absorbed}
        assert losers <= followed | absorbed
        [answer] = connector.fetch([second if survivor != second else first])
        assert survivor in (answer.successor, answer.ref)

    def test_fetch_returns_what_read_returned(self, crm: PracticeCrm) -> None:
        refs = crm.add_people(4)
        connector = crm.connect()
        people = people_in(facts_of(connector.read({})))
        crm.delete(refs[3])
        answers = connector.fetch(refs)
        assert [a.ref for a in answers] == refs
        assert [people[r.id] for r in refs[:3]] == list(answers[:3])
        assert isinstance(answers[3], Tombstone)

    def test_the_reps_answer_and_our_own_values_are_read_apart(self, crm: PracticeCrm) -> None:
        [ref] = crm.add_people(1)
        connector = crm.connect()
        list(connector.apply_setup())
        assert [r.status for r in connector.write([scores(ref, 87)])] == ["ok"]
        crm.answer(ref, "response", "rejected")
        [record] = crm.connect().fetch([ref])
        assert isinstance(record, Record)
        assert record.written["score"] == 87
        assert record.written["band"] == "A"
        assert record.answers == {"response": "rejected"}
        assert not {n for n, f in OUTPUT_FIELDS.items() if f.by_rep} & record.written.keys()

    # --- writing -------------------------------------------------------------------------------------------------

    def test_results_come_back_in_order_one_for_each_write(self, crm: PracticeCrm) -> None:
        connector = crm.connect()
        list(connector.apply_setup())
        refs = crm.add_people(connector.capabilities.batch_size + 3)
        writes = [scores(ref, n % 101) for n, ref in enumerate(reversed(refs))]
        results = list(connector.write(writes))
        assert [r.write for r in results] == writes
        assert {r.status for r in results} == {"ok"}
        assert crm.shown(refs[0], "score") == (len(refs) - 1) % 101

    def test_writing_fields_twice_changes_nothing_more(self, crm: PracticeCrm) -> None:
        [ref] = crm.add_people(1)
        connector = crm.connect()
        list(connector.apply_setup())
        for _ in range(2):
            assert [r.status for r in connector.write([scores(ref, 42)])] == ["ok"]
        assert crm.shown(ref, "score") == 42
        assert crm.shown(ref, "reasons") == "・資料請求 +15"

    def test_a_bad_write_does_not_spoil_its_batch(self, crm: PracticeCrm) -> None:
        connector = crm.connect()
        list(connector.apply_setup())
        refs = crm.add_people(5)
        crm.delete(refs[2])
        bad = FieldWrite(refs[1], {"score": 50, "next_due": DAY, "scored_at": "not a stamp"})
        writes: list[FieldWrite | TaskWrite] = [scores(r, 60) for r in refs]
        writes[1] = bad
        results = list(connector.write(writes))
        assert [r.status for r in results] == ["ok", "rejected", "rejected", "ok", "ok"]
        assert isinstance(results[1].error, Rejected)
        assert isinstance(results[2].error, Gone)
        assert crm.shown(refs[4], "score") == 60

    def test_a_task_is_made_once_for_its_key(self, crm: PracticeCrm) -> None:
        [ref] = crm.add_people(1)
        connector = crm.connect()
        list(connector.apply_setup())
        ids = {self._task(connector, crm, ref, "mk1-once").crm_id for _ in range(3)}
        assert len(ids) == 1
        assert None not in ids
        assert crm.task_keys() == ["mk1-once"]

    def test_a_lost_answer_makes_no_second_task(self, crm: PracticeCrm) -> None:
        [ref] = crm.add_people(1)
        connector = crm.connect()
        list(connector.apply_setup())
        crm.fail_next(kind="drop_after", path="(?i)task|composite")
        first = self._task(connector, crm, ref, "mk1-lost")
        assert first.status in {"unknown", "ok"}
        assert self._task(connector, crm, ref, "mk1-lost").status == "ok"
        assert crm.task_keys() == ["mk1-lost"]

    def test_our_tasks_are_found_by_their_keys(self, crm: PracticeCrm) -> None:
        connector = crm.connect()
        list(connector.apply_setup())
        first, second = crm.add_people(2)
        crm.log_call(first)  # a task of theirs, in some CRMs
        one, two, never = (task_key("crm", ref, "sales", n) for ref, n in ((first, 1), (second, 1), (first, 2)))
        wanted = {one: first, two: second, never: first}
        assert dict(connector.find_tasks(wanted)) == {}
        made = {key: self._task(connector, crm, wanted[key], key).crm_id for key in (one, two)}
        found = connector.find_tasks(wanted)
        assert {key: [task.crm_id for task in tasks] for key, tasks in found.items()} == {
            k: [v] for k, v in made.items()
        }
        hanging = {task.key: task.ref for tasks in found.values() for task in tasks}
        assert hanging == {one: first, two: second}
        for task in (task for tasks in found.values() for task in tasks):
            assert not task.deleted
            assert not task.touched
            assert abs(task.created_at - connector.now()) < 60_000
        self._task(connector, crm, first, "mk1-" + "x9" * 30)  # somebody wrote behind our prefix
        assert {task.key: task.crm_id for task in connector.our_tasks()} == made

    def test_a_task_that_is_removed_is_found_deleted(self, crm: PracticeCrm) -> None:
        connector = crm.connect()
        list(connector.apply_setup())
        [ref] = crm.add_people(1)
        key = task_key("crm", ref, "sales", 1)
        made = self._task(connector, crm, ref, key)
        assert made.crm_id is not None
        for _ in range(2):
            connector.remove_task(made.crm_id)
        assert crm.task_keys() in ([], [key])  # a CRM may still show its bin
        [found] = connector.find_tasks({key: ref})[key]
        assert (found.crm_id, found.deleted) == (made.crm_id, True)
        assert [task.deleted for task in connector.our_tasks()] == [True]

    # --- faults --------------------------------------------------------------------------------------------------

    def test_a_passing_fault_is_waited_out(self, crm: PracticeCrm) -> None:
        refs = crm.add_people(2)
        connector = crm.connect()
        crm.fail_next(status=503, times=2)
        assert {r.id for r in refs} <= people_in(facts_of(connector.read({}))).keys()

    @pytest.mark.parametrize(
        ("kind", "status", "body", "expected"),
        [
            ("status", 503, "<html>Service Unavailable</html>", Transient),
            ("status", 502, "", Transient),
            ("drop_before", 0, "", Transient),
            ("truncate", 0, "", Transient),
            ("status", 200, "<html>maintenance</html>", Unexpected),
            ("status", 200, '"a string"', Unexpected),
        ],
    )
    def test_lasting_faults_become_our_errors(
        self, crm: PracticeCrm, kind: str, status: int, body: str, expected: type[Exception]
    ) -> None:
        crm.add_people(1)
        connector = crm.connect()
        connector.now()
        crm.fail_next(kind=kind, status=status, body=body, times=1000)
        with pytest.raises(expected) as caught:
            list(connector.read({}))
        self._assert_discreet(crm, caught.value)

    def test_a_wrong_credential_is_unauthorized(self, crm: PracticeCrm) -> None:
        with pytest.raises(Unauthorized) as caught:
            list(crm.connect(secret="wrong-0000-secret").read({}))
        assert "wrong-0000-secret" not in f"{caught.value!r} {caught.value}"

    def test_no_secret_in_representations(self, crm: PracticeCrm) -> None:
        connector = crm.connect()
        connector.now()
        assert crm.secret not in repr(connector)
        assert crm.secret not in repr(vars(connector))

    # --- setting up ----------------------------------------------------------------------------------------------

    def test_setup_is_planned_carried_out_and_then_done(self, crm: PracticeCrm) -> None:
        connector = crm.connect()
        plan = list(connector.plan_setup())
        assert plan
        assert not all(step.done for step in plan)
        results = list(connector.apply_setup())
        assert {r.status for r in results} <= {"created", "unchanged"}
        assert connector.capabilities.task_key is True
        fresh = crm.connect()
        assert [s.name for s in fresh.plan_setup() if not s.done] == []
        assert {r.status for r in fresh.apply_setup()} == {"unchanged"}

    def test_closing_twice_is_fine(self, crm: PracticeCrm) -> None:
        connector = crm.connect()
        connector.now()
        connector.close()
        connector.close()

    # --- steps ---------------------------------------------------------------------------------------------------

    @staticmethod
    def _task(connector: Connector, crm: PracticeCrm, ref: RecordRef, key: str) -> WriteResult:
        write = TaskWrite(key, ref, crm.owner_id, "架電: 展示会のフォロー", "本文", due=DAY + 660)
        [result] = connector.write([write])
        return result

    @staticmethod
    def _assert_discreet(crm: PracticeCrm, error: BaseException) -> None:
        text = f"{error!r} {error} {getattr(error, 'hint', '')}"
        assert crm.secret not in text
        assert not any(word in text for word in SECRET_WORDS)
