"""The seeded market: a Japanese B2B seller's prospects, drawn company by company and streamed as vendor-shaped rows."""

import random
from collections.abc import Iterator

from sandbox.market.acts import draw_acts
from sandbox.market.households import draw_household
from sandbox.market.hubspot_rows import HubSpotWriter
from sandbox.market.mint import Block, Mint
from sandbox.market.model import Household, Options
from sandbox.market.org import Org
from sandbox.market.portal import Portal
from sandbox.market.presence import Presence, place_household
from sandbox.market.programme import Programme, plan_programme
from sandbox.market.salesforce_rows import SalesforceWriter
from sandbox.market.truth import Truth

PEOPLE_PER_BLOCK = 500


class Market:
    """One market. Nothing is kept but the options: every pass draws the same rows again, byte for byte.

    `truth` is filled by the first full pass of `blocks` (loading makes one) or, where there has been none, on access.
    """

    def __init__(self, options: Options, truth_path: str = ":memory:") -> None:
        self.options = options
        self.programme: Programme = plan_programme(options)
        self._truth = Truth(truth_path)
        self._known = False

    @property
    def truth(self) -> Truth:
        if not self._known:
            for _ in self.blocks():
                pass
        return self._truth

    @property
    def truth_in_progress(self) -> Truth:
        """The truth as far as it is noted: for readers who are there before the loading ends."""
        return self._truth

    def close(self) -> None:
        """Close the truth's database."""
        self._truth.close()

    def households(self) -> Iterator[Household]:
        """The companies with their people, deals and activities, as they really are."""
        for household, _, _ in self._draw(Mint()):
            yield household

    def blocks(self) -> Iterator[Block]:
        """Rows for both CRMs: first what all share (users, campaigns, forms), then about 500 people at a time."""
        mint = Mint()
        org = Org(self.options, self.programme, mint)
        portal = Portal(self.options, self.programme, mint)
        shared = org.block
        shared.owners, shared.forms = portal.owners, portal.forms
        shared.lists, shared.marketing_events = portal.lists, portal.events
        yield shared
        note = not self._known
        if note:
            self._truth.clear(self.options)
        block, people, so_far = Block(), 0, 0
        for household, presence, rng in self._draw(mint):
            SalesforceWriter(rng, org, mint, block, household, presence).write()
            HubSpotWriter(rng, portal, mint, block, household, presence).write()
            if note:
                self._truth.note(household, presence)
            people += len(household.people)
            so_far += len(household.people)
            block.people_so_far = so_far
            if people >= PEOPLE_PER_BLOCK:
                yield block
                block, people = Block(), 0
        if people:
            yield block
        if note:
            self._truth.commit()
            self._known = True

    def _draw(self, mint: Mint) -> Iterator[tuple[Household, Presence, random.Random]]:
        options, index, drawn = self.options, 0, 0
        while drawn < options.people:
            household = draw_household(options, index, drawn, options.people - drawn)
            rng = random.Random(f"{options.seed}:life:{index}")
            draw_acts(rng, options, self.programme, household)
            yield household, place_household(rng, options, mint, household), rng
            drawn += len(household.people)
            index += 1


def simulate(
    seed: int,
    people: int,
    now_ms: int,
    *,
    activities: float = 20.0,
    both: float = 0.30,
    linked: float = 0.70,
    noise: float = 0.07,
    history_days: int = 720,
    truth_path: str = ":memory:",
) -> Market:
    """A market of `people` persons as it stands at `now_ms` (UTC ms). Same arguments, same bytes.

    See `model.Options` for the shares and `chance` for the law behind it; ValueError where a share is out of range.
    """
    return Market(Options(seed, people, now_ms, activities, both, linked, noise, history_days), truth_path)
