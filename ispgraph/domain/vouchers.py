"""Vouchers: made in batches, cancelled, found by their codes.

A voucher is worth what its package cost, tax included, when it was made. The provider's own cost nothing when they are
made: what their sellers hand in for them is booked when it comes (`voucher_sales`). Those of a reseller are
paid for from the reseller's wallet at once, and what is cancelled of them, expired or not, goes back there. Revenue,
tax and commission are booked when a voucher is redeemed, by an invoice over what it is worth (`hotspot`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    CursorResult,
    String,
    and_,
    any_,
    case,
    false,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock, ids
from ispgraph.domain import audit, customers, idempotency, jobs, secrets, voucher_codes
from ispgraph.domain.billing import invoices, operator_wallets, overrides
from ispgraph.domain.billing.invoices import Line
from ispgraph.domain.errors import ErrorCode, Faults, fail, not_found
from ispgraph.domain.models import (
    ConnectionType,
    Job,
    Package,
    Tenant,
    Voucher,
    VoucherBatch,
    VoucherStatus,
)
from ispgraph.domain.models.base import names
from ispgraph.domain.onboarding import answers
from ispgraph.domain.pages import newest_first
from ispgraph.domain.permissions import Permission, Viewer, in_scope

CREATE = "voucherCreateBatch"
MOST = 10_000
"""So many vouchers a batch may have."""
AT_ONCE = 100
"""So many are made while one waits; a job makes more."""
CHUNK = 500
NEWEST = newest_first("vouchers", Voucher.id)
NEWEST_BATCHES = newest_first("voucher-batches", VoucherBatch.id)
_ENDED = {
    VoucherStatus.REDEEMED: "This voucher was redeemed already.",
    VoucherStatus.CANCELLED: "This voucher was cancelled.",
    VoucherStatus.EXPIRED: "This voucher has expired.",
}


@dataclass(frozen=True, slots=True)
class Wish:
    """The vouchers that somebody wants, as typed."""

    package_id: UUID
    count: int
    prefix: str | None
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Made:
    """A batch with its vouchers when they were made at once, else with the job that makes them."""

    batch: VoucherBatch
    vouchers: Sequence[Voucher]
    job: Job | None = None


# -- what can be seen


def visible(by: Viewer, batch: Any) -> ColumnElement[bool]:
    """Batches that somebody of the viewer's subtree has made."""
    return in_scope(by, batch.created_by_id)


def in_batches(by: Viewer, voucher: Any) -> ColumnElement[bool]:
    """Vouchers of those."""
    found: ColumnElement[bool] = voucher.batch_id.in_(select(VoucherBatch.id).where(visible(by, VoucherBatch)))
    return found


def visible_voucher(by: Viewer, voucher: Any) -> ColumnElement[bool]:
    """The same, and what the viewer's customers have redeemed, for whoever may look at either. Codes are another
    matter."""
    if not (by.may(Permission.MANAGE_VOUCHERS) or by.may(Permission.VIEW_CUSTOMERS)):
        return false()
    redeemed = and_(voucher.redeemed_by_id.is_not(None), customers.belonging(by, voucher.redeemed_by_id))
    return or_(in_batches(by, voucher), redeemed)


def status_at(voucher: Any, now: Any) -> ColumnElement[Any]:
    """How a voucher stands at a moment, by SQL."""
    known: Any = names(VoucherStatus, checked=False)
    found = case(
        (voucher.redeemed_at.is_not(None), literal(VoucherStatus.REDEEMED.value, String())),
        (voucher.cancelled_at.is_not(None), VoucherStatus.CANCELLED.value),
        (voucher.expires_at <= now, VoucherStatus.EXPIRED.value),
        else_=VoucherStatus.UNUSED.value,
    )
    return func.coalesce(found, type_=known)


def is_any(voucher: Any, now: Any, statuses: Any) -> ColumnElement[bool]:
    """Whether a voucher has one of these, an array of texts."""
    found: ColumnElement[bool] = func.coalesce(status_at(voucher, now), type_=String()) == any_(statuses)
    return found


def is_unused(voucher: Any, now: datetime) -> ColumnElement[bool]:
    """Whether a voucher can be redeemed."""
    found: ColumnElement[bool] = func.coalesce(status_at(voucher, now), type_=String()) == VoucherStatus.UNUSED.value
    return found


def status(voucher: Voucher, now: datetime) -> VoucherStatus:
    """The same."""
    if voucher.redeemed_at is not None:
        return VoucherStatus.REDEEMED
    if voucher.cancelled_at is not None:
        return VoucherStatus.CANCELLED
    over = voucher.expires_at is not None and voucher.expires_at <= now
    return VoucherStatus.EXPIRED if over else VoucherStatus.UNUSED


def redeemed_count(batch: Any) -> ColumnElement[int]:
    """How many vouchers of a batch were redeemed."""
    rows = select(func.count()).where(Voucher.batch_id == batch.id, Voucher.redeemed_at.is_not(None))
    return rows.correlate_except(Voucher).scalar_subquery()


