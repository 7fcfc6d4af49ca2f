"""Invoices and receipts on paper: what they say, in which hand, and who can look at them."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import httpx
import pytest

from ispgraph import clock, ids
from ispgraph.api import glyphs
from ispgraph.db import Database
from ispgraph.domain import links
from ispgraph.domain.billing import invoices
from ispgraph.domain.models import (
    Customer,
    Invoice,
    InvoiceStatus,
    Operator,
    Payment,
    PaymentMethod,
    PaymentStatus,
    Role,
)
from tests import factories, printed, subscribers
from tests.api import Api
from tests.billing.conftest import Till
from tests.factories import House

URL = "query ($id: ID!) { node(id: $id) { ... on Invoice { pdfUrl } ... on Payment { receiptUrl } } }"
HEAD = {
    "legalName": "North Networks Ltd.",
    "address": "12 Example Road\nDhaka 1207",
    "phone": "01712345678",
    "email": "Billing@North.example",
    "taxNumber": "000-111-222",
    "footer": "Pay at any branch.\nThank you.",
}
SET = """mutation ($input: TenantSettingsInput!) { tenantSettingsUpdate(input: $input) { errors { field message } } }"""


@pytest.fixture(autouse=True)
def march(moved_clock: None) -> None:
    """It is 1 March 2026, 18:00 in Dhaka."""
    clock.set_clock("2026-03-01T12:00:00Z")


async def url(api: Api, row: Invoice | Payment, who: Operator) -> str | None:
    """Where the paper of a row is."""
    public = ids.encode("inv" if isinstance(row, Invoice) else "pay", row.id)
    found: dict[str, str | None] = (await api.data(URL, who, id=public))["node"]
    [link] = found.values()
    return link


async def paper(api: Api, row: Invoice | Payment, who: Operator) -> bytes:
    """The paper of a row, through its link."""
    link = await url(api, row, who)
    assert link is not None
    answer = await api.get(link)
    assert answer.status_code == 200
    return answer.content


async def bill(till: Till, customer: Customer, lines: Sequence[invoices.Line], **given: Any) -> Invoice:
    """An open invoice with these lines."""
    period = {"service_id": None, "period_start": None, "period_end": None}
    async with till.database.transaction(till.house.tenant.id) as session:
        draft = await invoices.draft(
            session, tenant=till.house.tenant, customer_id=customer.id, lines=lines, **(period | given)
        )
        return await invoices.open(session, draft, tenant=till.house.tenant, at=clock.now(), by=till.by)


async def change(till: Till, kind: type[Any], key: UUID, **fields: Any) -> None:
    """Change columns of a row, as other parts of the product do."""
    async with till.database.transaction(till.house.tenant.id) as session:
        row = await session.get_one(kind, key)
        for name, value in fields.items():
            setattr(row, name, value)


def said(pdf: bytes, *wanted: str) -> None:
    """Each of these stands on a line of its own, in this order."""
    lines = iter(line.strip() for line in printed.text(pdf).replace("\u00a0", " ").split("\n"))
    for each in wanted:
        assert each in lines, each


async def test_an_invoice_says_what_was_booked(api: Api, till: Till) -> None:
    house = till.house
    answer = await api.data(SET, house.admin, input={"letterhead": HEAD})
    assert answer["tenantSettingsUpdate"]["errors"] == []
    customer = await subscribers.customer(
        house, name="Jane Example", street="House 5, Road 3", city="Dhaka", postal_code="1230", country="Bangladesh"
    )
    service = await subscribers.service(house, customer)
    midnight = datetime(2026, 2, 28, 18, tzinfo=UTC)
    invoice = await bill(
        till,
        customer,
        [
            invoices.Line("Home 20", 12_345_650, Decimal(15), explanation="30 of 30 days of 123,456.50"),
            invoices.Line("Cable", 333, Decimal("7.5"), quantity=Decimal("2.5")),
            invoices.Line("Router, lent", 0, Decimal(0)),
        ],
        service_id=service.id,
        period_start=midnight,
        period_end=midnight + timedelta(days=31),
    )
    link = await url(api, invoice, house.admin)
    assert link is not None
    answer_: httpx.Response = await api.get(link)
    assert answer_.headers["content-type"] == "application/pdf"
    assert answer_.headers["content-disposition"] == 'inline; filename="INV-2026-000001.pdf"'
    assert "set-cookie" not in answer_.headers
    assert answer_.headers["cache-control"] == "private, no-store"
    assert printed.title(answer_.content) == ("Invoice INV-2026-000001", "2026-03-01")
    said(
        answer_.content,
        "North Networks Ltd.",
        *("12 Example Road", "Dhaka 1207", "+880 1712-345678", "billing@north.example", "Tax number 000-111-222"),
        *("INVOICE", "INV-2026-000001", "Bill to", "Jane Example", "House 5, Road 3", "1230 Dhaka", "Bangladesh"),
        *("Invoice date", "1 Mar 2026", "Due date", "8 Mar 2026", "Period", "1 Mar 2026 – 31 Mar 2026"),
        *("Account", customer.account_number, "Username", service.username, "Amount due", "USD 1,41,983.93"),
        *("Description", "Quantity", "Unit price", "Tax", "Amount"),
        *("Home 20", "30 of 30 days of 123,456.50", "1", "1,23,456.50", "15 %", "1,23,456.50"),
        *("Cable", "2.5", "3.33", "7.5 %", "8.33", "Router, lent", "1", "0.00", "0 %", "0.00"),
        *("Subtotal", "1,23,464.83", "Tax 0 % on 0.00", "0.00", "Tax 7.5 % on 8.33", "0.62"),
        *("Tax 15 % on 1,23,456.50", "18,518.48", "Total", "USD 1,41,983.93", "Paid", "0.00"),
        *("Due", "USD 1,41,983.93", "Pay at any branch.", "Thank you.", "Page 1 of 1"),
    )
    assert "PAID" not in printed.text(answer_.content)
    # The same rows make the same file, whenever it is looked at.
    clock.set_clock("2026-03-05T12:00:00Z")
    assert await paper(api, invoice, house.admin) == answer_.content


async def test_what_is_paid_shows_at_the_same_link(api: Api, till: Till) -> None:
    invoice = await till.bill((await till.customer()).id, 10_000, rate="15")
    link = await url(api, invoice, till.house.admin)
    assert link is not None
    for amount, wanted in (
        (1_500, ("Paid", "15.00", "Due", "USD 100.00", "Payments", "PAY-2026-000001", "1 Mar 2026", "Cash", "15.00")),
        (10_000, ("PAID", "Amount due", "USD 0.00", "Paid", "115.00", "Due", "USD 0.00", "PAY-2026-000002", "100.00")),
    ):
        await till.pay(amount, invoice)
        said((await api.get(link)).content, *wanted)


@pytest.mark.parametrize(
    ("currency", "country", "locale", "minor", "shown"),
    [
        ("BDT", "BD", None, 12_345_650, "BDT 1,23,456.50"),
        ("INR", "IN", "en-IN", 12_345_650, "INR 1,23,456.50"),
        ("EUR", "DE", None, 123_450, "EUR 1.234,50"),
        ("EUR", "IE", "de", 123_450, "EUR 1.234,50"),
        ("CHF", "CH", None, 123_450, "CHF 1’234.50"),
        ("JPY", "JP", None, 1_234_567, "JPY 1,234,567"),
        ("KWD", "KW", "en", 1_234_567, "KWD 1,234.567"),
        ("EGP", "EG", None, 123_450, "EGP 1,234.50"),
    ],
)
async def test_amounts_are_the_tenants(
    api: Api,
    owner: Database,
    database: Database,
    currency: str,
    country: str,
    locale: str | None,
    minor: int,
    shown: str,
) -> None:
    house = await factories.house(owner, database, "west", currency=currency, country=country)
    till = Till(house, await house.viewer())
    if locale is not None:
        await api.data(SET, house.admin, input={"locale": locale})
    invoice = await till.bill((await till.customer()).id, minor)
    written = shown.partition(" ")[2]
    said(await paper(api, invoice, house.admin), "Amount due", shown, written, "Subtotal", written, "Total", shown)
    payment = await till.pay(minor, invoice)
    said(await paper(api, payment, house.admin), "Amount received", shown, "Invoice INV-2026-000001", written)


SCRIPTS = {
    # What shows that letters were joined, reordered and turned as the script wants, each in its own way.
    "মোহাম্মদ রহিম উদ্দিন ক্ষুদ্র": ("ম্মদ", "ক্ষু", "উদ্দি"),
    "श्री कृष्ण क्षत्रिय": ("श्री", "क्षत्रि"),
    "محمد علي": ("دمحم", "يلع"),
    "สมชาย ใจดี": ("สมชาย", "ใจดี"),
    "王小明": ("王小明",),
    "Иван Петров": ("Иван Петров",),
    "Ἑλένη Ğüngör Đặng": ("Ἑλένη", "Ğüngör Đặng"),
    "בני ישראלי": ("ילארשי",),
    "தமிழ்": ("தமி", "ழ்"),
    "やまだ 김철수": ("やまだ", "김철수"),
}


@pytest.mark.parametrize("name", SCRIPTS)
async def test_names_in_every_script(api: Api, till: Till, name: str) -> None:
    customer = await till.customer()
    await change(till, Customer, customer.id, name=name)
    invoice = await till.bill(customer.id, 100)
    payment = await till.pay(100, invoice)
    for row in (invoice, payment):
        [page] = printed.pages(await paper(api, row, till.house.admin))
        assert page.empty_boxes == 0
        assert set(name) - {" ", "\u200d"} <= set(page.text)
        for part in SCRIPTS[name]:
            assert part in page.text


async def test_a_script_without_a_font_is_seen_and_stops_nothing(api: Api, till: Till) -> None:
    customer = await till.customer()
    await change(till, Customer, customer.id, name="Tibetan \u0f40\u0f41 here")
    [page] = printed.pages(await paper(api, await till.bill(customer.id, 100), till.house.admin))
    assert "Tibetan \ufffd\ufffd here" in page.text
    assert page.empty_boxes == 0


# No word of any language: letters and marks of a dozen scripts, most of them without a font.
STUMBLE = """
05c320d320d006c720e007f8d83eded5062820f120f6085b20e4d83cdd4bd83cdfba069508f1079f0783d83ddc2420e206b4d83cdd3d0609
d83cdd69087308f7d83cdfda20e5d83cdce9d83cdfd6071120e220da20d10885064108b707fe073a0755d83edc57d83cdfd706df20f020d1
07e707cdd83edda0d83ede58088bd83ddf6720da20d520d120ebd83ddd0120f605ae20d906bb"""


async def test_what_the_typesetter_stumbles_over_leaves_a_gap(
    api: Api, till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given that it comes to see the characters that are usually kept from it, for which there is no glyph
    everything = frozenset(map(chr, range(0x110000)))
    monkeypatch.setattr(glyphs, "known", lambda: everything)
    customer = await till.customer()
    await change(till, Customer, customer.id, name=bytes.fromhex(STUMBLE).decode("utf-16-be"))
    pdf = await paper(api, await till.bill(customer.id, 123_450), till.house.admin)
    said(pdf, "Bill to", "Amount due", "USD 1,234.50", "Page 1 of 1")
    assert "\ufffd" * 6 in printed.text(pdf)
    assert "\u06c7" not in printed.text(pdf)


async def test_a_long_invoice_goes_over_pages(api: Api, till: Till) -> None:
    await api.data(SET, till.house.admin, input={"letterhead": HEAD})
    lines = [
        invoices.Line(f"Line {number}", number, Decimal(0), explanation="why " * (500 if number == 30 else 1))
        for number in range(90)
    ]
    invoice = await bill(till, await till.customer(), lines)
    found = printed.pages(await paper(api, invoice, till.house.admin))
    assert len(found) > 2
    for number, page in enumerate(found, start=1):
        shown = page.text.split("\n")
        assert f"Page {number} of {len(found)}" in shown
        assert "Thank you." in shown
        assert "Invoice INV-2026-000001" in shown or number == 1
        assert ("Unit price" in shown) == any(line.startswith("Line ") for line in shown)
    every = [line for page in found for line in page.text.split("\n") if line.startswith("Line ")]
    assert every == [f"Line {number}" for number in range(90)]
    assert sum(page.text.split().count("why") for page in found) == 589


async def test_a_void_invoice_says_so_across_every_page(api: Api, till: Till) -> None:
    lines = [invoices.Line(f"Line {number}", 100, Decimal(0)) for number in range(60)]
    invoice = await bill(till, await till.customer(), lines)
    await change(till, Invoice, invoice.id, status=InvoiceStatus.VOID)
    pdf = await paper(api, invoice, till.house.admin)
    found = printed.pages(pdf)
    assert len(found) > 1
    assert [page.text.split("\n").count("VOID") for page in found] == [1] * len(found)
    said(pdf, "Amount due", "USD 0.00", "Total", "USD 60.00", "Due", "USD 0.00")


@pytest.mark.parametrize(
    "name",
    [
        "<b>Jane</b> &amp; #set page(fill: red) $x$ *bold* _it_ @ref `raw` \\ // #panic()",
        'quote " and \\u{202e} and {curly} [square]',
        "Jane \u202egnp.exe\u202c \u2066x\u2069 \u200f end",
        "Control \x01\x07\x1b[31m \x7f\u0085 and \u2028 line",
        "W" * 255,
        "محمد " * 50,
        "e\u0301\u0302\u0303" * 60,
        "\ue000\uffff private",
        "🏴\u200d☠️ 👨\u200d👩\u200d👧 \u200b\u2060",
    ],
)
async def test_a_hostile_name_changes_nothing_but_its_own_lines(api: Api, till: Till, name: str) -> None:
    plain, hostile = await till.customer(), await till.customer()
    papers = []
    for customer, called in ((plain, "Jane"), (hostile, name)):
        await change(till, Customer, customer.id, name=called, street="Road 3")
        invoice = await till.bill(customer.id, 100)
        [page] = printed.pages(await paper(api, invoice, till.house.admin))
        shown = page.text.replace(str(invoice.number), "NUMBER").replace(customer.account_number, "ACCOUNT")
        before, after = shown.split("Bill to")
        assert "\u202e" not in after
        assert "\u2066" not in after
        papers.append((before, after[after.index("Road 3") :]))
    assert papers[0] == papers[1]


@pytest.mark.parametrize("word", ["W", "মোহাম্মদ", "é", "е́", "क्षत्रि", "محمد"])
async def test_a_word_without_an_end_is_broken(api: Api, till: Till, word: str) -> None:
    plain, long = await till.customer(), await till.customer()
    heights = []
    for customer, called in ((plain, word), (long, (word * 255)[:255])):
        await change(till, Customer, customer.id, name=called)
        [page] = printed.pages(await paper(api, await till.bill(customer.id, 100), till.house.admin))
        heights.append(len(page.heights))
    assert heights[1] > heights[0] + 1


async def test_what_looks_like_markup_is_text(api: Api, till: Till) -> None:
    customer = await till.customer()
    await change(till, Customer, customer.id, name="<b>J</b> #panic() $x$ *y* @z")
    line = invoices.Line('#image("/etc/passwd") = *A*', 100, Decimal(0), explanation="`raw` // _gone_")
    pdf = await paper(api, await bill(till, customer, [line], notes='- #read("paper.typ")'), till.house.admin)
    said(pdf, "<b>J</b> #panic() $x$ *y* @z", '#image("/etc/passwd") = *A*', "`raw` // _gone_", '- #read("paper.typ")')
    assert printed.pages(pdf)[0].pictures == 0


async def test_a_receipt_says_where_the_money_went(api: Api, till: Till) -> None:
    customer = await till.customer()
    bills = [await till.bill(customer.id, price) for price in (10_000, 2_500)]
    async with till.database.transaction(till.house.tenant.id) as session:
        payment = await till.take(session, 20_000, *bills, method=PaymentMethod.MOBILE_MONEY)
    pdf = await paper(api, payment, till.house.admin)
    assert printed.title(pdf) == ("Receipt PAY-2026-000001", "2026-03-01")
    said(
        pdf,
        *("North Networks", "RECEIPT", "PAY-2026-000001", "Received from", customer.name),
        *("Received", "1 Mar 2026, 18:00 (UTC+06:00)", "Method", "Mobile money"),
        *("Received by", till.house.admin.name, "Account", customer.account_number),
        *("Amount received", "USD 200.00", "What it was for", "Date", "Amount"),
        *("Invoice INV-2026-000001", "1 Mar 2026", "100.00", "Invoice INV-2026-000002", "1 Mar 2026", "25.00"),
        *("Put into the wallet", "75.00", "Page 1 of 1"),
    )
    assert await paper(api, payment, till.house.admin) == pdf
    await change(till, Payment, payment.id, status=PaymentStatus.REFUNDED)
    pdf = await paper(api, payment, till.house.admin)
    said(pdf, "RECEIPT", "REFUNDED")
    assert "wallet" not in printed.text(pdf)


async def test_what_was_taken_back_shows_on_the_papers(api: Api, till: Till) -> None:
    customer = await till.customer()
    kept, wrong = await till.bill(customer.id, 10_000), await till.bill(customer.id, 4_000)
    payment = await till.pay(14_000, kept, wrong)
    await till.refund(payment, 2_500)
    await till.void(wrong)
    pdf = await paper(api, payment, till.house.admin)
    said(pdf, "Invoice INV-2026-000001", "100.00", "Given back", "25.00", "Put into the wallet", "15.00")
    assert "INV-2026-000002" not in printed.text(pdf)
    assert "PAY-2026-000001" not in printed.text(await paper(api, wrong, till.house.admin))


async def test_a_reference_stands_on_the_receipt_and_notes_do_not(api: Api, till: Till) -> None:
    payment = await till.pay(500, customer_id=(await till.customer()).id)
    before = await paper(api, payment, till.house.admin)
    assert "Reference" not in printed.text(before)
    row = replace_payment(payment, reference="TrxID 9ABC", notes="pays late")
    await till.house.add(row)
    pdf = await paper(api, row, till.house.admin)
    said(pdf, "Reference", "TrxID 9ABC", "Put into the wallet", "5.00")
    assert "pays late" not in printed.text(pdf)


def replace_payment(payment: Payment, **fields: Any) -> Payment:
    """Another payment like this one."""
    kept = ("customer_id", "amount_minor", "method", "status", "category", "received_at", "collected_by_id")
    return Payment(number="PAY-2026-999999", **{name: getattr(payment, name) for name in kept}, **fields)


async def test_there_is_no_paper_of_what_did_not_happen(api: Api, till: Till) -> None:
    customer = await till.customer()
    async with till.database.transaction(till.house.tenant.id) as session:
        draft = await till.draft(session, customer.id, 500)
    assert await url(api, draft, till.house.admin) is None
    payment = await till.pay(500, customer_id=customer.id)
    link = await url(api, payment, till.house.admin)
    assert link is not None
    for status in (PaymentStatus.PENDING, PaymentStatus.FAILED):
        await change(till, Payment, payment.id, status=status)
        assert await url(api, payment, till.house.admin) is None
        assert (await api.get(link)).status_code == 404


async def test_links_end_and_are_of_one_paper(api: Api, till: Till, other_house: House) -> None:
    customer = await till.customer()
    invoice, other = await till.bill(customer.id, 500), await till.bill(customer.id, 600)
    payment = await till.pay(500, invoice)
    for row in (invoice, payment):
        link = await url(api, row, till.house.admin)
        assert link is not None
        assert (await api.get(link)).status_code == 200
        for altered in (
            link.replace(row.id.hex, other.id.hex),
            link.replace(till.house.tenant.id.hex, other_house.tenant.id.hex),
            link.replace("/invoices/", "/receipts/").replace("/receipts/", "/files/"),
            link.replace("expires=1", "expires=2"),
            link[:-1],
            link.partition("?")[0],
        ):
            assert altered != link
            assert (await api.get(altered)).status_code in (403, 404)
        clock.set_clock("2026-03-08T11:59:00Z")
        assert (await api.get(link)).status_code == 200
        clock.set_clock("2026-03-08T12:01:00Z")
        assert (await api.get(link)).status_code == 410
        clock.set_clock("2026-03-01T12:00:00Z")


async def test_what_is_gone_or_another_tenants_is_not_there(api: Api, till: Till, other_house: House) -> None:
    invoice = await till.bill((await till.customer()).id, 500)
    payment = await till.pay(100, invoice)
    until = clock.now() + timedelta(days=1)
    for kind, row in (("invoices", invoice), ("receipts", payment)):
        for tenant, key, status in (
            (till.house.tenant.id, row.id, 200),
            (other_house.tenant.id, row.id, 404),
            (till.house.tenant.id, ids.uuid7(), 404),
        ):
            path = f"/downloads/{kind}/{tenant.hex}/{key.hex}.pdf"
            assert (await api.get(links.signed(factories.TOKEN_KEY, path, {}, until))).status_code == status


async def test_who_may_not_see_the_money_gets_no_link(api: Api, till: Till, other_house: House) -> None:
    invoice = await till.bill((await till.customer()).id, 500)
    payment = await till.pay(100, invoice)
    blind = await till.house.operator(Role.STAFF, permissions=[])
    answer = await api("{ invoices { nodes { pdfUrl } } }", blind)
    assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    reseller = await till.house.operator(Role.OPERATOR)
    for public in (ids.encode("inv", invoice.id), ids.encode("pay", payment.id)):
        for who in (blind, reseller, other_house.admin):
            answer = await api(URL, who, id=public)
            assert (answer["data"] or {}).get("node") is None
        assert (await api(URL, None, id=public))["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
