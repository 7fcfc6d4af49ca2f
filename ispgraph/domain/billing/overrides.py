"""Prices agreed beside those of the packages: with one customer, or for the customers of an operator and those below.

What is agreed with the customer goes before all; then what the nearest operator has, from the one who is responsible
for the customer upwards; then the price of the package. The SQL function `package_price` says the same for many at
once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, ColumnElement, Uuid, and_, func, or_, select, true
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock
from ispgraph.domain import amounts, audit, customers, idempotency, money, operators, packages, values
from ispgraph.domain.billing.proration import Sold
from ispgraph.domain.errors import ErrorCode, Faults, fail, not_found
from ispgraph.domain.lists import Filter
from ispgraph.domain.models import Operator, Package, PriceOverride, Tenant
from ispgraph.domain.pages import newest_first
from ispgraph.domain.permissions import Viewer

SET, END = "priceOverrideSet", "priceOverrideEnd"
NEWEST = newest_first("price-overrides", PriceOverride.id)
FILTERS = {
    "package": Filter(Uuid(), lambda value, by: PriceOverride.package_id == value),
    "operator": Filter(Uuid(), lambda value, by: PriceOverride.operator_id == value),
    "customer": Filter(Uuid(), lambda value, by: PriceOverride.customer_id == value),
}


@dataclass(frozen=True, slots=True)
class Terms:
    """An override as given: a price or a discount in percent, for an operator's customers or for one customer."""

    package_id: UUID
    operator_id: UUID | None
    customer_id: UUID | None
    price: Decimal | None
    discount_percent: Decimal | None
    valid_from: datetime | None
    valid_until: datetime | None
    reason: str


def visible(by: Viewer, row: Any) -> ColumnElement[bool]:
    """Overrides of the customers whom a viewer may see, and of the operators in the viewer's tree."""
    if by.scope_id is None:
        return true()
    tree = select(Operator.id).where(operators.visible(by))
    return or_(
        and_(row.customer_id.is_not(None), customers.belonging(by, row.customer_id)),
        and_(row.operator_id.is_not(None), row.operator_id.in_(tree)),
    )


def in_force(row: Any, at: Any) -> ColumnElement[bool]:
    """Whether an override counts at a moment."""
    return and_(row.valid_from <= at, or_(row.valid_until.is_(None), row.valid_until > at))


# -- what is paid


def price_minor(customer_id: Any, package_id: Any, at: Any) -> ColumnElement[int]:
    """What a period of a package costs a customer at a moment, by SQL."""
    return func.package_price(customer_id, package_id, at, type_=BigInteger())


def reduced_minor(price_minor: int, discount_percent: Decimal) -> int:
    """A price less a discount, rounded half up. Pure."""
    return money.half_up(Fraction(price_minor) * (100 - Fraction(discount_percent)) / 100)


async def agreed_minor(
    session: AsyncSession, package: Package, *, operator_id: UUID, customer_id: UUID | None, at: datetime
) -> int:
    """What a period of a package costs at a moment: a customer, or, for None, whoever becomes one of this operator."""
    operator = await session.get_one(Operator, operator_id)
    nearest = (customer_id, operator_id, *reversed(operator.ancestors))
    whose = func.coalesce(PriceOverride.customer_id, PriceOverride.operator_id)
    rows = select(PriceOverride).where(PriceOverride.package_id == package.id, in_force(PriceOverride, at))
    found = {row.customer_id or row.operator_id: row for row in await session.scalars(rows.where(whose.in_(nearest)))}
    row = next((found[key] for key in nearest if key in found), None)
    if row is None:
        return package.price_minor
    if row.price_minor is not None:
        return row.price_minor
    assert row.discount_percent is not None
    return reduced_minor(package.price_minor, row.discount_percent)


async def sold(
    session: AsyncSession,
    package: Package,
    tenant: Tenant,
    *,
    operator_id: UUID,
    customer_id: UUID | None,
    at: datetime,
) -> Sold:
    """A period of a package as it is sold at a moment to a customer, or, for None, to a new one of this operator."""
    price = await agreed_minor(session, package, operator_id=operator_id, customer_id=customer_id, at=at)
    return replace(await packages.sold(session, package, tenant), price_minor=price)


# -- what is agreed


async def set_override(
    session: AsyncSession, given: Terms, *, idempotency_key: str | None, by: Viewer
) -> PriceOverride:
    """Agree on a price from a moment on, now when none is given. One that counts at that moment for the same package
    and the same customer or operator ends with it.

    Raises DomainError with everything that is wrong; TAKEN when another one begins within the time.
    """
    faults = Faults("input")
    price, discount = _price(faults, given, by)
    reason = values.checked(faults, values.text, given.reason, 255, at=("reason",))
    whose = _whose(faults, given)
    faults.raise_if_any()
    about = {
        "package": given.package_id,
        "whose": whose,
        "price_minor": price,
        "discount": discount,
        "from": given.valid_from,
        "until": given.valid_until,
        "reason": reason,
    }
    first = await idempotency.claim(session, by=by, operation=SET, key=idempotency_key, given=about)
    if first is not None:
        return await session.get_one(PriceOverride, UUID(str(first["override"])))
    await _find_whose(session, given, by)
    # The lock puts those who agree on prices of one package one after the other.
    package = await session.get(Package, given.package_id, with_for_update={"key_share": True})
    if package is None:
        raise not_found("package", "input", "packageId")
    now = clock.now()
    since = given.valid_from or now
    if since < now:
        raise fail(ErrorCode.INVALID, "A price is agreed from now on, or from later.", "input", "validFrom")
    if given.valid_until is not None and given.valid_until <= since:
        raise fail(ErrorCode.INVALID, "It ends after it begins.", "input", "validUntil")
    ended = await _make_room(session, given, since)
    row = PriceOverride(
        tenant_id=by.tenant_id,
        package_id=package.id,
        operator_id=given.operator_id,
        customer_id=given.customer_id,
        price_minor=price,
        discount_percent=discount,
        valid_from=since,
        valid_until=given.valid_until,
        reason=reason,
        by_id=by.operator_id,
    )
    session.add(row)
    await session.flush()
    details = {**_details(row), "ended": [str(key) for key in ended]}
    audit.record(session, by=by, action="price_override.set", subject_id=whose, details=details)
    await idempotency.keep(session, by=by, operation=SET, key=idempotency_key, answer={"override": str(row.id)})
    return row


