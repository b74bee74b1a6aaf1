"""Role mailboxes."""

import pytest

from core.identity import is_role_mailbox
from core.lexicon import words


@pytest.mark.parametrize(
    "email",
    [
        "info@acme.example",
        "INFO@acme.example",
        "info2@acme.example",
        "sales-01+jp@acme.example",
        "info-sales@acme.example",
        "eigyo_support@acme.example",
        "soumu@acme.example",
        "no-reply@acme.example",
        "keiri@acme.example",
        "h.r@acme.example",
    ],
)
def test_role(email: str) -> None:
    assert is_role_mailbox(email)


@pytest.mark.parametrize(
    "email",
    [
        "sato@acme.example",
        "t.sato@acme.example",
        "info.sato@acme.example",
        "sales-sato@acme.example",
        "informatics@acme.example",
        "a@acme.example",
        "123@acme.example",
        "sato+info@acme.example",
        "@acme.example",
        "sato",
    ],
)
def test_person(email: str) -> None:
    assert not is_role_mailbox(email)


def test_the_list_is_written_as_it_is_compared() -> None:
    assert all(
        word == word.casefold() and word.isalnum() and not word[-1].isdigit() for word in words("role_mailboxes.txt")
    )
