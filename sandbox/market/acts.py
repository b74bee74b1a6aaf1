"""What people do: page views, mails, webinars, calls, meetings, drawn from their hidden waves of intent.

Activities depend on intent and on the decision date of a wave, never on its outcome (see `chance`). Scanners and Apple's
mail proxy add machine activity that says nothing about anybody.
"""

import math
import random
from itertools import accumulate

from sandbox.market import chance
from sandbox.market.model import DAY, HOUR, MINUTE, Act, Company, Household, Options, Person, Wave
from sandbox.market.programme import ASSETS, PAGES, PRICING, Programme, to_working_hours

# kind, weight where HubSpot tracks the person, weight where only Salesforce does, exponent of intent
_MIX: tuple[tuple[str, float, float, float], ...] = (
    ("page_view", 34.0, 0.0, 0.45),
    ("email_open", 24.0, 0.0, 0.0),
    ("email_click", 8.0, 0.0, 0.35),
    ("download", 4.0, 6.0, 0.3),
    ("inquiry", 0.7, 0.0, 0.7),
    ("webinar", 3.0, 9.0, 0.35),
    ("event_attend", 0.8, 6.0, 0.1),
    ("call", 7.0, 30.0, 0.15),
    ("email_out", 7.0, 26.0, 0.0),
    ("email_reply", 3.0, 9.0, 0.6),
    ("meeting", 2.5, 9.0, 0.6),
)
_KINDS = tuple(entry[0] for entry in _MIX)
_NOISE_KINDS = {"page_view", "email_open", "email_click", "download", "webinar"}

# Mean factor by presence, chosen so that the mean over a default market is Options.activities (tested).
_TRACKED, _UNTRACKED = 0.845, 0.575
_BUSY_SIGMA = 0.5
_NOISE_FACTOR = 1.9


def draw_acts(rng: random.Random, options: Options, programme: Programme, household: Household) -> None:
    """Fill `acts` of every person with what happened until now (and meetings already planned), oldest first."""
    for person in household.people:
        person.acts = _Story(rng, options, programme, household.company, person).tell()


