"""What every command is made of: the application they register with, their common options, and the way in."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sync.app import App

app = typer.Typer(
    name="mikomi",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

Config = Annotated[
    str | None,
    typer.Option("--config", "-c", help="Settings file. [default: $MIKOMI_CONFIG or mikomi.yaml]", show_default=False),
]
Json = Annotated[bool, typer.Option("--json", help="Answer as JSON, for machines.")]


opened: list["App"] = []
"""What the command that runs has opened."""


def open_app(config: str | None) -> "App":
    """The settings that the options name, not yet read."""
    from sync.app import App
    from sync.settings import settings_path

    opened[:] = [App(settings_path(config))]
    return opened[0]


def spoken_language() -> str:
    """Of the settings that the command has read; English as long as there are none."""
    return next((app.loaded.settings.language for app in opened if "loaded" in app.__dict__), "en")
