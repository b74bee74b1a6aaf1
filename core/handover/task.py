"""What a hand-over puts in front of a rep: next step, working days, which record and owner get the task, its key.

Sources: SETTLED 24, 26, 27; DESIGN §5 ("A pair": tasks in one system only, Salesforce by default).
"""

import re
from base64 import b32encode
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from json import dumps
from typing import Literal

from core.handover.episodes import Episode
from core.records import Day, Millis, Owner, RecordRef, to_date

Step = Literal["call", "nurture", "wait", "leave"]

TASK_RECORD_ORDER: tuple[tuple[str, str], ...] = (
    ("salesforce", "contact"),
    ("salesforce", "lead"),
    ("hubspot", "contact"),
)
"""(vendor or connection, kind) in the order in which a person's records are considered for the task."""

TASK_KEY_PREFIX = "mk1-"

OwnerReason = Literal["record_owner", "fallback_owner", "unassigned"]


@dataclass(frozen=True, slots=True)
class NextStep:
    """`due`: local day of a call, or the day until which to wait; None where there is none."""

    step: Step
    reason: Literal["hot", "developing", "cold", "opted_out", "recontact_ahead"]
    due: Day | None = None


def next_step(
    band: str,
    *,
    today: Day,
    since: Day | None = None,
    opted_out: bool = False,
    recontact_on: Day | None = None,
    holidays: Collection[Day] = frozenset(),
) -> NextStep:
    """A: call, due on the next working day; B and C: nurture; D: leave; opted out or a future recontact date: wait.

    `since` is the day the call became due from (the day of the offer). Pass the stored one, so that the due date stays
    what it was instead of moving on every day; without it, today counts.
    """
    if opted_out:
        return NextStep("wait", "opted_out")
    if recontact_on is not None and recontact_on > today:
        return NextStep("wait", "recontact_ahead", recontact_on)
    if band == "A":
        return NextStep("call", "hot", next_working_day(today if since is None else since, holidays))
    if band in {"B", "C"}:
        return NextStep("nurture", "developing")
    return NextStep("leave", "cold")


def describe_next_step(step: NextStep, language: str) -> str:
    """The next action in one sentence of at most 255 characters, `ja` or `en`."""
    when = "" if step.due is None else _written_day(step.due, language)
    sentences: Mapping[str, tuple[str, str]] = {
        "hot": (f"{when}までにお電話ください", f"Call by {when}"),
        "developing": ("情報提供を続けてください(育成)", "Keep nurturing"),
        "cold": ("いまは対応不要です", "Nothing to do for now"),
        "opted_out": (
            "配信停止または連絡不要のご希望があるため、ご連絡はお控えください",
            "Wait: the person has opted out of contact",
        ),
        "recontact_ahead": (
            f"再アプローチ日({when})までお待ちください",
            f"Wait until {when}, the agreed recontact date",
        ),
    }
    return sentences[step.reason][0 if language == "ja" else 1]


def _written_day(day: Day, language: str) -> str:
    date = to_date(day)
    return f"{date.month}/{date.day}({'月火水木金土日'[date.weekday()]})" if language == "ja" else date.isoformat()


# --- working days ----------------------------------------------------------------------------------------------------


def is_working_day(day: Day, holidays: Collection[Day] = frozenset()) -> bool:
    """Monday to Friday and not in `holidays` (days since 1970-01-01; public holidays and company closures alike)."""
    return to_date(day).weekday() < 5 and day not in holidays


def next_working_day(day: Day, holidays: Collection[Day] = frozenset()) -> Day:
    """The first working day after `day`."""
    day += 1
    while not is_working_day(day, holidays):
        day += 1
    return day


def add_working_days(day: Day, count: int, holidays: Collection[Day] = frozenset()) -> Day:
    """The `count`-th working day after `day` (`count` ≥ 0; 0 is `day` itself)."""
    for _ in range(count):
        day = next_working_day(day, holidays)
    return day


# --- which record, whose task ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TaskRecord:
    """One record of a person, as a place for a task. `live`: neither deleted, merged away nor converted."""

    ref: RecordRef
    vendor: str
    created_at: Millis
    owner_id: str | None = None
    live: bool = True


def choose_record(
    records: Iterable[TaskRecord],
    *,
    order: Sequence[tuple[str, str]] = TASK_RECORD_ORDER,
    previous: RecordRef | None = None,
) -> TaskRecord | None:
    """The record that gets the task; None where no live record is in `order`.

    Precedence: the record that had the person's last task, where it is still live and no other kind of record comes
    earlier in `order`; then `order`, whose entries name a vendor or a connection; then the oldest; then the lowest id.
    """

    def place(record: TaskRecord) -> int | None:
        names = {record.ref.system, record.vendor}
        return next((i for i, (system, kind) in enumerate(order) if system in names and kind == record.ref.kind), None)

    ranked = [
        (where, record.ref != previous, record.created_at, record.ref, record)
        for record in records
        if record.live and (where := place(record)) is not None
    ]
    return min(ranked, key=lambda row: row[:4])[-1] if ranked else None


@dataclass(frozen=True, slots=True)
class OwnerChoice:
    """`owner_id`: the CRM user the task is assigned to; None: it goes on the unassigned list."""

    owner_id: str | None
    reason: OwnerReason


def choose_owner(owner_id: str | None, owners: Mapping[str, Owner], fallback: str | None = None) -> OwnerChoice:
    """The record's owner if an active user, else the fallback if one, else nobody. Never a queue.

    Args:
        owner_id: the record's owner.
        owners: the users and queues of the same connection, by id.
        fallback: `tasks.fallback_owner` of the settings: an id or an e-mail address in that connection.
    """
    if owner_id is not None and _takes_tasks(owners.get(owner_id)):
        return OwnerChoice(owner_id, "record_owner")
    if fallback:
        wanted = fallback.casefold()
        matches = sorted(
            key for key, owner in owners.items() if fallback == key or (owner.email or "").casefold() == wanted
        )
        for key in matches:
            if _takes_tasks(owners[key]):
                return OwnerChoice(key, "fallback_owner")
    return OwnerChoice(None, "unassigned")


def _takes_tasks(owner: Owner | None) -> bool:
    return owner is not None and owner.active and not owner.is_queue


# --- the key ---------------------------------------------------------------------------------------------------------


def key_record(episodes: Iterable[Episode], chosen: RecordRef) -> RecordRef:
    """The record that the person's task keys name: the one that got the first task, under its id of then."""
    return next((episode.record for episode in sorted(episodes) if episode.record is not None), chosen)


def task_key(connection: str, record: RecordRef, name: str, number: int) -> str:
    """The key of a hand-over's task: `mk1-` and 52 characters of a–z and 2–7. Computed once, when it is enqueued.

    The record's system is not part of it beside `connection`; the parts are framed as JSON, so that no two different
    hand-overs can spell the same text.
    """
    text = dumps([connection, record.kind, record.id, name, number], ensure_ascii=True, separators=(",", ":"))
    return TASK_KEY_PREFIX + b32encode(sha256(text.encode()).digest()).decode().rstrip("=").lower()


def is_task_key(text: str) -> bool:
    """Whether this reads like a key of ours: in a CRM anybody may write anything behind the prefix."""
    return _KEY.fullmatch(text) is not None


_KEY = re.compile(re.escape(TASK_KEY_PREFIX) + "[a-z2-7]{52}")
