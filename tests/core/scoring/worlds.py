"""Generated rulebooks (all rule kinds and options, composed freely) and generated histories (with the awkward moments)."""

from datetime import UTC, datetime
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from core.records import ACTIVITY_KINDS, DAY_MS, FIELD_TYPES, day_start, local_day
from core.rulebook import Rulebook
from core.titles import TITLE_RANKS

Row = dict[str, Any]
ZONE = ZoneInfo("Asia/Tokyo")
NOW = int(datetime(2025, 11, 25, 3, 0, tzinfo=UTC).timestamp() * 1000)
LABEL = {"ja": "規則", "en": "rule"}

KINDS = ["page_view", "download", "email_open", "email_click", "webinar_attend", "meeting", "call", "call_attempt"]
INDUSTRIES = ["製造業", "IT", "it", "Retail", "ＩＴ", ""]
URLS = ["https://a.example/pricing", "https://a.example/Pricing?x=1", "https://a.example/case/1", "/pricing", ""]
ASSETS = ["導入ガイド", "WP-2025", "wp-2025", "価格表", ""]

days = st.integers(1, 120).map(lambda n: f"{n}d")
short_days = st.integers(1, 40).map(lambda n: f"{n}d")
points = st.one_of(st.integers(-40, 40), st.sampled_from([0.5, 7.125, -2.5, 0.003, 15, 30]))


def optional(**keys: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=keys)


number_test = st.one_of(
    st.fixed_dictionaries({"at_least": st.integers(0, 500)}, optional={"at_most": st.integers(100, 900)}),
    st.fixed_dictionaries({"between": st.tuples(st.integers(0, 200), st.integers(100, 900))}),
    st.fixed_dictionaries({"in": st.lists(st.sampled_from([50, 100, 300]), min_size=1, max_size=2)}),
    st.fixed_dictionaries({"equals": st.sampled_from([100, 300])}),
)


def text_test(words: list[str]) -> st.SearchStrategy[dict[str, Any]]:
    word = st.sampled_from([w for w in words if w])
    return st.one_of(
        st.fixed_dictionaries({"equals": word}),
        st.fixed_dictionaries({"in": st.lists(word, min_size=1, max_size=3)}),
        st.fixed_dictionaries(
            {"contains": st.one_of(word.map(lambda w: w[1:4]), st.lists(word, min_size=1, max_size=2))}
        ),
        st.fixed_dictionaries({"starts_with": word.map(lambda w: w[:3])}),
        st.fixed_dictionaries({"matches": st.sampled_from(["^[a-z]+", "pri.+", "[0-9]{2}", "製|導入", "x=1$"])}),
        st.fixed_dictionaries({"exists": st.booleans()}),
    )


rank_test = st.one_of(
    st.fixed_dictionaries({"at_least": st.sampled_from(TITLE_RANKS)}),
    st.fixed_dictionaries({"equals": st.sampled_from(TITLE_RANKS)}),
    st.fixed_dictionaries({"in": st.lists(st.sampled_from(TITLE_RANKS), min_size=1, max_size=3)}),
    st.just({"exists": True}),
    st.just({"between": ("leader", "director")}),
)


