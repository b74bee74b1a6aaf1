"""HubSpot: contacts, companies, deals, engagements and marketing's signals in; score properties and tasks out."""

from collections.abc import Callable, Mapping
from datetime import tzinfo
from typing import Literal

from connectors.budget import CallLedger
from connectors.calls import Clock
from connectors.mapping import Usage
from connectors.protocol import Connector
from connectors.tokens import MemoryTokens, TokenStore

__all__ = ["build"]


def build(
    name: str,
    settings: Mapping[str, object],
    *,
    zone: tzinfo,
    usage: Usage,
    language: Literal["ja", "en"],
    clock: Clock,
    tokens: TokenStore | None = None,
    ledger: CallLedger | None = None,
    allowed: Callable[[], None] | None = None,
) -> Connector:
    """The connector of one portal; makes no call. See `connectors.open_connector`.

    Raises:
        pydantic.ValidationError: wrong settings (the registry turns it into InvalidSettings).
        InvalidSettings: a secret is missing or unsafe.
        InvalidMapping: the mapping is wrong in itself.
    """
    from connectors.hubspot.connector import HubSpotConnector
    from connectors.hubspot.meaning import read_meaning
    from connectors.hubspot.settings import HubSpotSettings

    parsed = HubSpotSettings.model_validate(dict(settings))
    meaning = read_meaning(parsed.mapping, usage, connection=name)
    return HubSpotConnector(
        name,
        parsed,
        meaning,
        zone=zone,
        language=language,
        clock=clock,
        tokens=tokens or MemoryTokens(),
        ledger=ledger,
        allowed=allowed,
    )
