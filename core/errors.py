"""The whole error tree. The class is the decision: it says what happens next; `hint` says what to type next.

MikomiError(message, hint)              root
├─ InvalidInput(place)                  stop before any call; exit code 2
│  ├─ InvalidRulebook                   the rulebook file: file, line and field in `place`
│  ├─ InvalidSettings                   the settings file or the environment
│  └─ InvalidMapping                    a canonical field or signal that the CRM does not have
├─ ConnectorError(system)               a CRM
│  ├─ Transient                         retried inside the call, then left for the next cycle
│  │  └─ RateLimited(retry_after)       wait that many seconds, within the call's budget
│  ├─ OutcomeUnknown                    a write whose answer was lost: it may or may not have happened
│  ├─ QuotaExhausted(resets_at)         this system pauses until then; the others go on
│  │  └─ QuotaReserved                  only its score updates wait; reading and tasks go on
│  ├─ Unauthorized                      this system stops; a person is told once
│  ├─ Forbidden(missing)                a scope, permission or edition is missing; named
│  ├─ Rejected(code)                    the CRM refused this payload and always will
│  │  └─ Gone(survivor)                 deleted, merged or converted: follow or tombstone
│  └─ Unexpected                        the API broke its word: this system stops, evidence kept without personal data
├─ AlreadyRunning                       another run is at it: exit code 3, nothing was touched
├─ LeaseLost                            this run stood still and another took over: exit code 3, nothing more was done
├─ Interrupted                          asked to stop: what was done is kept; exit code 130
├─ GuardStop(guard)                     a change too large to be made unasked: exit code 4, nothing was written
├─ CannotStart                          a run that could not begin: every connection's reason; nothing was written
└─ StateError                           the state database
   ├─ StateTooNew                       written by a newer Mikomi: never migrated down
   └─ StateUnavailable                  away, locked or out of space: nothing half-done; exit code 1, try again
"""

from datetime import datetime


class MikomiError(Exception):
    """Root of all errors that Mikomi raises on purpose.

    Args:
        message: one sentence naming the cause, without personal data or secrets.
        hint: what the operator types or changes next.

    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class InvalidInput(MikomiError):
    """Something a person wrote is wrong; `place` is `file:line: field` as far as known."""

    exit_code = 2

    def __init__(self, message: str, *, place: str = "", hint: str = "") -> None:
        super().__init__(f"{place}: {message}" if place else message, hint=hint)
        self.problem = message
        self.place = place


class InvalidRulebook(InvalidInput):
    """The rulebook breaks the rule language."""


class InvalidSettings(InvalidInput):
    """The settings file or environment is wrong, half-written or has unknown keys."""


class InvalidMapping(InvalidInput):
    """A mapped CRM field or object does not exist, cannot be read, or has another type."""


class ConnectorError(MikomiError):
    """A CRM did not do what was asked; the subclass says what follows."""

    def __init__(self, message: str, *, system: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.system = system


class Transient(ConnectorError):
    """Worth another try: network, 5xx, row lock."""


class RateLimited(Transient):
    """Refused for pace; `retry_after` in seconds."""

    def __init__(self, message: str, *, retry_after: float, system: str = "", hint: str = "") -> None:
        super().__init__(message, system=system, hint=hint)
        self.retry_after = retry_after


class OutcomeUnknown(ConnectorError):
    """The request may have been carried out: answer lost, timed out, or cut short. Never blindly create again."""


class QuotaExhausted(ConnectorError):
    """The day's calls, or the share an admin granted, are used up. `resets_at` is aware, or None if unknown."""

    def __init__(self, message: str, *, resets_at: datetime | None, system: str = "", hint: str = "") -> None:
        super().__init__(message, system=system, hint=hint)
        self.resets_at = resets_at


class QuotaReserved(QuotaExhausted):
    """What is left of the share is kept for reading and tasks: score updates wait, nothing else does."""


class Unauthorized(ConnectorError):
    """The credential is wrong, expired for good, or revoked. `final`: nothing but another secret helps."""

    exit_code = 2

    def __init__(self, message: str, *, system: str = "", hint: str = "", final: bool = False) -> None:
        super().__init__(message, system=system, hint=hint)
        self.final = final


class Forbidden(ConnectorError):
    """The credential works but may not do this; `missing` names scopes, permissions or fields."""

    exit_code = 2

    def __init__(self, message: str, *, missing: tuple[str, ...] = (), system: str = "", hint: str = "") -> None:
        super().__init__(message, system=system, hint=hint)
        self.missing = missing


class Rejected(ConnectorError):
    """The CRM refused this payload; `code` is the vendor's, `fields` the fields it names."""

    def __init__(
        self, message: str, *, code: str = "", fields: tuple[str, ...] = (), system: str = "", hint: str = ""
    ) -> None:
        super().__init__(message, system=system, hint=hint)
        self.code = code
        self.fields = fields


class Gone(Rejected):
    """The record was deleted, merged away or converted; `survivor` is its id where the CRM said so."""

    def __init__(
        self, message: str, *, survivor: str | None = None, code: str = "", system: str = "", hint: str = ""
    ) -> None:
        super().__init__(message, code=code, system=system, hint=hint)
        self.survivor = survivor


class Unexpected(ConnectorError):
    """An answer outside the API's own contract."""

    def __init__(self, message: str, *, system: str = "", hint: str = "") -> None:
        hint = hint or (
            "see the CRM's status page, and whether a proxy answers in its place; if it lasts, please report this line"
        )
        super().__init__(message, system=system, hint=hint)


class CannotStart(MikomiError):
    """A run that could not begin; nothing was read or written."""

    exit_code = 2


class AlreadyRunning(MikomiError):
    """Another run is at work on the same state."""

    exit_code = 3


class LeaseLost(MikomiError):
    """The run stood still for longer than its lease lives, and another took over."""

    exit_code = 3

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{name}: this process stood still and another one took over",
            hint="nothing is lost; `mikomi status` shows it",
        )


class Interrupted(MikomiError):
    """A person or the system asked to stop; what was done is kept."""

    exit_code = 130


class GuardStop(MikomiError):
    """A change larger than the configuration allows unasked; `guard` is the name that `--allow` takes."""

    exit_code = 4

    def __init__(self, guard: str, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.guard = guard


class StateError(MikomiError):
    """The state database cannot be used."""

    exit_code = 2


class StateTooNew(StateError):
    """The state database was written by a newer version."""


class StateUnavailable(StateError):
    """The database cannot be reached or written now; whatever was under way was rolled back."""

    exit_code = 1
