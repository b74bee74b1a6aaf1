"""HubSpot's refusals in our words. Bodies are read with care: every field of them is optional, and the text may be HTML.

Messages never quote HubSpot's own text: it holds addresses and values of people.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from core.errors import (
    ConnectorError,
    Forbidden,
    Gone,
    OutcomeUnknown,
    QuotaExhausted,
    RateLimited,
    Rejected,
    Transient,
    Unauthorized,
    Unexpected,
)

BURST_WAIT_SECONDS = 10.0
SEARCH_WAIT_SECONDS = 1.0
LOCK_WAIT_SECONDS = 2.0
_REFUSED = frozenset({400, 405, 409, 413, 414, 415, 422})


@dataclass(frozen=True, slots=True)
class Refusal:
    """What an error body says, as far as it says it."""

    status: int
    category: str = ""
    code: str = ""
    policy: str = ""
    correlation: str = ""
    fields: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    well_formed: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)

    def describe(self) -> str:
        words = [str(self.status), *(w for w in (self.category, self.code, self.policy) if w)]
        text = f"HubSpot answered {' '.join(dict.fromkeys(words))}"
        if self.fields:
            text += f" for {', '.join(self.fields)}"
        return f"{text} (correlation id {self.correlation})" if self.correlation else text


def read_refusal(status: int, body: object, headers: Mapping[str, str] | None = None) -> Refusal:
    """Take from an error answer what is needed to decide."""
    lowered = {name.lower(): value for name, value in (headers or {}).items()}
    document = _as_object(body)
    if document is None:
        return Refusal(status, headers=lowered)
    details = [e for e in document.get("errors") or [] if isinstance(e, dict)]
    contexts = [c for c in (document.get("context"), *(d.get("context") for d in details)) if isinstance(c, dict)]
    return Refusal(
        status,
        category=str(document.get("category") or document.get("errorType") or ""),
        code=next((str(d["code"]) for d in details if d.get("code")), "") or _oauth_code(document),
        policy=str(document.get("policyName") or _policy_in(str(document.get("message") or ""))),
        correlation=str(document.get("correlationId") or ""),
        fields=_strings(contexts, "propertyName") or _invalid_names(str(document.get("message") or "")),
        missing=_strings(contexts, "requiredGranularScopes") or _strings(contexts, "requiredScopes"),
        well_formed="message" in document or "category" in document,
        headers=lowered,
    )


def to_error(refusal: Refusal) -> ConnectorError:
    """The decision that a refusal calls for."""
    status, text = refusal.status, refusal.describe()
    if status in {401, 530}:
        return Unauthorized(
            text, hint="check the token: HubSpot → Settings → Integrations → Private apps; then `mikomi doctor`"
        )
    if status == 403:
        needed = ", ".join(refusal.missing)
        hint = (
            f"give the app the scope {needed}, then renew its token"
            if needed
            else "check the app's scopes and the portal's edition"
        )
        return Forbidden(f"{text}{f': needs {needed}' if needed else ''}", missing=refusal.missing, hint=hint)
    if status == 404:
        return Gone(text, code="OBJECT_NOT_FOUND") if refusal.well_formed else Unexpected(text)
    if status == 429:
        return _too_many(refusal, text)
    if status == 423:
        return RateLimited(text, retry_after=LOCK_WAIT_SECONDS)
    if status == 477:
        return RateLimited(f"{text}: the portal is being moved", retry_after=_retry_after(refusal) or 60.0)
    if status in _REFUSED:
        return Rejected(text, code=refusal.code or refusal.category or str(status), fields=refusal.fields)
    if status in {503, 521} and refusal.well_formed:
        return Transient(text)
    if status >= 500:
        return OutcomeUnknown(text, hint="HubSpot has trouble; see status.hubspot.com")
    return Unexpected(text)


def _too_many(refusal: Refusal, text: str) -> ConnectorError:
    policy = refusal.policy.upper()
    if policy == "DAILY":
        hint = "the calls of all private apps together are used up until midnight in the portal's time zone"
        return QuotaExhausted(text, resets_at=None, hint=hint)
    if wait := _retry_after(refusal):
        return RateLimited(text, retry_after=wait)
    if policy.startswith("SECONDLY"):
        return RateLimited(text, retry_after=SEARCH_WAIT_SECONDS)
    return RateLimited(text, retry_after=BURST_WAIT_SECONDS)


def _retry_after(refusal: Refusal) -> float | None:
    try:
        return max(0.0, float(refusal.headers["retry-after"]))
    except (KeyError, ValueError):
        return None


def _policy_in(message: str) -> str:
    lowered = message.lower()
    if "daily limit" in lowered:
        return "DAILY"
    if "ten_secondly" in lowered:
        return "TEN_SECONDLY_ROLLING"
    return "SECONDLY" if "secondly limit" in lowered else ""


def _invalid_names(message: str) -> tuple[str, ...]:
    """Property names out of `Property values were not valid: [{…}]`, where they stand nowhere else."""
    start = message.find("[{")
    if start < 0:
        return ()
    try:
        rows = json.loads(message[start:])
    except ValueError:
        return ()
    return tuple(dict.fromkeys(str(r["name"]) for r in rows if isinstance(r, dict) and r.get("name")))


def _oauth_code(document: Mapping[str, Any]) -> str:
    """What a refused token request is called: HubSpot's own name for it, else OAuth's."""
    if "error_description" not in document:
        return ""
    status = str(document.get("status") or "")
    return status if status.startswith("BAD_") else str(document.get("error") or "")


def _strings(contexts: list[dict[str, Any]], key: str) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for context in contexts:
        value = context.get(key)
        for item in value if isinstance(value, list) else [value] if value else []:
            found[str(item)] = None
    return tuple(found)


def _as_object(body: object) -> dict[str, Any] | None:
    if isinstance(body, bytes):
        body = body.decode("utf-8", "replace")
    if isinstance(body, str):
        try:
            body = json.loads(body)
        except ValueError:
            return None
    return body if isinstance(body, dict) else None
