"""Every way in which HubSpot refuses, in our words."""

import json
from typing import Any

import pytest

from connectors.hubspot.faults import read_refusal, to_error
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

HTML = "<html>Error</html>"
PERSON = "taro@buyer.example"
UNKNOWN_PROPERTY = {
    "status": "error",
    "message": 'Property values were not valid: [{"isValid":false,"message":"Property \\"x\\" does not exist","error":"PROPERTY_DOESNT_EXIST","name":"x"}]',
    "correlationId": "c-1",
    "category": "VALIDATION_ERROR",
    "errors": [{"code": "PROPERTY_DOESNT_EXIST", "message": "…", "context": {"propertyName": ["x"]}}],
}


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (401, {"category": "EXPIRED_AUTHENTICATION", "message": "expired 7 second(s) ago"}, Unauthorized),
        (401, HTML, Unauthorized),
        (530, HTML, Unauthorized),
        (
            403,
            {"category": "MISSING_SCOPES", "errors": [{"context": {"requiredGranularScopes": ["forms"]}}]},
            Forbidden,
        ),
        (403, HTML, Forbidden),
        (404, {"category": "OBJECT_NOT_FOUND", "message": "resource not found"}, Gone),
        (404, HTML, Unexpected),
        (409, {"category": "CONFLICT", "message": f"Contact already exists. {PERSON}"}, Rejected),
        (400, UNKNOWN_PROPERTY, Rejected),
        (400, {"status": "error", "message": "Unable to infer object type from: widgets"}, Rejected),
        (414, HTML, Rejected),
        (423, {"message": "locked"}, RateLimited),
        (429, {"policyName": "DAILY", "message": "You have reached your daily limit."}, QuotaExhausted),
        (429, {"message": "You have reached your daily limit."}, QuotaExhausted),
        (429, {"policyName": "TEN_SECONDLY_ROLLING"}, RateLimited),
        (429, {"category": "RATE_LIMITS"}, RateLimited),
        (429, HTML, RateLimited),
        (477, HTML, RateLimited),
        (500, {"message": "internal error", "category": "INTERNAL"}, OutcomeUnknown),
        (502, HTML, OutcomeUnknown),
        (503, HTML, OutcomeUnknown),
        (503, {"message": "busy", "category": "TEMPORARY"}, Transient),
        (504, HTML, OutcomeUnknown),
        (524, HTML, OutcomeUnknown),
        (302, HTML, Unexpected),
        (418, {}, Unexpected),
    ],
)
def test_the_class_is_the_decision(status: int, body: Any, expected: type[ConnectorError]) -> None:
    raw = body if isinstance(body, str) else json.dumps(body)
    error = to_error(read_refusal(status, raw, {}))
    assert type(error) is expected
    assert str(status) in error.message
    assert PERSON not in error.message


def test_missing_scopes_are_named() -> None:
    body = {"category": "MISSING_SCOPES", "errors": [{"context": {"requiredGranularScopes": ["crm.lists.read"]}}]}
    error = to_error(read_refusal(403, body))
    assert isinstance(error, Forbidden)
    assert error.missing == ("crm.lists.read",)
    assert "crm.lists.read" in error.hint


def test_fields_are_named_wherever_they_stand() -> None:
    error = to_error(read_refusal(400, UNKNOWN_PROPERTY))
    assert isinstance(error, Rejected)
    assert (error.code, error.fields) == ("PROPERTY_DOESNT_EXIST", ("x",))
    bare = {"message": UNKNOWN_PROPERTY["message"], "category": "VALIDATION_ERROR"}
    error = to_error(read_refusal(400, bare))
    assert isinstance(error, Rejected)
    assert error.fields == ("x",)


@pytest.mark.parametrize(
    ("policy", "headers", "wait"),
    [
        ("SECONDLY", {}, 1.0),
        ("TEN_SECONDLY_ROLLING", {}, 10.0),
        ("", {}, 10.0),
        ("SECONDLY", {"Retry-After": "3"}, 3.0),
        ("", {"retry-after": "soon"}, 10.0),
    ],
)
def test_waits_follow_the_policy(policy: str, headers: dict[str, str], wait: float) -> None:
    error = to_error(read_refusal(429, {"policyName": policy}, headers))
    assert isinstance(error, RateLimited)
    assert error.retry_after == wait


@pytest.mark.parametrize(
    "body",
    [
        None,
        b"\xff\xfe",
        b"",
        "[]",
        "[1]",
        '{"errors":[null,3]}',
        '{"errors":[{"context":3}]}',
        '{"message":"[{broken"}',
        '{"context":{"propertyName":"x"}}',
        '{"message":"[{}]"}',
    ],
)
def test_no_body_breaks_the_reading(body: Any) -> None:
    assert isinstance(to_error(read_refusal(400, body)), Rejected)
