"""The rulebooks that ship with Mikomi. The only module that reads them."""

from importlib import resources

_FOLDER = resources.files("core").joinpath("rulebooks")


def templates() -> tuple[str, ...]:
    """Names of the shipped rulebooks, the advised one first."""
    found = {entry.name.removesuffix(".yaml") for entry in _FOLDER.iterdir() if entry.name.endswith(".yaml")}
    return tuple(sorted(found, key=lambda name: (name != ADVISED, name)))


def template_text(name: str) -> str:
    """The YAML text of a shipped rulebook, comments included.

    Raises:
        KeyError: no such template.
    """
    if name not in templates():
        raise KeyError(name)
    return _FOLDER.joinpath(f"{name}.yaml").read_text(encoding="utf-8")


ADVISED = "b2b-japan-standard"
