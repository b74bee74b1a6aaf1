"""Salesforce: Leads, Contacts and what is known about them, over REST with simple-salesforce."""

from collections.abc import Callable, Mapping
from datetime import tzinfo

from connectors.budget import CallLedger
from connectors.calls import Clock
from connectors.mapping import Usage
from connectors.protocol import Connector
from connectors.tokens import MemoryTokens, TokenStore


def build(
    name: str,
    settings: Mapping[str, object],
    *,
    zone: tzinfo,
    usage: Usage,
    language: str,
    clock: Clock,
    tokens: TokenStore | None = None,
    ledger: CallLedger | None = None,
    allowed: Callable[[], None] | None = None,
) -> Connector:
    """The connector of one org; see `connectors.open_connector`. Makes no call.

    Raises:
        pydantic.ValidationError: wrong settings.
        InvalidSettings: a secret that cannot be read.
        InvalidMapping: a mapping that no org could carry out.
    """
    from connectors.salesforce.connector import SalesforceConnector
    from connectors.salesforce.settings import SalesforceSettings

    parsed = SalesforceSettings.model_validate(settings)
    return SalesforceConnector(
        name,
        parsed,
        zone=zone,
        usage=usage,
        language=language,
        clock=clock,
        tokens=tokens or MemoryTokens(),
        ledger=ledger,
        allowed=allowed,
    )
