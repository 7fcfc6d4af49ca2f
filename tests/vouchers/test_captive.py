"""The page of a hotspot, as its visitors meet it."""

import asyncio
import hashlib
from datetime import timedelta
from typing import Any

import httpx
import pytest
import redis.exceptions
from redis.asyncio import Redis
from sqlalchemy import select

from ispgraph import clock
from ispgraph.db import Database
from ispgraph.domain import captive, hotspot_login
from ispgraph.domain.models import (
    ConnectionType,
    Customer,
    CustomerStatus,
    Message,
    Role,
    Router,
    Service,
    ServiceMac,
    ServiceStatus,
    Voucher,
)
from tests.billing.changing import sound
from tests.factories import House
from tests.vouchers.pages import Page
from tests.vouchers.stall import CANCEL, Stall

PATH = "/hotspot/north"
ROUTER = {
    "mac": "02:00:5E:00:53:01",
    "link_login_only": "http://10.5.50.1/login",
    "link_orig": "http://example.com/?a=1&b=2",
    "chap_id": "\\371",
    "chap_challenge": "\\240\\022\\000a\\\\\\377",
}
WRONG = "This does not work. Check the code, and the username and password if you gave them."
MOBILE = "01712345678"


async def submit(stall: Stall, path: str = PATH, **fields: str) -> Page:
    return Page(await stall.api.submit(path, **{"act": "redeem", "mobile": MOBILE, **fields}))


async def routers(stall: Stall) -> None:
    """One that is known by its address, and one by its name."""
    await stall.house.router("203.0.113.9")
    named = await stall.house.router(None)
    async with stall.house.database.transaction(stall.house.tenant.id) as session:
        (await session.get_one(Router, named.id)).address = "hotspot.North.example"


async def rows(stall: Stall, model: type[Any]) -> list[Any]:
    async with stall.house.database.read(stall.house.tenant.id) as session:
        return list(await session.scalars(select(model).order_by(model.id)))


async def test_a_visitor_redeems_a_voucher_and_signs_in(stall: Stall, owner: Database) -> None:
    reseller = await stall.house.operator(Role.OPERATOR)
    free = await stall.house.package("Free", price_minor=0, connection_types=["HOTSPOT"])
    (code,) = await stall.codes(who=reseller, package=free)
    shown = Page(
        await stall.api.get(f"{PATH}?code={code}&link-login-only=http://10.5.50.1/login&mac=02-00-5e-00-53-01")
    )
    assert (shown.status, shown.scripts, len(shown.forms)) == (200, 0, 2)
    form = shown.forms[0]
    assert (form.fields["code"], form.fields["link-login-only"]) == (code, "http://10.5.50.1/login")
    # Everything that is filled in has a label.
    assert shown.visible == {label for each in shown.forms for label in each.labels}

    done = await submit(stall, code=code.lower(), **ROUTER)
    assert (done.status, done.scripts) == (200, 0)
    username, password = done.facts["Username"], done.facts["Password"]
    assert (username[0], len(username), done.facts["Package"]) == ("v", 10, "Free")
    (form,) = done.forms
    assert form.action == "http://10.5.50.1/login"
    said = b"\xf9" + password.encode() + b"\xa0\x12\x00a\\\xff"
    assert form.fields == {
        "username": username,
        "password": hashlib.md5(said, usedforsecurity=False).hexdigest(),
        "dst": "http://example.com/?a=1&b=2",
        "popup": "false",
    }
    (customer,) = await rows(stall, Customer)
    assert (customer.name, customer.mobile, customer.operator_id) == ("Hotspot guest", "+8801712345678", reseller.id)
    assert customer.status is CustomerStatus.ACTIVE
    (service,) = await rows(stall, Service)
    assert (service.username, service.connection_type, service.status) == (
        username,
        ConnectionType.HOTSPOT,
        ServiceStatus.ACTIVE,
    )
    (voucher,) = await rows(stall, Voucher)
    assert voucher.redeemed_by_id == customer.id
    assert await rows(stall, ServiceMac) == []
    assert await rows(stall, Message) == []
    await sound(owner)


