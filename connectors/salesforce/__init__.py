"""Salesforce: Leads, Contacts and what is known about them, over REST with simple-salesforce."""

from collections.abc import Mapping
from datetime import tzinfo

from connectors.calls import Clock
from connectors.mapping import Usage
from connectors.protocol import Connector


def build(
    name: str, settings: Mapping[str, object], *, zone: tzinfo, usage: Usage, language: str, clock: Clock
) -> Connector:
    """The connector of one org; see `connectors.open_connector`. Makes no call.

    Raises:
        pydantic.ValidationError: wrong settings.
        InvalidSettings: a secret that cannot be read.
        InvalidMapping: a mapping that no org could carry out.
    """
    from connectors.salesforce.connector import SalesforceConnector
    from connectors.salesforce.settings import SalesforceSettings

    return SalesforceConnector(
        name, SalesforceSettings.model_validate(settings), zone=zone, usage=usage, language=language, clock=clock
    )
