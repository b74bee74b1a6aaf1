"""Getting in: the OAuth endpoints and the older SOAP login."""

import base64
import hashlib
import hmac
import time
from binascii import Error as Base64Error
from typing import Any
from urllib.parse import unquote

import jwt

from sandbox.salesforce.errors import OAuthError
from sandbox.salesforce.org import Org
from sandbox.salesforce.seed import INTEGRATION
from sandbox.salesforce.soap import fault, read_envelope, text_of, xml_reply
from sandbox.salesforce.store import Row
from sandbox.salesforce.tokens import Tokens
from sandbox.server import Request, Response, reply

_JWT_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_AUDIENCES = ("https://login.salesforce.com", "https://test.salesforce.com")
_LIFE_SECONDS = 300  # the vendor wants an assertion to expire within three minutes and allows for skewed clocks
_SOAP_LOGIN_GONE = 65


class Gate:
    """Answers what needs no session."""

    def __init__(self, org: Org, tokens: Tokens) -> None:
        self._org = org
        self._tokens = tokens

    def token(self, request: Request) -> Response:
        """`POST /services/oauth2/token`."""
        try:
            return self._grant(request, request.form())
        except UnicodeDecodeError:
            return OAuthError("invalid_request", "body must be form encoded").response()
        except OAuthError as error:
            return error.response()

    def _grant(self, request: Request, form: dict[str, str]) -> Response:
        match form.get("grant_type"):
            case grant if grant == _JWT_GRANT:
                return self._by_assertion(request, form)
            case "client_credentials":
                client_id = self._check_client(request, form)
                return self._answer(request, self._user(INTEGRATION), client_id)
            case "password":
                return self._by_password(request, form)
            case "refresh_token":
                return self._by_refresh(request, form)
        raise OAuthError("unsupported_grant_type", "grant type not supported")

    def revoke(self, request: Request) -> Response:
        """`POST /services/oauth2/revoke` (the vendor takes GET too)."""
        token = request.param("token") or request.form().get("token", "")
        if not self._tokens.revoke(token):
            return OAuthError("unsupported_token_type", "this token type is not supported").response()
        return Response(200, b"")

    def user_info(self, request: Request) -> Response:
        """`GET /services/oauth2/userinfo` and the identity URL."""
        session = self._tokens.find(bearer(request) or request.param("access_token") or "")
        user = self._org.store.get("User", session.user_id) if session else None
        if user is None:
            return Response(403, b"Bad_OAuth_Token", content_type="text/html;charset=UTF-8")
        organization = self._organization()
        document = {
            "sub": f"{request.base_url}/id/{organization}/{user['Id']}",
            "user_id": user["Id"],
            "organization_id": organization,
            "preferred_username": user["Username"],
            "username": user["Username"],
            "nickname": user["CommunityNickname"],
            "name": user["Name"],
            "display_name": user["Name"],
            "email": user["Email"],
            "email_verified": True,
            "given_name": user["FirstName"],
            "family_name": user["LastName"],
            "zoneinfo": user["TimeZoneSidKey"],
            "active": bool(user["IsActive"]),
            "user_type": "STANDARD",
            "language": user["LanguageLocaleKey"],
            "locale": user["LocaleSidKey"],
            "urls": {
                "rest": f"{request.base_url}/services/data/v{{version}}/",
                "sobjects": f"{request.base_url}/services/data/v{{version}}/sobjects/",
                "query": f"{request.base_url}/services/data/v{{version}}/query/",
            },
        }
        return reply(200, document)

    def soap_login(self, request: Request, version: str) -> Response:
        """`POST /services/Soap/u/NN.0`: `login()` of older clients, gone from v65 on."""
        body = read_envelope(request.body)
        if body is None or not body.tag.endswith("}login"):
            return fault("sf:INVALID_OPERATION", "INVALID_OPERATION", "only login() is served here")
        try:
            number = float(version)
        except ValueError:
            number = 0
        if number >= _SOAP_LOGIN_GONE:
            message = "SOAP API login() is not available in this API version."
            return fault("sf:INVALID_OPERATION", "INVALID_OPERATION", message)
        user = self._find_user(text_of(body, "username"))
        if user is None or not self._password_fits(text_of(body, "password")):
            message = "Invalid username, password, security token; or user locked out."
            return fault("sf:INVALID_LOGIN", "INVALID_LOGIN", message)
        token = self._tokens.issue(user["Id"], self._org.options.client_id)
        organization = self._organization()
        return xml_reply(
            '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" '
            'xmlns="urn:partner.soap.sforce.com" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body>'
            "<loginResponse><result>"
            f"<metadataServerUrl>{request.base_url}/services/Soap/m/{version}/{organization}</metadataServerUrl>"
            "<passwordExpired>false</passwordExpired><sandbox>true</sandbox>"
            f"<serverUrl>{request.base_url}/services/Soap/u/{version}/{organization}</serverUrl>"
            f"<sessionId>{token}</sessionId><userId>{user['Id']}</userId>"
            f"<userInfo><organizationId>{organization}</organizationId><userId>{user['Id']}</userId></userInfo>"
            "</result></loginResponse></soapenv:Body></soapenv:Envelope>"
        )

    def _by_assertion(self, request: Request, form: dict[str, str]) -> Response:
        """The JWT bearer flow: an RS256 assertion signed with the key that is registered for the app."""
        try:
            claims = jwt.decode(
                form.get("assertion", ""),
                self._tokens.public_key(),
                algorithms=["RS256"],
                options={
                    "verify_exp": False,  # by the sandbox's clock, below
                    "verify_aud": False,
                    "verify_sub": False,
                    "verify_iss": False,
                    "require": ["iss", "sub", "aud", "exp"],
                },
            )
        except jwt.PyJWTError:
            raise OAuthError("invalid_grant", "invalid assertion") from None
        if claims["iss"] != self._org.options.client_id:
            raise OAuthError("invalid_client_id", "client identifier invalid")
        if not self._audience_fits(request, claims["aud"]):
            raise OAuthError("invalid_grant", "audience is invalid")
        self._check_expiry(claims["exp"])
        return self._answer(request, self._user(str(claims["sub"])), self._org.options.client_id)

    @staticmethod
    def _audience_fits(request: Request, audience: Any) -> bool:
        allowed = (*_AUDIENCES, request.base_url)
        given = audience if isinstance(audience, list) else [audience]
        return any(
            isinstance(one, str) and (one.rstrip("/") in allowed or one.rstrip("/").endswith(".salesforce.com"))
            for one in given
        )

    def _check_expiry(self, expiry: Any) -> None:
        """Some clients send `exp` as text. The sandbox's clock may be moved away from the client's: either one will do."""
        try:
            seconds = float(expiry)
        except (TypeError, ValueError):
            raise OAuthError("invalid_grant", "invalid assertion") from None
        clocks = (self._org.clock.now_ms() / 1000, time.time())
        if not any(-60 < seconds - now <= _LIFE_SECONDS for now in clocks):
            raise OAuthError("invalid_grant", "expired authorization code")

    def _by_password(self, request: Request, form: dict[str, str]) -> Response:
        client_id = self._check_client(request, form)
        user = self._find_user(form.get("username"))
        if user is None or not self._password_fits(form.get("password")):
            raise OAuthError("invalid_grant", "authentication failure")
        return self._answer(request, user, client_id)

    def _by_refresh(self, request: Request, form: dict[str, str]) -> Response:
        client_id = self._check_client(request, form)
        renewed = self._tokens.refresh(form.get("refresh_token", ""), client_id)
        if renewed is None:
            raise OAuthError("invalid_grant", "expired access/refresh token")
        session, access, new = renewed
        user = self._org.store.get("User", session.user_id)
        if user is None or not user["IsActive"]:
            raise OAuthError("invalid_grant", "inactive user")
        return self._answer(request, user, client_id, access=access, refresh=new)

    def _check_client(self, request: Request, form: dict[str, str]) -> str:
        client_id, secret = form.get("client_id", ""), form.get("client_secret", "")
        header = request.headers.get("authorization", "")
        if header.startswith("Basic "):
            try:
                pair = base64.b64decode(header[6:], validate=True).decode()
            except (Base64Error, UnicodeDecodeError):
                raise OAuthError("invalid_client", "invalid client credentials") from None
            client_id, _, secret = (unquote(part) for part in pair.partition(":"))
        options = self._org.options
        if client_id != options.client_id:
            raise OAuthError("invalid_client_id", "client identifier invalid")
        if not hmac.compare_digest(secret.encode(), options.client_secret.encode()):
            raise OAuthError("invalid_client", "invalid client credentials")
        return client_id

    def _user(self, username: str) -> Row:
        user = self._find_user(username)
        if user is None:
            raise OAuthError("invalid_grant", "user hasn't approved this consumer")
        return user

    def _find_user(self, username: str | None) -> Row | None:
        sql = 'SELECT * FROM "User" WHERE Username = ? COLLATE NOCASE AND IsActive = 1'
        found = self._org.store.rows(sql, (username,))
        return found[0] if found else None

    def _password_fits(self, password: str | None) -> bool:
        """The password, alone or with a security token after it."""
        return (password or "").startswith(self._org.options.password)

    def _organization(self) -> str:
        return str(self._org.store.value('SELECT Id FROM "Organization"'))

    def _answer(
        self, request: Request, user: Row, client_id: str, *, access: str | None = None, refresh: str | None = None
    ) -> Response:
        access = access or self._tokens.issue(user["Id"], client_id)
        identity = f"{request.base_url}/id/{self._organization()}/{user['Id']}"
        issued = str(self._org.clock.now_ms())
        digest = hmac.new(
            self._org.options.client_secret.encode(), (identity + issued).encode(), hashlib.sha256
        ).digest()
        document = {
            "access_token": access,
            "signature": base64.b64encode(digest).decode(),
            "scope": "api refresh_token",
            "instance_url": request.base_url,
            "id": identity,
            "token_type": "Bearer",
            "issued_at": issued,
        }
        if refresh is not None:
            document["refresh_token"] = refresh
        return reply(200, document, {"Cache-Control": "no-cache, no-store"})


def bearer(request: Request) -> str | None:
    """The access token of a REST call; the vendor takes `Bearer` and `OAuth`."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() in ("bearer", "oauth") and token else None
