"""Databases of daloRADIUS and of FreeRADIUS alone: their tables with their columns, and users as they should not be."""

from collections.abc import Sequence

from tests.imports.dumps import Value

_ID = "  `id` int(11) unsigned NOT NULL AUTO_INCREMENT"


def _attributes(owner: str) -> str:
    return (
        f"{_ID},\n  `{owner}` varchar(64) NOT NULL DEFAULT '',\n  `attribute` varchar(64) NOT NULL DEFAULT '',\n"
        f"  `op` char(2) NOT NULL DEFAULT '==',\n  `value` varchar(253) NOT NULL DEFAULT '',\n"
        f"  PRIMARY KEY (`id`),\n  KEY `{owner}` (`{owner}`(32))"
    )


def _texts(*names: str) -> str:
    return ",\n".join([_ID, *(f"  `{name}` varchar(200) DEFAULT NULL" for name in names), "  PRIMARY KEY (`id`)"])


_HISTORY = ("creationdate", "creationby", "updatedate", "updateby")
INFO = (
    *("username", "firstname", "lastname", "email", "department", "company", "workphone", "homephone", "mobilephone"),
    *("address", "city", "state", "country", "zip", "notes", "changeuserinfo", "portalloginpassword"),
    *("enableportallogin", *_HISTORY),
)
BILL = (
    *("username", "planName", "hotspot_id", "hotspotlocation", "contactperson", "company", "email", "phone", "address"),
    *("city", "state", "country", "zip", "paymentmethod", "cash", "notes", "lead", "coupon", "billstatus", "lastbill"),
    *("nextbill", "billdue", *_HISTORY),
)
PLANS = (
    *("planName", "planId", "planType", "planTimeBank", "planBandwidthUp", "planBandwidthDown", "planRecurring"),
    *("planRecurringPeriod", "planRecurringBillingSchedule", "planCost", "planTax", "planCurrency", "planGroup"),
    *("planActive", *_HISTORY),
)
Line = Sequence[Value]


def line(number: int, columns: Sequence[str], **given: Value) -> Line:
    """A row of one of the tables of daloRADIUS; what is not given is NULL."""
    assert given.keys() <= set(columns)
    return [number, *(given.get(column) for column in columns)]


def numbered(rows: Sequence[Sequence[Value]]) -> list[Line]:
    """Rows with an id, from 1 on."""
    return [[number, *row] for number, row in enumerate(rows, 1)]


