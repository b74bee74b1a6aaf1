"""Every subfolder of this package is a connector: found by name, imported when it is opened."""

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from datetime import tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ValidationError

from connectors.budget import CallLedger
from connectors.calls import Clock, SystemClock
from connectors.protocol import Connector
from connectors.tokens import MemoryTokens, TokenStore
from core.errors import InvalidSettings
from core.mistakes import describe, suggest
from core.yamltext import dotted

if TYPE_CHECKING:
    from connectors.mapping import Usage

Language = Literal["ja", "en"]


def names() -> tuple[str, ...]:
    """The vendors that can be opened, sorted."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)]) if module.ispkg))


def open_connector(
    name: str,
    settings: Mapping[str, object],
    *,
    zone: tzinfo,
    usage: "Usage",
    language: Language = "ja",
    clock: Clock | None = None,
    tokens: TokenStore | None = None,
    ledger: CallLedger | None = None,
    allowed: Callable[[], None] | None = None,
) -> Connector:
    """Build the connector of one connection. Makes no call.

    Args:
        name: the connection's name; it becomes `RecordRef.system`.
        settings: the connection's block of the settings file. `vendor` picks the folder (a connection that is named like
            a vendor needs none); the rest belongs to the vendor, which refuses unknown keys.
        zone: time zone of days.
        usage: what the rulebook and the settings need; streams that nobody uses are not read.
        language: of labels that `apply_setup` creates.
        clock: time for waiting and budgets; the machine's own unless tests give another.
        tokens: where renewable access tokens are kept and shared; in this object alone if not given.
        ledger: where the connection's own calls are counted; in this object alone if not given.
        allowed: asked right before every request that changes something in the CRM; raises where this process may not.

    Raises:
        InvalidSettings: unknown vendor, wrong or missing settings, unreadable secret.
        InvalidMapping: the mapping file is wrong in itself.
    """
    own = dict(settings)
    vendor = own.pop("vendor", name)
    place = f"connections.{name}"
    if vendor not in names():
        raise InvalidSettings(
            f"unknown vendor {vendor!r}{suggest(str(vendor), names())}",
            place=f"{place}.vendor",
            hint=f"write {' or '.join(f'`vendor: {known}`' for known in names())} into the connection's block",
        )
    module: Any = importlib.import_module(f"connectors.{vendor}")
    try:
        connector: Connector = module.build(
            name,
            own,
            zone=zone,
            usage=usage,
            language=language,
            clock=clock or SystemClock(),
            tokens=tokens or MemoryTokens(),
            ledger=ledger,
            allowed=allowed,
        )
    except ValidationError as error:
        model = getattr(importlib.import_module(f"connectors.{vendor}.settings"), error.title, BaseModel)
        raise invalid_settings(error, model, place) from None
    return connector


def invalid_settings(error: ValidationError, model: type[BaseModel], place: str) -> InvalidSettings:
    """A pydantic error as one line for each wrong key, and never a value (it may be a secret)."""
    problems = []
    for item in error.errors(include_url=False):
        what = describe(item, model, show=False)
        problems.append(f"{dotted(item['loc'])}: {what}" if item["loc"] else what)
    return InvalidSettings("\n".join(problems), place=place, hint="correct the settings file, then run `mikomi doctor`")
