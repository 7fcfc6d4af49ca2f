"""Money for the provider's own vouchers, which their sellers hand in.

It is booked when somebody says that it came, by which method and to whom, as all money is, and not when a voucher is
redeemed: that comes days later or never, nobody at a portal says who took the money, and some are given away. What is
redeemed before its money is here stands in the account VOUCHERS above zero, as what sellers are still to hand in; what
was sold and is still to be redeemed stands there below zero, as what is owed to its holders. A sale is no payment of a
customer, because nobody knows who will redeem it; revenue and tax are booked then, as for resellers' vouchers.
"""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock
from ispgraph.domain import audit, idempotency, vouchers
from ispgraph.domain.billing import ledger, payments
from ispgraph.domain.errors import ErrorCode, Faults, fail
from ispgraph.domain.models import Account, Package, PaymentMethod, VoucherBatch
from ispgraph.domain.onboarding import answers
from ispgraph.domain.permissions import Viewer

SALE = "voucherBatchRecordSale"


@dataclass(frozen=True, slots=True)
class Sale:
    """Money for so many vouchers of a batch, or, below zero, given back for so many; as typed."""

    batch_id: UUID
    count: int
    method: PaymentMethod
    reference: str | None


async def record(session: AsyncSession, sale: Sale, *, idempotency_key: str | None, by: Viewer) -> VoucherBatch:
    """Book what was taken for vouchers at what they are worth.

    Raises DomainError NOT_FOUND, INVALID_STATE for those that a reseller has paid for, or that are worth nothing,
    INVALID for more than there are of the batch, or more given back than was taken.
    """
    faults = Faults("input")
    reference = answers.optional(faults, sale.reference, 100, "reference")
    if sale.count == 0:
        faults.add(ErrorCode.INVALID, "This must not be zero.", "count")
    if sale.method in payments.NOT_RECEIVED:
        faults.add(ErrorCode.INVALID, f"No money comes in by {sale.method.value}.", "method")
    faults.raise_if_any()
    given = {"batch": sale.batch_id, "count": sale.count, "method": sale.method.value, "reference": reference}
    first = await idempotency.claim(session, by=by, operation=SALE, key=idempotency_key, given=given)
    batch = await vouchers.locked(session, sale.batch_id, by, "input", "batchId")
    if first is not None:
        return batch
    if batch.paid_by_id is not None or batch.price_minor == 0:
        message = "These are worth nothing." if batch.price_minor == 0 else "A reseller has paid for these."
        raise fail(ErrorCode.INVALID_STATE, message, "input", "batchId")
    if not 0 <= batch.sold + sale.count <= batch.count:
        message = f"Of {batch.count} vouchers {batch.sold} are paid for."
        raise fail(ErrorCode.INVALID, message, "input", "count")
    batch.sold += sale.count
    package = await session.get_one(Package, batch.package_id)
    done = "sold" if sale.count > 0 else "taken back"
    minor = batch.price_minor * sale.count
    await ledger.post(
        session,
        tenant_id=batch.tenant_id,
        description=f"{abs(sale.count)} vouchers of {package.name} {done}" + (f", {reference}" if reference else ""),
        postings=[
            ledger.Entry(Account.CASH, minor, method=sale.method),
            ledger.Entry(Account.VOUCHERS, -minor),
        ],
        at=clock.now(),
        by=by,
    )
    details = {"count": sale.count, "amount_minor": minor, "method": sale.method.value, "reference": reference}
    audit.record(session, by=by, action="voucher_batch.sell", subject_id=batch.id, details=details)
    await idempotency.keep(session, by=by, operation=SALE, key=idempotency_key, answer={"batch": str(batch.id)})
    await session.flush()
    return batch
