"""Mail addresses: whose they are. A role mailbox (info@, soumu@) belongs to a function and never joins people."""

import re
from functools import lru_cache

from core.lexicon import words

_DECORATION = re.compile(r"[._\-]+")
_TRAILING_NUMBER = re.compile(r"[0-9]+$")


def is_role_mailbox(email: str) -> bool:
    """By the local part, without tag (`+…`), dots, hyphens and digits at the end: `Sales-01+jp@…` is one, `sato@…` not.

    Compound ones count where every part is a role: `info-sales@`, `eigyo_support@`.
    """
    return _is_role_part(email.rpartition("@")[0])


@lru_cache(maxsize=8_192)
def _is_role_part(local: str) -> bool:
    roles = words("role_mailboxes.txt")
    name = local.casefold().split("+", 1)[0]
    whole = _TRAILING_NUMBER.sub("", _DECORATION.sub("", name))
    if whole in roles:
        return True
    parts = [_TRAILING_NUMBER.sub("", part) for part in _DECORATION.split(name)]
    named = [part for part in parts if part]
    return bool(named) and all(part in roles for part in named)


def same_mailbox(email: str) -> str:
    """One spelling of an address for comparing: lower case without surrounding space. Tags are kept: they may be people."""
    return email.strip().casefold()
