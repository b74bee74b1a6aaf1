"""A test opens its state many times; SQLAlchemy compiles every statement anew for every engine, which is a third of such a test.

Here all engines of one kind of database share a dialect and its compiled statements, as one engine does in a program's life.
"""

from typing import Any

from sqlalchemy import Engine, event

import sync.state


def share_compiled_statements() -> None:
    """For every state that this process opens from now on."""
    make = sync.state._engine
    shared: dict[str, Engine] = {}

    def engine_of(url: str) -> Engine:
        made = make(url)

        def share(*_: Any) -> None:
            first = shared.setdefault(made.dialect.name, made)  # once it has asked its database what it can do
            made.dialect, made._compiled_cache = first.dialect, first._compiled_cache

        event.listen(made, "first_connect", share)
        return made

    sync.state._engine = engine_of