def on_field(field: str, test: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return test.map(lambda asked: {"field": field, **asked})


def grouped(leaf: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    def grow(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
        some = st.lists(inner, min_size=1, max_size=2)
        return st.one_of(
            some.map(lambda parts: {"all": parts}),
            some.map(lambda parts: {"any": parts}),
            inner.map(lambda part: {"not": part}),
        )

    return st.recursive(leaf, grow, max_leaves=3)


when = grouped(
    st.one_of(
        on_field("industry", text_test(INDUSTRIES)),
        on_field("employees", number_test),
        on_field("title_rank", rank_test),
    )
)
where = grouped(
    st.one_of(
        text_test(URLS).map(lambda test: {"url": test}),
        text_test(ASSETS).map(lambda test: {"asset": test}),
        number_test.map(lambda test: {"duration": test}),
        st.tuples(text_test(URLS), text_test(ASSETS)).map(lambda pair: {"url": pair[0], "asset": pair[1]}),
    )
)
bins = st.lists(st.integers(0, 900), min_size=1, max_size=3, unique=True).flatmap(
    lambda edges: st.tuples(
        st.just(sorted(edges)), st.lists(points, min_size=len(edges) + 1, max_size=len(edges) + 1), st.booleans()
    ).map(
        lambda cut: (
            [{"below": edge, "points": p} for edge, p in zip(cut[0], cut[1], strict=False)]
            + ([{"points": cut[1][-1]}] if cut[2] else [])
        )
    )
)
decay = st.one_of(
    st.fixed_dictionaries({"half_life": days}),
    st.fixed_dictionaries({"linear": st.fixed_dictionaries({"to_zero": days})}),
    st.fixed_dictionaries(
        {"step": st.fixed_dictionaries({"drop": st.sampled_from(["25%", "33%", "100%"]), "every": short_days})}
    ),
)
activity_rule = st.fixed_dictionaries(
    {"points": points, "on": st.lists(st.sampled_from(KINDS), min_size=1, max_size=3, unique=True)},
    optional={
        "where": where,
        "window": days,
        "at_least": st.fixed_dictionaries({"count": st.integers(1, 3)}, optional={"within": short_days}),
        "limit": st.fixed_dictionaries(
            {"count": st.integers(1, 3)}, optional={"per": st.sampled_from(["day", "week", "month"])}
        ),
        "decay": decay,
        "cap": st.integers(0, 60),
        "floor": st.integers(-60, 0),
    },
)
count = optional(at_least=st.integers(1, 3), within=days)
rule_body = st.one_of(
    st.fixed_dictionaries({"points": points, "when": when}),
    bins.map(lambda cut: {"field": "employees", "bins": cut}),
    st.just({"field": "title_rank", "bins": [{"below": "leader", "points": 1}, {"below": "director", "points": 5.5}]}),
    activity_rule,
    activity_rule,
    activity_rule,
    st.fixed_dictionaries(
        {
            "points": st.integers(-20, -1),
            "inactive": st.fixed_dictionaries({"for": short_days}, optional={"repeat": st.booleans()}),
        },
        optional={
            "floor": st.integers(-60, -1),
            "unless": st.lists(st.sampled_from(["open_deal", "recontact_on_ahead", "opted_out"]), unique=True),
        },
    ),
    st.fixed_dictionaries({"points": points, "account": st.fixed_dictionaries({"people_active": count})}),
    st.tuples(
        points, st.sampled_from(["won", "lost", "open", "created"]), count, st.sampled_from(["person", "account"])
    ).map(lambda d: {"points": d[0], "deal": {d[1]: d[2], "of": d[3]}}),
)
bounds = optional(cap=st.integers(5, 80), floor=st.integers(-40, 0))


@st.composite
def rulebooks(draw: st.DrawFn, body: st.SearchStrategy[dict[str, Any]] = rule_body, most: int = 7) -> Rulebook:
    bodies = draw(st.lists(body, min_size=1, max_size=most))
    dimensions = st.sampled_from(["fit", "engagement", "relationship"])
    rules = [{"id": f"r{at}", "dimension": draw(dimensions), "label": LABEL, **body} for at, body in enumerate(bodies)]
    engaged = draw(st.integers(0, 20))
    return Rulebook.model_validate(
        {
            "name": "generated",
            "timezone": "Asia/Tokyo",
            "dimensions": {name: draw(bounds) for name in ("fit", "engagement", "relationship")},
            "rules": rules,
            "bands": {"A": {"total": 40, "engagement": engaged}, "B": {"total": 20}, "C": {"total": 1}},
        }
    )


def _moment(random: Random, now: int) -> int:
    """An instant: often at midnight, at a stamp others share, at a bucket's edge, or shortly after now."""
    day = local_day(now, ZONE) - random.choice(
        [0, 0, 1, 2, 3, 6, 7, 8, 13, 14, 15, 29, 30, 31, 45, 60, 90, 120, 400, -1]
    )
    start = day_start(day, ZONE)
    return start + random.choice([0, 0, -1, 1, DAY_MS - 1, 3 * 3_600_000, random.randrange(DAY_MS)])


def facts_of(seed: int, people: int = 8, now: int = NOW) -> dict[str, list[Row]]:
    """A small world: people in a few companies, with everything that can be odd about their facts."""
    random = Random(seed)
    world: dict[str, list[Row]] = {"person": [], "activity": [], "deal": [], "deal_person": [], "change": []}
    for person_id in range(1, people + 1):
        values: Row = dict.fromkeys(FIELD_TYPES)
        values["industry"] = random.choice([*INDUSTRIES, None])
        values["employees"] = random.choice([None, 0.0, 50.0, 100.0, 299.5, 300.0, 1200.0])
        values["title_rank"] = random.choice([*TITLE_RANKS, None])
        world["person"].append(
            {
                "person_id": person_id,
                "company_id": random.choice([1, 1, 2, None]),
                "created_at": random.choice([0, 0, _moment(random, now)]),
                "first_known_at": 0,
                "opted_out": random.random() < 0.2,
                "recontact_on": random.choice([None, None, local_day(now, ZONE) + random.randrange(-40, 40)]),
                **values,
            }
        )
        for _ in range(random.choice([0, 1, 5, 25])):
            world["activity"].append(_activity(random, person_id, len(world["activity"]) + 1, now))
        for _ in range(random.choice([0, 0, 2])):
            field = random.choice(["industry", "employees", "title_rank"])
            olds: dict[str, list[Any]] = {
                "industry": INDUSTRIES,
                "employees": ["50", "300", None],
                "title_rank": list(TITLE_RANKS),
            }
            world["change"].append(
                {"id": len(world["change"]) + 1, "person_id": person_id, "field": field,
                 "old": random.choice([*olds[field], None]), "new": "ignored", "at": _moment(random, now)}
            )  # fmt: skip
    for deal_id in range(1, 7):
        created = _moment(random, now)
        closed = random.choice([None, _moment(random, now)])
        won = random.random() < 0.4
        world["deal"].append(
            {
                "deal_id": deal_id,
                "company_id": random.choice([1, 2, 3, None]),
                "created_at": created,
                "created_day": local_day(created, ZONE),
                "closed_at": closed,
                "closed_day": None if closed is None else local_day(closed, ZONE),
                "won": won,
                "lost": not won and (closed is not None or random.random() < 0.2),
            }
        )
        for person_id in random.sample(range(1, people + 1), random.choice([0, 1, 2])):
            world["deal_person"].append({"deal_id": deal_id, "person_id": person_id})
    return world


def _activity(random: Random, person_id: int, activity_id: int, now: int) -> Row:
    occurred = _moment(random, now)
    known = random.choice([occurred, occurred, occurred + 5 * DAY_MS, _moment(random, now)])
    return {
        "person_id": person_id,
        "id": activity_id,
        "kind": ACTIVITY_KINDS[random.choice(KINDS)],
        "occurred_at": occurred,
        "known_at": known,
        "day": local_day(occurred, ZONE),
        "suspect": random.random() < 0.15,
        "duplicate": random.random() < 0.1,
        "url": random.choice([*URLS, None]),
        "asset": random.choice([*ASSETS, None]),
        "campaign": None,
        "channel": None,
        "direction": None,
        "duration": random.choice([None, 0, 100, 300, 600]),
    }


def snapshots_of(world: dict[str, list[Row]], moments: list[int]) -> list[Row]:
    """Every person at every moment."""
    pairs = [(person["person_id"], at) for at in moments for person in world["person"]]
    return [
        {"snapshot_id": number, "person_id": person_id, "as_of": at, "day": local_day(at, ZONE)}
        for number, (person_id, at) in enumerate(pairs)
    ]
