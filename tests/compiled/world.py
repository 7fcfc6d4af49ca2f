"""Tenants with everything in them that a reading could meet: every status, odd texts, several currencies, a tree of
resellers. The instants are fixed, so two builds differ in ids alone."""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

from sqlalchemy import insert, text

from ispgraph import ids
from ispgraph.db import Database
from ispgraph.domain import audit_chain, gateways, models, secrets
from ispgraph.domain.audit_chain import Keys
from ispgraph.domain.billing import invoices, operator_wallets
from ispgraph.domain.models import (
    ConnectionType,
    CustomerStatus,
    CustomFieldType,
    DraftStatus,
    GatewayKind,
    InvoiceStatus,
    JobStatus,
    Operator,
    OperatorPaymentKind,
    PaymentMethod,
    PaymentStatus,
    ResetPeriod,
    Role,
    RouterStatus,
    ServiceStatus,
    SessionState,
    StepOutcome,
    StepProtocol,
    WizardStep,
)
from ispgraph.schema.compiler.sources import PREFIXES
from tests import factories
from tests.billing.conftest import Till
from tests.compiled.hosting import furnish as furnish_hosting
from tests.compiled.paying import furnish as furnish_paying
from tests.compiled.portals import furnish as furnish_portals
from tests.crowd import customer, service
from tests.factories import House

NOW = datetime(2026, 6, 15, 12, 10, 30, 123456, tzinfo=UTC)

# What was found on a router and should be otherwise.
_DRIFT = [
    {"path": "/queue/simple", "property": "max-limit", "expected": "1M/2M", "observed": '"3M"'},
    {"path": "/ppp/secret", "property": None, "expected": None, "observed": "রহিম\\n"},
]

NAMES = (
    'Quote "Q" O\'Neil',
    "Back\\slash \\n \\u0041",
    "Émile Ünïcode",
    "রহিম উদ্দিন",
    "😀 Emoji 👩‍👩‍👧 Family",
    "100%_sure",
    "Long " + "name " * 45,
    "</script><b>Tag</b>",
    "Line\u2028separator\u2029here",
    "Plain Jane",
    "plain jane",
    "Zero\u200bwidth",
    "{curly} [square]",
    "Ann Example",
    "Bob Example",
    "Cid Example",
    "Dan Example",
    "Eve Example",
    "Fay Example",
    "Gus Example",
    "Hal Example",
    "Ida Example",
    "Jim Example",
    "Kim Example",
)
ADDRESSES = ("10.1.2.3", "2001:db8::1", "::ffff:192.0.2.1", "2001:db8:0:1:0:0:0:1", "::")


@dataclass
class Land:
    """One tenant: its operators by a short name, and the public ids of its rows by prefix."""

    house: House
    operators: dict[str, Operator]
    ids: dict[str, list[str]] = field(default_factory=dict)
    account_numbers: list[str] = field(default_factory=list)
    usernames: list[str] = field(default_factory=list)


async def build(
    owner: Database, app: Database, superuser: str, slug: str, currency: str = "USD", time_zone: str = "Asia/Dhaka"
) -> Land:
    """A furnished tenant."""
    house = await factories.house(owner, app, slug, currency=currency, time_zone=time_zone)
    land = Land(house, await _operators(house))
    await _furnish(land, superuser)
    return land


async def _operators(house: House) -> dict[str, Operator]:
    reseller = await house.operator(Role.OPERATOR, name='Reseller "R"', sms_credits=17)
    sub = await house.operator(Role.SUB_OPERATOR, reseller)
    return {
        "admin": house.admin,
        "reseller": reseller,
        "sub": sub,
        "seller": await house.operator(Role.STAFF, reseller, name="Seller"),
        "clerk": await house.operator(Role.STAFF, name="Clerk"),
        "rival": await house.operator(Role.OPERATOR, name="Rival"),
        "accountant": await house.operator(Role.ACCOUNTANT),
        "blind": await house.operator(Role.STAFF, permissions=[]),
        "gone": await house.operator(Role.MANAGER, active=False),
    }


