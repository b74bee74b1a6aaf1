"""What a sandbox org is like: limits, tokens, size, edition."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SalesforceOptions:
    """The settings of one emulated org.

    `database` names a SQLite file that is kept (and may be opened again); without it the org lives in a private
    temporary file. `visible_share` is the share of Lead, Contact, Account and Opportunity rows that users without
    View All Data see (sharing rules filter silently); 1.0 shows all. `jwt_public_key` (PEM) replaces the sandbox's
    own key pair for the JWT bearer flow. `unique_activity_fields` False refuses unique fields on Activity.
    """

    limits: bool = True
    daily_quota: int = 100_000
    refresh_rotation: bool = False
    token_ttl_seconds: int | None = None
    database: str | None = None
    page_size: int = 2000
    edition: str = "Enterprise"
    visible_share: float = 1.0
    unique_activity_fields: bool = True
    jwt_public_key: str | None = None
    client_id: str = "3MVG9sandboxMikomiConnectedApp"
    client_secret: str = "sandbox-client-secret"  # noqa: S105 - a practice org's secret, given out on request
    password: str = "sandbox-password"  # noqa: S105 - likewise
    org_name: str = "見込みサンドボックス株式会社"
