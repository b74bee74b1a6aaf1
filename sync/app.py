"""The composition root: the one place where settings become objects."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from connectors import Connector, open_connector
from connectors.calls import Clock
from connectors.mapping import Usage
from core.errors import InvalidInput, InvalidRulebook, InvalidSettings
from core.records import FIELD_TYPES, HUMAN_KINDS
from core.rulebook import Rulebook, check_timezone, fields_needed, kinds_needed, load_rulebook
from sync.pair import check_pair, connection_section
from sync.settings import Loaded, load_settings
from sync.state import State, open_state
from sync.state.calls_made import CallBook, StateLedger
from sync.state.mirror.forgotten import use_key
from sync.tokens import DatabaseTokens, StateKey

IDENTITY_FIELDS = frozenset({"email", "last_name", "first_name", "title", "company", "website", "corporate_number"})
"""Always read: who somebody is, and what a task calls them."""


class App:
    """Everything one command needs, built when first asked for. Nothing is opened by making one.

    Args:
        file: the settings.
        clock: of the connectors' waits and budgets; the machine's own if none.

    """

    def __init__(self, file: Path, *, clock: Clock | None = None) -> None:
        self.file = file
        self._clock = clock
        self._state: State | None = None

    @cached_property
    def loaded(self) -> Loaded:
        return load_settings(self.file)

    @cached_property
    def rulebook(self) -> Rulebook:
        """The rulebook the settings name.

        Raises:
            InvalidRulebook: with file, line and field of each mistake.

        """
        path = self.loaded.rulebook_file
        try:
            text = path.read_text("utf-8")
        except FileNotFoundError as error:
            place = self.loaded.place("rulebook")
            raise InvalidSettings(f"there is no rulebook {path}", place=place, hint="mikomi init") from error
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidRulebook(f"cannot read {path}: {error}", hint="a rulebook is one UTF-8 YAML file") from error
        rulebook = load_rulebook(text, source=str(path))
        check_timezone(rulebook, self.loaded.settings.timezone)
        return rulebook

    @cached_property
    def connectors(self) -> Mapping[str, Connector]:
        """All connections of the settings, by name; building them makes no call."""
        settings = self.loaded.settings
        usage = usage_of(self.rulebook)
        check_pair(self.loaded)
        built: dict[str, Connector] = {}
        for name in settings.connections:
            section = connection_section(settings, name)
            try:
                built[name] = open_connector(
                    name,
                    section,
                    zone=settings.zone,
                    usage=usage,
                    language=settings.language,
                    clock=self._clock,
                    tokens=self.tokens,
                    ledger=StateLedger(self.calls.find, name),
                    allowed=self._require_lease,
                )
            except InvalidInput as error:
                raise self._placed(error) from error
        return built

    @cached_property
    def calls(self) -> CallBook:
        """Where the connections' calls are counted, once there is a state."""
        return CallBook(self.loaded.state_url)

    @cached_property
    def state_key(self) -> StateKey:
        """The secret under which the state keeps its secrets; read, or made, when it is first needed."""
        return StateKey(self.loaded.state_url, self.loaded.settings.state_key)

    @cached_property
    def tokens(self) -> DatabaseTokens:
        """Where renewable access tokens are kept. The state is opened when a connection first asks for one."""
        return DatabaseTokens(self.loaded.state_url, self.state_key)

    def _placed(self, error: InvalidInput) -> InvalidInput:
        """Mistakes inside a connection's block, which its vendor found, each with its file, line and key."""
        path = error.place.split(".")
        if path[0] != "connections":
            return error
        found = []
        for line in error.problem.split("\n"):
            key, _, problem = line.partition(": ")
            named = problem and key.replace("_", "").replace(".", "").isalnum()
            found.append((self.loaded.place(*path, *(key.split(".") if named else ())), problem if named else line))
        (place, first), *rest = found
        more = "".join(f"\n{where}: {problem}" for where, problem in rest)
        return type(error)(first + more, place=place, hint=error.hint)

    @contextmanager
    def state(self, *, create: bool = True) -> Iterator[State]:
        state = open_state(self.loaded.state_url, create=create)
        use_key(state, self.state_key)
        try:
            with self.working_on(state):
                yield state
        finally:
            state.close()

    @contextmanager
    def working_on(self, state: State) -> Iterator[None]:
        """Whoever holds this state's lease may change something in the CRMs, and nobody who has lost it."""
        before, self._state = self._state, state
        try:
            yield
        finally:
            self._state = before

    def _require_lease(self) -> None:
        if self._state is not None:
            self._state.require_lease()

    def close(self) -> None:
        for connector in self.__dict__.get("connectors", {}).values():
            connector.close()
        if "calls" in self.__dict__:
            self.calls.close()
        if "tokens" in self.__dict__:
            self.tokens.close()


def usage_of(rulebook: Rulebook) -> Usage:
    """What the rules and identity need from the CRMs; streams that nobody uses are not read."""
    fields = fields_needed(rulebook)
    return Usage(
        fields=(fields | IDENTITY_FIELDS) & frozenset(FIELD_TYPES),
        kinds=kinds_needed(rulebook) | HUMAN_KINDS,
        history=(fields - {"title_rank"}) | ({"title"} if "title_rank" in fields else set()) | {"stage"},
    )