async def _furnish(land: Land, superuser: str) -> None:
    house, operators = land.house, land.operators
    zones = await _zones(house)
    routers = await _routers(house)
    profiles = await _tax_profiles(house)
    packages = await _packages(house, profiles)
    fields = await _custom_fields(house)
    owners = [operators[name] for name in ("reseller", "admin", "sub", "rival", "seller", "accountant")]
    customers = [
        customer(
            house,
            name,
            account_number=f"N{number:05}",
            mobile=f"+88017{number:08}",
            email=f"person{number}@example.net" if number % 3 else None,
            company='Company "&" Sons' if number % 4 == 0 else None,
            operator_id=owners[number % len(owners)].id,
            status=list(CustomerStatus)[number % 5],
            status_reason="owes\tmoney" if number % 5 == 2 else None,
            street=f"{number} Example Street\\" if number % 2 else None,
            city="ঢাকা" if number % 4 == 1 else None,
            postal_code="1207" if number % 3 else None,
            zone_id=zones[number % len(zones)].id if number % 5 else None,
            joined_at=NOW - timedelta(days=number, microseconds=number % 2),
            updated_at=NOW - timedelta(hours=number),
            version=number + 1,
        )
        for number, name in enumerate(NAMES)
    ]
    await _add(house, customers)
    answers: list[Any] = ['text \\ "x" 😀', 12, 12.5, True, None, "2026-01-31", {"a": [1, {"b": None}]}, "red", ""]
    await _add(
        house,
        [
            models.CustomFieldValue(
                customer_id=each.id, field_id=one.id, value=answers[(number + place) % len(answers)]
            )
            for number, each in enumerate(customers)
            for place, one in enumerate(fields)
            if (number + place) % 3
        ],
    )
    services = await _services(house, customers, packages, routers)
    agreed = await _agreed(land, customers, packages)
    await _limits(house, services)
    await _money(land, customers)
    await _profiles(land, customers, services)
    jobs = await _jobs(house, customers, services, routers, operators)
    jobs += await _runs(house, services, operators)
    cards, made = await _vouchers(land, customers, packages)
    jobs.append(made)
    accounts, tests = await _gateways(house)
    jobs += tests
    messages = await _messages(house, customers, operators)
    matters = await _tickets(house, customers, operators)
    records = await _records(house, customers, operators)
    requests = await _package_changes(house, services, packages)
    moving = await _transfers(house, customers, operators)
    paying = await furnish_paying(house, customers, NOW)
    hosting = await furnish_hosting(house, customers, NOW)
    portals = await furnish_portals(house, customers, operators, NOW)
    drafts = await _drafts(land, customers, packages, zones, routers, fields)
    sessions = await _accounting(superuser, customers, services, routers)
    land.account_numbers = [each.account_number for each in customers]
    land.usernames = [each.username for each in services]
    found: list[Any] = [
        *zones,
        *routers,
        *profiles,
        *packages,
        *fields,
        *customers,
        *services,
        *jobs,
        *messages,
        *matters,
        *records,
        *(await _credits(house, operators, messages)),
        *requests,
        *moving,
        *drafts,
        *agreed,
        *cards,
        *paying,
        *hosting,
        *portals,
        *accounts,
        *(await _access(house, operators, zones)),
    ]
    for row in (*found, house.tenant, *operators.values()):
        land.ids.setdefault(PREFIXES[type(row)], []).append(ids.encode(PREFIXES[type(row)], row.id))
    land.ids["ses"] = [ids.encode("ses", key) for key in sessions]
    async with house.database.read(house.tenant.id) as session:
        for model in (models.Invoice, models.Payment, models.Posting, models.BillingRun):
            keys = await session.scalars(text(f"SELECT id FROM {model.__tablename__} ORDER BY id"))
            land.ids[PREFIXES[model]] = [ids.encode(PREFIXES[model], key) for key in keys]


async def _access(house: House, operators: dict[str, Operator], zones: list[models.Zone]) -> list[Any]:
    """What some operators were granted: for a zone, for a while, for both, over by now, and taken back."""
    made = [
        models.OperatorGrant(
            operator_id=operators[name].id,
            permission=permission,
            zone_id=zone,
            created_at=NOW - timedelta(days=9),
            expires_at=ends,
            granted_by_id=house.admin.id,
            ended_at=ended,
            ended_by_id=house.admin.id if ended else None,
        )
        for name, permission, zone, ends, ended in (
            ("sub", "SUSPEND_CUSTOMERS", zones[0].id, None, None),
            ("sub", "REFUND_PAYMENTS", None, NOW + timedelta(days=1), None),
            ("seller", "SEND_SMS", zones[0].id, NOW + timedelta(days=1), None),
            ("seller", "GENERATE_BILLS", None, NOW - timedelta(days=1), None),
            ("clerk", "GENERATE_BILLS", None, NOW + timedelta(days=1), NOW - timedelta(days=2)),
            ("blind", "VIEW_CUSTOMERS", zones[0].id, None, None),
        )
    ]
    await _add(house, made)
    tokens = [
        models.ApiToken(
            operator_id=operators[name].id,
            name=f"Panel of {name}",
            prefix=f"ispg_{name}",
            digest=bytes(32),
            permissions=["VIEW_CUSTOMERS", "SEND_SMS"],
            created_at=NOW - timedelta(days=9),
            expires_at=ends,
            last_used_at=used,
            revoked_at=revoked,
        )
        for name, ends, used, revoked in (
            ("admin", NOW + timedelta(days=9), NOW, None),
            ("seller", NOW + timedelta(days=9), None, None),
            ("seller", NOW - timedelta(days=1), NOW - timedelta(days=2), None),
            ("rival", NOW + timedelta(days=9), None, NOW),
        )
    ]
    await _add(house, tokens)
    entries = [
        models.SignIn(
            operator_id=operators[name].id,
            token_version=1,
            created_at=NOW,
            expires_at=NOW + timedelta(days=1),
            ended_at=NOW if above else None,
            address=ADDRESSES[number],
            user_agent=NAMES[number] if number else None,
            acting_id=operators[above].id if above else None,
            acting_version=1 if above else None,
        )
        for number, (name, above) in enumerate((("admin", None), ("sub", "reseller"), ("sub", None), ("rival", None)))
    ]
    await _add(house, entries)
    return [*made, *tokens, *entries]


async def _add(house: House, rows: list[Any]) -> None:
    """Rows of one table, at once."""
    async with house.database.transaction(house.tenant.id) as session:
        for row in rows:
            row.tenant_id = house.tenant.id
        session.add_all(rows)


async def _zones(house: House) -> list[models.Zone]:
    north = await house.zone("North", code="N")
    inner = await house.zone('Inner "North"', parent_id=north.id)
    return [north, inner, await house.zone("Innermost", parent_id=inner.id, code="N-1"), await house.zone("দক্ষিণ")]


