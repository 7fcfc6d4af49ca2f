"""The SQL functions themselves: who may call them, what they show, and to whom."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from hashlib import md5
from typing import Any

import asyncpg
import pytest

from tests import factories
from tests.radius import world
from tests.radius.conftest import Network, fetch

KEY = factories.NETWORK_KEY.hex()
PARAMETERS = (
    *("p_refusal", "p_password", "p_profile", "p_ip_address", "p_subnet", "p_upload_kbps", "p_download_kbps"),
    *("p_data_quota_bytes", "p_time_quota_seconds", "p_expires_at", "p_at"),
)
POLICY = "SELECT attribute, value FROM radius_policy_rows($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"


def authorize(network: Network, name: str, *, at: datetime | None = None, **settings: str) -> dict[str, str]:
    """What the decision for a login from north's router is, as the RADIUS role."""
    rows = fetch(
        network,
        "ispgraph_radius",
        "SELECT attribute, value FROM radius_authorize($1, $2, NULL, $3)",
        name,
        world.NORTH,
        at,
        **({"ispgraph.network_key": KEY} | settings),
    )
    return dict(rows)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM services",
        "SELECT * FROM routers",
        "SELECT * FROM tenants",
        "SELECT * FROM radius_lines",
        "SELECT radius_unseal('\\x01', 'x')",
        "SELECT * FROM radius_rows('00000000-0000-0000-0000-000000000000')",
        "SELECT * FROM all_tenants()",
    ],
)
def test_the_radius_role_may_only_ask(network: Network, query: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        fetch(network, "ispgraph_radius", query)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM radius_authorize('alice', '127.0.0.2')",
        "SELECT radius_answer('alice', '127.0.0.2', NULL, NULL)",
        "SELECT * FROM radius_check('alice', '127.0.0.2')",
        "SELECT * FROM radius_reply('alice', '127.0.0.2')",
        "SELECT * FROM radius_client('127.0.0.2')",
        "SELECT radius_unseal('\\x01', 'x')",
    ],
)
def test_the_application_never_sees_a_password(network: Network, query: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        fetch(network, "ispgraph_app", query, tenant=network.world.north)


@pytest.mark.parametrize("name", ["alice", "quota-rest", "nobody"])
def test_the_decision_leaves_no_tenant_behind(network: Network, name: str) -> None:
    query = "SELECT current_setting('app.tenant_id') FROM (SELECT count(*) FROM radius_authorize($2, $1)) t"
    assert fetch(network, "ispgraph_radius", query, world.NORTH, name, **{"ispgraph.network_key": KEY}) == [("",)]


def test_the_cookie_says_what_a_session_was_let_in_with(network: Network) -> None:
    """In words that never change: sessions that began with them are still open."""
    kept = "Framed-IP-Address=10.20.30.40\nFramed-IP-Netmask=255.255.255.0\nMikrotik-Group=gold \\ 'fibre'"
    cookie = authorize(network, "static")["Class"]
    assert cookie[2:18] == md5(kept.encode()).hexdigest()[:16]
    assert cookie[18:26] == md5(b"5000k/20000k").hexdigest()[:8]
    plain, own_rate = authorize(network, "alice")["Class"], authorize(network, "own-rate")["Class"]
    assert plain[2:18] == own_rate[2:18] == md5(b"").hexdigest()[:16]
    assert own_rate[18:26] == md5(b"").hexdigest()[:8]


@pytest.mark.parametrize("key", [None, "", "xyz", "00" * 32, KEY.upper()])
def test_without_the_right_key_it_fails(network: Network, key: str | None) -> None:
    with pytest.raises(asyncpg.InvalidPasswordError):
        authorize(network, "alice", **{"ispgraph.network_key": key or ""})


def test_a_blob_of_another_row_does_not_open(network: Network) -> None:
    """Who can write to the table can still not give one customer another's password."""
    copy = "UPDATE services SET password = (SELECT password FROM services WHERE username = 'alice') WHERE username = $1"
    fetch(network, "ispgraph_app", f"{copy} RETURNING 1", "small", tenant=network.world.north)
    with pytest.raises(asyncpg.InvalidPasswordError):
        authorize(network, "small")


def test_the_time_is_an_argument_or_the_offset(network: Network) -> None:
    later = datetime.now(UTC) + timedelta(days=11)
    assert "Reply-Message" not in authorize(network, "alice")
    assert authorize(network, "alice", at=later)["Reply-Message"] == "Account expired"
    moved = authorize(network, "alice", **{"ispgraph.clock_offset": "950400"})
    assert moved["Reply-Message"] == "Account expired"


def test_a_freeradius_with_the_former_queries_is_answered(network: Network) -> None:
    """It asks for what it checks and for the answer apart, until its directory is written anew."""
    found = []
    for name in ("radius_check", "radius_reply"):
        query = f"SELECT attribute, op, value FROM {name}('static', $1, '')"
        found.append(fetch(network, "ispgraph_radius", query, world.NORTH, **{"ispgraph.network_key": KEY}))
    checked, replied = ({attribute: value for attribute, op, value in rows if op == ":="} for rows in found)
    assert checked == {"Cleartext-Password": world.PASSWORD}
    replied.pop("Class")
    assert replied == {
        "Mikrotik-Rate-Limit": "5000k/20000k",
        "Framed-IP-Address": "10.20.30.40",
        "Framed-IP-Netmask": "255.255.255.0",
        "Mikrotik-Group": "gold \\134 'fibre'",
        "Acct-Interim-Interval": "300",
    }


def test_a_refused_account_has_no_password_row(network: Network) -> None:
    assert authorize(network, "both") == {"Auth-Type": "Reject", "Reply-Message": "Account suspended"}


def test_rows_are_shown_without_the_password(network: Network) -> None:
    rows = shown(network, network.world.static, network.world.north)
    assert rows == [
        ("check", "Cleartext-Password", ":=", "********"),
        ("reply", "Mikrotik-Rate-Limit", ":=", "5000k/20000k"),
        ("reply", "Framed-IP-Address", ":=", "10.20.30.40"),
        ("reply", "Framed-IP-Netmask", ":=", "255.255.255.0"),
        ("reply", "Mikrotik-Group", ":=", "gold \\ 'fibre'"),
        ("reply", "Acct-Interim-Interval", ":=", "300"),
    ]


def test_rows_of_a_suspended_service_say_why(network: Network) -> None:
    assert shown(network, network.world.suspended, network.world.north) == [
        ("check", "Auth-Type", ":=", "Reject"),
        ("reply", "Reply-Message", ":=", "Account suspended"),
    ]


def test_rows_are_shown_to_the_own_tenant_only(network: Network) -> None:
    assert shown(network, network.world.static, network.world.south) == []
    assert shown(network, network.world.static, "") == []


def test_what_is_shown_is_what_a_login_gets(network: Network) -> None:
    """All but the password and the cookie, which is new for each login."""
    decided = authorize(network, "static")
    assert decided.pop("Class").startswith("0x")
    assert decided.pop("Cleartext-Password") == world.PASSWORD
    listed = {row[1]: row[3] for row in shown(network, network.world.static, network.world.north)}
    assert listed.pop("Cleartext-Password") == "********"
    assert listed == decided


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"p_data_quota_bytes": 1}, {"Mikrotik-Total-Limit": "1", "Mikrotik-Total-Limit-Gigawords": "0"}),
        ({"p_data_quota_bytes": 2**32}, {"Mikrotik-Total-Limit": "0", "Mikrotik-Total-Limit-Gigawords": "1"}),
        (
            {"p_data_quota_bytes": 2**63 - 1},
            {"Mikrotik-Total-Limit": "4294967295", "Mikrotik-Total-Limit-Gigawords": "2147483647"},
        ),
        ({"p_data_quota_bytes": -5}, {}),
        ({"p_upload_kbps": 1, "p_download_kbps": 2}, {"Mikrotik-Rate-Limit": "1k/2k"}),
        ({"p_upload_kbps": 1}, {}),
        ({"p_upload_kbps": 0, "p_download_kbps": 2}, {}),
        ({"p_profile": ""}, {}),
        ({"p_profile": "é" * 124}, {}),
        ({"p_time_quota_seconds": 5}, {"Session-Timeout": "60"}),
        ({"p_ip_address": "2001:db8::1", "p_subnet": "2001:db8::/64"}, {}),
        (
            {"p_ip_address": "10.0.0.1/8", "p_subnet": "10.0.0.0/30"},
            {"Framed-IP-Address": "10.0.0.1", "Framed-IP-Netmask": "255.255.255.252"},
        ),
        ({"p_password": ""}, {"Cleartext-Password": None}),
    ],
)
def test_no_value_makes_a_row_that_freeradius_refuses(
    network: Network, values: dict[str, Any], expected: dict[str, str | None]
) -> None:
    given = {"p_password": "********", "p_at": datetime.now(UTC)} | values
    rows = dict(fetch(network, "ispgraph_app", POLICY, *(given.get(name) for name in PARAMETERS)))
    base = {"Cleartext-Password": "********", "Acct-Interim-Interval": "300"} | expected
    assert rows == {name: value for name, value in base.items() if value is not None}