def code_of(network_key: bytes, voucher: Voucher) -> str:
    """The code as people write it. Raises secrets.BadSecret when it was sealed with another key."""
    return secrets.unseal(network_key, voucher.code, secrets.voucher_code(voucher.tenant_id, voucher.id))


# -- making them


async def create(
    session: AsyncSession, wish: Wish, *, network_key: bytes, idempotency_key: str | None, by: Viewer
) -> Made:
    """Make vouchers for a package that is sold for hotspots.

    Raises DomainError with everything that is wrong; INSUFFICIENT_FUNDS when a reseller's wallet does not cover them.
    """
    faults = Faults("input")
    now = clock.now()
    prefix = _prefix(faults, wish.prefix)
    if not 1 <= wish.count <= MOST:
        faults.add(ErrorCode.INVALID, f"This must be from 1 to {MOST}.", "count")
    if wish.expires_at is not None and wish.expires_at <= now:
        faults.add(ErrorCode.INVALID, "This must be in the future; leave it out for vouchers that last.", "expiresAt")
    faults.raise_if_any()
    given = {"package": wish.package_id, "count": wish.count, "prefix": prefix, "expires": wish.expires_at}
    first = await idempotency.claim(session, by=by, operation=CREATE, key=idempotency_key, given=given)
    if first is not None:
        return await _again(session, UUID(str(first["batch"])), first.get("job"))
    package = await session.get(Package, wish.package_id)
    if package is None:
        raise not_found("package", "input", "packageId")
    if not package.active:
        faults.add(ErrorCode.INVALID_STATE, f"The package {package.name} is not sold any more.", "packageId")
    answers.fits(faults, package, ConnectionType.HOTSPOT, "packageId")
    faults.raise_if_any()
    batch = VoucherBatch(
        id=ids.uuid7(),
        tenant_id=by.tenant_id,
        package_id=package.id,
        count=wish.count,
        made=0,
        prefix=prefix,
        price_minor=await _worth_minor(session, package, now, by),
        paid_by_id=by.scope_id,
        returned=0,
        expires_at=wish.expires_at,
        created_at=now,
        created_by_id=by.operator_id,
    )
    if by.scope_id is not None:
        told, field = f"{wish.count} vouchers of {package.name}", ("input", "count")
        cost = batch.price_minor * batch.count
        await operator_wallets.for_vouchers(session, by.scope_id, -cost, told=told, by=by, at=field)
    session.add(batch)
    await session.flush()
    job = None
    if batch.count <= AT_ONCE:
        await make(session, batch, batch.count, network_key)
    else:
        arguments: dict[str, object] = {"batch": str(batch.id)}
        job = await jobs.enqueue(session, jobs.VOUCHERS, tenant_id=by.tenant_id, by=by.operator_id, arguments=arguments)
    details = {"package": str(package.id), "count": batch.count, "price_minor": batch.price_minor, "prefix": prefix}
    audit.record(session, by=by, action="voucher_batch.create", subject_id=batch.id, details=details)
    answer = {"batch": str(batch.id)} | ({"job": str(job.id)} if job else {})
    await idempotency.keep(session, by=by, operation=CREATE, key=idempotency_key, answer=answer)
    return Made(batch, await _of_batch(session, batch) if job is None else [], job)


async def make(session: AsyncSession, batch: VoucherBatch, many: int, network_key: bytes) -> None:
    """So many more of a locked batch, or as many as it still wants."""
    first, last = batch.made + 1, min(batch.made + many, batch.count)
    if last >= first:
        await session.execute(insert(Voucher), [_row(batch, number, network_key) for number in range(first, last + 1)])
        batch.made = last
        await session.flush()


def _row(batch: VoucherBatch, number: int, network_key: bytes) -> dict[str, object]:
    key, code = ids.uuid7(), voucher_codes.generate()
    written = voucher_codes.written(code, batch.prefix)
    return {
        "id": key,
        "tenant_id": batch.tenant_id,
        "batch_id": batch.id,
        "number": number,
        "package_id": batch.package_id,
        "lookup": voucher_codes.lookup(network_key, batch.tenant_id, code),
        "code": secrets.seal(network_key, written, secrets.voucher_code(batch.tenant_id, key)),
        "expires_at": batch.expires_at,
        "created_at": batch.created_at,
    }


async def _worth_minor(session: AsyncSession, package: Package, at: datetime, by: Viewer) -> int:
    tenant = await session.get_one(Tenant, by.tenant_id)
    sold = await overrides.sold(session, package, tenant, operator_id=by.operator_id, customer_id=None, at=at)
    line = Line(package.name, sold.price_minor, sold.tax_rate, tax_included=sold.tax_included)
    return invoices.amounts([line]).total_minor


def _prefix(faults: Faults, raw: str | None) -> str | None:
    if raw is None or not raw.strip():
        return None
    prefix = raw.strip().upper()
    if not voucher_codes.PREFIX.fullmatch(prefix):
        faults.add(ErrorCode.INVALID, "A prefix has 1 to 8 letters and digits.", "prefix")
    return prefix