async def _routers(house: House) -> list[models.Router]:
    seen = NOW - timedelta(minutes=3)
    return [
        await house.router(None, name="edge-1", status=RouterStatus.ONLINE, last_seen_at=seen, version="7.19.4"),
        await house.router(
            "192.0.2.9",
            name="edge \\ 2",
            status=RouterStatus.OFFLINE,
            radius_address=None,
            problem='no "answer"',
            unreachable_since=seen,
            reconciled_at=seen,
            drift=_DRIFT,
        ),
    ]


async def _tax_profiles(house: House) -> list[models.TaxProfile]:
    rows = [
        models.TaxProfile(name=name, rate=Decimal(rate), is_default=name == "Standard")
        for name, rate in (("Standard", "15"), ('"None" \\ শূন্য', "0"), ("Odd", "7.125"))
    ]
    await _add(house, rows)
    return rows


async def _packages(house: House, profiles: list[models.TaxProfile]) -> list[models.Package]:
    fair: dict[str, Any] = {"fup_threshold_bytes": 2**40, "fup_download_kbps": 512, "fup_upload_kbps": 256}
    fair |= {"fup_reset_period": ResetPeriod.MONTH, "fup_notify_at_percent": 80}
    return [
        await house.package("Home 20", description="For \"homes\"", tax_profile_id=profiles[2].id),
        await house.package("Fair 50", price_minor=123_457, data_quota_bytes=2**41 + 1, **fair),
        await house.package("Hours", time_quota_seconds=3600, daily_rate_minor=1, connection_types=["HOTSPOT"],
                            tax_profile_id=profiles[1].id),
        await house.package("Free", price_minor=0, connection_types=[], fup_download_kbps=1, fup_upload_kbps=1,
                            fup_threshold_seconds=60, fup_reset_period=ResetPeriod.DAY, fup_notify_at_percent=50),
        await house.package("Old", active=False, price_minor=9_000_000_000_000),
    ]  # fmt: skip


async def _custom_fields(house: House) -> list[models.CustomField]:
    rows = [
        models.CustomField(
            key=kind.value.lower(),
            label=f'{kind.value} "label" ঢাকা',
            type=kind,
            required=False,
            options=["red", "green \\ blue", "নীল"] if kind is CustomFieldType.SELECT else [],
        )
        for kind in CustomFieldType
    ]
    await _add(house, rows)
    return rows


async def _services(
    house: House, customers: list[models.Customer], packages: list[models.Package], routers: list[models.Router]
) -> list[models.Service]:
    rows = []
    for number, each in enumerate(customers):
        for place in range(number % 4):
            total = number * 4 + place
            rows.append(
                service(
                    each,
                    packages[total % len(packages)].id,
                    is_primary=place == 0,
                    username=f"user-{total}.%_{'x' * (total % 9)}",
                    connection_type=list(ConnectionType)[total % 4],
                    status=list(ServiceStatus)[total % 5],
                    router_id=routers[total % 2].id if total % 3 else None,
                    ip_address=ADDRESSES[number] if place == 0 and number < len(ADDRESSES) else None,
                    started_at=NOW - timedelta(days=total) if total % 5 else None,
                    expires_at=NOW + timedelta(days=total - 30, microseconds=total % 3) if total % 4 else None,
                    suspend_on=date(2026, 7, 1) if total % 6 == 1 else None,
                    auto_renew=total % 2 == 0,
                    applied_version=total % 2,
                    checked_at=NOW if total % 3 == 0 else None,
                    provisioning=list(models.ProvisioningState)[total % 5],
                    network_problem='no "answer"' if total % 5 > 1 else None,
                    drift=_DRIFT[: total % 3],
                    profile='gold "plan"' if total % 3 else None,
                )
            )
    await _add(house, rows)
    await _add(
        house,
        [
            models.ServiceMac(service_id=each.id, mac=f"aa:bb:cc:00:{number:02x}:{place:02x}")
            for number, each in enumerate(rows)
            for place in range(number % 3)
        ],
    )
    return rows


async def _limits(house: House, services: list[models.Service]) -> None:
    """Of every seven services six have limits of some kind, and some of these are used up."""
    hours: list[dict[str, object]] = [
        {"days": [1, 2, 5], "from": "08:30:00", "to": "20:00:00"},
        {"days": [6, 7], "from": "22:00:00", "to": "06:00:00"},
    ]
    kinds: list[dict[str, Any]] = [
        {"speed_download_kbps": 3000, "speed_upload_kbps": 2000},
        {"speed_download_kbps": 0, "speed_upload_kbps": 0, "session_seconds": 3600},
        {
            **{"temporary_download_kbps": 90_000, "temporary_upload_kbps": 80_000},
            **{"temporary_until": datetime(2900, 1, 1, microsecond=5, tzinfo=UTC)},
            "windows": hours,
        },
        {
            **{"temporary_download_kbps": 0, "temporary_upload_kbps": 0, "temporary_until": NOW - timedelta(days=40)},
            **{"daily_bytes": 2**42, "daily_seconds": 600, "weekly_seconds": 700, "monthly_seconds": 2**31 - 1},
        },
        {"monthly_bytes": 2**41, "rollover": True, "rollover_since": NOW - timedelta(days=90)},
        {"daily_bytes": 1, "monthly_bytes": 2**60},
    ]
    chosen = [(each, kinds[number % 7]) for number, each in enumerate(services) if number % 7 < len(kinds)]
    await _add(house, [models.ServiceLimit(service_id=each.id, **{"rollover": False} | kind) for each, kind in chosen])
    async with house.database.transaction(house.tenant.id) as session:
        for number, each in enumerate(services):
            watch = await session.get_one(models.ServiceWatch, (house.tenant.id, each.id))
            if number % 2:
                watch.fup_activated_at = NOW + timedelta(days=number * 3000)
            if number % 3 == 0:
                watch.fup_reset_at, watch.fup_forgiven_octets = NOW + timedelta(days=300_000), 1000


