"""Hosts and paths of links."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.links import host_and_path


@pytest.mark.parametrize(
    ("link", "parts"),
    [
        ("https://www.Acme.example/Pricing/?utm=1#top", ("www.acme.example", "/Pricing")),
        ("acme.example", ("acme.example", "")),
        ("acme.example/a/b/?to=https://other.example/", ("acme.example", "/a/b")),
        ("//acme.example:8080/a", ("acme.example", "/a")),
        ("http://user:secret@acme.example/a", ("acme.example", "/a")),
        ("http://[2001:db8::1]:80/a", ("[2001:db8::1]", "/a")),
        ("https://acme.example?x=1", ("acme.example", "")),
        ("  acme.example/資料  ", ("acme.example", "/資料")),
        ("なし://x", ("", "なし://x")),
        ("", ("", "")),
    ],
)
def test_parts(link: str, parts: tuple[str, str]) -> None:
    assert host_and_path(link) == parts


@given(st.text(max_size=40))
def test_any_text_has_parts(link: str) -> None:
    host, path = host_and_path(link)
    assert host == host.casefold()
    assert not path.endswith("/") or not host
