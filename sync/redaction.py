"""What may stand in a log line: known keys, and texts without addresses, numbers of telephones, tokens and control characters.

Two nets. Keys that are not on the list are dropped with their values, so that a careless call cannot log a record. In what
is left, anything that looks like personal data or a secret is blotted out.
"""

import re
import unicodedata
from collections.abc import MutableMapping
from typing import Any

KEYS = frozenset(
    {
        *("time", "level", "event", "logger", "run_id", "connection", "stage", "outcome", "seconds", "dropped"),
        *(
            "action",
            "attempt",
            "cause",
            "code",
            "digest",
            "effect",
            "endpoint",
            "error",
            "guard",
            "hint",
            "job",
            "kind",
        ),
        *(
            "limit",
            "mode",
            "next_at",
            "place",
            "reason",
            "since",
            "signal",
            "state",
            "stream",
            "until",
            "version",
        ),
        *("where", "caused_by", "field", "from_version", "to_version", "holder", "schedule", "audit_seq", "audit_hash"),
        *(
            "calls",
            "changed",
            "count",
            "dead",
            "failed",
            "fields",
            "high",
            "low",
            "missed",
            "owed",
            "people",
            "percent",
        ),
        *(
            "postponed",
            "problems",
            "refused",
            "repeats",
            "rows",
            "scored",
            "tasks",
            "total",
            "unassigned",
            "used",
            "width",
        ),
    }
)
"""Everything a line may say. Numbers, names of ours (connections, streams, fields), codes, digests: never content."""

_STDLIB = frozenset({"message", "asctime"})  # left on a record by whoever else formats it
_OPAQUE = frozenset({"run_id", "audit_hash", "digest", "time"})
LONGEST = 300

_DASH = "[-‐‑–ー−]"
# Before a telephone number: no part of another word or number, but a word for telephone or one in another script.
_BEFORE = r"(?:(?<![\w.])|(?<=[^\W\d_a-zA-Z])|(?<=(?i:tel|fax))|(?<=(?i:phone))|(?<=(?i:mobile)))"
_AFTER = r"(?![A-Za-z0-9_])"
_PATTERNS = (
    (
        re.compile(r"(?i)\b(?:(?:authorization|token)\s*[:=]\s*)?(?:bearer|basic)\s+[^\s,;\"']+"),
        "[credential]",
    ),
    (re.compile(r"(?i)\b(?:authorization|token)\s*[:=]\s*[^\s,;\"']+"), "[credential]"),
    (re.compile(r"(?i)\b(\w*(?:secret|password|token|assertion|signature|code|api_?key)\w*)=[^&\s]+"), r"\1=[secret]"),
    (re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]*"), "[token]"),
    (re.compile(r"\bpat-[a-z0-9]+-[0-9a-f-]{8,}"), "[token]"),
    (re.compile(r"\b00D\w{9,15}![\w.]+"), "[token]"),
    (re.compile(r"://[^/\s@]+@"), "://[credential]@"),
    (re.compile(r"[^\s@<>\"'(),;:=/]+(?:@|%(?:25)*40)[^\s@<>\"'(),;/]+"), "[address]"),
    (re.compile(rf"{_BEFORE}\+\d(?:{_DASH}|[\s().])*(?:\d(?:{_DASH}|[\s().])*){{6,13}}\d{_AFTER}"), "[number]"),
    (
        re.compile(rf"{_BEFORE}\(?0\d{{1,4}}\)?\s*(?:{_DASH}|\()?\s*\d{{1,4}}\s*(?:{_DASH}|\))\s*\d{{3,4}}{_AFTER}"),
        "[number]",
    ),
    (re.compile(rf"{_BEFORE}(?<!-)0\d{{9,10}}(?![A-Za-z0-9_-])"), "[number]"),
    (re.compile(r"(?<![\w-])[A-Za-z0-9_+=!-]{40,}(?![\w-])"), "[opaque]"),
)
CONTROLS = "\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069"
"""What moves a cursor, ends a line or turns the writing round, for a character class: nobody else's text may do that here."""

_CONTROLS = re.compile(f"[{CONTROLS}\ud800-\udfff]")


def redact(text: str) -> str:
    """A text as it may be logged: one line, at most `LONGEST` characters, full-width letters and digits as plain ones."""
    text = unicodedata.normalize("NFKC", text[: 10 * LONGEST])[: 10 * LONGEST]
    text = _CONTROLS.sub(" ", text)
    for pattern, instead in _PATTERNS:
        text = pattern.sub(instead, text)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def keep_allowed(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor: drops keys that are not listed, and says which; redacts the values of the others."""
    dropped = sorted(redact(str(key)) for key in event if key not in KEYS | _STDLIB and str(key)[:1] != "_")
    kept = {key: _value(key, value) for key, value in event.items() if key in KEYS}
    return kept | ({"dropped": dropped} if dropped else {})


def _value(key: str, value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, list | tuple | set | frozenset):
        return [_value(key, item) for item in list(value)[:50]]
    if isinstance(value, dict):
        return {redact(str(name)): _value(key, item) for name, item in list(value.items())[:50]}
    text = str(value)
    return text if key in _OPAQUE and re.fullmatch(r"[0-9A-Za-z:.\-]{1,64}", text) else redact(text)
