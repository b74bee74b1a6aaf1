"""Settings: one YAML file plus the environment, read once at the edge. Unknown keys are refused, with their line.

Every key can be given as `MIKOMI_<KEY>` (nested keys with `__`), which wins over the file; lists and maps as JSON.
Connections are kept unread here: each vendor's folder validates its own, so sync never learns a vendor's field names.
"""

import os
from collections.abc import Mapping
from datetime import date
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from connectors.secrets import SecretSource, variable_name
from core.errors import InvalidSettings
from core.mistakes import describe, suggest
from core.records import ACTIVITY_KINDS
from core.yamltext import Source, dotted, read_source
from sync.timing import parse_length, parse_timing

DEFAULT_FILE = "mikomi.yaml"

Stage = Literal["observe", "fields", "all"]


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        near = suggest(name, available_timezones()) or "; for example Asia/Tokyo"
        raise ValueError(f"{name!r} is no IANA time zone{near}") from error
    return name


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Deliver(_Section):
    """When a changed score is written back."""

    delta: int = Field(3, ge=1, le=100, description="points of difference that are worth a write")
    refresh_days: int = Field(7, ge=1, le=90, description="write rows whose content differs at least this often")
    late_commit_seconds: int = Field(
        300, ge=0, le=3600, description="a request without an answer may still be carried out for so long"
    )
    index_lag_seconds: int = Field(
        120, ge=0, le=3600, description="a search may miss what was written within so many seconds"
    )


class Tasks(_Section):
    """Who gets hand-over tasks, and where."""

    systems: tuple[str, ...] = Field((), description="connections in the order in which a person's task is placed")
    fallback_owner: Mapping[str, str] = Field(
        {}, description="connection to the user id for people without an active owner"
    )


class Identity(_Section):
    """How records become people."""

    order: tuple[str, ...] = Field((), description="connection/kind in the order in which attributes are believed")


class Calendar(_Section):
    """Working days for due dates."""

    country: str = "JP"
    closures: tuple[date, ...] = Field((), description="company holidays besides the country's")


class Pair(_Section):
    """HubSpot and Salesforce joined by HubSpot's own sync: the same people, deals and activities, shown twice."""

    salesforce: str = Field(description="connection name")
    hubspot: str = Field(description="connection name")
    tasks: str = Field(
        "", description="where tasks and hand-over fields are written; the Salesforce connection if empty"
    )


class Guards(_Section):
    """Stops before harm. Percentages are of the people (or records) known before; small numbers never stop."""

    emptied: int = Field(20, ge=1, le=100, description="percent of a connection's records gone at once")
    written: int = Field(50, ge=1, le=100, description="percent of records written in one pass, without a new rulebook")
    moved: int = Field(10, ge=1, le=100, description="percent of people whose band a new rulebook would change")
    offered: int = Field(
        20, ge=1, description="hand-overs in one pass, and five times the daily average, without asking"
    )
    least: int = Field(20, ge=0, description="below so many people or records no guard stops")
    allow: tuple[str, ...] = Field((), description="guard stops that are confirmed, as their message names them")


class Schedule(_Section):
    """When `mikomi serve` works; times in the settings' time zone."""

    cycle: str = Field("5m", description="an interval (90s, 5m, 1h) or a calendar in five cron fields")
    sweep: str = Field("24h", description="how often deletions are looked for")
    reconcile: str = Field("0 4 * * sun", description="an interval, a calendar, or never")
    backup: str = Field("never", description="an interval, a calendar, or never; into `backup_folder`")
    backup_folder: Path = Path("backups")
    keep_backups: int = Field(7, ge=1, le=1000)

    @field_validator("cycle", "reconcile", "backup")
    @classmethod
    def _times(cls, value: str, info: ValidationInfo) -> str:
        if parse_timing(value, ZoneInfo("UTC")) is None and info.field_name == "cycle":
            raise ValueError("the cycle cannot be never; for single passes there is `mikomi sync`")
        return value

    @field_validator("sweep")
    @classmethod
    def _length(cls, value: str) -> str:
        parse_length(value)
        return value