async def test_whatever_is_wrong_with_a_code_the_answer_is_the_same(stall: Stall, other_house: House) -> None:
    foreign = Stall(stall.api, other_house, stall.settings, await other_house.package(), stall.owner)
    (theirs,) = await foreign.codes()
    made = await stall.batch(3, expiresAt=(clock.now() + timedelta(seconds=1)).isoformat())
    used, cancelled, expired = (voucher["code"] for voucher in made["vouchers"])
    customer, _ = await stall.guest()
    assert (await stall.recharge(customer, voucherCode=used))["errors"] == []
    await stall.api.data(CANCEL, stall.house.admin, id=made["vouchers"][1]["id"])
    await asyncio.sleep(1)
    last = used[:-1] + ("2" if used[-1] != "2" else "3")
    answers = [
        await submit(stall, code=code)
        for code in (theirs, used, cancelled, expired, last, "2345-2345-2345", "", "x", "<b>'\"</b>", "\x00", "é" * 200)
    ]
    assert {(answer.status, answer.alert) for answer in answers} == {(400, WRONG)}
    texts = {answer.text for answer in answers}
    assert len(texts) == 1
    # The account of somebody else is as little told of.
    _, service = await stall.guest()
    known = service.username
    for username, password in (
        (known, "wrong"),
        ("nobody", "secret"),
        (known, "secret"),
        ("a\0b", "\0"),
        ("é" * 90, "é"),
    ):
        answers.append(await submit(stall, code="2345-2345-2345", username=username, password=password))
    assert {(answer.status, answer.alert) for answer in answers} == {(400, WRONG)}
    assert len(await rows(stall, Customer)) == 2


async def test_a_mobile_number_gives_nothing_of_anybody_away(stall: Stall) -> None:
    codes = await stall.codes(2)
    await submit(stall, code=codes[0])
    second = await submit(stall, code=codes[1])
    first, other = await rows(stall, Service)
    assert first.customer_id != other.customer_id
    assert second.facts["Username"] == other.username
    assert first.username not in second.text
    for mobile in ("", "12", "call me"):
        wrong = await submit(stall, code="2345-2345-2345", mobile=mobile)
        assert (wrong.status, wrong.alert != WRONG) == (400, True)


async def test_who_has_an_account_lets_it_go_on(stall: Stall, owner: Database) -> None:
    codes = await stall.codes(3)
    first = await submit(stall, code=codes[0])
    mine = {"username": first.facts["Username"].upper(), "password": first.facts["Password"]}
    done = await submit(stall, code=codes[1], mobile="", **mine)
    assert (done.status, done.facts["Username"]) == (200, first.facts["Username"])
    assert "Password" not in done.facts
    (service,) = await rows(stall, Service)
    assert service.expires_at - service.started_at > timedelta(days=13)
    other = await stall.house.package("Other", connection_types=["HOTSPOT"])
    (different,) = await stall.codes(package=other)
    told = await submit(stall, code=different, **mine)
    assert (told.status, "until then it takes the package that it has" in told.alert) == (400, True)
    right = mine["password"]
    for password in ("another", "", right[:-1], f"{right}x", right.swapcase()):
        wrong = await submit(stall, code=codes[2], **mine | {"password": password})
        assert (wrong.status, wrong.alert) == (400, WRONG), password
    # Only hotspots.
    _, line = await stall.guest(connection_type=ConnectionType.PPPOE)
    assert (await submit(stall, code=codes[2], username=line.username, password="secret")).alert == WRONG
    assert [voucher.redeemed_at is None for voucher in await rows(stall, Voucher)] == [False, False, True, True]
    await sound(owner)


async def test_of_many_visitors_at_once_one_has_the_voucher(stall: Stall, owner: Database) -> None:
    (code,) = await stall.codes()
    answers = await asyncio.gather(*(submit(stall, code=code) for _ in range(15)))
    assert sorted(answer.status for answer in answers) == [200] + [400] * 14
    assert {answer.alert for answer in answers if answer.status == 400} == {WRONG}
    assert len(await rows(stall, Customer)) == 1
    await sound(owner)


async def test_a_device_that_is_taken_note_of(stall: Stall) -> None:
    codes = await stall.codes(2)
    done = await submit(stall, code=codes[0], device="1", **ROUTER)
    assert "This device gets on line without a password" in done.text
    (device,) = await rows(stall, ServiceMac)
    assert (device.mac.upper(), device.logs_in) == (ROUTER["mac"], True)
    taken = await submit(stall, code=codes[1], device="1", **ROUTER)
    assert (taken.status, "could not be taken note of" in taken.text) == (200, True)
    assert len(await rows(stall, ServiceMac)) == 1


OUTSIDE = (
    "http://198.51.100.7/login",
    "https://phisher.example/login",
    "http://10.5.50.1@phisher.example/login",
    "http://10.5.50.1.phisher.example/",
    "javascript:alert(1)",
    "data:text/html,x",
    "//phisher.example",
    "http://10.5.50.1\\@phisher.example/",
    'http://10.5.50.1/"><script>',
    "http://[::ffff:198.51.100.7]/",
    "http://167772161.phisher.example/",
    "http://127.0.0.1/login",
    "",
)


async def test_a_password_is_sent_to_routers_alone(stall: Stall) -> None:
    await routers(stall)
    for link in OUTSIDE:
        page = await submit(stall, act="sign-in", username="ann", password="secret", link_login_only=link)
        assert (page.status, page.forms, "secret" in page.text) == (200, [], False), link