async def _agreed(land: Land, customers: list[models.Customer], packages: list[models.Package]) -> list[Any]:
    """What operators earn from here on, money in their wallets, and prices beside those of the packages."""
    house, operators = land.house, land.operators
    begin = NOW - timedelta(days=300)
    people = [operators[name] for name in ("reseller", "sub", "seller", "rival")]
    rates = [
        models.CommissionRate(
            operator_id=each.id,
            package_id=packages[number % 3].id if number % 2 else None,
            percent=Decimal("12.345") if number % 3 else None,
            fixed_minor=None if number % 3 or number == 6 else 333,
            valid_from=begin + timedelta(days=number * 100 * (number > 5)),
            by_id=house.admin.id,
        )
        for number, each in enumerate(people * 3)
    ]
    prices = [
        models.PriceOverride(
            package_id=packages[number % len(packages)].id,
            operator_id=people[number].id if number < len(people) else None,
            customer_id=None if number < len(people) else customers[number].id,
            price_minor=number * 1_001 if number % 2 else None,
            discount_percent=None if number % 2 else Decimal("33.333"),
            valid_from=begin,
            valid_until=NOW + timedelta(days=number) if number % 3 == 0 else None,
            reason='"Agreed" \\ ঢাকা',
            by_id=house.admin.id if number % 2 else None,
        )
        for number in range(9)
    ]
    await _add(house, rates)
    await _add(house, prices)
    by, paid = await house.viewer(), []
    async with house.database.transaction(house.tenant.id) as session:
        for number, each in enumerate(people * 2):
            kind = OperatorPaymentKind.PAYOUT if number > 5 else OperatorPaymentKind.TOP_UP
            given = operator_wallets.Given(kind, Decimal(1 + number % 4), PaymentMethod.CARD, None, "by hand 😀")
            paid.append(await operator_wallets.record(session, each.id, given, idempotency_key=None, by=by))
            reason = {"amount": Decimal(1), "reason": 'Rounded "up"'}
            paid.append(await operator_wallets.adjust(session, each.id, **reason, idempotency_key=None, by=by))
    return [*rates, *prices, *paid]


async def _money(land: Land, customers: list[models.Customer]) -> None:
    house = land.house
    till = Till(house, await house.viewer())
    made: list[models.Invoice] = []
    for number, each in enumerate(customers):
        for place in range(number % 5 if number else 24):
            total = number * 5 + place
            rate = ("0", "7.5", "15.125")[total % 3]
            if total % 7 == 3:
                async with house.database.transaction(house.tenant.id) as session:
                    lines = [
                        invoices.Line('Draft "line"', 333, Decimal(rate), Decimal("2.5"), "why\\not"),
                        invoices.Line("Discount", -33, Decimal("7.5"), Decimal("0.3333"), tax_included=True),
                    ]
                    await invoices.draft(
                        session,
                        tenant=house.tenant,
                        customer_id=each.id,
                        service_id=None,
                        lines=lines,
                        period_start=NOW,
                        period_end=NOW + timedelta(days=30),
                        notes="notes 😀",
                    )
            else:
                bill = await till.bill(each.id, 1000 + total, 250, rate=rate)
                made.append(bill)
                # Of every four, one stays open, one is paid in part, one in full and one with something left over.
                if total % 4:
                    await till.pay((1, 500, bill.total_minor, bill.total_minor + 77)[total % 4], bill)
        if number % 6 == 5:
            pair = [await till.bill(each.id, 1_000_000_000_000), await till.bill(each.id, 5)]
            await till.pay(1_000_000_000_003, *pair)
            made += pair
    async with house.database.transaction(house.tenant.id) as session:
        for number, bill in enumerate(made):
            if bill.paid_minor == 0 and number % 9 == 4:
                row = await session.get_one(models.Invoice, bill.id)
                row.status = InvoiceStatus.VOID
        paid = list(await session.scalars(text("SELECT id FROM payments ORDER BY id")))
        for number, key in enumerate(paid):
            if number % 5 == 3:
                row = await session.get_one(models.Payment, key)
                row.status = list(PaymentStatus)[number % 4]


