"""What came in and what was given back, as the account CASH of the ledger has it."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import BigInteger, and_, cast, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph.domain import customers
from ispgraph.domain.models import Account, Journal, Payment, PaymentMethod, Posting
from ispgraph.domain.reports.periods import Asker, Stretch, answer


@dataclass(frozen=True, slots=True)
class Takings:
    """Money that one operator received and gave back by one method in one period; `place` is that of the period. A
    refund counts with whoever gave it back, when that was. Without an operator: what came by itself."""

    place: int
    operator_id: UUID | None
    method: PaymentMethod
    payments: int
    received_minor: int
    refunds: int
    refunded_minor: int

    @property
    def net_minor(self) -> int:
        """What is left: the movement of the account CASH."""
        return self.received_minor - self.refunded_minor


async def takings(session: AsyncSession, stretch: Stretch, by: Asker) -> Sequence[Takings]:
    """What each operator took by each method in each period, in this order, where there was anything."""
    # A refund that did not come about comes off the others on the day when that was known.
    undone = and_(Posting.amount_minor > 0, Journal.refund_id.is_not(None))
    received, refunded = and_(Posting.amount_minor > 0, Journal.refund_id.is_(None)), Posting.amount_minor < 0
    place = stretch.place(Journal.at).label("place")
    keys = (place, Journal.by_id, Posting.method)
    rows = (
        select(
            *keys,
            func.count().filter(received),
            cast(func.coalesce(func.sum(Posting.amount_minor).filter(received), 0), BigInteger),
            func.count().filter(refunded) - func.count().filter(undone),
            cast(func.coalesce(func.sum(-Posting.amount_minor).filter(or_(refunded, undone)), 0), BigInteger),
        )
        .join_from(Journal, Posting, Posting.journal_id == Journal.id)
        .where(stretch.within(Journal.at), Posting.account == Account.CASH)
        .group_by(*keys)
        .order_by(*keys)
    )
    if by.scope_id is not None:
        own = select(Payment.id).where(customers.belonging(by, Payment.customer_id))
        rows = rows.where(Journal.payment_id.in_(own))
    return [Takings(*row) for row in await answer(session, rows)]