INSIDE = (
    "http://192.168.88.1/login",
    "https://172.16.0.1:8443/login?x=1",
    "http://[fd00::1]/login",
    "http://100.64.0.1/login",
    "http://203.0.113.9/login",
    "http://hotspot.north.example/login",
)


async def test_to_these(stall: Stall) -> None:
    await routers(stall)
    typed = {"username": "ann", "password": "a&b"}
    for link in INSIDE:
        page = await submit(stall, act="sign-in", link_login_only=link, link_orig="javascript:alert(1)", **typed)
        (form,) = page.forms
        # Without a challenge the router wants it plain.
        assert (form.action, form.fields) == (link, {**typed, "popup": "false"})
        assert "form-action" not in page.headers["content-security-policy"]


def test_the_answer_to_a_challenge_is_that_of_the_routers_own_page() -> None:
    # RouterOS writes its bytes as JavaScript reads them: octal, and what would end the string after a backslash.
    assert hotspot_login.unescaped("\\001\\377ab\\'\\\"\\\\9") == b"\x01\xffab'\"\\9"
    found = hotspot_login.chap_response("\\001", "\\002\\003", "pässword")
    assert found == hashlib.md5(b"\x01p\xc3\xa4ssword\x02\x03", usedforsecurity=False).hexdigest()


async def test_wrong_codes_are_slowed_down(
    stall: Stall, valkey: "Redis[bytes]", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(captive, "ADDRESS_FREE", 3)
    good, other = await stall.codes(2)
    for _ in range(3):
        assert (await submit(stall, code="2345-2345-2345")).status == 400
    slowed = await submit(stall, code=good)
    assert (slowed.status, int(slowed.headers["retry-after"]) >= 1) == (429, True)
    assert "Please wait" in slowed.alert
    assert [voucher.redeemed_at for voucher in await rows(stall, Voucher)] == [None, None]
    await valkey.flushdb()
    # What is redeemed does not count, and from where it was, strangers elsewhere do not shut anybody out.
    for _ in range(2):
        assert (await submit(stall, code="2345-2345-2345")).status == 400
    assert (await submit(stall, code=good)).status == 200
    assert (await submit(stall, code=other)).status == 200
    # Signing in to the office counts for itself.
    assert not [key async for key in valkey.scan_iter("ispgraph:throttle:address:*")]


async def test_tries_at_one_provider_count_from_everywhere(
    stall: Stall, settings: Any, database: Database, valkey: "Redis[bytes]", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(captive, "TENANT_FREE", 4)
    found = await captive.portal(database, "north")
    assert found is not None
    given = captive.Try("2345-2345-2345", MOBILE, "", "", None)
    refused = []
    for number in range(6):
        try:
            await captive.redeem(database, valkey, settings.network_key, found.tenant, given, f"198.51.100.{number}")
        except Exception as error:
            refused.append(type(error).__name__)
    assert refused == ["DomainError"] * 4 + ["Throttled"] * 2


async def test_without_the_store_of_tries_nothing_is_redeemed(stall: Stall, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = await stall.codes()

    async def gone(*_: object, **__: object) -> None:
        raise redis.exceptions.ConnectionError

    monkeypatch.setattr(Redis, "eval", gone)
    answer = await submit(stall, code=code)
    assert (answer.status, answer.headers["retry-after"]) == (503, "60")
    assert [voucher.redeemed_at for voucher in await rows(stall, Voucher)] == [None]


async def test_nothing_of_what_is_typed_becomes_a_part_of_the_page(stall: Stall) -> None:
    evil = '"><script>alert(1)</script><img src=x onerror=alert(1)>'
    names = ("code", "mobile", "username", "mac", "link_login_only", "link_orig", "chap_id", "chap_challenge", "ip")
    page = await submit(stall, **dict.fromkeys(names, evil))
    assert (page.status, page.scripts) == (400, 0)
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "form-action 'self'" in policy
    assert page.headers["cache-control"] == "no-store"
    assert "password" not in page.forms[0].fields.get("password", "")


async def test_there_is_no_such_page(stall: Stall) -> None:
    for path in ("/hotspot/nobody", "/hotspot/NORTH", "/hotspot/%00", "/hotspot/" + "n" * 100):
        assert (await stall.api.get(path)).status_code == 404


async def test_too_much_is_not_read(stall: Stall) -> None:
    answer: httpx.Response = await stall.api.submit(PATH, code="2" * 9_000)
    assert answer.status_code == 413
    fields = {f"x{number}": "1" for number in range(60)}
    assert (await stall.api.submit(PATH, **fields)).status_code == 413


async def test_the_suspended_account_of_a_visitor(stall: Stall) -> None:
    customer, service = await stall.guest(status=ServiceStatus.SUSPENDED)
    assert customer.id == service.customer_id
    (code,) = await stall.codes()
    told = await submit(stall, code=code, username=service.username, password="secret")
    assert (told.status, told.alert) == (400, "This service is suspended: activate it first.")