async def _profiles(land: Land, customers: list[models.Customer], services: list[models.Service]) -> None:
    """Of every five customers four have billing profiles, and about some invoices something was done already."""
    house = land.house
    kinds: list[dict[str, Any]] = [
        {"billing_cycle": models.BillingCycle.YEARLY, "billing_day": 28, "auto_generate": False},
        {"grace_days": 0, "payment_method": models.PaymentMethod.MOBILE_MONEY, "contact_name": 'Accounts "ঢাকা"'},
        {"auto_suspend": False, "contact_email": "a@example.net", "contact_mobile": "+8801811223344"},
        {"billing_cycle": models.BillingCycle.DAILY, "grace_days": 60},
    ]
    usual = {"auto_generate": True, "auto_suspend": True}
    chosen = [(each, kinds[number % 5]) for number, each in enumerate(customers) if number % 5 < len(kinds)]
    await _add(house, [models.BillingProfile(customer_id=each.id, **usual | kind) for each, kind in chosen])
    ruled = [each for each in services if each.suspend_on is not None]
    rules = [
        models.SuspendRule(
            service_id=each.id, recurring_day=(None, 1)[number % 2], remind_days_before=(3, None)[number % 2]
        )
        for number, each in enumerate(ruled)
    ]
    await _add(house, rules)
    async with house.database.read(house.tenant.id) as session:
        bills = list(await session.scalars(text("SELECT id FROM invoices WHERE due_on IS NOT NULL ORDER BY id")))
        due = [(await session.get_one(models.Invoice, key)).due_on for key in bills]
    steps = [
        models.DunningStep(
            invoice_id=key,
            kind=list(models.DunningKind)[number % 2],
            counted_from=day,
            days=number % 2 - 1,
            planned_on=day,
            rule='due "today" - রহিম',
            outcome=list(models.DunningOutcome)[number % 3],
            done_at=NOW,
        )
        for number, (key, day) in enumerate(zip(bills, due, strict=True))
        if number % 3 and day is not None
    ]
    await _add(house, steps)


async def _credits(
    house: House, operators: dict[str, Operator], messages: list[models.Message]
) -> list[models.SmsCreditEntry]:
    rows = [
        models.SmsCreditEntry(
            operator_id=operators[("reseller", "sub")[number % 2]].id,
            kind=list(models.CreditKind)[number % 4],
            credits=number - 3,
            balance=17 + number,
            message_id=messages[number].id if number % 4 else None,
            note='a "note"' if number % 3 else None,
            created_at=NOW - timedelta(minutes=number),
            created_by_id=operators["admin"].id if number % 2 else None,
        )
        for number in range(8)
    ]
    await _add(house, rows)
    return rows


async def _messages(
    house: House, customers: list[models.Customer], operators: dict[str, Operator]
) -> list[models.Message]:
    rows = [
        models.Message(
            customer_id=customers[number % 7].id,
            channel=list(models.MessageChannel)[number % 2],
            to=("+8801711000000", "person@example.net")[number % 2],
            event="service.suspended",
            body='Your "line"\nis off, রহিম',
            status=list(models.MessageStatus)[number % 4],
            segments=number % 3,
            error="refused\\" if number % 4 == 3 else None,
            created_at=NOW - timedelta(minutes=number),
            created_by_id=operators["reseller"].id,
            sent_at=NOW if number % 2 else None,
            delivered_at=NOW if number % 3 else None,
        )
        for number in range(20)
    ]
    await _add(house, rows)
    return rows


async def _tickets(
    house: House, customers: list[models.Customer], operators: dict[str, Operator]
) -> list[models.Ticket]:
    owners = [operators[name] for name in ("admin", "reseller", "seller", "clerk")]
    rows = []
    for number in range(26):
        status = list(models.TicketStatus)[number % 5]
        opened = NOW - timedelta(hours=number, microseconds=number)
        done = status in (models.TicketStatus.RESOLVED, models.TicketStatus.CLOSED)
        rows.append(
            models.Ticket(
                number=f"TKT-2026-{number + 1:06}",
                customer_id=customers[number % 7].id,
                subject=f'Matter "{number}" of \\ রহিম %_',
                body='It is "off"\nsince noon',
                category=list(models.TicketCategory)[(number + 1) % 5],
                priority=list(models.TicketPriority)[number % 4],
                status=status,
                status_since=opened,
                assignee_id=owners[number % 4].id if number % 3 else None,
                version=number + 1,
                created_at=opened,
                created_by_id=operators["reseller"].id if number % 6 else None,
                updated_at=NOW - timedelta(minutes=number % 9),
                first_response_due_at=opened + timedelta(hours=(1, 4, 8, 24)[number % 4]),
                first_responded_at=opened + timedelta(minutes=number) if number % 2 else None,
                resolved_at=NOW - timedelta(minutes=5) if done else None,
                closed_at=NOW if status is models.TicketStatus.CLOSED else None,
                reopen_count=number % 3,
                handled=timedelta(hours=number, microseconds=999_999),
            )
        )
    await _add(house, rows)
    replies = [
        models.TicketReply(
            ticket_id=ticket.id,
            author_id=owners[(number + place) % 4].id,
            body=f'Reply \\ "{place}"\n😀',
            internal=place % 2 == 0,
            at=NOW + timedelta(seconds=place),
        )
        for number, ticket in enumerate(rows)
        for place in range(number % 4)
    ]
    await _add(house, replies)
    return rows


async def _records(
    house: House, customers: list[models.Customer], operators: dict[str, Operator]
) -> list[models.AuditEntry]:
    """Entries of which the first are sealed: with and without an operator, a subject and one whose kind is known."""
    by = [operators["admin"], operators["reseller"], operators["seller"], None]
    actions = ("customer.update", "draft.confirm", "draft.start", "ticket.reply", "customer.suspend", "strange thing")
    told: list[dict[str, object]] = [
        {"name": ["Old \\ name", 'New "name"'], "custom_fields": {"floor": [None, 7]}},
        {"before": {"status": "ACTIVE"}, "after": {"status": "SUSPENDED"}, "note": "রহিম"},
        {},
        {"ticket": "TKT-2026-000001", "internal": True},
        {"ticket": "TKT-2026-000001", "internal": False, "status": ["OPEN", "PENDING"]},
    ]
    rows = [
        models.AuditEntry(
            at=NOW - timedelta(hours=number, microseconds=number),
            operator_id=operator.id if (operator := by[number % 4]) else None,
            action=actions[number % 6],
            subject_id=customers[number % 5].id if number % 7 else None,
            details=told[number % 5],
        )
        for number in range(30)
    ]
    keys = Keys("world", {"world": bytes(32)})
    await _add(house, rows[:20])
    await house.database.run(house.tenant.id, partial(audit_chain.seal, tenant_id=house.tenant.id, keys=keys))
    await _add(house, rows[20:])
    return rows


