"""The ten-second limit of one app: as fast as the granted share allows, and never over it."""

from connectors.calls import Clock, Pace

_SLICES = 10


class BurstPace(Pace):
    """Waits when the portal's own count says that the share is used, by us or by others with the same token.

    Our count alone would do for a single process; the header also sees its siblings, and a portal without limits.
    """

    def __init__(self, clock: Clock, *, maximum: int, share_percent: float, seconds: float) -> None:
        self._maximum = maximum
        self._share = share_percent
        super().__init__(clock, calls=self._granted(), seconds=seconds)
        self._remaining = maximum

    def observe(self, maximum: int, remaining: int) -> None:
        """Take over what an answer says: calls allowed in a window, and how many are left of this one."""
        self._maximum, self._remaining = maximum, remaining
        self.adapt(self._granted())

    def take(self) -> None:
        if self._remaining > self._maximum - self._granted():
            while len(self._sent) >= self._calls:
                self._sent.popleft()
            self._sent.append(self._clock.monotonic())
            self._remaining -= 1
            return
        if len(self._sent) < self._calls:  # others are calling: let some of their calls leave the window
            self._clock.sleep(self._seconds / _SLICES)
        super().take()

    def _granted(self) -> int:
        return max(1, int(self._maximum * self._share / 100))
