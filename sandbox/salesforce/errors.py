"""The vendor's errors as exceptions: a REST error array, a row's error in a multi-row answer, an OAuth error."""

from typing import Any

from sandbox.server import Response, reply


class ApiError(Exception):
    """One entry of the REST error array. `fields` is in the body only where the vendor has it (DML errors)."""

    def __init__(self, status: int, code: str, message: str, fields: tuple[str, ...] | None = None) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.fields = fields

    def body(self) -> list[dict[str, Any]]:
        entry: dict[str, Any] = {"message": self.message, "errorCode": self.code}
        if self.fields is not None:
            entry["fields"] = list(self.fields)
        return [entry]

    def row(self) -> dict[str, Any]:
        """As it stands in a per-record result (Collections, tree, SaveResult)."""
        return {"statusCode": self.code, "message": self.message, "fields": list(self.fields or ())}

    def response(self) -> Response:
        return reply(self.status, self.body())


class RowError(ApiError):
    """An error of one record's DML: 400 unless it says otherwise, always with `fields`."""

    def __init__(self, code: str, message: str, fields: tuple[str, ...] = (), status: int = 400) -> None:
        super().__init__(status, code, message, fields)


class OAuthError(Exception):
    """An error of the token endpoint, HTTP 400 unless it says otherwise."""

    def __init__(self, error: str, description: str, status: int = 400) -> None:
        super().__init__(f"{error}: {description}")
        self.status = status
        self.error = error
        self.description = description

    def response(self) -> Response:
        return reply(self.status, {"error": self.error, "error_description": self.description})


def resource_missing() -> ApiError:
    return ApiError(404, "NOT_FOUND", "The requested resource does not exist")


def record_missing(key: str) -> ApiError:
    return ApiError(404, "NOT_FOUND", f"Provided external ID field does not exist or is not accessible: {key}")


def session_invalid() -> ApiError:
    return ApiError(401, "INVALID_SESSION_ID", "Session expired or invalid")


def malformed_json(reason: str) -> ApiError:
    return ApiError(400, "JSON_PARSER_ERROR", reason)


def entity_deleted(status: int = 404) -> RowError:
    return RowError("ENTITY_IS_DELETED", "entity is deleted", status=status)