async def _transfers(
    house: House, customers: list[models.Customer], operators: dict[str, Operator]
) -> list[models.CustomerTransfer]:
    """Some of each state, between all kinds of operators; one of them is not active, and one sees no customers."""
    names = ("reseller", "sub", "rival", "gone", "seller", "blind", "admin", "clerk")
    rows = []
    for number in range(18):
        status = list(models.TransferStatus)[number % 4]
        source, target = (operators[names[place % len(names)]] for place in (number, number * 3 + 1))
        if source is target:
            target = operators["accountant"]
        agreed = NOW - timedelta(minutes=number)
        confirmed = status in (models.TransferStatus.PENDING_TARGET, models.TransferStatus.APPROVED)
        done = status in (models.TransferStatus.APPROVED, models.TransferStatus.REJECTED)
        approved = status is models.TransferStatus.APPROVED
        rows.append(
            models.CustomerTransfer(
                customer_id=customers[number].id,
                customer_name=f'Former "{number}"',
                account_number=customers[number].account_number,
                from_operator_id=source.id,
                to_operator_id=target.id,
                transfer_invoices=number % 3 > 0,
                reason="Moved\n\\ রহিম" if number % 2 else None,
                status=status,
                created_at=NOW - timedelta(hours=number),
                requested_by_id=operators["admin"].id,
                source_confirmed_at=agreed if confirmed else None,
                source_confirmed_by_id=source.id if confirmed else None,
                target_confirmed_at=agreed if approved else None,
                target_confirmed_by_id=target.id if approved else None,
                decided_at=NOW if done else None,
                decided_by_id=target.id if done else None,
                note='"No"' if done and number % 5 else None,
            )
        )
    await _add(house, rows)
    return rows


async def _package_changes(
    house: House, services: list[models.Service], packages: list[models.Package]
) -> list[models.PackageChange]:
    kinds = [kind for kind in models.PackageChangeStatus if kind is not models.PackageChangeStatus.SCHEDULED]
    rows = [
        models.PackageChange(
            service_id=services[number % 5].id,
            from_package_id=packages[number % len(packages)].id,
            to_package_id=packages[(number + 1) % len(packages)].id,
            effective_on=NOW.date() + timedelta(days=number),
            status=kinds[number % len(kinds)] if number > 5 else models.PackageChangeStatus.SCHEDULED,
            requested_at=NOW - timedelta(minutes=number),
            requested_by_id=house.admin.id if number % 2 else None,
            reason='as "they" said, রহিম' if number % 3 else None,
            applied_at=NOW if number > 5 and kinds[number % len(kinds)].value == "APPLIED" else None,
            message="why\n" if number % 4 == 1 else None,
        )
        for number in (*range(5), *range(6, 24))
    ]
    await _add(house, rows)
    return rows


async def _vouchers(
    land: Land, customers: list[models.Customer], packages: list[models.Package]
) -> tuple[list[Any], models.Job]:
    """Batches of a house and its resellers, vouchers in every state, and the job that makes one batch."""
    house, batches, cards = land.house, [], []
    for number, name in enumerate(("admin", "reseller", "sub", "rival", "admin")):
        batch = models.VoucherBatch(
            id=ids.uuid7(),
            package_id=packages[number % len(packages)].id,
            count=9,
            made=5,
            prefix="CAFE" if number % 2 else None,
            price_minor=number * 1_001,
            paid_by_id=land.operators[name].id if number % 2 else None,
            sold=0 if number % 2 else number,
            returned=1,
            expires_at=NOW + timedelta(days=number - 2) if number else None,
            created_at=NOW - timedelta(days=9, hours=number),
            created_by_id=land.operators[name].id,
            cancelled_at=NOW - timedelta(days=1) if number == 3 else None,
        )
        batches.append(batch)
        for place in range(1, 6):
            key = ids.uuid7()
            bound_to = secrets.voucher_code(house.tenant.id, key)
            redeemed = place == 2
            cards.append(
                models.Voucher(
                    id=key,
                    batch_id=batch.id,
                    number=place,
                    package_id=batch.package_id,
                    lookup=f"{number}-{place}",
                    code=secrets.seal(factories.NETWORK_KEY, f"CODE-{number}-{place}", bound_to),
                    expires_at=batch.expires_at,
                    redeemed_by_id=customers[number * 3].id if redeemed else None,
                    redeemed_at=NOW - timedelta(days=number) if redeemed else None,
                    cancelled_at=NOW if place == 4 else None,
                    created_at=batch.created_at,
                )
            )
    await _add(house, batches)
    await _add(house, cards)
    job = models.Job(
        id=ids.uuid7(),
        kind="vouchers.make",
        status=JobStatus.QUEUED,
        created_by_id=land.operators["reseller"].id,
        created_at=NOW,
        next_attempt_at=NOW,
        progress_done=5,
        progress_total=9,
        arguments={"batch": str(batches[1].id)},
    )
    await _add(house, [job])
    return [*batches, *cards], job