async def end_override(
    session: AsyncSession, override_id: UUID, at: datetime | None, *, idempotency_key: str | None, by: Viewer
) -> PriceOverride:
    """End an override at a moment, now when none is given; one that has not begun by then never counts.

    Raises DomainError NOT_FOUND, INVALID_STATE when it ends before that anyway.
    """
    about = {"override": override_id, "at": at}
    first = await idempotency.claim(session, by=by, operation=END, key=idempotency_key, given=about)
    rows = select(PriceOverride).where(PriceOverride.id == override_id, visible(by, PriceOverride))
    row = await session.scalar(rows.with_for_update(key_share=True).execution_options(populate_existing=True))
    if row is None:
        raise not_found("price override", "overrideId")
    if first is not None:
        return row
    now = clock.now()
    until = at or now
    if until < now:
        raise fail(ErrorCode.INVALID, "It ends now or later: what was billed stays as it is.", "at")
    until = max(until, row.valid_from)
    if row.valid_until is not None and row.valid_until <= until:
        raise fail(ErrorCode.INVALID_STATE, "This price ends by then already.", "overrideId")
    row.valid_until = until
    await session.flush()
    whose = row.operator_id or row.customer_id
    audit.record(session, by=by, action="price_override.end", subject_id=whose, details=_details(row))
    await idempotency.keep(session, by=by, operation=END, key=idempotency_key, answer={"override": str(row.id)})
    return row


def _price(faults: Faults, given: Terms, by: Viewer) -> tuple[int | None, Decimal | None]:
    if (given.price is None) == (given.discount_percent is None):
        faults.add(ErrorCode.INVALID, "Give a price or a discount in percent, one of them.", "price")
    price = None if given.price is None else amounts.minor(faults, given.price, by.currency, "price")
    if price is not None and price < 0:
        faults.add(ErrorCode.INVALID, "This must not be below zero.", "price")
    discount = given.discount_percent
    if discount is not None and not (discount.is_finite() and 0 < discount <= 100 and discount == round(discount, 3)):
        message = "A discount is above 0 and at most 100 per cent, with at most three decimals."
        faults.add(ErrorCode.INVALID, message, "discountPercent")
    return price, None if discount is None else discount.normalize()


def _whose(faults: Faults, given: Terms) -> UUID | None:
    if (given.operator_id is None) == (given.customer_id is None):
        faults.add(ErrorCode.INVALID, "Name an operator or a customer, one of them.", "operatorId")
    return given.operator_id or given.customer_id


async def _find_whose(session: AsyncSession, given: Terms, by: Viewer) -> None:
    if given.customer_id is not None:
        if await customers.find(session, given.customer_id, by=by) is None:
            raise not_found("customer", "input", "customerId")
        return
    rows = select(Operator.id).where(Operator.id == given.operator_id, operators.visible(by))
    if await session.scalar(rows) is None:
        raise not_found("operator", "input", "operatorId")


async def _make_room(session: AsyncSession, given: Terms, since: datetime) -> Sequence[UUID]:
    """End what counts at that moment, if anything does, for the same package and the same customer or operator."""
    ended = []
    whose = (
        PriceOverride.operator_id == given.operator_id
        if given.customer_id is None
        else PriceOverride.customer_id == given.customer_id
    )
    rows = select(PriceOverride).where(PriceOverride.package_id == given.package_id, whose)
    still = or_(PriceOverride.valid_until.is_(None), PriceOverride.valid_until > since)
    for row in await session.scalars(rows.where(still).order_by(PriceOverride.valid_from).with_for_update()):
        if row.valid_from <= since:
            row.valid_until = since
            ended.append(row.id)
        elif (row.valid_until is None or row.valid_until > row.valid_from) and (
            given.valid_until is None or row.valid_from < given.valid_until
        ):
            message = f"Another price is agreed from {row.valid_from.isoformat()} on: end that one first."
            raise fail(ErrorCode.TAKEN, message, "input", "validUntil")
    await session.flush()
    return ended


def _details(row: PriceOverride) -> Mapping[str, object]:
    return {
        "override": str(row.id),
        "package": str(row.package_id),
        "price_minor": row.price_minor,
        "discount_percent": None if row.discount_percent is None else f"{row.discount_percent:f}",
        "valid_from": row.valid_from.isoformat(),
        "valid_until": None if row.valid_until is None else row.valid_until.isoformat(),
        "reason": row.reason,
    }
