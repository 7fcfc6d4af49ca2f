"""Human numbers without gaps: one counter row per tenant and series.

The row stays locked until the transaction ends, which is what makes a rolled back number come back; so a number is
taken as late as possible, and where one transaction takes several, in the order ACCOUNT, INV or CRN, PAY, TKT.
"""

from uuid import UUID

from sqlalchemy import literal
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph.domain.models import NumberSeries

ACCOUNT = "ACCOUNT"
ACCOUNT_BASE = 100_000
"""Account numbers begin after this one, so that all have six digits for a long time."""


async def take(session: AsyncSession, tenant_id: UUID, series: str) -> int:
    """The next number of a series; a series begins when it is first asked for."""
    return await take_many(session, tenant_id, series, 1)


async def take_many(session: AsyncSession, tenant_id: UUID, series: str, count: int) -> int:
    """The first of the next `count` numbers of a series."""
    base = ACCOUNT_BASE if series == ACCOUNT else 0
    statement = (
        insert(NumberSeries)
        .values(tenant_id=tenant_id, series=series, last=literal(base + count))
        .on_conflict_do_update(
            index_elements=[NumberSeries.tenant_id, NumberSeries.series], set_={"last": NumberSeries.last + count}
        )
        .returning(NumberSeries.last)
    )
    return (await session.execute(statement)).scalar_one() - count + 1


def account_number(prefix: str, number: int) -> str:
    """How account number `number` is written, after the tenant's prefix."""
    return f"{prefix}{number}"


def invoice_series(year: int) -> str:
    """The series of the invoices issued in a year of the tenant's calendar."""
    return f"INV-{year}"


def invoice_number(year: int, number: int) -> str:
    """How an invoice number is written: INV-2026-000123."""
    return f"{invoice_series(year)}-{number:06d}"


def credit_series(year: int) -> str:
    """The series of the credit notes issued in a year of the tenant's calendar."""
    return f"CRN-{year}"


def credit_number(year: int, number: int) -> str:
    """How a credit note number is written: CRN-2026-000001."""
    return f"{credit_series(year)}-{number:06d}"


def payment_series(year: int) -> str:
    """The series of the payments received in a year of the tenant's calendar."""
    return f"PAY-{year}"


def payment_number(year: int, number: int) -> str:
    """How a payment number is written: PAY-2026-000001."""
    return f"{payment_series(year)}-{number:06d}"


def ticket_series(year: int) -> str:
    """The series of the tickets opened in a year of the tenant's calendar."""
    return f"TKT-{year}"


def ticket_number(year: int, number: int) -> str:
    """How a ticket number is written: TKT-2026-000001."""
    return f"{ticket_series(year)}-{number:06d}"
