"""The error bodies of the real API: one exception that knows its status and its document."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

SCOPES_LINK = "https://developers.hubspot.com/scopes"


class ApiError(Exception):
    """A refused call. `extra` holds fields outside the common envelope (the 429 body has several)."""

    def __init__(
        self,
        status: int,
        message: str,
        category: str | None = None,
        *,
        errors: list[dict[str, Any]] | None = None,
        context: Mapping[str, list[str]] | None = None,
        sub_category: str | None = None,
        links: Mapping[str, str] | None = None,
        extra: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.category = category
        self.errors = errors
        self.context = context
        self.sub_category = sub_category
        self.links = links
        self.extra = extra
        self.headers = dict(headers or {})

    def document(self, correlation_id: str) -> dict[str, Any]:
        """The body as sent; absent fields are left out, as the real API does."""
        fields: dict[str, Any] = {"status": "error", "message": self.message, "correlationId": correlation_id}
        fields |= {"context": self.context, "errors": self.errors, "links": self.links, "category": self.category}
        fields["subCategory"] = self.sub_category
        fields |= self.extra or {}
        return {name: value for name, value in fields.items() if value is not None}

    def row(self, context: Mapping[str, list[str]]) -> dict[str, Any]:
        """One entry of a 207 body's `errors`, for this refusal."""
        entry: dict[str, Any] = {"status": "error", "category": self.category or "VALIDATION_ERROR"}
        if self.sub_category:
            entry["subCategory"] = self.sub_category
        entry["message"] = self.message
        entry["context"] = {**(self.context or {}), **context}
        if self.errors:
            entry["errors"] = self.errors
        return entry


def invalid(message: str, **context: list[str]) -> ApiError:
    return ApiError(400, message, "VALIDATION_ERROR", context=context or None)


def invalid_json(detail: str, line: int = 1, column: int = 1) -> ApiError:
    return ApiError(400, f"Invalid input JSON on line {line}, column {column}: {detail}")


def missing_fields(names: Iterable[str]) -> ApiError:
    listed = ", ".join(names)
    return invalid(f"Invalid input JSON on line 1, column 2. Some required fields were not set: [{listed}]")


def invalid_values(problems: list[dict[str, Any]]) -> ApiError:
    """400 for property values: the message carries the problems as JSON text, `errors` repeats them."""
    message = "Property values were not valid: " + json.dumps(problems, ensure_ascii=False, separators=(",", ":"))
    errors = [
        {"message": problem["message"], "code": problem["error"], "context": {"propertyName": [problem["name"]]}}
        for problem in problems
    ]
    return ApiError(400, message, "VALIDATION_ERROR", errors=errors)


def not_found(key: str) -> ApiError:
    if key.isdigit():
        return ApiError(404, "resource not found", "OBJECT_NOT_FOUND", context={"id": [key]})
    return ApiError(404, "Object not found.  objectId are usually numeric.", "OBJECT_NOT_FOUND", context={"id": [key]})


def unknown_type(name: str) -> ApiError:
    """The real answer for an unknown object type or association name: 400, no category."""
    return ApiError(400, f"Unable to infer object type from: {name}")


def conflict(message: str) -> ApiError:
    return ApiError(409, message, "CONFLICT")


def missing_scopes(required: list[str]) -> ApiError:
    message = f"This app hasn't been granted all required scopes to make this call. Read more about required scopes here: {SCOPES_LINK}."
    errors = [
        {
            "message": "One or more of the following scopes are required.",
            "context": {"requiredGranularScopes": required},
        }
    ]
    return ApiError(403, message, "MISSING_SCOPES", errors=errors, links={"scopes": SCOPES_LINK})
