"""Word lists that ship with the package: the only module that reads them. Plain UTF-8 text, one entry per line.

`#` starts a comment; columns are separated by tabs. Files are read once per process.
"""

from functools import cache
from importlib.resources import files


@cache
def rows(name: str) -> tuple[tuple[str, ...], ...]:
    """The entries of `<name>`, split at tabs. A missing file is a broken installation: `FileNotFoundError`."""
    text = files("core.lexicon").joinpath(name).read_text(encoding="utf-8")
    lines = (line.split("#", 1)[0].rstrip() for line in text.splitlines())
    return tuple(tuple(cell.strip() for cell in line.split("\t")) for line in lines if line.strip())


@cache
def words(name: str) -> frozenset[str]:
    """The first column of `<name>`."""
    return frozenset(row[0] for row in rows(name))
