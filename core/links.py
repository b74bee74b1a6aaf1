"""Links as people and CRMs write them: with or without scheme, with trackers behind the question mark."""

import re

_LINK = re.compile(
    r"(?:[a-z][a-z0-9+.\-]*:)?//(?:[^/?#@]*@)?(?P<host>\[[^\]/?#]*\]|[^/?#:]*)(?::[0-9]*)?(?P<path>[^?#]*)",
    re.IGNORECASE,
)


def host_and_path(link: str) -> tuple[str, str]:
    """Lower-case host without port and user, and path without query, fragment and trailing slash.

    A link without scheme is taken to begin with its host. The path keeps its case, as servers do.
    """
    text = link.strip()
    found = _LINK.match(text if "//" in re.split(r"[?#]", text, maxsplit=1)[0] else f"//{text}")
    if found is None:  # a scheme that is none, as in `なし://`
        return "", text
    return found["host"].casefold(), found["path"].rstrip("/")
