"""Books of many months, kept by the product and, beside it, by a few lists: what reports are compared with."""

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from random import Random
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from ispgraph.domain.billing import corrections, invoices, payments
from ispgraph.domain.models import (
    Customer,
    CustomerStatus,
    Invoice,
    Operator,
    Payment,
    PaymentCategory,
    PaymentMethod,
)
from ispgraph.domain.permissions import Viewer
from tests.factories import House

RATES = ("0", "5", "15")
METHODS = (PaymentMethod.CASH, PaymentMethod.CARD, PaymentMethod.BANK_TRANSFER)


@dataclass
class Bill:
    """An invoice as the lists know it."""

    row: Invoice
    due: int
    net_by_rate: dict[Decimal, int]
    tax_by_rate: dict[Decimal, int]
    void: bool = False


@dataclass
class Paid:
    """A payment as the lists know it: what is left of it, and what of that settles which invoice, the last first."""

    row: Payment
    left: int
    shares: list[tuple[UUID, int]]


@dataclass
class Walk:
    """Walks through time and keeps books. `earned` has an entry for each rate of an invoice."""

    house: House
    people: list[Viewer]
    customers: list[Customer]
    random: Random
    at: datetime
    bills: dict[UUID, Bill] = field(default_factory=dict)
    paid: dict[UUID, Paid] = field(default_factory=dict)
    wallet: dict[UUID, int] = field(default_factory=lambda: defaultdict(int))
    earned: list[tuple[datetime, UUID, str, Decimal, int, int]] = field(default_factory=list)
    """At, customer, invoiced or voided, rate, net, tax."""
    cash: list[tuple[datetime, UUID, UUID, PaymentMethod, int]] = field(default_factory=list)
    """At, customer, operator, method, amount."""
    states: list[tuple[datetime, dict[UUID, int]]] = field(default_factory=list)
    """What was due of each invoice from an instant on."""

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.house.tenant.time_zone)

    def day(self, at: datetime) -> date:
        """Which day of the tenant's an instant is."""
        return at.astimezone(self.zone).date()

    async def step(self) -> None:
        """One thing, some time later; often right where a day begins."""
        self._later()
        open_bills = [bill for bill in self.bills.values() if not bill.void and bill.due]
        known = [bill for bill in self.bills.values() if not bill.void]
        some_paid = [paid for paid in self.paid.values() if paid.left]
        what = self.random.choice(("bill", "bill", "bill", "pay", "pay", "pay", "wallet", "refund", "void"))
        if what == "pay" and open_bills:
            await self._pay(self.random.choice(open_bills))
        elif what == "wallet" and open_bills:
            await self._spend(self.random.choice(open_bills))
        elif what == "refund" and some_paid:
            await self._refund(self.random.choice(some_paid))
        elif what == "void" and known:
            await self._void(self.random.choice(known))
        else:
            await self._bill(self.random.choice(self.customers))
        due = {key: bill.due for key, bill in self.bills.items() if bill.due}
        self.states.append((self.at, due))

    def _later(self) -> None:
        self.at += timedelta(seconds=self.random.randrange(1, 20 * 86400))
        if self.random.random() < 0.5:
            midnight = datetime.combine(self.day(self.at) + timedelta(days=1), time(), self.zone).astimezone(UTC)
            self.at = midnight + self.random.choice((timedelta(0), timedelta(microseconds=-1)))

    async def _bill(self, customer: Customer) -> None:
        lines = [
            invoices.Line(f"Line {number}", self.random.randrange(1, 20_000), Decimal(self.random.choice(RATES)))
            for number in range(self.random.randrange(1, 4))
        ]
        tenant = self.house.tenant
        async with self.house.database.transaction(tenant.id) as session:
            row = await invoices.draft(
                session,
                tenant=tenant,
                customer_id=customer.id,
                service_id=None,
                lines=lines,
                period_start=None,
                period_end=None,
            )
            row = await invoices.open(session, row, tenant=tenant, at=self.at, by=self.people[0])
        bill = self.bills[row.id] = Bill(row, row.total_minor, defaultdict(int), defaultdict(int))
        for line in lines:
            bill.net_by_rate[line.tax_rate] += line.amount_minor
            bill.tax_by_rate[line.tax_rate] += line.tax_minor
        self._note(bill, "invoiced")

    def _note(self, bill: Bill, what: str) -> None:
        for rate, net in bill.net_by_rate.items():
            self.earned.append((self.at, bill.row.customer_id, what, rate, net, bill.tax_by_rate[rate]))

    async def _pay(self, bill: Bill) -> None:
        by, method = self.random.choice(self.people), self.random.choice(METHODS)
        amount = self.random.choice((bill.due, max(1, bill.due // 2), bill.due + 500))
        async with self.house.database.transaction(self.house.tenant.id) as session:
            row = await payments.record(
                session,
                tenant=self.house.tenant,
                customer_id=bill.row.customer_id,
                amount_minor=amount,
                method=method,
                category=PaymentCategory.SERVICE,
                reference=None,
                notes=None,
                at=self.at,
                by=by,
                invoices=[await session.get_one(Invoice, bill.row.id)],
            )
        part = min(amount, bill.due)
        bill.due -= part
        self.wallet[row.customer_id] += amount - part
        self.paid[row.id] = Paid(row, amount, [(bill.row.id, part)])
        self.cash.append((self.at, row.customer_id, by.operator_id, method, amount))

    async def _spend(self, bill: Bill) -> None:
        async with self.house.database.transaction(self.house.tenant.id) as session:
            row = await payments.from_wallet(
                session,
                tenant=self.house.tenant,
                customer_id=bill.row.customer_id,
                invoices=[await session.get_one(Invoice, bill.row.id)],
                at=self.at,
                by=self.random.choice(self.people),
            )
        part = min(self.wallet[bill.row.customer_id], bill.due)
        assert (row is None) == (part == 0)
        if row is not None:
            bill.due -= part
            self.wallet[row.customer_id] -= part
            self.paid[row.id] = Paid(row, part, [(bill.row.id, part)])

    async def _refund(self, paid: Paid) -> None:
        settled = sum(part for _, part in paid.shares)
        owner, by_wallet = paid.row.customer_id, paid.row.method is PaymentMethod.WALLET
        held = 0 if by_wallet else min(paid.left - settled, self.wallet[owner])
        most = settled + held
        if most == 0:
            return
        amount, by = self.random.choice((most, max(1, most // 3))), self.random.choice(self.people)
        async with self.house.database.transaction(self.house.tenant.id) as session:
            row = await session.get_one(Payment, paid.row.id)
            await corrections.refund(session, row, amount, reason="Asked for", currency="USD", at=self.at, by=by)
        paid.left -= amount
        if by_wallet:
            self.wallet[owner] += amount
        else:
            self.cash.append((self.at, owner, by.operator_id, paid.row.method, -amount))
        from_wallet = min(amount, held)
        self.wallet[owner] -= from_wallet
        amount -= from_wallet
        for place, (key, part) in enumerate(paid.shares):
            taken = min(amount, part)
            amount -= taken
            self.bills[key].due += taken
            paid.shares[place] = (key, part - taken)

    async def _void(self, bill: Bill) -> None:
        async with self.house.database.transaction(self.house.tenant.id) as session:
            row = await session.get_one(Invoice, bill.row.id)
            await corrections.void(session, row, reason="Wrong", at=self.at, by=self.people[0])
        bill.void, bill.due = True, 0
        self._note(bill, "voided")
        for paid in self.paid.values():
            back = sum(part for key, part in paid.shares if key == bill.row.id)
            paid.shares = [share for share in paid.shares if share[0] != bill.row.id]
            self.wallet[bill.row.customer_id] += back
            if back and paid.row.method is PaymentMethod.WALLET and not any(part for _, part in paid.shares):
                paid.left = 0

    def owed_on(self, on: date) -> dict[UUID, int]:
        """What was due of each invoice when a day ended."""
        end = datetime.combine(on + timedelta(days=1), time(), self.zone).astimezone(UTC)
        return next((state for at, state in reversed(self.states) if at < end), {})


async def customer_of(house: House, operator: Operator, number: int) -> Customer:
    """A customer of an operator, without services."""
    row = Customer(
        account_number=f"R{number:05}",
        name=f"Customer {number}",
        mobile="+8801712345678",
        operator_id=operator.id,
        status=CustomerStatus.PENDING,
    )
    await house.add(row)
    return row


def money(minor: int) -> dict[str, Any]:
    """An amount as the API shows it."""
    return {"amount": str(Decimal(minor).scaleb(-2))}
