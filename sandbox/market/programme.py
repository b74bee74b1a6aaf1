"""The seller's own world: reps, webinars, trade shows, white papers, pages, newsletters, forms; and working hours.

Everything here follows from (seed, people, now) alone and is shared by all companies of a market.
"""

import random
from bisect import bisect_left
from dataclasses import dataclass

from sandbox.market.model import DAY, HOUR, MINUTE, Options
from sandbox.market.words import GIVEN_NAMES, SURNAMES

JST = 9 * HOUR
WEEK = 7 * DAY

PAGES: tuple[str, ...] = (
    "/",
    "/products",
    "/pricing",
    "/cases",
    "/cases/manufacturing",
    "/blog/kaizen-dx",
    "/blog/industry-trends",
    "/company",
    "/recruit",
    "/compare",
)
PRICING = 2
SITE = "https://www.seller.example"

ASSETS: tuple[str, ...] = (
    "製造業DX導入ガイド",
    "生産管理システム比較表",
    "導入事例集",
    "在庫最適化チェックリスト",
    "費用対効果の試算シート",
    "業界動向レポート",
)
WEBINAR_THEMES: tuple[str, ...] = (
    "はじめての生産管理DX",
    "在庫削減の実践",
    "見積業務の自動化",
    "現場データ活用セミナー",
    "原価管理の見直し方",
    "導入企業が語る成功と失敗",
)
SHOW_NAMES: tuple[str, ...] = ("ものづくりDX展", "業務改革フェア", "物流ソリューション展", "製造業イノベーション展")


@dataclass(frozen=True, slots=True)
class Occasion:
    """A webinar or a trade show: numbered from the oldest, with its start and end."""

    number: int
    name: str
    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True)
class Rep:
    number: int
    last: str
    first: str
    email: str
    active: bool
    team: str


@dataclass(frozen=True, slots=True)
class Programme:
    reps: tuple[Rep, ...]
    webinars: tuple[Occasion, ...]
    shows: tuple[Occasion, ...]
    newsletters: tuple[int, ...]  # delivery times, oldest first
    start_ms: int
    now_ms: int
    webinar_starts: tuple[int, ...]
    show_starts: tuple[int, ...]

    def webinar_near(self, at_ms: int) -> int:
        """Number of the first webinar that starts at or after `at_ms`, else of the last."""
        return min(bisect_left(self.webinar_starts, at_ms), len(self.webinars) - 1)

    def show_near(self, at_ms: int) -> int:
        """Number of the trade show whose start is nearest before or at `at_ms`, else of the first."""
        return max(bisect_left(self.show_starts, at_ms + 1) - 1, 0)

    def newsletters_between(self, low_ms: int, high_ms: int) -> range:
        """Numbers of the newsletters delivered in [low, high)."""
        return range(bisect_left(self.newsletters, low_ms), bisect_left(self.newsletters, high_ms))


def plan_programme(options: Options) -> Programme:
    """The programme from 120 days before the first person until now. Webinars every third week, shows every 11 weeks."""
    rng = random.Random(f"{options.seed}:programme")
    start = options.now_ms - (options.history_days + 120) * DAY
    monday = to_monday(start)
    webinars: list[Occasion] = []
    at = monday + WEEK + 3 * DAY + 14 * HOUR - JST
    while at + HOUR < options.now_ms - 2 * HOUR:
        theme = WEBINAR_THEMES[len(webinars) % len(WEBINAR_THEMES)]
        name = f"ウェビナー「{theme}」第{len(webinars) + 1}回"
        webinars.append(Occasion(len(webinars), name, at, at + HOUR))
        at += 3 * WEEK
    shows: list[Occasion] = []
    at = monday + 2 * DAY + 10 * HOUR - JST
    while at + 2 * DAY + 7 * HOUR < options.now_ms - 12 * HOUR:
        year = year_of(at)
        name = f"{SHOW_NAMES[len(shows) % len(SHOW_NAMES)]}{year} #{len(shows) + 1}"
        shows.append(Occasion(len(shows), name, at, at + 2 * DAY + 7 * HOUR))
        at += 11 * WEEK
    newsletters = tuple(range(monday + WEEK + DAY + 10 * HOUR - JST, options.now_ms - 2 * HOUR, 2 * WEEK))
    return Programme(
        reps=_hire(rng, options.people),
        webinars=tuple(webinars),
        shows=tuple(shows),
        newsletters=newsletters,
        start_ms=start,
        now_ms=options.now_ms,
        webinar_starts=tuple(occasion.start_ms for occasion in webinars),
        show_starts=tuple(occasion.start_ms for occasion in shows),
    )


def _hire(rng: random.Random, people: int) -> tuple[Rep, ...]:
    """One rep for about 150 people, 4 to 200; every tenth has left."""
    reps = []
    for number in range(min(max(people // 150, 4), 200)):
        last, first = rng.choice(SURNAMES), rng.choice(GIVEN_NAMES)
        mail = f"{first[2]}.{last[2]}.{number + 1}@seller.example"
        team = ("東日本営業部", "西日本営業部", "インサイドセールス")[number % 3]
        reps.append(Rep(number, last[0], first[0], mail, number % 10 != 9, team))
    return tuple(reps)


def label_asset(name: str) -> str:
    """What a white paper's form in HubSpot and its campaign in Salesforce are both called."""
    return f"資料ダウンロード: {name}"


def to_monday(at_ms: int) -> int:
    """Monday 00:00 in Japan of that week, as UTC milliseconds."""
    day = (at_ms + JST) // DAY
    return (day - (day + 3) % 7) * DAY - JST


def year_of(at_ms: int) -> int:
    return 1970 + int((at_ms + JST) / (365.2425 * DAY))


def to_working_hours(at_ms: int, u: float, *, strict: bool = True) -> int:
    """Move a time to a working day in Japan, 9:00 to 18:30; `u` in [0, 1) picks the minute of the day.

    strict=False leaves one in six where it was in the day (people read at night, too), never the weekend for `strict`.
    """
    day = (at_ms + JST) // DAY
    weekday = (day + 3) % 7
    if not strict and u < 1 / 6:
        return at_ms
    if weekday > 4:
        day += 7 - weekday
    spread = u if strict else (u - 1 / 6) * 1.2
    return int(day * DAY - JST + 9 * HOUR + int(spread * 570) * MINUTE + at_ms % MINUTE)
