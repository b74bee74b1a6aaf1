"""Whether a connection's configuration is still the one that failed, secrets included, without keeping any of it."""

import hashlib
import importlib
import json
from collections.abc import Mapping
from functools import cache
from typing import get_args

from pydantic import BaseModel

from connectors.registry import names
from connectors.secrets import SecretSource, read_secret, secret_source
from core.errors import InvalidSettings

_PLACES = frozenset({"env", "file", "keyring"})
_DIGITS = 12
"""48 bits: enough to notice a change, too few to confirm a guess of a secret."""


def fingerprint(name: str, settings: Mapping[str, object]) -> str:
    """Twelve hex digits that change with any setting of a connection, and with any secret, wherever it is kept.

    Args:
        name: the connection's name; secrets that the settings leave out are looked for in its usual places.
        settings: the connection's block of the settings file.
    """
    named: set[str] = set()
    given = _resolve(settings, named)
    fields = _secret_fields(str(settings.get("vendor", name)))
    usual = {field: _content(secret_source(name, field, None)) for field in fields if field not in named}
    document = json.dumps([given, usual], sort_keys=True, ensure_ascii=True, default=str)
    return _digest(document)[:_DIGITS]


def _resolve(value: object, named: set[str], key: str = "") -> object:
    """Settings with each secret's digest in the place of its source. `named` takes the keys under which one stands."""
    if not isinstance(value, Mapping):
        return [_resolve(item, named) for item in value] if isinstance(value, list | tuple) else value
    if len(value) == 1 and set(value) <= _PLACES:
        named.add(key)
        try:
            return _content(SecretSource.model_validate(dict(value)))
        except ValueError:
            return "unreadable"
    return {str(key): _resolve(item, named, str(key)) for key, item in value.items()}


def _content(source: SecretSource | None) -> str | None:
    """A digest of what a place holds now."""
    if source is None:
        return None
    try:
        return _digest(read_secret(source).get_secret_value())
    except InvalidSettings:
        return "unreadable"


@cache
def _secret_fields(vendor: str) -> tuple[str, ...]:
    """The settings of a vendor that are secrets, those of its inner blocks too."""
    if vendor not in names():
        return ()
    module = importlib.import_module(f"connectors.{vendor}.settings")
    models = [m for m in vars(module).values() if isinstance(m, type) and issubclass(m, BaseModel)]
    fields = [(field, told) for model in models for field, told in model.model_fields.items()]
    return tuple(sorted({field for field, told in fields if SecretSource in get_args(told.annotation)}))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
