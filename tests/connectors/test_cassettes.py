"""No cassette holds a secret, a real host or a real person's address; each belongs to a scenario and is in the table."""

from pathlib import Path

import pytest

from tests.cassette_kit import FOLDER, all_cassettes, faults_of

MOST_BYTES = 600_000


def test_there_are_cassettes() -> None:
    assert all_cassettes()


@pytest.mark.parametrize("path", all_cassettes(), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_cassette_is_clean(path: Path) -> None:
    assert sorted(set(faults_of(path.read_text("utf-8")))) == []
    assert path.stat().st_size <= MOST_BYTES


@pytest.mark.parametrize("path", all_cassettes(), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_the_readme_says_where_it_comes_from(path: Path) -> None:
    rows = [line for line in (FOLDER / "README.md").read_text("utf-8").splitlines() if line.startswith("| ")]
    [row] = [row for row in rows if row.startswith(f"| {path.parent.name} |")]
    assert path.stem in row
    assert row.rstrip(" |")[-10:].count("-") == 2, "the date it was recorded"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("  Authorization: Basic eA==", "an Authorization header"),
        ("Bearer 00Dabc.def!ghi", "a bearer token"),
        ("00D000000000001EAA!AQ", "a Salesforce session id"),
        ("pat-na1-0123abcd-0000", "a HubSpot private-app token"),
        ("uri: https://acme.my.salesforce.com/services", "a real host"),
        ("http://127.0.0.1:38211/", "a live port"),
        ('"access_token":"abc"', "the value of access_token"),
        ('\\"refresh_token\\": \\"abc\\"', "the value of refresh_token"),
        ("taro@acme.co.jp", "a mail address outside reserved domains (…@acme.co.jp)"),
        ("-----BEGIN PRIVATE KEY-----", "a private key"),
    ],
)
def test_the_linter_sees(text: str, fault: str) -> None:
    assert fault in set(faults_of(text))


def test_the_linter_lets_clean_text_pass() -> None:
    text = (
        'uri: http://127.0.0.1:1/services\n"access_token":"scrubbed" taro@buyer1.example rep@example.co.jp.example.jp'
    )
    assert list(faults_of(text)) == []