class Retention(_Section):
    """How long facts about people are kept, in days."""

    activities: int = Field(1_825, ge=30, le=36_500, description="activities and attribute history")
    deleted: int = Field(
        30, ge=0, le=365, description="people deleted in the CRM, who may still come back from its bin"
    )
    runs: int = Field(400, ge=7, le=3_650, description="reports of runs")


class Log(_Section):
    """The log: JSON lines, one event each, without personal data."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    file: Path | None = Field(None, description="a file (rotated, 0600); standard error if none")
    format: Literal["json", "text"] = "json"


_PREFIX = "MIKOMI_"
_OTHER_VARIABLES = frozenset({"MIKOMI_CONFIG", "MIKOMI_DEBUG", "MIKOMI_HEALTH_FILE", "MIKOMI_STATE_KEY_FILE"})
"""Of ours, and no keys of the settings."""


class _Environment(EnvSettingsSource):
    """The `MIKOMI_<KEY>` variables, without `MIKOMI_STATE_KEY`: that one is the key itself, not where it lies."""

    def __call__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__call__().items() if name != "state_key"}


class Settings(BaseSettings):
    """The whole configuration. `mikomi init` writes a commented file with these keys."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        nested_model_default_partial_update=True,
    )

    state: str = "sqlite:///mikomi.sqlite3"
    timezone: Annotated[str, AfterValidator(_zone)] = "Asia/Tokyo"
    language: Literal["ja", "en"] = "ja"
    rulebook: str = "rulebook.yaml"
    stage: Stage = "observe"
    connections: Mapping[str, Mapping[str, Any]] = Field(min_length=1)
    deliver: Deliver = Deliver()
    tasks: Tasks = Tasks()
    identity: Identity = Identity()
    signals: Mapping[str, str] = Field({}, description="activity kind to the connection that is its source")
    calendar: Calendar = Calendar()
    pair: Pair | None = None
    guards: Guards = Guards()
    schedule: Schedule = Schedule()
    retention: Retention = Retention()
    log: Log = Log()
    state_key: SecretSource | None = None

    @field_validator("connections")
    @classmethod
    def _connections(cls, value: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Mapping[str, Any]]:
        for name, section in value.items():
            if not name.replace("-", "").replace("_", "").isalnum() or not name.isascii() or len(name) > 40:
                raise ValueError(f"connection name {name!r}: use up to 40 letters, digits, - and _")
            if "vendor" not in section:
                raise ValueError(f"connection {name!r} names no vendor: add `vendor: salesforce` or `vendor: hubspot`")
            linked = section.get("linked_system")
            if linked is not None and linked not in value:
                raise ValueError(
                    f"connection {name!r}: linked_system {linked!r} is no connection here: {', '.join(value)}"
                )
        return value

    @field_validator("signals")
    @classmethod
    def _signals(cls, value: Mapping[str, str]) -> Mapping[str, str]:
        if unknown := sorted(set(value) - set(ACTIVITY_KINDS)):
            raise ValueError(f"unknown signal {', '.join(unknown)}{suggest(unknown[0], ACTIVITY_KINDS)}")
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return _Environment(settings_cls), init_settings

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)


class Loaded(BaseModel):
    """Settings with what belongs to their file: where it lies, and the line of every key for errors."""

    model_config = ConfigDict(arbitrary_types_allowed=True, frozen=True)

    settings: Settings
    file: Path
    source: Source

    def place(self, *path: str | int) -> str:
        """`mikomi.yaml:12: connections.hubspot` for an error message."""
        return _place(self.file, self.source, path)

    @property
    def state_url(self) -> str:
        """The state URL, a relative SQLite path taken from the settings file's folder."""
        url = self.settings.state
        prefix = "sqlite:///"
        if url.startswith(prefix) and not url.startswith(prefix + "/") and ":memory:" not in url:
            return f"{prefix}{(self.file.parent / url.removeprefix(prefix)).absolute()}"
        return url

    @property
    def rulebook_file(self) -> Path:
        return self.file.parent / self.settings.rulebook


