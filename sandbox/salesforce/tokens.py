"""Sessions: access tokens, refresh tokens and their families, the key pair of the JWT flow. All in memory."""

import secrets
import threading
from dataclasses import dataclass
from functools import cache

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from sandbox.clock import Clock


@dataclass(slots=True)
class Session:
    """Who calls with one access token.

    `expires_ms` is None for a token that lives until it is revoked; `uses_left` is None for one that ends by time alone.
    """

    user_id: str
    client_id: str
    expires_ms: int | None
    family: str
    uses_left: int | None = None


@dataclass(slots=True)
class _Refresh:
    user_id: str
    client_id: str
    family: str
    spent: bool = False


class Tokens:
    """Issue, find, expire, revoke. Thread-safe.

    Attributes:
        rotate: a refresh token is spent with its first use, and the answer brings the next one.
        ttl_seconds, ttl_requests: how long tokens issued from now on live; None for no such end.
    """

    def __init__(
        self, clock: Clock, org_id: str, ttl_seconds: int | None, public_key: str | None, *, rotate: bool = False
    ) -> None:
        self.rotate = rotate
        self.ttl_seconds = ttl_seconds
        self.ttl_requests: int | None = None
        self._clock = clock
        self._org_id = org_id
        self._lock = threading.Lock()
        self._access: dict[str, Session] = {}
        self._refresh: dict[str, _Refresh] = {}
        self._public_key = public_key
        self._private_key: str | None = None

    def issue(self, user_id: str, client_id: str, *, family: str | None = None) -> str:
        token = f"{self._org_id[:15]}!AQ{secrets.token_urlsafe(64).replace('-', '.')}"
        expires = None if self.ttl_seconds is None else self._clock.now_ms() + self.ttl_seconds * 1000
        with self._lock:
            family = family or secrets.token_hex(8)
            self._access[token] = Session(user_id, client_id, expires, family, self.ttl_requests)
        return token

    def issue_refresh(self, user_id: str, client_id: str, *, family: str | None = None) -> str:
        token = "5Aep861" + secrets.token_urlsafe(48)
        with self._lock:
            self._refresh[token] = _Refresh(user_id, client_id, family or secrets.token_hex(8))
        return token

    def find(self, token: str) -> Session | None:
        with self._lock:
            session = self._access.get(token)
            if session is None:
                return None
            late = session.expires_ms is not None and session.expires_ms <= self._clock.now_ms()
            if late or session.uses_left == 0:
                del self._access[token]
                return None
            if session.uses_left is not None:
                session.uses_left -= 1
            return session

    def refresh(self, token: str, client_id: str) -> tuple[Session, str, str | None] | None:
        """(session, access token, new refresh token or None); None where the token is unknown or spent.

        A spent token that comes again revokes its whole family: someone has stolen it.
        """
        with self._lock:
            known = self._refresh.get(token)
            if known is None or known.client_id != client_id:
                return None
            if known.spent:
                self._revoke_family(known.family)
                return None
            known.spent = self.rotate
        access = self.issue(known.user_id, client_id, family=known.family)
        new = self.issue_refresh(known.user_id, client_id, family=known.family) if known.spent else None
        return Session(known.user_id, client_id, None, known.family), access, new

    def revoke(self, token: str) -> bool:
        """Revoke an access token, or a refresh token with all that came from it; False if it is unknown."""
        with self._lock:
            if (known := self._refresh.get(token)) is not None:
                self._revoke_family(known.family)
                return True
            return self._access.pop(token, None) is not None

    def _revoke_family(self, family: str) -> None:
        self._access = {token: one for token, one in self._access.items() if one.family != family}
        self._refresh = {token: one for token, one in self._refresh.items() if one.family != family}

    def expire_all(self) -> int:
        """Every access token becomes invalid; how many there were. Refresh tokens live on."""
        with self._lock:
            count = len(self._access)
            self._access = {}
            return count

    def private_key(self) -> str | None:
        """The PEM of the sandbox's own key pair, made when first asked for; None where a public key was registered."""
        with self._lock:
            self._ensure_keys()
            return self._private_key

    def public_key(self) -> str:
        with self._lock:
            self._ensure_keys()
            return str(self._public_key)

    def register_key(self, pem: str) -> None:
        """Verify JWTs with this public key (or certificate's key) from now on."""
        serialization.load_pem_public_key(pem.encode())
        with self._lock:
            self._public_key, self._private_key = pem, None

    def _ensure_keys(self) -> None:
        if self._public_key is not None:
            return
        self._private_key, self._public_key = _key_pair()


@cache
def _key_pair() -> tuple[str, str]:
    """PEMs of one private and its public key. One pair does for every org of a process: making one takes a tenth of a second."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return private.decode(), public.decode()