async def _again(session: AsyncSession, batch_id: UUID, job_id: object) -> Made:
    batch = await session.get_one(VoucherBatch, batch_id)
    if job_id is not None:
        return Made(batch, [], await session.get_one(Job, UUID(str(job_id))))
    return Made(batch, await _of_batch(session, batch))


async def _of_batch(session: AsyncSession, batch: VoucherBatch) -> Sequence[Voucher]:
    rows = select(Voucher).where(Voucher.batch_id == batch.id).order_by(Voucher.number)
    return (await session.scalars(rows)).all()


# -- taking them back


async def cancel(session: AsyncSession, voucher_id: UUID, *, by: Viewer) -> tuple[VoucherBatch, Voucher]:
    """Nobody can redeem a voucher any more. Raises DomainError NOT_FOUND, NO_CHANGE when it is cancelled already,
    INVALID_STATE when it was redeemed."""
    found = await session.scalar(select(Voucher.batch_id).where(Voucher.id == voucher_id, in_batches(by, Voucher)))
    if found is None:
        raise not_found("voucher", "voucherId")
    # The batch before its vouchers, as whoever cancels all of them does.
    batch = await locked(session, found, by, "voucherId")
    voucher = (await session.scalars(select(Voucher).where(Voucher.id == voucher_id).with_for_update())).one()
    if voucher.cancelled_at is not None:
        raise fail(ErrorCode.NO_CHANGE, "This voucher is cancelled already.", "voucherId")
    if voucher.redeemed_at is not None:
        raise fail(ErrorCode.INVALID_STATE, _ENDED[VoucherStatus.REDEEMED], "voucherId")
    voucher.cancelled_at = clock.now()
    await _return(session, batch, 1, by)
    audit.record(session, by=by, action="voucher.cancel", subject_id=voucher.id, details={"batch": str(batch.id)})
    return batch, voucher


async def cancel_batch(session: AsyncSession, batch_id: UUID, *, by: Viewer) -> VoucherBatch:
    """Cancel what was not redeemed of a batch; what is still to be made of it is not made. Raises DomainError
    NOT_FOUND, NO_CHANGE when it is cancelled already, INVALID_STATE when nothing of it is left."""
    batch = await locked(session, batch_id, by, "batchId")
    if batch.cancelled_at is not None:
        raise fail(ErrorCode.NO_CHANGE, "This batch is cancelled already.", "batchId")
    now = clock.now()
    left = update(Voucher).where(
        Voucher.batch_id == batch.id, Voucher.redeemed_at.is_(None), Voucher.cancelled_at.is_(None)
    )
    done = await session.execute(left.values(cancelled_at=now).execution_options(synchronize_session=False))
    assert isinstance(done, CursorResult)
    many = done.rowcount + batch.count - batch.made
    if many == 0:
        raise fail(ErrorCode.INVALID_STATE, "Every voucher of this batch was redeemed or cancelled.", "batchId")
    batch.cancelled_at = now
    await _return(session, batch, many, by)
    audit.record(session, by=by, action="voucher_batch.cancel", subject_id=batch.id, details={"cancelled": many})
    return batch


async def locked(session: AsyncSession, batch_id: UUID, by: Viewer, *field: str) -> VoucherBatch:
    """A visible batch, locked. Raises DomainError NOT_FOUND at the path `field`."""
    rows = select(VoucherBatch).where(VoucherBatch.id == batch_id, visible(by, VoucherBatch))
    batch = await session.scalar(rows.with_for_update(key_share=True).execution_options(populate_existing=True))
    if batch is None:
        raise not_found("voucher batch", *field)
    return batch


async def _return(session: AsyncSession, batch: VoucherBatch, many: int, by: Viewer) -> None:
    batch.returned += many
    if batch.paid_by_id is not None:
        package = await session.get_one(Package, batch.package_id)
        told = f"{many} vouchers of {package.name} given back"
        minor = batch.price_minor * many
        await operator_wallets.for_vouchers(session, batch.paid_by_id, minor, told=told, by=by, at=("voucherId",))
    await session.flush()


# -- redeeming one


async def held(
    session: AsyncSession, typed: str, *, tenant_id: UUID, network_key: bytes, at: tuple[str, ...]
) -> tuple[Voucher, VoucherBatch]:
    """The voucher that a code is of, which can be redeemed, locked: of many at once one has it, and the others hear how
    that ended. Raises DomainError NOT_FOUND, INVALID_STATE at the path `at`."""
    code = voucher_codes.read(typed)
    # What is none is looked for as well, so that it takes as long to be told.
    keys = voucher_codes.lookups(network_key, tenant_id, code or "")
    voucher = await session.scalar(select(Voucher).where(Voucher.lookup.in_(keys)).with_for_update())
    if voucher is None or code is None:
        raise fail(ErrorCode.NOT_FOUND, "There is no voucher with this code.", *at)
    stands = status(voucher, clock.now())
    if stands is not VoucherStatus.UNUSED:
        raise fail(ErrorCode.INVALID_STATE, _ENDED[stands], *at)
    return voucher, await session.get_one(VoucherBatch, voucher.batch_id)