class _Story:
    """One person's activities being drawn."""

    def __init__(
        self, rng: random.Random, options: Options, programme: Programme, company: Company, person: Person
    ) -> None:
        self.rng = rng
        self.now = options.now_ms
        self.options = options
        self.programme = programme
        self.company = company
        self.person = person
        self.acts: list[Act] = []
        self.webinars: set[int] = set()
        end = min(person.opted_out_ms or self.now, person.bounced_ms or self.now)
        self.letters = programme.newsletters_between(person.entered_ms, end)  # none after an opt-out or a bounce

    def tell(self) -> list[Act]:
        if self.options.activities > 0:
            self._enter()
            waves = [wave for wave in self.person.waves if wave.start_ms < self.now - DAY]
            intent = max((wave.intent for wave in waves), default=0.0)
            count = self._draw_count(intent)
            for kind in self.rng.choices(_KINDS, cum_weights=self._weigh(intent), k=count):
                self._add(kind, self._draw_time(waves), intent)
            if self.person.in_hubspot:
                self._add_machines()
            self._plan_meeting(waves)
        acts = [act for act in self.acts if act.known <= self.now - MINUTE]
        acts.sort(key=lambda act: act.at)
        return acts

    def _draw_count(self, intent: float) -> int:
        person, rng = self.person, self.rng
        age = (self.now - person.entered_ms) / DAY
        mean = self.options.activities * (_TRACKED if person.in_hubspot else _UNTRACKED) * min(1.15, 0.3 + age / 300)
        if person.kind == "buyer":
            mean *= math.exp(0.28 * intent + rng.gauss(0, _BUSY_SIGMA) - _BUSY_SIGMA**2 / 2)
        else:
            mean *= _NOISE_FACTOR * math.exp(rng.gauss(0, _BUSY_SIGMA))
        return max(0, round(rng.gauss(mean, math.sqrt(mean))))

    def _weigh(self, intent: float) -> list[float]:
        column = 1 if self.person.in_hubspot else 2
        if self.person.kind != "buyer":  # busy readers; nobody gets them on the phone
            return list(
                accumulate(entry[column] * (1.6 if entry[0] in _NOISE_KINDS else 0.3) for entry in _MIX)  # type: ignore[operator]
            )
        return list(accumulate(entry[column] * math.exp(entry[3] * intent) for entry in _MIX))  # type: ignore[operator]

    def _draw_time(self, waves: list[Wave]) -> int:
        """Towards the decision of a wave, or anywhere since the person is known: the long silences lie between."""
        rng, entered = self.rng, self.person.entered_ms
        if waves and rng.random() < 0.45 + 0.4 * chance.squash(waves[0].intent):
            wave = waves[0] if len(waves) == 1 else rng.choice(waves)
            length = wave.decision_ms + 15 * DAY - wave.start_ms
            at = wave.start_ms + round(length * math.pow(rng.random(), 0.6))
            return at if at <= self.now else wave.start_ms + round((self.now - wave.start_ms) * rng.random())
        return entered + round((self.now - entered) * rng.random())

    def _enter(self) -> None:
        """How the person became known: the first activity, by channel."""
        person, at = self.person, self.person.entered_ms
        if person.channel == "inbound":
            self._add("download" if self.rng.random() < 0.6 else "form_submit", at, 0.0, exact=True)
        elif person.channel == "outbound":
            self._log_call(at)
        elif self.rng.random() < 0.6:
            self._visit_show(at)
        else:
            webinar = self.programme.webinar_near(at) - 1
            self._join_webinar(max(webinar, 0), attended=True)

    def _add(self, kind: str, at: int, intent: float, *, exact: bool = False) -> None:
        if kind == "call":
            self._log_call(at)
        elif kind == "meeting":
            self._hold_meeting(at)
        elif kind == "webinar":
            self._join_webinar(self.programme.webinar_near(at), attended=self.rng.random() < 0.65)
        elif kind == "event_attend":
            self._visit_show(at)
        elif kind in {"email_open", "email_click"}:
            self._read_mail(kind)
        else:
            at = at if exact else self._at_work(at)
            self._put(Act(kind, at, at, self._choose_topic(kind, intent), system=self._choose_logger(kind)))

    def _put(self, act: Act) -> None:
        if self.person.entered_ms - 20 * DAY <= act.at:
            self.acts.append(act)

    def _at_work(self, at: int) -> int:
        moved = to_working_hours(at, self.rng.random(), strict=False)
        return moved if self.person.entered_ms <= moved < self.now - HOUR else max(at, self.person.entered_ms)

    def _choose_topic(self, kind: str, intent: float) -> int:
        if kind == "page_view":
            if self.person.kind == "buyer":
                seeks = self.rng.random() < 0.06 + 0.16 * chance.squash(1.5 * intent)
                return PRICING if seeks else self.rng.choice((0, 1, 3, 4, 5, 6, 7, 9))
            return self.rng.choice((5, 6, 6, 7, 8, PRICING) if self.person.kind != "student" else (0, 7, 8, 8, 6))
        return self.rng.randrange(len(ASSETS)) if kind == "download" else self.rng.randrange(len(PAGES))

    def _choose_logger(self, kind: str) -> str:
        """Where the rep writes it down: in one system only."""
        if kind not in {"call", "meeting", "email_out", "email_reply"}:
            return ""
        if self.person.in_salesforce and self.person.in_hubspot:
            return "salesforce" if self.rng.random() < 0.75 else "hubspot"
        return "salesforce" if self.person.in_salesforce else "hubspot"

    def _log_call(self, at: int) -> None:
        rng = self.rng
        at = self._at_work(at)
        held = rng.random() < (0.45 if self.person.kind == "buyer" else 0.15)
        seconds = rng.randrange(60, 1500) if held else rng.randrange(0, 30)
        late = round((3 + rng.random() * 22) * DAY) if rng.random() < 0.2 else seconds * 1000 + 5 * MINUTE
        self._put(Act("call", at, at + late, 0, held, system=self._choose_logger("call"), seconds=seconds))

    def _hold_meeting(self, at: int) -> None:
        rng = self.rng
        start = self._at_work(at) // (30 * MINUTE) * (30 * MINUTE)
        booked = start - round((2 + rng.random() * 12) * DAY)
        self._put(
            Act(
                "meeting",
                start,
                max(booked, self.person.entered_ms),
                held=rng.random() < 0.9,
                closed=rng.random() < 0.65,
                system=self._choose_logger("meeting"),
                seconds=3600 if rng.random() < 0.8 else 5400,
            )
        )

    def _plan_meeting(self, waves: list[Wave]) -> None:
        """A meeting of next week, already in the calendar."""
        running = any(wave.start_ms < self.now < wave.decision_ms for wave in waves)
        if self.person.kind == "buyer" and running and self.rng.random() < 0.06:
            start = to_working_hours(self.now + round((1 + self.rng.random() * 9) * DAY), self.rng.random())
            start = start // (30 * MINUTE) * (30 * MINUTE)
            booked = max(self.now - round((0.1 + self.rng.random()) * DAY), self.person.entered_ms)
            system = self._choose_logger("meeting")
            self.acts.append(Act("meeting", start, booked, held=False, closed=False, system=system, seconds=3600))

    def _join_webinar(self, number: int, *, attended: bool) -> None:
        if number in self.webinars:
            return
        self.webinars.add(number)
        occasion = self.programme.webinars[number]
        registered = occasion.start_ms - round((0.2 + self.rng.random() * 11) * DAY)
        self._put(Act("webinar_register", registered, registered, number, attended))
        if attended:
            after = occasion.end_ms + HOUR
            stayed = round(3600 * (0.3 + 0.7 * self.rng.random()))
            self._put(Act("webinar_attend", occasion.start_ms, after, number, seconds=stayed))

    def _visit_show(self, at: int) -> None:
        number = self.programme.show_near(at)
        occasion = self.programme.shows[number]
        visited = occasion.start_ms + self.rng.randrange(3) * DAY + self.rng.randrange(7 * HOUR)
        if any(act.kind == "event_attend" and act.topic == number for act in self.acts):
            return
        listed = max(occasion.end_ms + 6 * HOUR, self.person.entered_ms)  # business cards are typed in afterwards
        self.acts.append(Act("event_attend", visited, listed, number))

    def _read_mail(self, kind: str) -> None:
        if not self.letters:
            return
        letter = self.rng.choice(self.letters)
        sent = self.programme.newsletters[letter]
        at = sent + round(self.rng.expovariate(1 / 20) * HOUR) + 4 * MINUTE
        if at < self.now - HOUR:
            self._put(Act(kind, at, at, letter, link=self.rng.randrange(5)))
            if kind == "email_click":
                self._put(Act("email_open", at - MINUTE, at - MINUTE, letter))

    def _add_machines(self) -> None:
        """Bursts of a mail gateway within seconds of delivery; opens that Apple's proxy makes for its users."""
        rng, letters = self.rng, self.letters
        if not letters:
            return
        if self.company.scanner:
            for letter in rng.sample(letters, min(2, len(letters))):
                sent = self.programme.newsletters[letter]
                first = sent + rng.randrange(1000, 6000)
                for n in range(rng.randrange(3, 6)):
                    at = first + n * rng.randrange(200, 1500)
                    self._put(Act("email_click", at, at, letter, machine="scanner", link=n))
        if self.person.apple_mail:
            for letter in rng.sample(letters, min(6, len(letters))):
                at = self.programme.newsletters[letter] + rng.randrange(20, 900) * 1000
                self._put(Act("email_open", at, at, letter, machine="mpp"))
