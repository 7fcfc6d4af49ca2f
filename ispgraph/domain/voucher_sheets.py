"""Sheets of vouchers to be printed: links to them, and what stands on them.

Nothing of a sheet is kept: it is made when somebody opens the link, of the vouchers that nobody has redeemed by then.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import quote
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock
from ispgraph.domain import audit, links, vouchers
from ispgraph.domain.billing import papers, periods
from ispgraph.domain.billing.papers import Sender, Writing
from ispgraph.domain.errors import ErrorCode, fail, not_found
from ispgraph.domain.models import Package, Tenant, TenantLogo, Voucher, VoucherBatch
from ispgraph.domain.permissions import Viewer

LASTS = timedelta(hours=1)
"""So long a link is good: whoever has it can read the codes."""
PER_SHEET = 195
"""Eleven pages: made in a second or two."""
_FROM, _TO = "from", "to"


@dataclass(frozen=True, slots=True)
class Links:
    """Paths with queries where the sheets of a batch are, and until when."""

    batch: VoucherBatch
    paths: Sequence[str]
    until: datetime


@dataclass(frozen=True, slots=True)
class Card:
    """One voucher: what it is called by, its code, and the address that stands in the picture."""

    number: str
    code: str
    url: str


@dataclass(frozen=True, slots=True)
class Sheet:
    """Cards that say the same of what they are good for."""

    title: str
    dated: datetime
    locale: str
    sender: Sender
    facts: Sequence[str]
    cards: Sequence[Card]


async def links_of(session: AsyncSession, batch_id: UUID, *, token_key: bytes, by: Viewer) -> Links:
    """Where what nobody has redeemed of a batch can be printed. Raises DomainError NOT_FOUND, INVALID_STATE when it is
    still being made, or nothing of it is left."""
    rows = select(VoucherBatch).where(VoucherBatch.id == batch_id, vouchers.visible(by, VoucherBatch))
    batch = await session.scalar(rows)
    if batch is None:
        raise not_found("voucher batch", "batchId")
    if batch.made < batch.count and batch.cancelled_at is None:
        message = f"Of this batch {batch.made} of {batch.count} vouchers are made: wait for the others."
        raise fail(ErrorCode.INVALID_STATE, message, "batchId")
    now = clock.now()
    unused = select(Voucher.number).where(Voucher.batch_id == batch.id, vouchers.is_unused(Voucher, now))
    numbers = list(await session.scalars(unused.order_by(Voucher.number)))
    if not numbers:
        raise fail(ErrorCode.INVALID_STATE, "None of these vouchers can be redeemed any more.", "batchId")
    until = now + LASTS
    path = f"/downloads/vouchers/{batch.tenant_id.hex}/{batch.id.hex}.pdf"
    parts = [numbers[place : place + PER_SHEET] for place in range(0, len(numbers), PER_SHEET)]
    paths = [links.signed(token_key, path, {_FROM: str(part[0]), _TO: str(part[-1])}, until) for part in parts]
    audit.record(session, by=by, action="voucher_batch.print", subject_id=batch.id, details={"count": len(numbers)})
    return Links(batch, paths, until)


async def find(
    session: AsyncSession, batch_id: UUID, given: Mapping[str, str], *, network_key: bytes, origin: str
) -> Sheet | None:
    """What a link shows; None when nothing of it is left to be redeemed."""
    batch = await session.get(VoucherBatch, batch_id)
    if batch is None:
        return None
    rows = select(Voucher).where(
        Voucher.batch_id == batch.id,
        Voucher.number.between(int(given[_FROM]), int(given[_TO])),
        vouchers.is_unused(Voucher, clock.now()),
    )
    found = (await session.scalars(rows.order_by(Voucher.number))).all()
    if not found:
        return None
    tenant = await session.get_one(Tenant, batch.tenant_id)
    package = await session.get_one(Package, batch.package_id)
    logo = await session.scalar(select(TenantLogo.body).where(TenantLogo.tenant_id == tenant.id))
    writing = papers.writing(tenant)
    page = f"{origin}/hotspot/{tenant.slug}?code="
    codes = [vouchers.code_of(network_key, voucher) for voucher in found]
    return Sheet(
        title=f"Vouchers {package.name}",
        dated=batch.created_at,
        locale=writing.locale,
        sender=papers.sender(tenant, logo),
        facts=_facts(package, batch, writing),
        cards=[
            Card(f"No. {voucher.number}", code, page + quote(code)) for voucher, code in zip(found, codes, strict=True)
        ],
    )


def _facts(package: Package, batch: VoucherBatch, writing: Writing) -> list[str]:
    cycle = periods.cycle_of(package.billing_cycle, package.validity_days)
    facts = [package.name, cycle.words]
    if package.data_quota_bytes is not None:
        facts.append(_data(package.data_quota_bytes))
    if package.time_quota_seconds is not None:
        hours, minutes = divmod(package.time_quota_seconds // 60, 60)
        facts.append(f"{hours}:{minutes:02} hours on line")
    facts.append(f"{_rate(package.download_kbps)} / {_rate(package.upload_kbps)}")
    facts.append(writing.money(batch.price_minor))
    if batch.expires_at is not None:
        facts.append(f"Redeem by {papers.day(batch.expires_at.astimezone(writing.zone).date())}")
    return facts


def _data(octets: int) -> str:
    for size, name in ((10**9, "GB"), (10**6, "MB")):
        if octets >= size:
            return f"{octets * 10 // size / 10:g} {name}"
    return f"{octets} B"


def _rate(kbps: int) -> str:
    return f"{kbps / 1000:g} Mbit/s"
