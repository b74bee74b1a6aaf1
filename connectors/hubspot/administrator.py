"""An administrator's visit: another token for the length of one set-up, in memory and nowhere else."""

from collections.abc import Iterator
from contextlib import contextmanager

from connectors.budget import CallLedger
from connectors.calls import Clock
from connectors.hubspot.api import HubSpotApi
from connectors.hubspot.credentials import PrivateAppToken
from connectors.hubspot.portal import PortalFacts
from connectors.hubspot.settings import HubSpotSettings
from connectors.hubspot.setup import Setup
from connectors.secrets import find_secret
from core.errors import Forbidden


class Administrator:
    """Whoever may create properties, where the app that syncs may not."""

    def __init__(
        self, name: str, settings: HubSpotSettings, clock: Clock, ledger: CallLedger | None, own: HubSpotApi
    ) -> None:
        self._name = name
        self._settings = settings
        self._clock = clock
        self._ledger = ledger
        self._own = own

    @contextmanager
    def visiting(self, setup: Setup) -> Iterator[Setup]:
        """The set-up with the administrator's token; with our own where none is given.

        Raises:
            Forbidden: the token belongs to another portal.
            InvalidSettings: it cannot be read.
        """
        token = find_secret(self._name, "setup_token", self._settings.setup_token)
        if token is None:
            yield setup
            return
        api = HubSpotApi(self._name, self._settings, self._clock, PrivateAppToken(lambda: token), self._ledger)
        try:
            portal = PortalFacts(api)
            here = PortalFacts(self._own).account().get("portalId")
            if portal.account().get("portalId") != here:
                raise Forbidden(
                    "the set-up token belongs to another portal",
                    system=self._name,
                    hint="take a token of a private app of this portal",
                )
            yield setup.over(api, portal)
        finally:
            api.close()