CHECK: list[Line] = numbered(
    [
        ("rahim", "Cleartext-Password", ":=", "first"),
        ("rahim", "Cleartext-Password", ":=", ' it\'s \\ "last" '),
        ("rahim", "Expiration", ":=", "21 Dec 2026 14:30:05"),
        ("rahim", "Calling-Station-Id", "==", "aa-bb-cc-00-11-22"),
        ("rahim", "Calling-Station-Id", "+=", "AABB.CC00.1133"),
        ("rahim", "Simultaneous-Use", ":=", "1"),
        ("hashed", "NT-Password", ":=", "8846F7EAEE8FB117AD06BDD830B7586C"),
        ("header", "Password-With-Header", ":=", "{clear}plain{text}"),
        ("sha", "Password-With-Header", ":=", "{ssha}AAAA"),
        ("stopped", "User-Password", "==", "old"),
        ("refused", "Cleartext-Password", ":=", "x"),
        ("refused", "Auth-Type", ":=", "Reject"),
        ("AA:BB:CC:00:44:55", "Auth-Type", ":=", "Accept"),
        ("late", "Cleartext-Password", ":=", "x"),
        ("late", "Expiration", ":=", "someday"),
        ("late", "Calling-Station-Id", "=~", "^AA"),
        ("Mixed", "Cleartext-Password", ":=", "x"),
        ("mixed", "Expiration", ":=", "Jan 5 2027"),
    ]
)
REPLY: list[Line] = numbered(
    [
        ("rahim", "Framed-IP-Address", ":=", "10.64.0.9"),
        ("rahim", "Mikrotik-Rate-Limit", ":=", "7M/9M"),
        ("hashed", "Framed-IP-Address", ":=", "255.255.255.254"),
        ("header", "Framed-IP-Address", ":=", "pool1"),
        ("header", "WISPr-Session-Terminate-Time", ":=", "2026-12-31T23:59:59+06:00"),
        ("ghost", "Framed-IP-Address", ":=", "10.64.0.10"),
    ]
)
GROUP: list[Line] = numbered(
    [
        ("rahim", "fast", 5),
        ("hashed", "night", 2),
        ("hashed", "fast", 1),
        ("header", "wispr", 1),
        ("stopped", "daloRADIUS-Disabled-Users", 0),
        ("stopped", "fast", 1),
        ("late", "expired-users", 1),
        ("phantom", "fast", 1),
    ]
)
GROUP_CHECK: list[Line] = numbered(
    [("expired-users", "Auth-Type", ":=", "Reject"), ("fast", "NAS-Port-Type", "==", "Ethernet")]
)
GROUP_REPLY: list[Line] = numbered(
    [
        ("fast", "Framed-Protocol", ":=", "PPP"),
        ("fast", "Mikrotik-Rate-Limit", ":=", "10M/20M 0/0 0/0 0/0 8"),
        ("night", "Mikrotik-Rate-Limit", "=", "512k"),
        ("wispr", "WISPr-Bandwidth-Max-Up", ":=", "2000000"),
        ("wispr", "WISPr-Bandwidth-Max-Down", ":=", "5500000"),
        ("wispr", "Service-Type", ":=", "Login-User"),
    ]
)
INFO_ROWS: list[Line] = [
    line(
        *(11, INFO),
        **{"username": "rahim", "firstname": "রহিম 😀", "lastname": "O'Uddin", "email": "r@example.com"},
        **{"mobilephone": "01711000001", "address": "House 1\nRoad 2", "city": "ঢাকা", "zip": "1216"},
        **{"notes": 'says "hello"', "company": "Example & Sons", "creationdate": "2024-05-23 06:29:11"},
    ),
    line(12, INFO, username="rahim", firstname="Twice"),
    line(13, INFO, username="paper", firstname="Only", lastname="On Paper", creationdate="0000-00-00 00:00:00"),
    line(14, INFO, username="", firstname="Nobody"),
]
BILL_ROWS: list[Line] = [
    line(21, BILL, username="rahim", planName="Gold", contactperson="R. U.", phone="02", country="Bangladesh"),
    line(22, BILL, username="billed", contactperson="Billed Only", planName="Bits", state="Dhaka", notes="pays late"),
    line(23, BILL, username="rahim", planName="Old"),
]
PLAN_ROWS: list[Line] = [
    line(
        *(1, PLANS),
        **{"planName": "Gold", "planCost": "1500.00", "planRecurring": "Yes", "planRecurringPeriod": "Monthly"},
        **{"planBandwidthUp": "1", "planActive": "yes"},
    ),
    line(2, PLANS, planName="Bits", planCost="free", planBandwidthUp="512k", planBandwidthDown="2048"),
]
DALORADIUS = {
    "radcheck": (_attributes("username"), CHECK),
    "radreply": (_attributes("username"), REPLY),
    "radusergroup": (f"{_ID},\n  `username` varchar(64),\n  `groupname` varchar(64),\n  `priority` int(11)", GROUP),
    "radgroupcheck": (_attributes("groupname"), GROUP_CHECK),
    "radgroupreply": (_attributes("groupname"), GROUP_REPLY),
    "userinfo": (_texts(*INFO), INFO_ROWS),
    "userbillinfo": (_texts(*BILL), BILL_ROWS),
    "billing_plans": (_texts(*PLANS), PLAN_ROWS),
    "billing_plans_profiles": (_texts("plan_name", "profile_name"), [[1, "Gold", "none"], [2, "Gold", "fast"]]),
    "invoice": (_texts("user_id", "date"), [[1, 21, "2026-10-01"], [2, 22, "2026-10-01"], [3, 99, "2026-10-01"]]),
    "invoice_items": (
        _texts("invoice_id", "plan_id", "amount", "tax_amount"),
        [[1, 1, 1, "1500.00", "225.00"], [2, 1, 0, "10.5", None], [3, 2, 2, "0.10", "0.20"], [4, 3, 1, "999", "0"]],
    ),
    "payment": (_texts("invoice_id", "amount"), [[1, 1, "2000.00"], [2, 3, "5"]]),
    "radacct": (_texts("username"), [[1, "rahim'); INSERT INTO `radcheck` VALUES (1,2,3,4,5);"]]),
}

POSTGRESQL = """
CREATE TABLE radcheck (
  id serial PRIMARY KEY, username text NOT NULL DEFAULT '', attribute text NOT NULL DEFAULT '',
  op varchar(2) NOT NULL DEFAULT '==', value text NOT NULL DEFAULT ''
);
CREATE INDEX radcheck_username ON radcheck (username, attribute);
CREATE TABLE radreply (LIKE radcheck INCLUDING ALL);
CREATE TABLE radgroupcheck (
  id serial PRIMARY KEY, groupname text NOT NULL DEFAULT '', attribute text NOT NULL DEFAULT '',
  op varchar(2) NOT NULL DEFAULT '==', value text NOT NULL DEFAULT ''
);
CREATE TABLE radgroupreply (LIKE radgroupcheck INCLUDING ALL);
CREATE TABLE radusergroup (
  id serial PRIMARY KEY, username text NOT NULL DEFAULT '', groupname text NOT NULL DEFAULT '',
  priority integer NOT NULL DEFAULT 0
);
CREATE TABLE radacct (radacctid bigserial PRIMARY KEY, username text, acctstarttime timestamptz);
CREATE FUNCTION noise() RETURNS void LANGUAGE sql
BEGIN ATOMIC INSERT INTO radcheck (username) VALUES (CASE WHEN true THEN 'never' ELSE 'ever' END); END;
"""
