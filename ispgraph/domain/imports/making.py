"""Making the customers of an import, part by part: what the wizard would make, without the bill and the welcome.

The time up to `expires_at` was paid for elsewhere, so nothing is billed for it; from then on the service is billed as
any other. What a customer had or owed is in the ledger: a credit in the wallet, a debt as an invoice that falls due as
one of today does. Neither is income of ours: ADJUSTMENT stands against both.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock, ids
from ispgraph.domain import audit, secrets, usernames
from ispgraph.domain.billing import charges, ledger, numbers
from ispgraph.domain.imports import staging
from ispgraph.domain.models import (
    Account,
    ConnectionType,
    Customer,
    CustomerImport,
    CustomerOrigin,
    CustomerStatus,
    ImportOutcome,
    ImportRow,
    Invoice,
    InvoiceLine,
    ProvisioningState,
    Service,
    ServiceMac,
    ServiceStatus,
    SuspendReason,
    Tenant,
)
from ispgraph.domain.network import changes

CHUNK = 250
OPENING = "Balance brought forward"
_PASSWORD = 12
_KEEP = text("""
    UPDATE import_rows r SET outcome = 'CREATED', password = NULL, customer_id = v.customer, made = v.made
      FROM jsonb_to_recordset(CAST(:rows AS jsonb)) v (id uuid, customer uuid, made jsonb)
     WHERE r.tenant_id = :tenant AND r.id = v.id""")


@dataclass(frozen=True, slots=True)
class Clerk:
    """Whoever asked for it, for the books."""

    operator_id: UUID


async def make(session: AsyncSession, job: CustomerImport, network_key: bytes, by: Clerk) -> int:
    """Make some more of the customers of a locked import; how many rows were looked at: none when all is done.

    Raises IntegrityError when somebody took what a row needs at this very moment: the next try will see it.
    """
    rows = await _some(session, job)
    if not rows:
        return 0
    await staging.compare_again(session, job, [row.id for row in rows])
    again = select(ImportRow).where(ImportRow.id.in_([row.id for row in rows]), ImportRow.outcome == ImportOutcome.NEW)
    fit = (await session.scalars(again.order_by(ImportRow.number).execution_options(populate_existing=True))).all()
    if fit:
        await _Makes(session, job, network_key, by).all(fit)
    return len(rows)


async def _some(session: AsyncSession, job: CustomerImport) -> Sequence[ImportRow]:
    asked = select(ImportRow).where(
        ImportRow.tenant_id == job.tenant_id, ImportRow.import_id == job.id, ImportRow.outcome == ImportOutcome.NEW
    )
    return (await session.scalars(asked.order_by(ImportRow.number).limit(CHUNK).with_for_update())).all()


class _Makes:
    """One part: everything of it, in as few statements as for one."""

    def __init__(self, session: AsyncSession, job: CustomerImport, network_key: bytes, by: Clerk) -> None:
        self.session, self.job, self.key, self.by = session, job, network_key, by
        self.at = clock.now()
        self.made: dict[UUID, dict[str, str]] = {}

    async def all(self, rows: Sequence[ImportRow]) -> None:
        session, job = self.session, self.job
        # Shared, as for one customer: the settings that are obeyed here do not change before they stand.
        tenant = await session.get_one(Tenant, job.tenant_id, with_for_update={"read": True})
        names = {row.id: row.username for row in rows}
        customers, services = await self._people(tenant, rows, names)
        await self._belongings(rows, customers, services)
        await self._balances(tenant, rows, customers)
        await self._network(list(services.values()))
        for row in rows:
            self._record(row, customers[row.id])
        await session.flush()
        kept = [{"id": str(row.id), "customer": str(customers[row.id].id), "made": self.made[row.id]} for row in rows]
        await session.execute(_KEEP, {"tenant": job.tenant_id, "rows": json.dumps(kept)})

    async def _people(
        self, tenant: Tenant, rows: Sequence[ImportRow], names: dict[UUID, str | None]
    ) -> tuple[Mapping[UUID, Customer], Mapping[UUID, Service]]:
        """The customers and their services, by row. Whoever has no username gets one of the name, after all others."""
        session = self.session
        # One for each, also where the old number is kept: whoever is given up again gets it.
        first = await numbers.take_many(session, tenant.id, numbers.ACCOUNT, len(rows))
        customers: dict[UUID, Customer] = {}
        for place, row in enumerate(rows):
            number = numbers.account_number(tenant.account_prefix, first + place)
            self.made[row.id] = {"account_number": number}
            customers[row.id] = self._customer(row, row.account_number or number)
        session.add_all(customers.values())
        await session.flush()
        services = {row.id: self._service(row, customers[row.id]) for row in rows if names[row.id]}
        session.add_all(services.values())
        await session.flush()
        for row in rows:
            if names[row.id] is None:
                name = await usernames.reserve(session, tenant.id, usernames.proposed(row.name or ""))
                services[row.id] = self._service(row, customers[row.id], name)
                session.add(services[row.id])
                await session.flush()
        return customers, services

    def _customer(self, row: ImportRow, account_number: str) -> Customer:
        given = row.details
        joined = given.get("created_at")
        assert row.status is not None
        status = self._status(row)
        return Customer(
            id=ids.uuid7(),
            tenant_id=row.tenant_id,
            account_number=account_number,
            name=row.name,
            mobile=row.mobile,
            email=row.email,
            **{name: given.get(name) for name in ("street", "city", "state", "postal_code", "country")},
            zone_id=row.zone_id,
            operator_id=self.job.operator_id,
            status=status,
            joined_at=datetime.fromisoformat(joined) if joined else self.at,
            updated_at=self.at,
        )

    def _status(self, row: ImportRow) -> CustomerStatus:
        """As it was checked; time may have run out since."""
        expires_at = row.details.get("expires_at")
        over = expires_at is not None and datetime.fromisoformat(expires_at) <= self.at
        assert row.status is not None
        return CustomerStatus.EXPIRED if row.status is CustomerStatus.ACTIVE and over else row.status

    def _service(self, row: ImportRow, customer: Customer, username: str | None = None) -> Service:
        key = ids.uuid7()
        if row.password is None:
            password = secrets.generate_password(_PASSWORD)
        else:
            password = secrets.unseal(self.key, row.password, secrets.import_password(row.tenant_id, row.id))
        status = ServiceStatus(customer.status.value)
        expires_at = row.details.get("expires_at")
        suspended = status is ServiceStatus.SUSPENDED
        return Service(
            id=key,
            tenant_id=row.tenant_id,
            customer_id=customer.id,
            package_id=row.package_id,
            router_id=self.job.router_id,
            connection_type=row.connection_type,
            status=status,
            username=username or row.username,
            password=secrets.seal(self.key, password, secrets.service_password(row.tenant_id, key)),
            ip_address=row.ip_address,
            configuration=row.details.get("note") if row.connection_type is ConnectionType.OTHER else None,
            started_at=None if status is ServiceStatus.PENDING else customer.joined_at,
            expires_at=datetime.fromisoformat(expires_at) if expires_at else None,
            suspend_reason=SuspendReason.OTHER if suspended else None,
            suspended_at=self.at if suspended else None,
            desired_version=1,
            **self._known(),
        )

    def _known(self) -> dict[str, Any]:
        """How far the network is: without a router there is nothing to bring anywhere. See `changes.asked`."""
        if self.job.router_id is not None:
            return {}
        return {"provisioning": ProvisioningState.APPLIED, "applied_version": 1, "checked_at": self.at}

    async def _belongings(
        self, rows: Sequence[ImportRow], customers: Mapping[UUID, Customer], services: Mapping[UUID, Service]
    ) -> None:
        job = self.job
        for row in rows:
            if row.mac_address is not None:
                logs_in = row.connection_type is ConnectionType.HOTSPOT
                of = services[row.id].id
                self.session.add(
                    ServiceMac(tenant_id=job.tenant_id, service_id=of, mac=row.mac_address, logs_in=logs_in)
                )
            self.session.add(
                CustomerOrigin(
                    tenant_id=job.tenant_id,
                    label=job.label,
                    source_key=row.source_key,
                    customer_id=customers[row.id].id,
                )
            )
        await self.session.flush()

    # -- money

    async def _balances(self, tenant: Tenant, rows: Sequence[ImportRow], customers: Mapping[UUID, Customer]) -> None:
        owing = {row: self._invoice(row, customers[row.id]) for row in rows if (row.balance_minor or 0) < 0}
        await self._debts(tenant, list(owing.values()))
        for row, invoice in owing.items():
            self.made[row.id]["invoice"] = str(invoice.id)
        credited = [row for row in rows if (row.balance_minor or 0) > 0]
        events = [credit(customers[row.id].id, row.balance_minor or 0) for row in credited]
        events += [earned_before(invoice) for invoice in owing.values()]
        if events:
            made = await ledger.post_all(self.session, events, tenant_id=tenant.id, at=self.at, by=self.by)
            for row, journal in zip(credited, made, strict=False):
                self.made[row.id]["journal"] = str(journal.id)

    def _invoice(self, row: ImportRow, customer: Customer) -> Invoice:
        minor = -(row.balance_minor or 0)
        return Invoice(
            id=ids.uuid7(),
            tenant_id=row.tenant_id,
            customer_id=customer.id,
            subtotal_minor=minor,
            tax_minor=0,
            total_minor=minor,
            paid_minor=0,
            notes=f"{OPENING} from {self.job.label}.",
        )

    async def _debts(self, tenant: Tenant, drafts: Sequence[Invoice]) -> None:
        if not drafts:
            return
        self.session.add_all(drafts)
        await self.session.flush()
        self.session.add_all(
            InvoiceLine(
                tenant_id=tenant.id,
                invoice_id=draft.id,
                position=1,
                description=OPENING,
                quantity=1,
                unit_price_minor=draft.total_minor,
                amount_minor=draft.total_minor,
                tax_rate=0,
                tax_minor=0,
                tax_included=False,
            )
            for draft in drafts
        )
        await self.session.flush()
        opened = [draft.id for draft in drafts]
        await charges.open_all(self.session, tenant, opened, at=self.at, by=self.by.operator_id)

    # -- the network

    async def _network(self, services: Sequence[Service]) -> None:
        """On a router each has its job, which the router's lane takes together; elsewhere RADIUS says at once what is
        true of the rows as they stand."""
        if self.job.router_id is not None:
            await changes.all_promised(self.session, services, by=self.by.operator_id)
        else:
            await changes.asked(self.session, services)

    def _record(self, row: ImportRow, customer: Customer) -> None:
        details = {"import": str(self.job.id), "row": row.number, "account_number": customer.account_number}
        who, action = self.by.operator_id, "customer.import"
        audit.on_behalf(self.session, row.tenant_id, who, action, customer.id, details)


def credit(customer_id: UUID, minor: int, told: str = OPENING) -> ledger.Event:
    """So much into the wallet, or, below zero, out of it."""
    into = ledger.Entry(Account.WALLET, -minor, customer_id=customer_id)
    return ledger.Event(told, [into, ledger.Entry(Account.ADJUSTMENT, minor)])


def earned_before(invoice: Invoice, told: str = OPENING, sign: int = 1) -> ledger.Event:
    """What an invoice over an old debt asks for was earned elsewhere; with -1 it is not asked for any more."""
    minor = sign * invoice.total_minor
    taken = [ledger.Entry(Account.REVENUE, minor), ledger.Entry(Account.ADJUSTMENT, -minor)]
    return ledger.Event(told, taken, invoice_id=invoice.id)
