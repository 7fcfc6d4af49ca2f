"""A till: one tenant with customers, and the verbs that bill and take money, each in a transaction of its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock
from ispgraph.db import Database
from ispgraph.domain.billing import corrections, invoices, numbers, payments
from ispgraph.domain.models import (
    Customer,
    CustomerStatus,
    Invoice,
    Payment,
    PaymentCategory,
    PaymentMethod,
    Refund,
)
from ispgraph.domain.permissions import Viewer
from tests.factories import House


@dataclass
class Till:
    """Bills and takes money on behalf of the house's admin."""

    house: House
    by: Viewer

    @property
    def database(self) -> Database:
        return self.house.database

    async def customer(self) -> Customer:
        """A customer with the next account number, without services."""
        async with self.database.transaction(self.house.tenant.id) as session:
            number = await numbers.take(session, self.house.tenant.id, numbers.ACCOUNT)
            row = Customer(
                tenant_id=self.house.tenant.id,
                account_number=numbers.account_number(self.house.tenant.account_prefix, number),
                name=f"Customer {number}",
                mobile="+8801712345678",
                operator_id=self.house.admin.id,
                status=CustomerStatus.PENDING,
            )
            session.add(row)
        return row

    async def draft(self, session: AsyncSession, customer_id: UUID, *prices: int, rate: str = "0") -> Invoice:
        """A draft with a line for each price."""
        return await invoices.draft(
            session,
            tenant=self.house.tenant,
            customer_id=customer_id,
            service_id=None,
            lines=[invoices.Line(f"Line of {price}", price, Decimal(rate)) for price in prices],
            period_start=None,
            period_end=None,
        )

    async def bill(self, customer_id: UUID, *prices: int, rate: str = "0") -> Invoice:
        """An open invoice, committed."""
        async with self.database.transaction(self.house.tenant.id) as session:
            invoice = await self.draft(session, customer_id, *prices, rate=rate)
            return await invoices.open(session, invoice, tenant=self.house.tenant, at=clock.now(), by=self.by)

    async def take(
        self,
        session: AsyncSession,
        amount: int,
        *bills: Invoice,
        customer_id: UUID | None = None,
        **given: PaymentMethod,
    ) -> Payment:
        """A payment in the transaction at hand."""
        return await payments.record(
            session,
            tenant=self.house.tenant,
            customer_id=customer_id or bills[0].customer_id,
            amount_minor=amount,
            method=given.get("method", PaymentMethod.CASH),
            category=PaymentCategory.SERVICE,
            reference=None,
            notes=None,
            at=clock.now(),
            by=self.by,
            invoices=bills,
        )

    async def pay(self, amount: int, *bills: Invoice, customer_id: UUID | None = None) -> Payment:
        """A payment, committed."""
        async with self.database.transaction(self.house.tenant.id) as session:
            return await self.take(session, amount, *bills, customer_id=customer_id)

    async def refund(self, payment: Payment, amount: int | None = None) -> Refund:
        """A refund, committed."""
        async with self.database.transaction(self.house.tenant.id) as session:
            row = await session.get_one(Payment, payment.id)
            currency = self.house.tenant.currency
            return await corrections.refund(
                session, row, amount, reason="Asked for", currency=currency, at=clock.now(), by=self.by
            )

    async def spend(self, most: int, *bills: Invoice) -> Payment | None:
        """A payment from the wallet, committed."""
        async with self.database.transaction(self.house.tenant.id) as session:
            return await payments.from_wallet(
                session,
                tenant=self.house.tenant,
                customer_id=bills[0].customer_id,
                invoices=bills,
                at=clock.now(),
                by=self.by,
                most_minor=most,
            )

    async def void(self, invoice: Invoice) -> None:
        """An invoice taken back, committed."""
        async with self.database.transaction(self.house.tenant.id) as session:
            row = await session.get_one(Invoice, invoice.id)
            await corrections.void(session, row, reason="Wrong", at=clock.now(), by=self.by)

    async def again(self, rows: Sequence[Invoice]) -> list[Invoice]:
        """The invoices as they stand in the database now."""
        async with self.database.read(self.house.tenant.id) as session:
            return [await session.get_one(Invoice, row.id) for row in rows]


@pytest.fixture
async def till(house: House) -> Till:
    """The till of `house`."""
    return Till(house, await house.viewer())
