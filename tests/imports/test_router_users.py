"""Customers as they are read out of what a router lists."""

import io
from decimal import Decimal

import pytest

from ispgraph.domain.imports import router_users
from ispgraph.domain.imports.cells import kbps, rate_limit
from ispgraph.domain.imports.dump_text import BadDump
from ispgraph.domain.imports.rows import Plan, Problem, Row
from ispgraph.domain.imports.totals import Totals
from tests.imports.taken import given

LISTED = {
    "/ppp/profile": [
        {"name": "default", "rate-limit": ""},
        {"name": "default-encryption"},
        {"name": "10M", "rate-limit": "5M/10M 6M/12M 4M/8M 10/10 8"},
        {"name": "odd", "rate-limit": "fast"},
        {"name": "ispgraph-5000-20000", "rate-limit": "5000k/20000k"},
    ],
    "/ppp/secret": [
        {"name": "rahim", "password": " p=1 ", "service": "pppoe", "profile": "10M", "caller-id": "aa:bb:cc:00:11:22"}
        | {"remote-address": "10.64.0.9", "disabled": "false", "comment": "রহিম 😀\nflat 3", "limit-bytes-in": "0"},
        {"name": "karim", "password": "x", "service": "any", "profile": "default", "caller-id": "eth2"}
        | {"remote-address": "pool", "disabled": "true", "routes": "10.1.0.0/24"},
        {"name": "tunnel", "password": "x", "service": "l2tp", "profile": "gone"},
        {"name": "hidden", "service": "pppoe", "profile": "10M"},
        {"name": "ours", "password": "x", "comment": "ispgraph:svc_0190"},
    ],
    "/ip/hotspot/user/profile": [
        {"name": "default", "rate-limit": "1M/2M", "shared-users": "1"},
        {"name": "10M", "rate-limit": "10M"},
    ],
    "/ip/hotspot/user": [
        {"name": "default-trial", "disabled": "false"},
        {"name": "guest", "password": "", "profile": "10M", "server": "all", "mac-address": "00:00:00:00:00:00"}
        | {"email": "guest@example.com", "limit-uptime": "1h", "limit-bytes-total": "0"},
        {"name": "AA:BB:CC:00:44:55", "password": "y", "profile": "default", "server": "hs1", "disabled": "yes"}
        | {"address": "10.5.0.7", "mac-address": "AA:BB:CC:00:44:55"},
        {"name": "passing", "password": "z", "dynamic": "true"},
    ],
}
TEXT = router_users.head() + "".join(
    line for menu, listed in LISTED.items() for line in router_users.written(menu, listed)
)


def test_users_with_their_profiles():
    found = list(router_users.read(io.BytesIO(TEXT.encode())))

    assert [given(each) for each in found if isinstance(each, Plan)] == [
        {"name": "10M", "upload_kbps": "5000", "download_kbps": "10000", "connection_type": "PPPOE"},
        {"name": "odd", "connection_type": "PPPOE"},
        {"name": "default", "upload_kbps": "1000", "download_kbps": "2000", "connection_type": "HOTSPOT"},
        {"name": "10M (hotspot)", "upload_kbps": "10000", "download_kbps": "10000", "connection_type": "HOTSPOT"},
    ]
    assert [given(each) for each in found if isinstance(each, Row)] == [
        {
            **{
                "name": "rahim",
                "username": "rahim",
                "password": " p=1 ",
                "connection_type": "PPPOE",
                "status": "ACTIVE",
            },
            **{"package": "10M", "mac_address": "AA:BB:CC:00:11:22", "ip_address": "10.64.0.9"},
            "note": "রহিম 😀\nflat 3",
        },
        {"name": "karim", "username": "karim", "password": "x", "connection_type": "PPPOE", "status": "SUSPENDED"}
        | {"note": "routes: 10.1.0.0/24\ncaller-id: eth2"},
        {"name": "tunnel", "username": "tunnel", "password": "x", "connection_type": "OTHER", "status": "ACTIVE"}
        | {"package": "gone", "note": "service: l2tp"},
        {"name": "hidden", "username": "hidden", "connection_type": "PPPOE", "status": "ACTIVE", "package": "10M"},
        {"name": "guest", "username": "guest", "connection_type": "HOTSPOT", "status": "ACTIVE"}
        | {"package": "10M (hotspot)", "email": "guest@example.com", "note": "limit-uptime: 1h"},
        {"name": "AA:BB:CC:00:44:55", "external_id": "AA:BB:CC:00:44:55", "password": "y", "connection_type": "HOTSPOT"}
        | {"status": "SUSPENDED", "package": "default", "mac_address": "AA:BB:CC:00:44:55", "ip_address": "10.5.0.7"}
        | {"note": "server: hs1"},
    ]
    (problem,) = (each for each in found if isinstance(each, Problem))
    assert (problem.number, problem.column) == (6, "password")
    assert "policy sensitive" in problem.message
    assert [each.number for each in found if not isinstance(each, Problem)] == list(range(1, 11))


def test_totals_are_those_of_the_router():
    assert router_users.totals(io.BytesIO(TEXT.encode())) == Totals(customers=6, active=4, balance=Decimal(0))


@pytest.mark.parametrize("text", ["", "name,password\n", '{"file": "x"}\n', TEXT[:-20], router_users.head() + "[1]\n"])
def test_what_no_router_was_read_as_is_one_problem(text):
    *before, problem = router_users.read(io.BytesIO(text.encode()))

    assert isinstance(problem, Problem)
    assert (problem.number, problem.column) == (0, None)
    assert "not what a router was read as" in problem.message
    assert all(isinstance(each, Plan | Row | Problem) for each in before)
    with pytest.raises(BadDump):
        router_users.totals(io.BytesIO(text.encode()))


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("10M/20M", ("10000", "20000")),
        ("512k", ("512", "512")),
        ("2.5M/1G 0/0 0/0 0/0 8 1M/1M", ("2500", "1000000")),
        ("1000000/64000", ("1000", "64")),
        ("0/0", None),
        ("", None),
        ("10M/", ("10000", "10000")),
        ("fast/10M", None),
        ("10X", None),
        ("-5M/5M", None),
    ],
)
def test_rate_limits_as_routers_write_them(written, meant):
    assert rate_limit(written) == meant
    assert kbps("0.4k") is None
