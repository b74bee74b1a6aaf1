"""Whether a connection's configuration is still the one that failed, secrets included, without keeping any of it."""

import hashlib
import json
import os
from collections.abc import Mapping

from connectors.secrets import SecretSource, read_secret, variable_name
from core.errors import InvalidSettings

_PLACES = frozenset({"env", "file", "keyring"})
_DIGITS = 12
"""48 bits: enough to notice a change, too few to confirm a guess of a secret."""


def fingerprint(name: str, settings: Mapping[str, object]) -> str:
    """Twelve hex digits that change with any setting of a connection, and with any secret that it names.

    Args:
        name: the connection's name; its usual variables (`MIKOMI_<NAME>_…`) count too.
        settings: the connection's block of the settings file.
    """
    prefix = variable_name(name, "")
    usual = {key: _digest(value) for key, value in os.environ.items() if key.startswith(prefix)}
    document = json.dumps([_resolve(settings), usual], sort_keys=True, ensure_ascii=True, default=str)
    return _digest(document)[:_DIGITS]


def _resolve(value: object) -> object:
    """Settings with each secret's digest in the place of its source."""
    if not isinstance(value, Mapping):
        return [_resolve(item) for item in value] if isinstance(value, list | tuple) else value
    if len(value) == 1 and set(value) <= _PLACES:
        try:
            return _digest(read_secret(SecretSource.model_validate(dict(value))).get_secret_value())
        except (InvalidSettings, ValueError):
            return "unreadable"
    return {str(key): _resolve(item) for key, item in value.items()}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
