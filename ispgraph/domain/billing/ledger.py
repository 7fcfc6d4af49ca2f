"""The double-entry ledger: journals whose postings sum to zero, only ever added, and the balances that follow."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from sqlalchemy import ColumnElement, Label, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from ispgraph.domain.models import Account, CustomerBalance, Journal, PaymentMethod, Posting
from ispgraph.domain.pages import newest_first


class Actor(Protocol):
    """With whom a journal counts."""

    @property
    def operator_id(self) -> UUID:
        """Who it is."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One side of a journal to be posted: debits above zero, credits below."""

    account: Account
    amount_minor: int
    customer_id: UUID | None = None
    method: PaymentMethod | None = None
    operator_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """What a journal is to tell: its postings, and what gave cause to it."""

    description: str
    postings: Sequence[Entry]
    invoice_id: UUID | None = None
    payment_id: UUID | None = None
    refund_id: UUID | None = None

    @property
    def entries(self) -> Sequence[Entry]:
        """The postings that are not zero."""
        return [entry for entry in self.postings if entry.amount_minor != 0]


@dataclass(frozen=True, slots=True)
class Balance:
    """What a customer has with us and owes us, in minor units."""

    wallet_minor: int = 0
    receivable_minor: int = 0

    @property
    def balance_minor(self) -> int:
        """Above zero is credit, below zero is debt."""
        return self.wallet_minor - self.receivable_minor


async def post(
    session: AsyncSession,
    *,
    tenant_id: UUID,
    description: str,
    postings: Iterable[Entry],
    at: datetime,
    invoice_id: UUID | None = None,
    payment_id: UUID | None = None,
    refund_id: UUID | None = None,
    by: Actor | None,
) -> Journal:
    """Add a journal. Entries of zero are left out. Raises ValueError when the rest is empty or does not balance;
    PostgreSQL checks the balance again at commit."""
    event = Event(description, list(postings), invoice_id, payment_id, refund_id)
    (journal,) = await post_all(session, [event], tenant_id=tenant_id, at=at, by=by)
    return journal


async def post_all(
    session: AsyncSession, events: Sequence[Event], *, tenant_id: UUID, at: datetime, by: Actor | None
) -> Sequence[Journal]:
    """Add a journal for each of these, in as few statements as for one; as `post`."""
    journals = []
    for event in events:
        if not event.entries or sum(entry.amount_minor for entry in event.entries) != 0:
            raise ValueError(f"not a balanced journal: {event.entries}")
        journal = Journal(tenant_id=tenant_id, at=at, description=event.description[:300])
        journal.invoice_id, journal.payment_id, journal.refund_id = event.invoice_id, event.payment_id, event.refund_id
        journal.by_id = by.operator_id if by else None
        journals.append(journal)
    session.add_all(journals)
    await session.flush()
    session.add_all(
        Posting(
            tenant_id=tenant_id,
            journal_id=journal.id,
            account=entry.account,
            amount_minor=entry.amount_minor,
            customer_id=entry.customer_id,
            method=entry.method,
            operator_id=entry.operator_id,
        )
        for journal, event in zip(journals, events, strict=True)
        for entry in event.entries
    )
    await session.flush()
    return journals


async def balances(session: AsyncSession, customer_ids: Sequence[UUID]) -> dict[UUID, Balance]:
    """The balance of each customer, zero for one without postings."""

    def net(account: Account) -> Label[int]:
        total = func.sum(Posting.amount_minor).filter(Posting.account == account)
        return func.coalesce(total, 0).label(account.value.lower())

    statement = (
        select(Posting.customer_id, net(Account.WALLET), net(Account.RECEIVABLE))
        .where(Posting.customer_id.in_(customer_ids))
        .group_by(Posting.customer_id)
    )
    # The sum of bigints is numeric in PostgreSQL.
    found = {
        row.customer_id: Balance(-int(row.wallet), int(row.receivable)) for row in await session.execute(statement)
    }
    return {customer_id: found.get(customer_id, Balance()) for customer_id in customer_ids}


NEWEST = newest_first("ledger", Posting.id)


def running_balance_minor(posting: Any) -> ColumnElement[int]:
    """The balance of the customer just after a posting; as `Balance.balance_minor`."""
    earlier = aliased(Posting)
    return (
        select(-func.sum(earlier.amount_minor))
        .where(earlier.customer_id == posting.customer_id, earlier.id <= posting.id)
        .scalar_subquery()
    )


def kept(customer: Any, name: str) -> ColumnElement[int]:
    """`balance_minor`, `receivable_minor` or `wallet_minor` of a customer, kept by triggers with each posting."""
    return select(getattr(CustomerBalance, name)).where(CustomerBalance.customer_id == customer.id).scalar_subquery()
