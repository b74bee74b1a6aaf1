"""One holder at a time, and only the holder commits.

A lease is a row: its holder, a fencing token that only ever grows, and a beat that the holder moves. Clocks of two machines are
never compared: who waits watches by its own monotonic clock whether the beat moves, and takes over when it stood still for
the lease's life; at once where the holder was a process of this very machine that is gone. Every writing transaction of a
run reads the row with its own token (`Fence.check`): a holder that was paused and overtaken cannot commit.

A beat waits behind a long transaction of its own run, so such a transaction beats itself before it commits. While another
library streams the SQLite file (`sync.state.gate`), beats go through that library.
"""

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Update, bindparam, select, update

from connectors.calls import seconds_since_start
from core.errors import AlreadyRunning, LeaseLost, StateError
from sync.state import schema as t
from sync.state.gate import Aside
from sync.state.rows import insert_new

if TYPE_CHECKING:
    from sync.state import State

LIFE_SECONDS = 60.0
"""How long a beat may stand still before others take over."""

BEAT_SECONDS = 5.0
"""How often a holder beats: also how long a second instance looks before it believes that the first one lives."""

_POLL_SECONDS = 0.1

_HELD = (  # SQLite has one writer anyway, and no such clause
    select(t.lease.c.token, t.lease.c.holder).where(t.lease.c.name == bindparam("name")).with_for_update(read=True)
)


@dataclass(slots=True)
class Fence:
    """What a holder shows at every commit, and asks before every request that changes something outside.

    Attributes:
        confirmed: nobody takes over before the lease's life has passed since this moment.
        lost: somebody has taken over.
    """

    name: str
    token: int
    life_seconds: float = LIFE_SECONDS
    confirmed: float = field(default_factory=seconds_since_start)
    lost: bool = False

    def check(self, connection: Connection) -> None:
        """Hold the row, so that nobody takes over before this transaction has ended.

        Raises:
            LeaseLost: somebody else holds the lease now.

        """
        found = connection.execute(_HELD, {"name": self.name}).one_or_none()
        if found is None or found.token != self.token or found.holder is None:
            self.lost = True
            raise LeaseLost(self.name)

    def beat(self, connection: Connection) -> float | None:
        """Move the beat, as part of a transaction; what to take for `confirmed` once it is committed. None: overtaken.

        Others see the beat when it is committed, not before, and count the lease's life from when they see it. A moment that
        lies before the commit is therefore a safe one to count from here, also where the statement had to wait.
        """
        if connection.execute(_beat(self.name, self.token)).rowcount != 1:
            return None
        return seconds_since_start()

    def is_due(self) -> bool:
        """Whether the beats behind this run's own transactions have stood still for longer than they should."""
        return seconds_since_start() - self.confirmed >= _beat_seconds(self.life_seconds)

    def require(self) -> None:
        """Whether we may still act outside: nobody can have taken over since the last beat that was confirmed.

        Raises:
            LeaseLost: this process stood still for longer than the lease lives, or was overtaken.

        """
        if self.lost or seconds_since_start() - self.confirmed >= self.life_seconds:
            raise LeaseLost(self.name)


@contextmanager
def hold(
    state: "State", name: str, *, wait_seconds: float = 0.0, life_seconds: float = LIFE_SECONDS
) -> Iterator[Fence]:
    """Be the only holder of `name`; beats in the background until the block ends.

    Args:
        wait_seconds: how long to wait for a holder that lives. One that does not beat is always waited out.

    Raises:
        AlreadyRunning: the holder lives, and waiting has ended.

    """
    fence = _take(state, name, wait_seconds, life_seconds)
    stop = threading.Event()
    beating = threading.Thread(target=_keep_beating, args=(state, fence, stop), name=f"lease {name}", daemon=True)
    beating.start()
    try:
        yield fence
    finally:
        stop.set()
        beating.join()
        _release(state, fence)


def whoami() -> str:
    """The running process, so that its neighbours can tell whether it still exists: machine, boot, process space, number, start."""
    return "/".join((socket.gethostname()[:60], _boot(), _space(), str(os.getpid()), _started(os.getpid())))


def this_machine() -> str:
    """The machine since its last start: one clock."""
    return f"{socket.gethostname()[:60]}/{_boot()}"