def settings_path(given: str | None) -> Path:
    """The file to read: the given one, `MIKOMI_CONFIG`, or `mikomi.yaml` here."""
    return Path(given or os.environ.get("MIKOMI_CONFIG") or DEFAULT_FILE)


def load_settings(path: Path) -> Loaded:
    """Read and validate.

    Raises:
        InvalidSettings: with file, line and key of every mistake.

    """
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError as error:
        raise InvalidSettings(
            f"there is no settings file {path}", hint="mikomi init; if they are elsewhere, --config PATH"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSettings(f"cannot read {path}: {error}", hint="the settings are one UTF-8 YAML file") from error
    source = read_source(text)
    if source.problems:
        lines = [
            f"{_place(path, None, (), p.line)}{f': {p.field}' if p.field else ''}: {p.message}" for p in source.problems
        ]
        raise InvalidSettings(
            "\n".join(lines), hint="correct the lines above; `mikomi init ANOTHER-FOLDER` writes a file with every key"
        )
    if not isinstance(source.value, dict):
        raise InvalidSettings("the settings are a map of keys", place=f"{path}:1", hint="mikomi init")
    try:
        settings = Settings(**source.value)
    except ValidationError as error:
        raise _explain(error, path, source) from error
    except SettingsError as error:
        raise InvalidSettings(
            f"a variable MIKOMI_… cannot be read: {error}", hint="lists and maps are JSON there"
        ) from error
    _require_known_variables(settings)
    return Loaded(settings=settings, file=path, source=source)


def _require_known_variables(settings: Settings) -> None:
    """A mistyped variable is refused like a mistyped key: whoever meant `MIKOMI_STAGE` must not go on writing.

    Other programs' names may begin alike (Kubernetes makes MIKOMI_PORT of a service), so what resembles no key of ours is left.
    """
    secrets_of = tuple(variable_name(name, "") for name in settings.connections)
    for name in sorted(os.environ):
        if not name.startswith(_PREFIX) or name in _OTHER_VARIABLES or name.startswith(secrets_of):
            continue
        head, nested, _ = name.removeprefix(_PREFIX).lower().partition("__")
        if head not in Settings.model_fields and (nested or get_close_matches(head, Settings.model_fields, cutoff=0.8)):
            raise InvalidSettings(
                f"{name}: unknown key{suggest(head, Settings.model_fields)}", hint=f"unset {name}, or correct its name"
            )


def _explain(error: ValidationError, file: Path, source: Source) -> InvalidSettings:
    """All mistakes of one file in one message, each with its line."""
    lines = []
    for problem in error.errors(include_url=False):
        path = tuple(problem["loc"])
        hidden = path[0] in ("connections", "state_key")  # where a secret may have been written out
        place = _variable(path) or _place(file, source, path)
        lines.append(f"{place}: {describe(problem, Settings, show=not hidden)}")
    return InvalidSettings(
        "\n".join(lines), hint="correct the lines above; `mikomi init ANOTHER-FOLDER` writes a file with every key"
    )


def _variable(path: tuple[str | int, ...]) -> str:
    """The environment variable that a value came from, if one did."""
    names = ("MIKOMI_" + "__".join(map(str, path[:length])).upper() for length in range(len(path), 0, -1))
    return next((name for name in names if name in os.environ), "")


def _place(file: Path, source: Source | None, path: tuple[str | int, ...], line: int = 1) -> str:
    at = source.line(path) if source is not None else line
    return f"{file}:{at}" + (f": {dotted(path)}" if path else "")