async def _runs(house: House, services: list[models.Service], operators: dict[str, Operator]) -> list[models.Job]:
    """Billing runs, one of them a trial, with their jobs."""
    jobs, runs = [], []
    for number in range(5):
        key, trial = ids.uuid7(), number == 4
        job = models.Job(
            id=ids.uuid7(),
            kind="billing.run",
            status=list(JobStatus)[number],
            created_by_id=operators["admin"].id if number % 2 else None,
            created_at=NOW - timedelta(hours=number),
            started_at=NOW if number % 2 else None,
            attempts=1,
            arguments={"run": str(key)},
            next_attempt_at=NOW,
        )
        line = {
            **{"service": str(services[number].id), "customer": str(services[number].customer_id)},
            **{"description": 'Home "20", 1 month', "explanation": "1 month at 5.00 USD, without tax."},
            **{"period_start": NOW.isoformat(), "period_end": (NOW + timedelta(days=30)).isoformat()},
            **{"subtotal_minor": 500, "tax_minor": 7, "total_minor": 507},
        }
        run = models.BillingRun(
            id=key,
            job_id=job.id,
            started_by_id=job.created_by_id,
            as_of=NOW - timedelta(days=number),
            dry_run=trial,
            services=number,
            invoices=2 * number,
            subtotal_minor=500 * number,
            tax_minor=7 * number,
            total_minor=507 * number,
            failed=number % 3,
            failures=[{"service": str(each.id), "reason": 'Too "large"'} for each in services[: number % 3]],
            lines=[line, line] if trial else [],
            created_at=NOW - timedelta(hours=number),
        )
        jobs.append(job)
        runs.append(run)
    await _add(house, jobs)
    await _add(house, runs)
    return jobs


async def _jobs(
    house: House,
    customers: list[models.Customer],
    services: list[models.Service],
    routers: list[models.Router],
    operators: dict[str, Operator],
) -> list[models.Job]:
    rows = [
        models.Job(
            kind=("service.provision", "house.clean")[number % 4 == 3],
            status=list(JobStatus)[number % 5],
            customer_id=customers[number % len(customers)].id if number % 4 != 3 else None,
            service_id=services[number % len(services)].id if number % 2 else None,
            router_id=routers[number % 2].id if number % 3 else None,
            created_by_id=operators["reseller"].id,
            created_at=NOW - timedelta(minutes=number),
            started_at=NOW if number % 2 else None,
            finished_at=NOW + timedelta(seconds=1) if number % 5 > 1 else None,
            attempts=number % 8,
            next_attempt_at=NOW + timedelta(hours=1),
            message='no "answer"\nat all' if number % 3 else None,
            progress_done=number if number % 2 else None,
            progress_total=30 if number % 2 else None,
        )
        for number in range(30)
    ]
    await _add(house, rows)
    protocols, outcomes = list(StepProtocol), list(StepOutcome)
    steps = [
        models.NetworkStep(
            job_id=job.id,
            at=NOW + timedelta(milliseconds=place),
            protocol=protocols[(number + place) % len(protocols)],
            outcome=outcomes[(number + place) % len(outcomes)],
            detail='detail \\ "d"' if place % 2 else None,
            error_cause=503 if place == 1 else None,
            round_trip_ms=(None, 0.1, 12.0, 1e-7, 123456.789)[(number + place) % 5],
        )
        for number, job in enumerate(rows)
        for place in range(number % 4)
    ]
    await _add(house, steps)
    return rows


async def _gateways(house: House) -> tuple[list[models.Gateway], list[models.Job]]:
    rows = []
    for number, (provider, shown, hidden) in enumerate(
        (
            (
                "http",
                {"template": 'a="{body}" \\\\ \n ঢাকা', "url": "https://sms.example/"},
                {"token": "t", "password": "p"},
            ),
            ("smtp", {"host": "mail.example"}, {}),
            ("bank_transfer", {"bank": 'The "Bank"'}, {}),
            ("of another version", {"b": "2", "a": "1"}, {"x": "y"}),
        )
    ):
        key = ids.uuid7()
        kind = (GatewayKind.SMS, GatewayKind.EMAIL, GatewayKind.PAYMENT, GatewayKind.SMS)[number]
        sealed = gateways.sealed(factories.NETWORK_KEY, house.tenant.id, key, hidden)
        rows.append(
            models.Gateway(
                id=key,
                kind=kind,
                provider=provider,
                name=f'Account "{number}"',
                settings=shown,
                secrets=sealed,
                test_mode=number % 2 == 0,
                active=number != 1,
                position=5 - number,
                created_at=NOW,
                updated_at=NOW + timedelta(microseconds=number),
            )
        )
    await _add(house, rows)
    jobs = [
        models.Job(
            kind="gateway.test",
            status=JobStatus.SUCCEEDED,
            arguments={"gateway": str(row.id), "to": "+8801712345678"},
            created_at=NOW,
            next_attempt_at=NOW,
            message="taken",
        )
        for row in rows[:2]
    ]
    await _add(house, jobs)
    return rows, jobs


