"""Forged, expired, replayed and foreign links and reports: they change nothing, and tell nothing."""

import hashlib
import hmac
import json
import re
from typing import Any

import pytest
import redis.asyncio
from sqlalchemy import text

from ispgraph import clock
from ispgraph.domain import payment_links, visits
from ispgraph.domain.models import Invoice
from tests.factories import House
from tests.paying.counter import PHONE, Counter, account, fields

CANCEL = "mutation ($id: ID!) { paymentLinkCancel(paymentLinkId: $id) { link { status } errors { code } } }"


async def everything(counter: Counter, *houses: House) -> list[Any]:
    """Every row that money, links and reports leave."""
    found = []
    for house in (counter.house, *houses):
        async with house.database.read(house.tenant.id) as session:
            for table in ("payments", "postings", "gateway_payments", "gateway_events", "payment_links", "jobs"):
                found.append(
                    (await session.execute(text(f"SELECT xmin::text, x::text FROM {table} x ORDER BY 2"))).all()
                )
    return found


async def ready(counter: Counter) -> str:
    """A session of the gateway that is paid, of which nothing was reported yet."""
    await counter.till.bill(counter.customer.id, 10_000)
    counter.double.hold = True
    session = await counter.session(await counter.path())
    await counter.double.pay(session)
    return session


def signed(body: bytes, secret: str, age: float = 0.0) -> dict[str, str]:
    stamp = int(clock.now().timestamp() - age)
    digest = hmac.new(secret.encode(), b"%d." % stamp + body, hashlib.sha256).hexdigest()
    return {"Stripe-Signature": f"t={stamp},v1={digest}"}


