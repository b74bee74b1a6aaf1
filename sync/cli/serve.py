"""`mikomi serve`: the service in the foreground, for systemd, containers and `nohup`.

SIGTERM and SIGINT end it where that is safe, within ten seconds: work under way stops after its page or batch; what has not
stopped after eight seconds is cut off, which every step survives. SIGHUP reads the configuration again.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sync.app import App
from sync.asked import Asked
from sync.log import get_log, logging_to
from sync.service import serve

HARD_STOP_SECONDS = 8.0

_STOP = (signal.SIGTERM, signal.SIGINT)
_log = get_log(__name__)


def run_serve(app: App) -> int:
    """Work until told to stop. Exit code 0.

    Raises:
        InvalidInput, CannotStart: the configuration cannot work (exit code 2).

    """
    asked = Asked()
    with logging_to(app.loaded, service=True), listening(asked):
        _log.info("service starts")
        serve(app.file, asked)
        _log.info("service ends")
    return 0


@contextmanager
def listening(asked: Asked) -> Iterator[None]:
    """Pass signals on, until the block ends.

    The interpreter runs signal handlers between its own steps only, and one query of the scoring engine may be one long step:
    so the signal's number goes into a pipe, and a thread reads that.
    """
    read, write = os.pipe()
    os.set_blocking(write, False)
    handlers = {number: signal.signal(number, _heard) for number in (*_STOP, signal.SIGHUP)}
    before = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    ended = threading.Event()
    thread = threading.Thread(target=_listen, args=(read, asked, ended), name="signals", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        signal.set_wakeup_fd(before)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        os.close(write)
        thread.join()
        os.close(read)


def _heard(_number: int, _frame: object) -> None:
    """The number is in the pipe already."""


def _listen(read: int, asked: Asked, ended: threading.Event) -> None:
    while numbers := os.read(read, 64):
        if signal.SIGHUP in numbers:
            asked.to_reload()
        if any(number in _STOP for number in numbers) and not asked.stop.is_set():
            asked.to_stop()
            threading.Thread(target=_cut_off, args=(ended,), name="hard stop", daemon=True).start()


def _cut_off(ended: threading.Event) -> None:
    """End the process where it does not end by itself: whatever was under way is as after a crash, and goes on from there."""
    if not ended.wait(HARD_STOP_SECONDS):
        _log.warning("cut off: the work under way did not reach a safe point in time", seconds=HARD_STOP_SECONDS)
        os._exit(0)
