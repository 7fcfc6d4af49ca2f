"""Signed links: what they say is believed, and nothing else."""

import random
import string
from datetime import timedelta

import pytest

from ispgraph import clock
from ispgraph.domain import links
from ispgraph.settings import Settings, SettingsError

SECRET, OTHER = bytes(range(32)), bytes(range(1, 33))
PATH = "/downloads/files/a/b"


def made(**given: str) -> tuple[str, str]:
    """Path and query of a link for a minute."""
    path, _, query = links.signed(SECRET, PATH, given, clock.now() + timedelta(minutes=1)).partition("?")
    return path, query


def test_what_was_given_comes_back() -> None:
    given = {"from": "2026-01-01T00:00:00+06:00", "empty": "", "odd": "a&b=c&signature=d é/%?#"}
    assert links.verified([SECRET], *made(**given)) == given


def test_it_ends(moved_clock: None) -> None:
    link = made()
    clock.set_clock("+58")
    assert links.verified([SECRET], *link) == {}
    clock.set_clock("+61")
    with pytest.raises(links.LinkExpired):
        links.verified([SECRET], *link)


def test_whatever_is_altered_it_is_no_link() -> None:
    path, query = made(name="value", other="1")
    chance = random.Random(7)
    for _ in range(2000):
        text = f"{path}?{query}"
        place = chance.randrange(len(text))
        letter = chance.choice(string.ascii_letters + string.digits + "&=?/%")
        how = chance.randrange(3)
        altered = text[:place] + ("" if how == 0 else letter) + text[place + (how != 1) :]
        if altered == text or "?" not in altered:
            continue
        with pytest.raises(links.BadLink):
            links.verified([SECRET], *altered.split("?", 1))
    with pytest.raises(links.BadLink):
        links.verified([OTHER], path, query)
    with pytest.raises(links.BadLink):
        links.verified([SECRET], path, "")


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({}, "http://127.0.0.1:8000"),
        ({"ISPGRAPH_HOST": "0.0.0.0", "ISPGRAPH_PORT": "81"}, "http://127.0.0.1:81"),
        ({"ISPGRAPH_HOST": "::"}, "http://[::1]:8000"),
        ({"ISPGRAPH_PUBLIC_URL": "https://api.isp.example/"}, "https://api.isp.example"),
        ({"ISPGRAPH_PUBLIC_URL": "https://isp.example/api"}, "https://isp.example/api"),
    ],
)
def test_where_links_begin(env: dict[str, str], expected: str) -> None:
    needed = {"ISPGRAPH_DATABASE_URL": "d", "ISPGRAPH_REDIS_URL": "r"}
    keys = dict.fromkeys(("ISPGRAPH_TOKEN_KEY", "ISPGRAPH_NETWORK_KEY"), "0" * 64)
    assert Settings.from_env(needed | keys | env).origin == expected


@pytest.mark.parametrize("bad", ["api.isp.example", "javascript:alert(1)", "https://a b", "https://x/?q"])
def test_what_is_no_origin(bad: str) -> None:
    needed = {"ISPGRAPH_DATABASE_URL": "d", "ISPGRAPH_REDIS_URL": "r"}
    keys = dict.fromkeys(("ISPGRAPH_TOKEN_KEY", "ISPGRAPH_NETWORK_KEY"), "0" * 64)
    with pytest.raises(SettingsError, match="ISPGRAPH_PUBLIC_URL"):
        Settings.from_env(needed | keys | {"ISPGRAPH_PUBLIC_URL": bad})
