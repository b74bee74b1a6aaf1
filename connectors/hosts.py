"""Where credentials may go: https to known hosts, and never to an address inside somebody's network.

Links that a CRM sends (its instance, the next page) are data, not trust. A URL is held against one strict pattern as a whole,
so that no two parsers can read two hosts out of it; and the address is checked when the connection is opened, because
a name says nothing about where it leads.
"""

import ipaddress
import re
import socket
from collections.abc import Sequence
from functools import cache

import urllib3
from urllib3.connection import HTTPSConnection
from urllib3.connectionpool import HTTPSConnectionPool
from urllib3.util import connection as dialling

LONGEST_HOST = 253
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_REST = r"(?:/[\x21-\x5b\x5d-\x7e]*)?"  # printable ASCII without backslash
_EMBEDDING = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("::/96"))


class AddressRefused(urllib3.exceptions.HTTPError):
    """A host name leads to an address that is not public; no connection was opened."""


def leads_to(url: str, suffixes: Sequence[str]) -> bool:
    """Whether a URL is https, on the standard port, and on a host below one of the suffixes (`.salesforce.com`).

    User names, other ports, IP addresses, letters outside ASCII, white space, control characters and backslashes are refused.
    """
    found = _pattern(tuple(suffixes)).fullmatch(url)
    return found is not None and len(found["host"]) <= LONGEST_HOST


@cache
def _pattern(suffixes: tuple[str, ...]) -> re.Pattern[str]:
    ends = "|".join(re.escape(suffix) for suffix in suffixes)
    return re.compile(rf"https://(?P<host>(?:{_LABEL}\.)*{_LABEL}(?:{ends}))(?::443)?{_REST}", re.ASCII)


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the open internet; addresses inside others (mapped, 6to4, NAT64) are looked at too."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour
        if inner is None and any(found in network for network in _EMBEDDING):
            inner = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
        if found.teredo is not None:
            return False
    return found.is_global and not (found.is_multicast or found.is_reserved or found.is_unspecified)


def resolve_public(host: str, port: int) -> str:
    """One address of a host, after every address of it has proved public.

    Raises:
        AddressRefused: one of them is not.
        OSError: the name does not resolve.
    """
    found = [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    hidden = [address for address in found if not is_public(address)]
    if hidden or not found:
        raise AddressRefused(f"{host} leads to {', '.join(hidden) or 'no address'}, which is not on the open internet")
    return found[0]


class PublicConnection(HTTPSConnection):
    """TLS to a host whose addresses are all public: resolved once, checked, and that very address is dialled."""

    def _new_conn(self) -> socket.socket:
        try:
            address = resolve_public(self._dns_host, self.port or 443)
        except socket.gaierror as error:
            raise urllib3.exceptions.NameResolutionError(self.host, self, error) from error
        options = self.socket_options
        try:
            return dialling.create_connection((address, self.port or 443), self.timeout, self.source_address, options)
        except TimeoutError as error:
            raise urllib3.exceptions.ConnectTimeoutError(self, f"connecting to {self.host} timed out") from error
        except OSError as error:
            raise urllib3.exceptions.NewConnectionError(self, f"cannot connect to {self.host}: {error}") from error


class PublicPool(HTTPSConnectionPool):
    """urllib3's pool with those connections."""

    ConnectionCls = PublicConnection


def only_public(pools: urllib3.PoolManager) -> None:
    """Let a pool manager open no other connections than https to public addresses."""
    pools.pool_classes_by_scheme = {"https": PublicPool}
