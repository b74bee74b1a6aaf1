"""The same steps as the soak's, drawn by hypothesis: what fails is made small, and printed as a program."""

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.simulation.rest import at_the_end, settle
from tests.simulation.steps import STEPS, take
from tests.simulation.watch import Watch
from tests.simulation.world import World

pytestmark = pytest.mark.timeout(300)


class Histories(RuleBasedStateMachine):
    """One world per example; after every step what must hold always, at the end what must hold at rest."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.world: World | None = None
        self.watch = Watch()

    @initialize(unique=st.booleans(), data=st.data())
    def begin(self, unique: bool, data: st.DataObject) -> None:
        folder = self.stack.enter_context(tempfile.TemporaryDirectory())
        self.world = self.stack.enter_context(World(Path(folder), unique_task=unique, sockets=False))
        for name in ("new_lead", "new_hubspot", "meet_hubspot", "wait_longer"):
            take(self.world, name, _drawing(data))

    @invariant()
    def always(self) -> None:
        if self.world is not None:
            assert self.watch.after_each(self.world) == []

    def teardown(self) -> None:
        try:
            if self.world is not None:
                assert settle(self.world) == []
                assert self.watch.after_each(self.world) == []
                assert at_the_end(self.world) == []
        finally:
            self.stack.close()


def _drawing(data: st.DataObject) -> Callable[[int], int]:
    return lambda below: data.draw(st.integers(0, below - 1))


def _rule(name: str) -> Any:
    def step(self: Histories, data: st.DataObject) -> None:
        assert self.world is not None
        take(self.world, name, _drawing(data))

    step.__name__ = name
    return rule(data=st.data())(step)


for _name in STEPS:
    setattr(Histories, _name, _rule(_name))

Histories.TestCase.settings = settings(
    max_examples=6,
    stateful_step_count=12,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
TestHistories = Histories.TestCase
