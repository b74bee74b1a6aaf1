"""The scopes of the app: the one list that the README shows, the doctor names and the tests enforce."""

from collections.abc import Mapping

READ_SCOPES: Mapping[str, str] = {
    "contacts": "crm.objects.contacts.read",
    "companies": "crm.objects.companies.read",
    "deals": "crm.objects.deals.read",
    "emails": "sales-email-read",
    "owners": "crm.objects.owners.read",
    "email_events": "content",
    "forms": "forms",
    "lists": "crm.lists.read",
    "marketing_events": "crm.objects.marketing_events.read",
}
"""The scope each stream needs. Calls, meetings and notes come with contacts; web events answer for themselves."""

WRITE_SCOPES = ("crm.objects.contacts.write",)
"""What writing score fields and tasks needs; nothing that `setup` could grant."""

SETUP_SCOPES = ("crm.schemas.contacts.write",)
"""For `mikomi setup` alone: it can be taken away afterwards."""


def documented() -> tuple[str, ...]:
    """Every scope, in the order of the list."""
    return (*dict.fromkeys(READ_SCOPES.values()), *WRITE_SCOPES, *SETUP_SCOPES)
