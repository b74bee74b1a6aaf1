"""Draw one company with its people and their hidden waves of intent. Every company has its own random stream."""

import math
import random
from bisect import bisect_right
from itertools import accumulate

from sandbox.market import chance
from sandbox.market.model import DAY, HOUR, Company, Deal, Household, Kind, Options, Person, Wave
from sandbox.market.programme import to_working_hours
from sandbox.market.strata import assign_channel, spread_normal, spread_uniform
from sandbox.market.words import (
    DEPARTMENTS,
    GIVEN_NAMES,
    INDUSTRIES,
    LOSS_REASONS,
    PLACES,
    PLANTS,
    STEM_A,
    STEM_B,
    STEM_C,
    STEM_D,
    SURNAMES,
    TITLES,
)

_SIZES = (1, 2, 3, 4, 5, 6, 8)
_SIZE_WEIGHTS = (40, 22, 14, 10, 7, 4, 3)
_INDUSTRY_WEIGHTS = tuple(entry[5] for entry in INDUSTRIES)
_RANKS = tuple(TITLES)
_RANK_BOUNDS = tuple(accumulate((26, 20, 24, 6, 14, 5, 5)))
_KINDS: tuple[Kind, ...] = ("student", "competitor", "trend_watcher")
_ROLE_BOXES = ("info", "sales", "contact")
_HEADCOUNT_MEDIAN, _HEADCOUNT_SIGMA = 120.0, 1.3


def draw_household(options: Options, index: int, first_person: int, room: int) -> Household:
    """Company number `index` with at most `room` people, the first of whom gets the number `first_person`."""
    rng = random.Random(f"{options.seed}:company:{index}")
    company = _draw_company(rng, options, index)
    count = min(rng.choices(_SIZES, _SIZE_WEIGHTS)[0], room)
    first_seen = options.now_ms - round(rng.random() * options.history_days * DAY)
    company.created_ms = first_seen - DAY
    used: set[str] = set()
    people = [_draw_person(rng, options, company, first_person + n, n, first_seen, used) for n in range(count)]
    _share_mailboxes(rng, company, people)
    for person in people:
        _draw_waves(rng, options, company, person, people)
    return Household(company, people, _draw_deals(rng, company, people))


