"""What customers owe, as dunning looks at it: open invoices with the rules that count, and what was done about them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Boolean, ColumnElement, Date, and_, cast, exists, func, literal, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from ispgraph.domain.billing import dunning, invoices
from ispgraph.domain.billing.dunning import Owed, Rules, Step
from ispgraph.domain.models import (
    Allocation,
    BillingProfile,
    DunningKind,
    DunningOutcome,
    DunningStep,
    Invoice,
    InvoiceKind,
    Refund,
    Service,
    ServiceStatus,
    SuspendReason,
    Tenant,
)


@dataclass(frozen=True, slots=True)
class Debt:
    """An invoice with what was done about it; `owed` is None where no money is expected."""

    invoice: Invoice
    owed: Owed | None
    rules: Rules
    done: Sequence[DunningStep]
    profile: BillingProfile | None

    @property
    def keys(self) -> Collection[tuple[DunningKind, date, int]]:
        """The steps that are done."""
        return {(row.kind, row.counted_from, row.days) for row in self.done}

    @property
    def steps(self) -> list[Step]:
        """What is planned, done or not."""
        return [] if self.owed is None else dunning.plan(self.owed, self.rules)

    @property
    def suspension_on(self) -> date | None:
        """The day from which on it is past all grace, whether or not that suspends anybody."""
        if self.owed is None:
            return None
        return dunning.suspension_on(self.owed.counted_from, self.rules.grace_days, self.rules.holidays)

    def concerns(self, service: Service) -> bool:
        """Whether the service is what stops when this is not paid: its own, or for what belongs to none the primary."""
        return self.invoice.service_id == service.id or (self.invoice.service_id is None and service.is_primary)


@dataclass(frozen=True, slots=True)
class Shown:
    """A step of an invoice, for people: planned, or done."""

    kind: DunningKind
    on: date
    rule: str
    done_at: datetime | None = None
    outcome: DunningOutcome | None = None


def rules_of(tenant: Tenant, profile: BillingProfile | None) -> Rules:
    """The rules for a customer with this billing profile."""
    grace = None if profile is None else profile.grace_days
    return Rules(
        before=tenant.dunning_before,
        after=tenant.dunning_after,
        grace_days=tenant.dunning_grace_days if grace is None else grace,
        holidays=frozenset(tenant.dunning_holidays),
        suspends=profile is None or profile.auto_suspend,
    )


async def of(session: AsyncSession, rows: Sequence[Invoice], tenant: Tenant) -> list[Debt]:
    """These invoices as debts, in their order."""
    keys = [row.id for row in rows]
    profiles = await profiles_of(session, {row.customer_id for row in rows})
    done: dict[UUID, list[DunningStep]] = {key: [] for key in keys}
    steps = select(DunningStep).where(DunningStep.invoice_id.in_(keys))
    for step in await session.scalars(steps.order_by(DunningStep.done_at, DunningStep.planned_on)):
        done[step.invoice_id].append(step)
    reopened = await _reopened(session, keys, tenant.time_zone)
    return [
        Debt(
            row,
            _owed(row, reopened.get(row.id)),
            rules_of(tenant, profiles.get(row.customer_id)),
            done[row.id],
            profiles.get(row.customer_id),
        )
        for row in rows
    ]


async def of_customer(session: AsyncSession, customer_id: UUID, tenant: Tenant) -> list[Debt]:
    """Everything a customer is asked for now."""
    rows = select(Invoice).where(Invoice.customer_id == customer_id, Invoice.status.in_(invoices.AWAITING))
    found = await session.scalars(rows.order_by(Invoice.id).execution_options(populate_existing=True))
    return await of(session, found.all(), tenant)


async def profiles_of(session: AsyncSession, customer_ids: Collection[UUID]) -> Mapping[UUID, BillingProfile]:
    """The billing profiles of those customers who have one."""
    rows = select(BillingProfile).where(BillingProfile.customer_id.in_(customer_ids))
    found = await session.scalars(rows.execution_options(populate_existing=True))
    return {row.customer_id: row for row in found}


def next_suspension(debts: Sequence[Debt], services: Sequence[Service], rules: Rules) -> date | None:
    """When the first of the active services is suspended if nothing is paid; by these rules, whatever the debts'."""
    found = []
    for debt in debts:
        there = replace(debt, rules=rules)
        active = any(debt.concerns(service) and service.status is ServiceStatus.ACTIVE for service in services)
        if active:
            steps = [step for step in there.steps if step.key not in debt.keys]
            found += [step.on for step in steps if step.kind is DunningKind.SUSPENSION]
    return min(found, default=None)