async def test_what_is_no_report_changes_nothing_and_tells_nothing(counter: Counter, other_house: House) -> None:
    await ready(counter)
    said = json.dumps(counter.double.reports[1].said).encode()
    theirs = await account(
        other_house, "stripe", {"secret_key": "sk_test_of_south", "webhook_secret": "whsec_of_south"}, "Card"
    )
    transfer = await account(counter.house, "bank_transfer", {}, "Bank")
    north, south = counter.house.tenant.id.hex, other_house.tenant.id.hex
    ours, good = f"/callbacks/{north}/{counter.stripe.id.hex}", signed(said, "whsec_of_north")
    long = said[:-1] + b" " * 64 * 1024 + said[-1:]
    forged = [
        (ours, {}, said),
        (ours, signed(said, "whsec_of_another"), said),
        (ours, signed(said, "whsec_of_south"), said),
        (ours, signed(said, "whsec_of_north", age=400), said),
        (ours, good, said + b" "),
        (ours, good, b""),
        (ours, {"Stripe-Signature": "t=x,v1=\xff"}, said),
        (ours, signed(long, "whsec_of_north"), long),
        (f"/callbacks/{south}/{counter.stripe.id.hex}", good, said),
        (f"/callbacks/{north}/{theirs.id.hex}", good, said),
        (f"/callbacks/{north}/{'0' * 32}", good, said),
        (f"/callbacks/{'0' * 32}/{counter.stripe.id.hex}", good, said),
        (f"/callbacks/{north}/{transfer.id.hex}", good, said),
        ("/callbacks/x/y", good, said),
        (f"/callbacks/{north}/{'é' * 16}", good, said),
    ]
    before = await everything(counter, other_house)
    answers = []
    for path, headers, body in forged:
        raw = {name: value.encode("latin-1") for name, value in headers.items()}
        answer = await counter.browser.post(path, headers=raw, content=body)
        answers.append((answer.status_code, answer.text, dict(answer.headers) | {"date": ""}))
    assert answers == [answers[0]] * len(forged)
    assert answers[0][0] == 400
    assert await everything(counter, other_house) == before
    # Of another tenant's account, signed with its own secret, about our payment: nobody's business here.
    cross = await counter.browser.post(
        f"/callbacks/{south}/{theirs.id.hex}", headers=signed(said, "whsec_of_south"), content=said
    )
    assert cross.status_code == 200
    assert (await everything(counter)) == before[: len(before) // 2]
    # The report itself is still good.
    assert (await counter.browser.post(ours, headers=good, content=said)).status_code == 200
    assert len(await counter.payments()) == 1


async def test_who_forges_again_and_again_is_not_listened_to(counter: Counter) -> None:
    await ready(counter)
    said = json.dumps(counter.double.reports[1].said).encode()
    ours = f"/callbacks/{counter.house.tenant.id.hex}/{counter.stripe.id.hex}"
    for _ in range(visits.GUESSES):
        assert (await counter.browser.post(ours, content=said)).status_code == 400
    good = await counter.browser.post(ours, headers=signed(said, "whsec_of_north"), content=said)
    assert good.status_code == 429
    assert await counter.payments() == []


async def _wrong(counter: Counter, path: str, invoice: Invoice) -> str:
    return path[:-1] + ("A" if path[-1] != "A" else "B")


async def _long(counter: Counter, path: str, invoice: Invoice) -> str:
    return f"/pay/{'A' * 3000}"


async def _odd(counter: Counter, path: str, invoice: Invoice) -> str:
    return "/pay/%00%ff%F0%9F%98%80"


async def _expired(counter: Counter, path: str, invoice: Invoice) -> str:
    clock.set_clock(f"+{86400 * 15}")
    return path


async def _cancelled(counter: Counter, path: str, invoice: Invoice) -> str:
    async with counter.house.database.read(counter.house.tenant.id) as session:
        seen = await payment_links.find(session, path.rpartition("/")[2])
    assert seen is not None
    answer = await counter.api.data(CANCEL, counter.house.admin, id=f"pln_{seen.link.id.hex}")
    assert answer["paymentLinkCancel"]["link"]["status"] == "CANCELLED"
    return path


async def _void(counter: Counter, path: str, invoice: Invoice) -> str:
    await counter.till.void(invoice)
    return path


async def test_a_page_that_is_not_there_is_the_same_whatever_is_wrong(
    counter: Counter, moved_clock: None, valkey: "redis.asyncio.Redis"
) -> None:
    nowhere = await counter.browser.get("/pay/nothing")
    for spoil in (_wrong, _long, _odd, _cancelled, _void, _expired):
        invoice = await counter.till.bill(counter.customer.id, 10_000)
        path = await counter.path(invoiceId=f"inv_{invoice.id.hex}")
        data = fields((await counter.browser.get(path)).text, counter.stripe)
        gone = await spoil(counter, path, invoice)
        before = await everything(counter)
        for answer in (
            await counter.browser.get(gone),
            await counter.browser.post(gone, data=data),
            await counter.browser.get(f"{gone}/return/ABCDEFGHJKLM"),
            await counter.browser.post(f"{gone}/return/ABCDEFGHJKLM", data=data | {"note": "paid"}),
        ):
            assert (answer.status_code, answer.text) == (404, nowhere.text), spoil
            assert {**answer.headers, "date": ""} == {**nowhere.headers, "date": ""}
        assert await everything(counter) == before
        await valkey.flushdb()


async def test_a_link_that_is_paid_is_gone_with_its_time(counter: Counter, moved_clock: None) -> None:
    await counter.till.bill(counter.customer.id, 10_000)
    path = await counter.path()
    await counter.double.pay(await counter.session(path))
    (attempt,) = await counter.attempts()
    for _ in range(2):
        assert "Paid. Thank you!" in (await counter.browser.get(path)).text
    clock.set_clock(f"+{86400 * 15}")
    assert (await counter.browser.get(path)).status_code == 404
    # Who has begun to pay sees how it ended, whenever that was.
    assert "Paid. Thank you!" in (await counter.browser.get(f"{path}/return/{attempt.reference}")).text


async def test_guessing_addresses_ends_soon(counter: Counter) -> None:
    await counter.till.bill(counter.customer.id, 10_000)
    path = await counter.path()
    for number in range(visits.GUESSES):
        assert (await counter.browser.get(f"/pay/{number}")).status_code == 404
    assert (await counter.browser.get(path)).status_code == 404


async def test_a_form_is_good_for_its_own_link_alone(counter: Counter, other_house: House) -> None:
    await counter.till.bill(counter.customer.id, 10_000)
    one, other = await counter.path(), await counter.path()
    data = fields((await counter.browser.get(one)).text, counter.stripe)
    theirs = await account(other_house, "stripe", {"secret_key": "k", "webhook_secret": "w"}, "Card")
    before = await everything(counter, other_house)
    for path, sent in (
        (other, data),
        (one, {**data, "form": ""}),
        (one, {**data, "form": data["form"][:-2]}),
        (one, {**data, "gateway": theirs.id.hex}),
        (one, {**data, "gateway": "x"}),
        (one, {"gateway": data["gateway"]}),
        (one, {}),
    ):
        answer = await counter.browser.post(path, data=sent)
        assert (answer.status_code, "Please choose again" in answer.text) == (400, True)
    after = await everything(counter, other_house)
    assert (after[2], after[0]) == (before[2], before[0]) == ([], [])


async def test_an_attempt_is_shown_below_its_own_link_alone(counter: Counter) -> None:
    await counter.till.bill(counter.customer.id, 10_000)
    one, other = await counter.path(), await counter.path()
    await counter.session(one)
    (attempt,) = await counter.attempts()
    assert (await counter.browser.get(f"{one}/return/{attempt.reference}")).status_code == 200
    assert (await counter.browser.get(f"{other}/return/{attempt.reference}")).status_code == 404


@pytest.mark.long
async def test_only_so_many_attempts_in_a_row(counter: Counter) -> None:
    await counter.till.bill(counter.customer.id, 10_000)
    path = await counter.path()
    answers = [(await counter.begin(path)).status_code for _ in range(8)]
    assert answers == [303] * 6 + [429] * 2
    assert len(counter.double.sessions) == 6


async def test_the_page_lets_nothing_in_or_out(counter: Counter) -> None:
    house = counter.house
    invoice = await counter.till.bill(counter.customer.id, 10_000)
    async with house.database.transaction(house.tenant.id) as session:
        await session.execute(
            text("UPDATE customers SET name = :name"), {"name": "<script>alert(1)</script>\"&'<img src=x>"}
        )
    await account(house, "stripe", {"secret_key": "k", "webhook_secret": "w"}, "<b onclick=x>Card</b>", position=2)
    answer = await counter.browser.get(await counter.path(invoiceId=f"inv_{invoice.id.hex}"))
    page = answer.text
    assert "<script" not in page
    assert "<img" not in page
    assert "<b " not in page
    assert "&lt;script&gt;" in page
    assert re.findall(r'(?:src|href|action)="(?!")[^"]*', page) == []
    assert "http" not in page.replace('http-equiv="refresh"', "")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    for name, value in (
        ("cache-control", "no-store"),
        ("referrer-policy", "no-referrer"),
        ("x-content-type-options", "nosniff"),
        ("x-robots-tag", "noindex, nofollow"),
    ):
        assert answer.headers[name] == value
    for field in re.findall(r"<(?:input|textarea)[^>]*>", page):
        assert 'type="hidden"' in field or re.search(r'id="([^"]+)"', field)[1] in re.findall(r'for="([^"]+)"', page)  # type: ignore[index]
    assert '<html lang="en">' in page


PEOPLE = [
    ({"user-agent": PHONE}, "GET", True),
    ({"user-agent": PHONE}, "HEAD", False),
    ({"user-agent": PHONE, "purpose": "prefetch"}, "GET", False),
    ({"user-agent": PHONE, "sec-purpose": "prefetch;prerender"}, "GET", False),
    ({"user-agent": PHONE, "x-moz": "prefetch"}, "GET", False),
    ({"user-agent": "WhatsApp/2.23.20.0"}, "GET", False),
    ({"user-agent": "facebookexternalhit/1.1 Facebot Twitterbot/1.0"}, "GET", False),
    ({"user-agent": "TelegramBot (like TwitterBot)"}, "GET", False),
    ({"user-agent": "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"}, "GET", False),
    ({"user-agent": "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)"}, "GET", False),
    ({"user-agent": "python-httpx/0.28"}, "GET", False),
    ({"user-agent": ""}, "GET", False),
    ({}, "GET", False),
]


@pytest.mark.parametrize(("headers", "method", "person"), PEOPLE)
def test_who_is_a_person(headers: dict[str, str], method: str, person: bool) -> None:
    assert visits.by_person(method, headers) is person


async def test_people_are_counted_once_in_a_while(counter: Counter, valkey: "redis.asyncio.Redis") -> None:
    await counter.till.bill(counter.customer.id, 10_000)
    path = await counter.path()
    for headers in ({"User-Agent": "WhatsApp/2.23"}, {"Purpose": "prefetch"}, {}, {}):
        assert (await counter.browser.get(path, headers=headers)).status_code == 200
    assert (await counter.browser.head(path)).status_code == 200
    assert await counter.opened() == 1
    # Another person, and the same one some time later.
    await counter.browser.get(path, headers={"User-Agent": f"{PHONE} Other"})
    assert await counter.opened() == 2
    await valkey.flushdb()
    await counter.browser.get(path)
    assert await counter.opened() == 3


async def test_a_database_alone_gives_no_address_away(counter: Counter) -> None:
    await counter.till.bill(counter.customer.id, 10_000)
    token = (await counter.path()).rpartition("/")[2]
    (row,) = await counter.rows(text("SELECT x::text FROM payment_links x"))
    assert token not in row
    assert token.encode().hex() not in row
    assert await counter.attempts() == []