def _draw_company(rng: random.Random, options: Options, index: int) -> Company:
    block, place_in_block = divmod(index, 900)
    mixed = (place_in_block * 487 + options.seed * 31 + 13) % 900
    a, b = STEM_A[mixed // 30], STEM_B[mixed % 30]
    c, d = STEM_C[block % len(STEM_C)], STEM_D[block // len(STEM_C) % len(STEM_D)]
    industry = rng.choices(range(len(INDUSTRIES)), _INDUSTRY_WEIGHTS)[0]
    word, english_word = rng.choice(INDUSTRIES[industry][3])
    core = f"{d[0]}{c[0]}{a[0]}{b[0]}{word}"
    latin = f"{d[1]}{c[1]}{a[1]}{b[1]}"
    size = spread_normal(options.seed, "size", index, rng.random())
    before = options.now_ms - (options.history_days + 30) * DAY
    return Company(
        index=index,
        core=core,
        legal=f"{core}株式会社" if rng.random() < 0.6 else f"株式会社{core}",
        english=f"{latin.capitalize()} {english_word} Co., Ltd.",
        domain=f"{latin}{index}.example",
        industry=industry,
        employees=max(3, round(_HEADCOUNT_MEDIAN * math.exp(size * _HEADCOUNT_SIGMA))),
        place=rng.randrange(len(PLACES)),
        plant=rng.choice(PLANTS) if industry == 0 and rng.random() < 0.35 else None,
        need=spread_normal(options.seed, "need", index, rng.random()),
        past_won_ms=before - round(rng.random() * 300 * DAY) if rng.random() < 0.12 else None,
        past_lost_ms=before - round(rng.random() * 300 * DAY) if rng.random() < 0.08 else None,
        scanner=rng.random() < 0.15,
        created_ms=0,
    )


def _draw_person(
    rng: random.Random, options: Options, company: Company, index: int, n: int, first_seen: int, used: set[str]
) -> Person:
    entered = first_seen if n == 0 else first_seen + round(rng.expovariate(1 / 90) * DAY)
    if entered > options.now_ms - HOUR:
        entered = first_seen + round(rng.random() * (options.now_ms - HOUR - first_seen))
    entered = min(to_working_hours(entered, rng.random(), strict=False), options.now_ms - HOUR)
    surname, given = rng.randrange(len(SURNAMES)), rng.randrange(len(GIVEN_NAMES))
    local = f"{GIVEN_NAMES[given][2]}.{SURNAMES[surname][2]}"
    if local in used:
        local = f"{local}{n + 1}"
    used.add(local)
    channel, ordinal = assign_channel(options.seed, index)
    rank = _pick_rank(spread_uniform(options.seed, f"rank:{channel}", ordinal, rng.random()))
    u = rng.random()
    both = u < options.both
    only_salesforce = not both and u < options.both + (1 - options.both) / 2
    person = Person(
        index=index,
        surname=surname,
        given=given,
        rank=rank,
        title=rng.randrange(len(TITLES[rank])),
        department=rng.randrange(len(DEPARTMENTS)),
        kind=rng.choice(_KINDS) if rng.random() < options.noise else "buyer",
        channel=channel,
        entered_ms=entered,
        email=f"{local}@{company.domain}",
        role_mailbox=False,
        at_plant=company.plant is not None and rng.random() < 0.4,
        english=rng.random() < 0.06,
        apple_mail=rng.random() < 0.2,
        rapport=rng.choices((0, 1, 2), (60, 28, 12))[0],
        in_salesforce=both or only_salesforce,
        in_hubspot=both or not only_salesforce,
        linked=both and rng.random() < options.linked,
    )
    _draw_accidents(rng, options, person)
    return person


def _pick_rank(u: float) -> str:
    return _RANKS[bisect_right(_RANK_BOUNDS, u * _RANK_BOUNDS[-1])]


def _draw_accidents(rng: random.Random, options: Options, person: Person) -> None:
    """Opt-outs, bounces, promotions, job changes, marriages: what happens to a contact in two years."""
    left = options.now_ms - person.entered_ms
    if rng.random() < 0.05:
        person.opted_out_ms = person.entered_ms + round(rng.random() * left)
    if rng.random() < 0.03:
        person.bounced_ms = person.entered_ms + round(rng.random() * left)
    if rng.random() < 0.06 and person.rank != "staff":
        person.promoted_ms = person.entered_ms + round(rng.random() * left)
        person.previous_rank = _RANKS[_RANKS.index(person.rank) - 1]
    if person.in_salesforce and person.in_hubspot and not person.linked:
        u = rng.random()
        if u < 0.04:
            person.moved = True
            person.salesforce_email = f"{person.email.split('@')[0]}@moved{person.index}.example"
        elif u < 0.07:
            person.hubspot_surname = (person.surname + 1 + rng.randrange(len(SURNAMES) - 1)) % len(SURNAMES)


def _share_mailboxes(rng: random.Random, company: Company, people: list[Person]) -> None:
    """A role mailbox used by several people, and one mail address under which two people are known."""
    if len(people) < 2:
        return
    u = rng.random()
    if u < 0.08:
        box = f"{rng.choice(_ROLE_BOXES)}@{company.domain}"
        for person in people[:3]:
            person.email, person.role_mailbox = box, True
            person.salesforce_email, person.moved = "", False
    elif u < 0.12:
        holder, borrower = people[0], people[1]
        if holder.in_hubspot and borrower.in_salesforce and not borrower.in_hubspot:
            borrower.salesforce_email = holder.email


def _draw_waves(rng: random.Random, options: Options, company: Company, person: Person, people: list[Person]) -> None:
    start = person.entered_ms
    horizon = options.now_ms + 365 * DAY
    for number in range(3):
        wave = _draw_wave(rng, options.seed, company, person, people, start, number)
        if person.opens_ms is None:
            person.opens_ms = wave.opens_ms
        else:
            wave.opens_ms = None  # the first opportunity is the outcome; later waves stay as they might have been
        person.waves.append(wave)
        start = wave.decision_ms + chance.LATEST + round(rng.expovariate(1 / 150) * DAY)
        if start > horizon or rng.random() > 0.3:
            return


def _draw_wave(
    rng: random.Random, seed: int, company: Company, person: Person, people: list[Person], start: int, number: int
) -> Wave:
    own, luck = rng.random(), rng.random()
    channel, ordinal = assign_channel(seed, person.index)
    name = f"{channel}:{number}"
    intent = 0.6 * company.need + 0.8 * spread_normal(seed, f"intent:{name}", ordinal, own)
    median, sigma = chance.DECISION_DAYS[person.channel]
    days = min(max(median * math.exp(rng.gauss(0, sigma)), 8.0), 330.0)
    decision = start + round(days * DAY)
    colleagues = sum(1 for p in people if p is not person and p.kind == "buyer" and p.entered_ms <= start + 30 * DAY)
    z = (
        chance.BASE[person.channel]
        + chance.RANK[person.rank]
        + chance.weigh_size(company.employees)
        + (chance.TARGET if INDUSTRIES[company.industry][4] else chance.OFF_TARGET)
        + chance.INTENT * intent
        + (chance.PAST_WON if company.past_won_ms else 0.0)
        + (chance.PAST_LOST if company.past_lost_ms else 0.0)
        + chance.RAPPORT * person.rapport
        + chance.COLLEAGUE * min(colleagues, 3)
        + (chance.LATER_WAVE if number else 0.0)
        + (chance.NOISE if person.kind != "buyer" else 0.0)
    )
    p = chance.squash(z)
    happens = spread_uniform(seed, f"outcome:{name}", ordinal, luck) < p
    opens = chance.draw_opening(rng, start, decision) if happens else None
    return Wave(start, decision, intent, z, p, opens)


def _draw_deals(rng: random.Random, company: Company, people: list[Person]) -> list[Deal]:
    """One deal per company and quarter: who converts within 90 days of its opening joins it."""
    deals: list[Deal] = []
    for closed_ms, won in ((company.past_won_ms, True), (company.past_lost_ms, False)):
        if closed_ms is not None:
            deals.append(_draw_deal(rng, company, closed_ms - 80 * DAY, won=won, closes_ms=closed_ms))
    current: Deal | None = None
    for person in sorted((p for p in people if p.opens_ms is not None), key=lambda p: (p.opens_ms, p.index)):
        opens = person.opens_ms
        if opens is None:
            continue
        if current is None or opens > min(current.opened_ms + 90 * DAY, current.closes_ms - DAY):
            current = _draw_deal(rng, company, opens)
            deals.append(current)
        current.people.append(person)
        person.deal = current
    return deals


def _draw_deal(
    rng: random.Random, company: Company, opened_ms: int, *, won: bool | None = None, closes_ms: int | None = None
) -> Deal:
    median = 50.0 if company.employees < 100 else 70.0 if company.employees < 1000 else 100.0
    days = min(max(median * math.exp(rng.gauss(0, 0.5)), 10.0), 400.0)
    closes = closes_ms if closes_ms is not None else opened_ms + round(days * DAY)
    result = rng.random() < chance.squash(-0.85 + 0.5 * company.need)
    step = (closes - opened_ms) / 5
    stages = [opened_ms + round(step * n * (0.85 + 0.15 * rng.random())) for n in range(5)]
    scale = min(company.employees, 3000) ** 0.5
    return Deal(
        opened_ms=opened_ms,
        closes_ms=closes,
        planned_ms=opened_ms + round((60 + 90 * rng.random()) * DAY),
        won=result if won is None else won,
        reason=rng.randrange(len(LOSS_REASONS)),
        amount=round(15 * scale * math.exp(rng.gauss(0, 0.5))) * 10_000,
        stages_ms=stages,
        people=[],
        past=closes_ms is not None,
    )