def test_the_functions_walk_indexes_only(network: Network) -> None:
    """Each look-up of a login is by a unique index, so it stays as fast with a million services."""
    router = "r.radius_address = '127.0.0.2'::inet AND r.radius_secret IS NOT NULL"
    plans = [
        f"""SELECT s.* FROM routers r JOIN radius_lines s ON s.tenant_id = r.tenant_id AND s.username = lower('A')
             WHERE {router}""",
        f"""SELECT s.* FROM routers r
              JOIN service_macs m ON m.tenant_id = r.tenant_id AND m.mac = '001a2b3c4d5e'
              JOIN radius_lines s ON s.tenant_id = m.tenant_id AND s.id = m.service_id
             WHERE {router}""",
        "SELECT s.* FROM radius_lines s WHERE s.id = gen_random_uuid()",
    ]
    for query in plans:
        plan = explain(network, query)
        assert any("Index" in line for line in plan), plan
        assert not any("Seq Scan" in line for line in plan), plan


def shown(network: Network, service: object, tenant: object) -> Sequence[tuple[str, ...]]:
    """What the application shows of a service on behalf of a tenant."""
    query = "SELECT list, attribute, op, value FROM radius_rows($1) WITH ORDINALITY ORDER BY ordinality"
    return fetch(network, "ispgraph_app", query, service, tenant=tenant)


def explain(network: Network, query: str) -> list[str]:
    """The plan, when a small table is not read whole because it is small."""
    return [row[0] for row in fetch(network, "ispgraph_app", f"EXPLAIN {query}", enable_seqscan="off")]
