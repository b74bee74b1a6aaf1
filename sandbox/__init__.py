"""CRMs to practise on: HTTP emulators of Salesforce and HubSpot, and a seeded market. Imports nothing of ours.

`run` serves both until stopped; `Sandbox` does the same inside a process, for tests. Both are imported on first use.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sandbox.main import ACCOUNTS, Endpoint, Sandbox, SandboxOptions, run

__all__ = ["ACCOUNTS", "Endpoint", "Sandbox", "SandboxOptions", "run"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        import sandbox.main

        return getattr(sandbox.main, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