def _take(state: "State", name: str, wait_seconds: float, life_seconds: float) -> Fence:
    """The fence of a lease that is ours now."""
    began = moved = seconds_since_start()
    seen: tuple[str | None, int, int] | None = None
    lives = False
    while True:
        fence = None
        with state.begin(fenced=False) as connection:
            insert_new(connection, t.lease, [{"name": name, "holder": None, "token": 0, "beats": 0}])
            row = connection.execute(select(t.lease).where(t.lease.c.name == name)).mappings().one()
            found = (row["holder"], row["token"], row["beats"])
            if found != seen:
                lives, moved, seen = seen is not None, seconds_since_start(), found
            gone = row["holder"] is None or _is_gone(row["holder"], one_machine=connection.dialect.name == "sqlite")
            free = gone or seconds_since_start() - moved >= life_seconds
            if free and _swap(connection, name, found):
                fence = Fence(name, int(row["token"]) + 1, life_seconds)  # its time runs from before the commit
        if fence is not None:
            return fence
        if lives and not free and seconds_since_start() - began >= wait_seconds:
            raise AlreadyRunning(
                f"{name} is running already ({_describe(seen[0])})", hint="wait until it has ended; nothing was touched"
            )
        time.sleep(_POLL_SECONDS)


def _swap(connection: Connection, name: str, found: tuple[str | None, int, int]) -> bool:
    """Take the lease if it still is as it was found."""
    holder, token, beats = found
    same = t.lease.c.holder.is_(None) if holder is None else t.lease.c.holder == holder
    where = (t.lease.c.name == name, t.lease.c.token == token, t.lease.c.beats == beats, same)
    mine = {"holder": whoami(), "token": token + 1, "beats": 0}
    return connection.execute(update(t.lease).where(*where).values(**mine)).rowcount == 1


def _keep_beating(state: "State", fence: Fence, stop: threading.Event) -> None:
    while not stop.wait(_beat_seconds(fence.life_seconds)):
        try:
            with state.beside_stranger() as stranger:
                moment = _beat_alone(state, fence) if stranger is None else _beat_through(stranger, fence)
        except StateError:
            continue  # the database is away for now: without a confirmation the fence closes by itself
        if moment is None:
            fence.lost = True
            return
        fence.confirmed = moment


def _beat_alone(state: "State", fence: Fence) -> float | None:
    with state.begin(fenced=False) as connection:
        return fence.beat(connection)


def _beat_through(stranger: Aside, fence: Fence) -> float | None:
    """A beat through the library that has the SQLite file open now: the same one sees its own locks."""
    moment = seconds_since_start()
    found = stranger(
        "UPDATE lease SET beats = beats + 1 WHERE name = ? AND token = ?",
        "SELECT count(*) FROM lease WHERE name = ? AND token = ?",
        (fence.name, fence.token),
    )
    return moment if found else None


def _beat(name: str, token: int) -> Update:
    own = (t.lease.c.name == name, t.lease.c.token == token)
    return update(t.lease).where(*own).values(beats=t.lease.c.beats + 1)


def _beat_seconds(life_seconds: float) -> float:
    return min(BEAT_SECONDS, life_seconds / 4)


def _release(state: "State", fence: Fence) -> None:
    own = (t.lease.c.name == fence.name, t.lease.c.token == fence.token)
    try:
        with state.begin(fenced=False) as connection:
            connection.execute(update(t.lease).where(*own).values(holder=None))
    except StateError:
        return  # others see that this process is gone, or wait the lease's life


def _is_gone(holder: str, *, one_machine: bool) -> bool:
    """Whether the holder was a process of this machine that has ended; False where that cannot be known.

    Args:
        one_machine: whoever uses the database runs on the machine that has its file. Where it is a server, a machine of the
            same name that was started at another moment may be another machine, also one with the same `/etc/machine-id`
            (a cloned disk, a container image): it is waited for.

    """
    host, boot, space, pid, started = holder.split("/")
    if host != socket.gethostname()[:60] or not boot:
        return False
    if boot != _boot():
        return one_machine  # started anew since
    if space != _space():
        return False
    return not _exists(int(pid)) if not _read(f"/proc/{pid}/stat") else _started(int(pid)) != started


def _describe(holder: str | None) -> str:
    if holder is None:
        return "another process"
    host, _, _, pid, _ = holder.split("/")
    return f"process {pid} on {host}"


def _boot() -> str:
    return _read("/proc/sys/kernel/random/boot_id")


def _space() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink()).strip("pid:[]")
    except OSError:
        return ""


def _started(pid: int) -> str:
    """When a process was started, in ticks since boot; empty where it does not exist (or is dead and unburied)."""
    fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return "" if len(fields) < 20 or fields[0] in {"Z", "X"} else fields[19]


def _exists(pid: int) -> bool:
    """Whether there is a process of that number, also one that is hidden from us."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _read(path: str) -> str:
    try:
        return Path(path).read_text("utf-8", "replace").strip()
    except OSError:
        return ""
