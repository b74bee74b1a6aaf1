"""Identity resolution: records to people. Ambiguity is reported as a value, never guessed away."""

from core.identity.ambiguity import describe
from core.identity.attributes import ATTRIBUTE_ORDER, attributes
from core.identity.ids import assign_ids
from core.identity.mailboxes import is_role_mailbox
from core.identity.model import (
    Ambiguity,
    Assignment,
    Attributes,
    Group,
    IdentityInput,
    PersonId,
    Resolution,
    identity_input,
)
from core.identity.resolve import resolve, suggestion_key

__all__ = [
    "ATTRIBUTE_ORDER",
    "Ambiguity",
    "Assignment",
    "Attributes",
    "Group",
    "IdentityInput",
    "PersonId",
    "Resolution",
    "assign_ids",
    "attributes",
    "describe",
    "identity_input",
    "is_role_mailbox",
    "resolve",
    "suggestion_key",
]
