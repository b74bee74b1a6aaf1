"""Handlers for OAuth (v1, v3 and the dated version) and private-app token introspection. They need no token."""

from typing import Any

from sandbox.hubspot.auth import Token
from sandbox.hubspot.errors import ApiError, missing_fields
from sandbox.hubspot.portal import Portal, answer
from sandbox.server import Request, Response, empty


def exchange(portal: Portal, request: Request, names: dict[str, str]) -> Response:
    form = _form(request)
    token, refresh = portal.tokens.exchange(form)
    document: dict[str, Any] = {
        "token_type": "bearer",
        "refresh_token": refresh,
        "access_token": token.value,
        "hub_id": portal.options.portal_id,
        "scopes": sorted(token.scopes),
        "expires_in": portal.tokens.ttl_seconds,
    }
    if names.get("version") == "v1":
        del document["hub_id"], document["scopes"]
    else:
        document |= {"user_id": token.user_id, "token_use": "access_token"}
    return answer(200, document)


def introspect(portal: Portal, request: Request, _names: dict[str, str]) -> Response:
    value = _form(request).get("token")
    if not value:
        raise missing_fields(["token"])
    token = portal.tokens.find(value)
    now = portal.clock.now_ms()
    if token is not None and token.oauth:
        alive = token.expires_ms is not None and token.expires_ms > now
        return answer(200, {**_described(portal, token), "active": alive, "token_use": "access_token"})
    scopes = portal.tokens.refresh_scopes(value)
    if scopes is None:
        return answer(200, {"active": False})
    document = {"token_use": "refresh_token", "client_id": portal.tokens.client_id, "scopes": sorted(scopes)}
    return answer(200, {**document, "hub_id": portal.options.portal_id, "active": True})


def revoke(portal: Portal, request: Request, _names: dict[str, str]) -> Response:
    portal.tokens.revoke(_form(request).get("token", ""))
    return answer(200, {})


def read_access_token(portal: Portal, _request: Request, names: dict[str, str]) -> Response:
    token = portal.tokens.find(names["token"])
    if token is None or not token.oauth or (token.expires_ms or 0) <= portal.clock.now_ms():
        raise _unknown_token("access token")
    return answer(200, _described(portal, token))


def read_refresh_token(portal: Portal, _request: Request, names: dict[str, str]) -> Response:
    scopes = portal.tokens.refresh_scopes(names["token"])
    if scopes is None:
        raise _unknown_token("refresh token")
    document = {
        "token": names["token"],
        "user": "admin@portal.example",
        "hub_domain": "portal.example",
        "scopes": sorted(scopes),
        "hub_id": portal.options.portal_id,
        "client_id": portal.tokens.client_id,
        "user_id": portal.tokens.user_id,
        "token_type": "refresh",
    }
    return answer(200, document)


def delete_refresh_token(portal: Portal, _request: Request, names: dict[str, str]) -> Response:
    portal.tokens.revoke(names["token"])
    return empty(204)


def private_app_info(portal: Portal, request: Request, _names: dict[str, str]) -> Response:
    """`{"tokenKey": "pat-…"}` → whose token it is and what it may do."""
    try:
        key = request.json().get("tokenKey")
    except (ValueError, AttributeError):
        raise missing_fields(["tokenKey"]) from None
    token = portal.tokens.find(str(key))
    if token is None or token.oauth:
        raise ApiError(404, "Private app access token not found", "OBJECT_NOT_FOUND")
    document = {
        "userId": token.user_id,
        "hubId": portal.options.portal_id,
        "appId": token.app_id,
        "scopes": sorted(token.scopes),
    }
    return answer(200, document)


def _described(portal: Portal, token: Token) -> dict[str, Any]:
    left = max(0, ((token.expires_ms or 0) - portal.clock.now_ms()) // 1000)
    return {
        "token": token.value,
        "user": "admin@portal.example",
        "hub_domain": "portal.example",
        "scopes": sorted(token.scopes),
        "hub_id": portal.options.portal_id,
        "client_id": portal.tokens.client_id,
        "app_id": token.app_id,
        "expires_in": left,
        "user_id": token.user_id,
        "token_type": "access",
    }


def _form(request: Request) -> dict[str, str]:
    content_type = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if content_type != "application/x-www-form-urlencoded":
        raise ApiError(415, "Unsupported Media Type: expected application/x-www-form-urlencoded")
    return request.form()


def _unknown_token(what: str) -> ApiError:
    return ApiError(404, f"{what} not found", "OBJECT_NOT_FOUND")
