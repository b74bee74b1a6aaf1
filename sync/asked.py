"""What is asked of the service from outside: to stop, to read its configuration again."""

import threading

from connectors.calls import SystemClock
from core.errors import Interrupted


class Asked:
    """What is asked of the service from outside, by other threads. `wake` ends a wait."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self.reload = threading.Event()
        self.wake = threading.Event()

    def to_stop(self) -> None:
        self.stop.set()
        self.wake.set()

    def to_reload(self) -> None:
        self.reload.set()
        self.wake.set()

    def wait(self, seconds: float) -> None:
        """Until so much time has passed, or something is asked."""
        if not self.stop.is_set():
            self.wake.wait(seconds)
            self.wake.clear()


class StoppableClock(SystemClock):
    """The connectors' clock: a wait for a CRM ends when the service shall."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked

    def sleep(self, seconds: float) -> None:
        """Wait.

        Raises:
            Interrupted: asked to stop meanwhile.

        """
        if self._asked.stop.wait(seconds):
            raise Interrupted("stopped while waiting for a CRM", hint="what was done is kept")