async def shown(session: AsyncSession, invoice_ids: Sequence[UUID], tenant: Tenant) -> Mapping[UUID, list[Shown]]:
    """What was done about each of these invoices, and what is still planned, by days."""
    rows = (await session.scalars(select(Invoice).where(Invoice.id.in_(invoice_ids)))).all()
    found: dict[UUID, list[Shown]] = {}
    for debt in await of(session, rows, tenant):
        told = [Shown(row.kind, row.planned_on, row.rule, row.done_at, row.outcome) for row in debt.done]
        told += [Shown(step.kind, step.on, step.rule) for step in debt.steps if step.key not in debt.keys]
        found[debt.invoice.id] = sorted(told, key=lambda step: (step.on, step.kind is DunningKind.SUSPENSION))
    return found


def suspended_for_debt(service: Service) -> bool:
    """Whether a service is off line because an invoice was not paid."""
    return service.status is ServiceStatus.SUSPENDED and service.suspend_reason is SuspendReason.NON_PAYMENT


def _owed(invoice: Invoice, reopened_on: date | None) -> Owed | None:
    if invoice.status not in invoices.AWAITING or invoice.kind is not InvoiceKind.INVOICE:
        return None
    assert invoice.issued_on is not None
    assert invoice.due_on is not None
    return Owed(invoice.issued_on, invoice.due_on, reopened_on)


def _reopened_on(invoice: Any, zone: str) -> ColumnElement[date]:
    """The day of the last refund by which an invoice was owed again; null where it never was paid in full."""
    paid = aliased(Allocation)
    settled = select(func.sum(paid.amount_minor)).where(paid.invoice_id == invoice.id).correlate(invoice)
    return (
        select(func.max(cast(func.timezone(zone, Refund.at), Date)))
        .join(Allocation, and_(Refund.tenant_id == Allocation.tenant_id, Refund.payment_id == Allocation.payment_id))
        .where(Allocation.invoice_id == invoice.id, Allocation.released_minor > 0, Refund.amount_minor > 0)
        .where(settled.scalar_subquery() >= invoice.total_minor)
        .correlate(invoice)
        .scalar_subquery()
    )


async def _reopened(session: AsyncSession, invoice_ids: Collection[UUID], zone: str) -> Mapping[UUID, date]:
    rows = select(Invoice.id, _reopened_on(Invoice, zone)).where(Invoice.id.in_(invoice_ids))
    return dict(iter((await session.execute(rows)).all()))


# -- the same in SQL


def next_suspension_on(customer: Any, tenant: Any, profile: Any, zone: str) -> ColumnElement[date]:
    """`next_suspension` of a customer, by the rules of the row of its tenant and of its profile, which may be null."""
    invoice, service = aliased(Invoice), aliased(Service)
    counted_from = func.greatest(invoice.due_on, _reopened_on(invoice, zone))
    grace = func.coalesce(profile.grace_days, tenant.dunning_grace_days)
    stops = or_(invoice.service_id == service.id, and_(invoice.service_id.is_(None), service.is_primary))
    active = exists().where(service.customer_id == customer.id, service.status == ServiceStatus.ACTIVE, stops)
    done = exists().where(
        DunningStep.tenant_id == invoice.tenant_id,
        DunningStep.invoice_id == invoice.id,
        DunningStep.kind == DunningKind.SUSPENSION,
        DunningStep.counted_from == counted_from,
    )
    return (
        select(func.min(func.dunning_suspension_on(counted_from, grace, tenant.dunning_holidays, type_=Date())))
        .where(
            func.coalesce(profile.auto_suspend, literal(True, Boolean())),
            invoice.customer_id == customer.id,
            invoice.status.in_(invoices.AWAITING),
            invoice.kind == InvoiceKind.INVOICE,
            active.correlate_except(service),
            ~done.correlate_except(DunningStep),
        )
        .correlate_except(invoice)
        .scalar_subquery()
    )
