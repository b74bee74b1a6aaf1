"""The command line. `main` is the entry of the `mikomi` script."""

from sync.cli.main import main

__all__ = ["main"]
