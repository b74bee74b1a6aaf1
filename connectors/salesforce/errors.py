"""Salesforce's errors in our words: decided by errorCode first, then by HTTP status, never by exception class alone."""

from collections.abc import Mapping
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
from core.records import to_datetime

BUSY_CODES = frozenset(
    {"UNABLE_TO_LOCK_ROW", "SERVER_UNAVAILABLE", "REQUEST_RUNNING_TOO_LONG", "STORAGE_LOCK", "UNKNOWN_EXCEPTION"}
)
GONE_CODES = frozenset({"ENTITY_IS_DELETED", "CANNOT_UPDATE_CONVERTED_LEAD"})
REFUSED_CODES = frozenset(
    {
        "API_DISABLED_FOR_ORG",
        "API_CURRENTLY_DISABLED",
        "INSUFFICIENT_ACCESS",
        "INSUFFICIENT_ACCESS_OR_READONLY",
        "FUNCTIONALITY_NOT_ENABLED",
        "FORBIDDEN",
    }
)
TOO_LARGE_CODES = frozenset({"QUERY_TIMEOUT", "OPERATION_TOO_LARGE"})
"""A query that would work over less: too slow, or over too many people for a user without View All Data."""

LOCATOR_EXPIRED = "INVALID_QUERY_LOCATOR"
PAUSE_MS = 3_600_000
"""The 24-hour window rolls: after an hour some calls are free again, and one call tells how many."""

# Codes whose message is about schema or rights, never about a person: it is quoted. Of all others only the code is.
_QUOTED = REFUSED_CODES | {
    "INVALID_FIELD",
    "INVALID_TYPE",
    "MALFORMED_QUERY",
    "INVALID_FIELD_FOR_INSERT_UPDATE",
    "REQUIRED_FIELD_MISSING",
    "FIELD_CUSTOM_VALIDATION_EXCEPTION",
    "REQUEST_LIMIT_EXCEEDED",
    "INVALID_SESSION_ID",
    "JSON_PARSER_ERROR",
    "FIELD_INTEGRITY_EXCEPTION",
    "UNSUPPORTED_API_VERSION",
}


SESSION_ENDED = "Bad_OAuth_Token"
"""How the identity service says, with a 403, that an access token has ended."""


def first_error(content: object) -> tuple[str, str, tuple[str, ...]]:
    """(code, message, fields) of an error body; empty code where the body is none of Salesforce's."""
    item = content[0] if isinstance(content, list) and content else content
    if not isinstance(item, Mapping):
        return "", "", ()
    code = item.get("errorCode") or item.get("statusCode") or item.get("error") or ""
    fields = item.get("fields") or ()
    message = item.get("message") or item.get("error_description") or ""
    return str(code), str(message), tuple(str(f) for f in fields) if isinstance(fields, list) else ()


def translate(status: int, content: Any, *, now: int, retry_after: float | None = None) -> ConnectorError:
    """What an HTTP answer other than success means for the whole call. `now`: our clock's time, for reset times."""
    code, message, fields = first_error(content)
    if code == "REQUEST_LIMIT_EXCEEDED":
        if message.startswith("TotalRequests"):
            return QuotaExhausted(
                "the org's daily API calls are used up",
                resets_at=to_datetime(now + PAUSE_MS),
                hint="other integrations share this quota: see Setup → System Overview → API Usage",
            )
        return RateLimited(_sentence(code, message, fields), retry_after=retry_after or 10.0)
    if status == 401 or code == "INVALID_SESSION_ID" or (isinstance(content, str) and content.strip() == SESSION_ENDED):
        return Unauthorized(
            "Salesforce does not accept the access token (expired, revoked or wrong)",
            hint="check the connection's credentials, then run `mikomi doctor`",
        )
    if code in BUSY_CODES and status < 500:
        return Transient(_sentence(code, message, fields))
    if status == 429:
        return RateLimited("Salesforce asks to slow down", retry_after=retry_after or 5.0)
    if status == 420 or status >= 500:
        return _server_fault(status, code)
    if status == 403 or code in REFUSED_CODES:
        return Forbidden(
            _sentence(code or "403", message, fields),
            missing=fields,
            hint="give the integration user this permission (API Enabled, object or field access)",
        )
    if status == 410:
        return Unexpected("Salesforce has retired this API version", hint="raise `api_version` in the settings")
    if status < 400:
        return Unexpected(
            f"Salesforce redirected (HTTP {status}); redirects are not followed", hint="set login_url to your My Domain"
        )
    if not code:
        return Unexpected(f"HTTP {status} without a Salesforce error body", hint="is there a proxy in between?")
    return row_error(code, message, fields)


def row_error(code: str, message: str, fields: tuple[str, ...] = ()) -> ConnectorError:
    """What an error of one row or one query means."""
    text = _sentence(code, message, fields)
    if code in BUSY_CODES:
        return Transient(text)
    if code in GONE_CODES or (code == "INVALID_CROSS_REFERENCE_KEY" and fields in {(), ("Id",)}):
        return Gone(text, code=code)
    return Rejected(text, code=code, fields=fields, hint=_hint(code))


def _server_fault(status: int, code: str) -> ConnectorError:
    if status == 503 and code:
        return Transient(f"Salesforce is not available ({code})")
    # Without Salesforce's own words it may be a proxy that waited in vain for an answer to what was carried out.
    return OutcomeUnknown(f"Salesforce or a proxy failed (HTTP {status}{', ' + code if code else ''})")


def _sentence(code: str, message: str, fields: tuple[str, ...]) -> str:
    text = f"{code} ({', '.join(fields)})" if fields else code
    if code in _QUOTED and message:
        text += ": " + " ".join(message.split())[:300]
    return text


def _hint(code: str) -> str:
    return {
        "INVALID_FIELD": "a field is missing or hidden from the integration user: run `mikomi doctor`",
        "INVALID_FIELD_FOR_INSERT_UPDATE": "the integration user may not write this field: run `mikomi setup --apply`",
        "INVALID_TYPE": "the object is missing or hidden from the integration user: run `mikomi doctor`",
        "FIELD_CUSTOM_VALIDATION_EXCEPTION": "a validation rule refuses the integration user's writes: exempt it",
        "INACTIVE_OWNER_OR_USER": "the owner has left: set tasks.fallback_owner",
        "DUPLICATES_DETECTED": "a duplicate rule blocks updates by the integration user: let the rule allow them",
    }.get(code, "")
