"""The scopes of the app: the one list that the README shows, the doctor names and the tests enforce."""

from collections.abc import Collection, Iterable, Mapping

from core.errors import Forbidden

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


def require_read_scopes(
    granted: Collection[str], streams: Iterable[str], optional: Collection[str], system: str
) -> None:
    """Hold a token's scopes against what is read.

    Args:
        streams: names of those in use; `optional`: of those that the mapping could leave out.

    Raises:
        Forbidden: with all missing scopes.
    """
    lacking = {READ_SCOPES[name]: name for name in streams if READ_SCOPES.get(name, "") not in {"", *granted}}
    if not lacking:
        return
    scopes, spare = ", ".join(lacking), sorted(set(lacking.values()) & set(optional))
    leave_out = f"; or leave the source out: mapping → activities → {spare[0]}: []" if spare else ""
    raise Forbidden(
        f"the token lacks {scopes}, needed to read {', '.join(lacking.values())}",
        missing=tuple(lacking),
        system=system,
        hint=f"add {scopes} in the app's settings and renew the token{leave_out}",
    )