async def _drafts(
    land: Land,
    customers: list[models.Customer],
    packages: list[models.Package],
    zones: list[models.Zone],
    routers: list[models.Router],
    fields: list[models.CustomField],
) -> list[models.Draft]:
    house, operators = land.house, land.operators
    owners = [operators[name] for name in ("admin", "reseller", "sub", "seller", "rival")]
    connections: list[dict[str, object] | None] = [
        None,
        {"type": "PPPOE", "username": "jané\\", "profile": None},
        {"type": "HOTSPOT", "username": None, "mac_address": "AA:BB:CC:DD:EE:FF", "device_type": 'TV "set"'},
        {"type": "STATIC_IP", "username": None, "ip_address": "192.0.2.7", "subnet": "192.0.2.0/24"},
        {"type": "OTHER", "username": None, "configuration": "as \\ agreed"},
    ]
    blank = dict.fromkeys(
        ("username", "profile", "mac_address", "device_type", "ip_address", "subnet", "configuration")
    )
    rows = []
    for number in range(27):
        status = list(DraftStatus)[number % 6]
        chosen = connections[number % len(connections)]
        rows.append(
            models.Draft(
                id=ids.uuid7(),
                version=number + 1,
                status=status,
                current_step=list(WizardStep)[number % 7],
                completed_steps=[step.value for step in list(WizardStep)[: number % 7]],
                basics={"name": f"Draft {number} 😀", "mobile": "+8801700000000", "email": None}
                if number % 3
                else None,
                connection={**blank, **chosen} if chosen else None,
                password=b"sealed" if number % 5 == 1 else None,
                router_id=routers[0].id if number % 4 == 1 else None,
                package_id=packages[number % 4].id if number % 2 else None,
                package_price_minor=50_000 if number % 2 else None,
                address={"street": '1 "S"', "city": None, "state": "x", "postalCode": "1", "country": None}
                if number % 4
                else None,
                zone_id=zones[number % 4].id if number % 3 == 1 else None,
                custom_fields={str(fields[0].id): "odd \\ text", str(fields[1].id): 5} if number % 5 == 2 else None,
                payment={"amount_minor": 12345, "method": "CASH", "reference": None, "notes": "n"}
                if number % 3 == 2
                else None,
                created_by_id=owners[number % 5].id,
                # By whoever made it, or an admin: a rival cannot.
                modified_by_id=owners[0 if number % 2 else number % 5].id,
                created_at=NOW - timedelta(hours=number),
                updated_at=NOW - timedelta(minutes=number),
                # Some that nobody has cleaned are over.
                expires_at=NOW + timedelta(hours=12 - number),
                customer_id=customers[number].id if status is DraftStatus.COMPLETED and number < 24 else None,
            )
        )
    await _add(house, rows)
    log = [
        models.DraftLogEntry(
            id=ids.uuid7(),
            draft_id=draft.id,
            step=list(WizardStep)[place % 7],
            succeeded=place % 3 > 0,
            error=None if place % 3 else 'name: too "long"',
            at=NOW - timedelta(minutes=10 - place),
            by_id=owners[(number + place) % 5].id,
        )
        for number, draft in enumerate(rows)
        for place in range(number % 6)
    ]
    await _add(house, log)
    return rows


async def _accounting(
    superuser: str, customers: list[models.Customer], services: list[models.Service], routers: list[models.Router]
) -> list[Any]:
    tenant_id = services[0].tenant_id
    sessions, days, buckets = [], [], []
    for number, each in enumerate(services):
        for place in range(26 if number == 1 else number % 4):
            state = list(SessionState)[(number + place) % 3]
            started = NOW - timedelta(days=place * 3, hours=number, microseconds=place)
            sessions.append(
                (
                    ids.uuid7(), tenant_id, each.customer_id, each.id, routers[place % 2].id if place % 3 else None,
                    f"81{number:04}{place:02}\\\"", f"unique-{tenant_id.hex[:8]}-{number}-{place}", each.username,
                    each.connection_type, state, started, NOW - timedelta(minutes=place),
                    None if state is SessionState.OPEN else started + timedelta(hours=2),
                    7200 + place, 10**9 * place + 1, 2**45 + place, ADDRESSES[place % 5] if place % 4 else None,
                    "aa:bb:cc:dd:ee:0f" if place % 2 else None, "192.0.2.1" if place % 2 else None,
                    "User-Request" if state is SessionState.STOPPED else None,
                )
            )  # fmt: skip
        for place in range(number % 5):
            usage = (place * 1000 + number, 2**40 + place, 3600 * place)
            day = NOW.date() - timedelta(days=place * 9)
            days.append((tenant_id, each.id, day, each.customer_id, *usage))
            starts = NOW.replace(minute=0, second=0, microsecond=0) - timedelta(minutes=15 * place * number)
            buckets.append((tenant_id, each.id, starts, each.customer_id, *usage))
    # Only accounting writes these tables; the application may not.
    database = Database(superuser, pool_size=1)
    async with database.transaction(tenant_id) as session:
        for table, rows in ((models.Session, sessions), (models.UsageDay, days), (models.UsageBucket, buckets)):
            await session.execute(insert(table), [dict(zip(_COLUMNS[table], row, strict=True)) for row in rows])
    await database.dispose()
    assert len(customers) == len(NAMES)
    return [row[0] for row in sessions]


_USAGE = ("customer_id", "input_octets", "output_octets", "seconds")
_COLUMNS: dict[Any, tuple[str, ...]] = {
    models.Session: (
        *("id", "tenant_id", "customer_id", "service_id", "router_id", "acct_session_id", "unique_id", "username"),
        *("connection_type", "state", "started_at", "updated_at", "stopped_at", "duration_seconds"),
        *("input_octets", "output_octets", "ip_address", "mac_address", "nas_address", "terminate_cause"),
    ),
    models.UsageDay: ("tenant_id", "service_id", "day", *_USAGE),
    models.UsageBucket: ("tenant_id", "service_id", "starts_at", *_USAGE),
}
