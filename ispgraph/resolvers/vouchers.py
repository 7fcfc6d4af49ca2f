"""Vouchers."""

from typing import Any

import strawberry

from ispgraph.domain import voucher_sales, voucher_sheets
from ispgraph.domain import vouchers as domain
from ispgraph.domain.models import VoucherStatus
from ispgraph.domain.permissions import Permission
from ispgraph.domain.references import optional_id, typed_id
from ispgraph.resolvers.base import action, query
from ispgraph.resolvers.once import once
from ispgraph.schema import roots
from ispgraph.schema.compiler.reading import page_of
from ispgraph.schema.context import Info
from ispgraph.schema.pages import Connection
from ispgraph.schema.vouchers import (
    Voucher,
    VoucherBatch,
    VoucherBatchInput,
    VoucherPayload,
    VoucherSaleInput,
    VoucherSheetPayload,
)


async def vouchers(
    info: Info,
    status: list[VoucherStatus] | None = None,
    first: int | None = None,
    after: str | None = None,
    last: int | None = None,
    before: str | None = None,
    batch_id: strawberry.ID | None = None,
) -> Connection[Voucher]:
    """Vouchers, newest first, in these states (none given: in any), of one batch or of all; of a reseller's own tree
    for a reseller."""
    wanted = {"status": status, "batch": optional_id("vbt", batch_id, "batchId")}
    page: Connection[Voucher] = page_of(roots.VOUCHERS, wanted, first=first, after=after, last=last, before=before)
    return page


async def batches(
    info: Info,
    first: int | None = None,
    after: str | None = None,
    last: int | None = None,
    before: str | None = None,
) -> Connection[VoucherBatch]:
    """Batches of vouchers, newest first; of a reseller's own tree for a reseller."""
    page: Connection[VoucherBatch] = page_of(
        roots.VOUCHER_BATCHES, {}, first=first, after=after, last=last, before=before
    )
    return page


async def create(info: Info, input: VoucherBatchInput) -> VoucherPayload:
    """Make vouchers that are worth what the package costs now. A reseller pays for them from the wallet at once."""
    made: Any = await domain.create(
        info.context.session,
        domain.Wish(
            package_id=typed_id("pkg", input.package_id, "input", "packageId"),
            count=input.count,
            prefix=input.prefix,
            expires_at=input.expires_at,
        ),
        network_key=info.context.settings.network_key,
        idempotency_key=input.idempotency_key,
        by=info.context.viewer_or_refuse(),
    )
    return VoucherPayload(batch=made.batch, vouchers=list(made.vouchers), job=made.job)


@once()
async def cancel(info: Info, voucher_id: strawberry.ID) -> VoucherPayload:
    """Nobody can redeem a voucher any more; a reseller's wallet gets back what it cost."""
    key = typed_id("vou", voucher_id, "voucherId")
    by = info.context.viewer_or_refuse()
    batch, voucher = await domain.cancel(info.context.session, key, by=by)
    shown: Any = batch
    cancelled: Any = voucher
    return VoucherPayload(batch=shown, vouchers=[cancelled])


@once()
async def cancel_batch(info: Info, batch_id: strawberry.ID) -> VoucherPayload:
    """Cancel every voucher of a batch that was not redeemed; a reseller's wallet gets back what they cost."""
    key = typed_id("vbt", batch_id, "batchId")
    batch: Any = await domain.cancel_batch(info.context.session, key, by=info.context.viewer_or_refuse())
    return VoucherPayload(batch=batch)


async def record_sale(info: Info, input: VoucherSaleInput) -> VoucherPayload:
    """Record the money that a seller hands in for the provider's own vouchers, redeemed or not. INVALID_STATE for those
    that a reseller has paid for; INVALID for more than there are, or more given back than was taken."""
    batch: Any = await voucher_sales.record(
        info.context.session,
        voucher_sales.Sale(
            typed_id("vbt", input.batch_id, "input", "batchId"), input.count, input.method, input.reference
        ),
        idempotency_key=input.idempotency_key,
        by=info.context.viewer_or_refuse(),
    )
    return VoucherPayload(batch=batch)


async def sheet(info: Info, batch_id: strawberry.ID) -> VoucherSheetPayload:
    """Sheets to be printed and cut apart, each voucher with its code and a picture that opens the hotspot's page."""
    key = typed_id("vbt", batch_id, "batchId")
    settings = info.context.settings
    by = info.context.viewer_or_refuse()
    found: Any = await voucher_sheets.links_of(info.context.session, key, token_key=settings.token_key, by=by)
    urls = [settings.origin + path for path in found.paths]
    return VoucherSheetPayload(batch=found.batch, urls=urls, expires_at=found.until)


@strawberry.type
class VoucherQueries:
    vouchers = query(vouchers, Permission.MANAGE_VOUCHERS)
    voucher_batches = query(batches, Permission.MANAGE_VOUCHERS)


@strawberry.type
class VoucherMutations:
    voucher_create_batch = action(create, Permission.MANAGE_VOUCHERS)
    voucher_cancel = action(cancel, Permission.MANAGE_VOUCHERS)
    voucher_sheet = action(sheet, Permission.MANAGE_VOUCHERS)
    voucher_batch_record_sale = action(record_sale, Permission.RECORD_PAYMENTS)
    voucher_batch_cancel = action(cancel_batch, Permission.MANAGE_VOUCHERS)
