"""A watch that never barks proves nothing: for each invariant bugs are planted, and the story that meets one is told twice.

Told as it is, nothing is wrong; told with the bug, the invariant's name is called.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from core.records import ActivityRow, Deal
from tests.simulation.bugs import (
    Plant,
    a_contact_is_lost,
    a_page_is_lost,
    a_title_is_written_in_hubspot,
    a_title_is_written_in_salesforce,
    a_write_is_acknowledged_unsent,
    blind_second_attempt,
    both_systems_get_tasks,
    commits_are_not_flushed,
    edits_are_lost,
    everything_is_written_always,
    everything_is_written_for_a_while,
    everything_is_written_while_time_stands,
    fences_are_open,
    forget_to_erase,
    holds_are_ignored,
    lost,
    neighbours_die_too,
    nothing_is_read_twice,
    offers_are_forgotten,
    scores_are_stored_wrong,
    tasks_are_acknowledged_unsent,
    tasks_are_given_up,
    tasks_are_never_sent,
    the_clock_is_looked_at,
    the_intent_is_dropped_after_a_restore,
    the_intent_is_not_kept,
    the_share_is_not_counted,
    twins_are_not_told,
)
from tests.simulation.stories import (
    Story,
    a_backup_is_put_back,
    a_call_is_logged_in_a_pair,
    a_deal_is_won,
    a_row_becomes_visible_late,
    a_small_share_is_granted,
    an_old_write_commits_late,
    answer_of_a_task_is_lost,
    one_row_is_refused,
    one_run_is_overtaken,
    somebody_is_deleted_for_good,
    somebody_is_handed_over,
    somebody_is_promoted,
    two_contacts_are_read,
    two_leads_are_read,
)
from tests.simulation.watch import Watch
from tests.simulation.world import World


@dataclass(frozen=True, slots=True)
class Case:
    invariant: str
    story: Story
    plant: Plant
    unique: bool = True
    pair: bool = False

    @property
    def told(self) -> tuple[Story, bool, bool]:
        return self.story, self.unique, self.pair


CASES = (
    Case("I1", answer_of_a_task_is_lost, blind_second_attempt, unique=False),
    Case("I1", a_call_is_logged_in_a_pair, both_systems_get_tasks, pair=True),
    Case("I2", somebody_is_handed_over, tasks_are_never_sent),
    Case("I2", somebody_is_handed_over, tasks_are_given_up),
    Case("I2", somebody_is_handed_over, offers_are_forgotten),
    Case("I2", somebody_is_deleted_for_good, tasks_are_acknowledged_unsent),
    Case("I3", somebody_is_handed_over, the_intent_is_not_kept),
    Case("I3", a_backup_is_put_back, the_intent_is_dropped_after_a_restore),
    Case("I4", somebody_is_handed_over, a_write_is_acknowledged_unsent),
    Case("I5", an_old_write_commits_late, holds_are_ignored),
    Case("I5", somebody_is_handed_over, a_title_is_written_in_salesforce),
    Case("I5", somebody_is_handed_over, a_title_is_written_in_hubspot),
    Case("I6", somebody_is_promoted, edits_are_lost),
    Case("I6", somebody_is_handed_over, lost(ActivityRow)),
    Case("I6", a_deal_is_won, lost(Deal)),
    Case("I6", a_call_is_logged_in_a_pair, twins_are_not_told, pair=True),
    Case("I6", a_row_becomes_visible_late, nothing_is_read_twice),
    Case("I7", two_leads_are_read, a_page_is_lost),
    Case("I7", two_contacts_are_read, a_contact_is_lost),
    Case("I8", somebody_is_handed_over, everything_is_written_for_a_while),
    Case("I8", somebody_is_handed_over, everything_is_written_while_time_stands),
    Case("I8", somebody_is_handed_over, everything_is_written_always),
    Case("I9", one_run_is_overtaken, fences_are_open),
    Case("I10", a_small_share_is_granted, the_share_is_not_counted),
    Case("I11", one_row_is_refused, neighbours_die_too),
    Case("I12", somebody_is_deleted_for_good, forget_to_erase),
    Case("I13", somebody_is_handed_over, the_clock_is_looked_at),
    Case("I13", somebody_is_handed_over, scores_are_stored_wrong),
    Case("I14", somebody_is_handed_over, commits_are_not_flushed),
)


@contextmanager
def told(tmp_path: Path, case: Case) -> Iterator[list[str]]:
    with World(tmp_path, unique_task=case.unique, native={} if case.pair else None, sockets=False) as world:
        yield case.story(world, Watch())


@pytest.mark.parametrize(
    "case", CASES, ids=lambda case: f"{case.invariant}-{case.story.__name__}-{case.plant.__name__}"
)
def test_a_planted_bug_is_caught(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        case.plant(patch)
        (tmp_path / "planted").mkdir()
        with told(tmp_path / "planted", case) as wrong:
            assert [line for line in wrong if line.startswith(f"{case.invariant}:")], wrong


@pytest.mark.parametrize("story", dict.fromkeys(case.told for case in CASES), ids=lambda s: s[0].__name__)
def test_without_it_nothing_is_wrong(story: tuple[Story, bool, bool], tmp_path: Path) -> None:
    tell, unique, pair = story
    with World(tmp_path, unique_task=unique, native={} if pair else None, sockets=False) as world:
        assert tell(world, Watch()) == []
