"""The state that the settings name, opened: what is said where its server does not answer names the setting."""

from sqlalchemy.exc import OperationalError

from core.errors import StateError
from sync.state import State, open_state


def open_configured(url: str, *, create: bool = True) -> State:
    """See `open_state`."""
    try:
        return open_state(url, create=create)
    except StateError as error:
        if url.startswith("postgresql") and isinstance(error.__cause__, OperationalError):
            hint = "see whether the database server runs and can be reached; check `state:` in the settings, or MIKOMI_STATE"
            raise type(error)(error.message, hint=hint) from error.__cause__
        raise
