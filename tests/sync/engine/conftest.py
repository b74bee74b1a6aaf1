from collections.abc import Iterator
from pathlib import Path

import pytest

from sync.state import State, open_state


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    state = open_state(f"sqlite:///{tmp_path / 'state.db'}")
    yield state
    state.close()
