"""A HubSpot account to practise on: the CRM and marketing APIs over HTTP, with the real limits, codes and error bodies."""

from sandbox.hubspot.app import HubSpot
from sandbox.hubspot.options import HubSpotOptions

__all__ = ["HubSpot", "HubSpotOptions"]
