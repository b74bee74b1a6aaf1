"""HubSpot's native Salesforce integration, emulated: the two apps of one sandbox as an administrator has joined them.

Source of its behaviour: HubSpot's help pages on the integration (field rules, inclusion list, deduplication by address,
the fifteen-minute check, activities as Salesforce Tasks, allocated calls and suspension, sync errors by category). It works
under its own user, so that its writes are nobody else's, and through the rules of both apps, so that stamps move and
histories are written as after any edit.
"""

import threading
from collections.abc import Mapping
from typing import Any

from sandbox.clock import Clock
from sandbox.hubspot.portal import Portal
from sandbox.native.activities import Activities
from sandbox.native.companies import Companies
from sandbox.native.deals import Deals
from sandbox.native.memory import Memory, State
from sandbox.native.options import NativeOptions
from sandbox.native.people import People
from sandbox.native.sides import Sides
from sandbox.salesforce.org import Org

MINUTE_MS = 60_000
DAY_MS = 86_400_000


class NativeSync:
    """Off until `configure({"on": True})`. Polls when the sandbox's clock is moved past a poll, and on `poll()`.

    There is no thread: time that merely goes by polls nothing. Thread-safe; one poll at a time, in one transaction of each
    account, HubSpot's first.
    """

    def __init__(self, clock: Clock, portal: Portal, org: Org) -> None:
        self._clock = clock
        self._portal = portal
        self._org = org
        self._lock = threading.RLock()
        self._memory = Memory(portal.store)
        self._stopped = False
        with portal.store.transaction():
            self.options = NativeOptions().changed(self._memory.state().options)
        clock.watch(self.poll_if_due)

    def configure(self, order: Mapping[str, Any]) -> None:
        """Change settings (`NativeOptions.changed`). Switching on starts the copying of activities from now on.

        Raises ValueError or TypeError for a setting that does not exist.
        """
        with self._lock:
            options = self.options.changed(order)
            with self._portal.store.transaction():
                state = self._memory.state()
                state.options = options.document()
                if options.on and not self.options.on:
                    state.enabled_ms = state.polled_ms = self._clock.now_ms()
                    state.polls = 0
                if options.allocated_calls != self.options.allocated_calls:
                    state.suspended = None
                self._memory.keep_state(state)
            self.options = options

    def stop(self) -> None:
        """Poll no more: the accounts are about to be closed."""
        with self._lock:
            self._stopped = True

    def poll_if_due(self) -> None:
        """Poll if the last one is at least `poll_minutes` old; missed polls are made up for by one."""
        with self._lock:
            if self._stopped or not self.options.on:
                return
            with self._portal.store.transaction():
                polled_ms = self._memory.state().polled_ms or 0
            if self._clock.now_ms() - polled_ms >= self.options.poll_minutes * MINUTE_MS:
                self.poll()

    def poll(self) -> None:
        """Carry over everything that changed since the last poll, now. Nothing happens while off or suspended."""
        with self._lock, self._portal.store.transaction(), self._org.store.write():
            state = self._memory.state()
            now_ms = self._clock.now_ms()
            if not self.options.on or self._is_suspended(state, now_ms):
                self._memory.keep_state(state)
                return
            since_ms = 0 if state.polls == 0 or state.polled_ms is None else state.polled_ms
            sides = Sides(self._portal, self._org, self._memory)
            companies = Companies(sides, self.options)
            People(sides, self.options, companies).poll(since_ms)
            companies.poll(since_ms)
            Deals(sides, self.options, companies).poll(since_ms)
            Activities(sides, self.options, state.enabled_ms or 0).poll(since_ms)
            state.polled_ms, state.polls, state.calls = now_ms, state.polls + 1, state.calls + sides.calls
            self._memory.keep_state(state)

    def status(self) -> dict[str, Any]:
        """Settings, last poll, links by kind, copies of activities, calls of today, errors by record."""
        with self._lock, self._portal.store.transaction():
            state = self._memory.state()
            return {
                **self.options.document(),
                "enabled_ms": state.enabled_ms,
                "polled_ms": state.polled_ms,
                "polls": state.polls,
                "calls_today": state.calls if state.call_day == self._clock.now_ms() // DAY_MS else 0,
                "suspended": state.suspended,
                "links": {kind: self._memory.links(kind) for kind in ("contacts", "companies", "deals")},
                "copies": self._memory.copies(),
                "errors": self._memory.errors(),
            }

    def _is_suspended(self, state: State, now_ms: int) -> bool:
        """Whether the calls allocated for this day (UTC) are used up; a new day starts anew."""
        today = now_ms // DAY_MS
        if state.call_day != today:
            state.call_day, state.calls, state.suspended = today, 0, None
        allocated = self.options.allocated_calls
        if allocated is not None and state.calls >= allocated:
            state.suspended = f"the {allocated} Salesforce API calls allocated to HubSpot are used up"
        return state.suspended is not None
