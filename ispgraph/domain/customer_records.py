"""Customers made, corrected and removed one by one. The wizard makes them as well, by the same rules."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypedDict
from uuid import UUID

from sqlalchemy import ColumnElement, delete, exists, func, literal, or_, select
from sqlalchemy import update as update_rows
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock, ids
from ispgraph.domain import audit, custom_fields, customer_passwords, customers, idempotency, message_settings
from ispgraph.domain import hosting as accounts
from ispgraph.domain.billing import numbers
from ispgraph.domain.conflicts import taken
from ispgraph.domain.errors import ErrorCode, Faults, fail
from ispgraph.domain.hosting import Wish
from ispgraph.domain.models import (
    Customer,
    CustomerOrigin,
    CustomerPasswordReset,
    CustomerSignIn,
    CustomerStatus,
    CustomerTransfer,
    CustomFieldValue,
    HostingAccount,
    ImportRow,
    Invoice,
    Job,
    Payment,
    Posting,
    PriceOverride,
    Service,
    ServiceMac,
    Session,
    Tenant,
    Ticket,
    UsageDay,
    Zone,
)
from ispgraph.domain.onboarding import answers
from ispgraph.domain.permissions import Permission, Viewer

CREATE = "customerCreate"

_UNIQUE = {"uq_customers_tenant_id_email": ("input", "email")}

HISTORY: Sequence[tuple[Any, str, str]] = (
    (Invoice, "invoice", "invoices"),
    (Payment, "payment", "payments"),
    (Posting, "ledger entry", "ledger entries"),
    (Session, "session", "sessions"),
    (UsageDay, "day of usage", "days of usage"),
    (Job, "job", "jobs"),
    (PriceOverride, "agreed price", "agreed prices"),
    (Ticket, "ticket", "tickets"),
    (HostingAccount, "hosting account", "hosting accounts"),
    (CustomerTransfer, "transfer", "transfers"),
)
"""What keeps a customer from being deleted: rows that are never deleted, with their names in ones and many."""

# What is deleted with a customer.
_GO_ALONG = frozenset(
    table.__table__
    for table in (
        CustomFieldValue,
        CustomerOrigin,
        CustomerPasswordReset,
        CustomerSignIn,
        ImportRow,
        Service,
        ServiceMac,
    )
)
_REFERRED_TO = "Something else refers to this customer: it cannot be deleted."


@dataclass(frozen=True, slots=True)
class Created:
    """A customer, and the hosting account that was promised along."""

    customer: Customer
    account: HostingAccount | None = None
    jobs: Sequence[Job] = ()


class Changes(TypedDict, total=False):
    """New values as typed: a key left out leaves the value as it is, None takes it away.

    An address is replaced as a whole. `custom_fields` are pairs of key and value; fields not named keep their answers.
    """

    name: str | None
    mobile: str | None
    email: str | None
    company: str | None
    address: Mapping[str, str | None] | None
    zone_id: UUID | None
    language: str | None
    sms_opt_out: bool | None
    email_opt_out: bool | None
    custom_fields: Sequence[tuple[str, object]]


async def enrolled(
    session: AsyncSession,
    tenant: Tenant,
    *,
    basics: Mapping[str, object],
    company: str | None = None,
    address: Mapping[str, object] | None,
    zone_id: UUID | None,
    operator_id: UUID,
    status: CustomerStatus,
    at: datetime,
) -> Customer:
    """A customer with the next account number, from checked answers; not yet added to the session.

    Holds the tenant's account counter from here to the end of the transaction.
    """
    number = await numbers.take(session, tenant.id, numbers.ACCOUNT)
    return Customer(
        id=ids.uuid7(),
        tenant_id=tenant.id,
        account_number=numbers.account_number(tenant.account_prefix, number),
        **basics,
        company=company,
        **_address_columns(address),
        zone_id=zone_id,
        operator_id=operator_id,
        status=status,
        joined_at=at,
        updated_at=at,
    )


async def create(
    session: AsyncSession,
    *,
    name: str,
    mobile: str,
    email: str | None,
    company: str | None,
    address: Mapping[str, str | None] | None,
    zone_id: UUID | None,
    hosting: Wish | None = None,
    network_key: bytes,
    idempotency_key: str | None,
    by: Viewer,
) -> Created:
    """A pending customer of the viewer's without a service. The same key and input answer with the first one's.

    The customer of whose hosting account nothing comes, for want of a place, is made all the same.
    """
    given: dict[str, object] = {
        "name": name,
        "mobile": mobile,
        "email": email,
        "company": company,
        "address": address,
        "zone": zone_id,
    }
    if hosting is not None:
        given["hosting"] = hosting.given(network_key)
    answer = await idempotency.claim(session, by=by, operation=CREATE, key=idempotency_key, given=given)
    if answer is not None:
        return await _again(session, answer, by)
    # Shared: the settings that are obeyed here do not change before the customer stands.
    tenant = await session.get_one(Tenant, by.tenant_id, with_for_update={"read": True})
    faults = Faults("input")
    basics = await answers.basics(session, faults, tenant, name=name, mobile=mobile, email=email)
    employer = answers.optional(faults, company, 255, "company")
    where = None if address is None else answers.address(faults, address)
    await _zone_is_there(session, faults, zone_id)
    if hosting is not None:
        _check_hosting(faults, hosting, email, by)
    faults.raise_if_any()
    customer = await enrolled(
        session,
        tenant,
        basics=basics,
        company=employer,
        address=where,
        zone_id=zone_id,
        operator_id=by.operator_id,
        status=CustomerStatus.PENDING,
        at=clock.now(),
    )
    session.add(customer)
    async with taken(_UNIQUE):
        await session.flush()
    details = {"account_number": customer.account_number, "name": customer.name}
    audit.record(session, by=by, action="customer.create", subject_id=customer.id, details=details)
    kept: dict[str, object] = {"customer": str(customer.id)}
    made = Created(customer)
    if hosting is not None:
        promised = await accounts.promise(session, customer, hosting, network_key=network_key, by=by, anyhow=True)
        made = Created(customer, promised.account, promised.jobs)
        kept["hosting"] = accounts.kept(promised)
    await idempotency.keep(session, by=by, operation=CREATE, key=idempotency_key, answer=kept)
    return made


def _check_hosting(faults: Faults, wish: Wish, email: str | None, by: Viewer) -> None:
    if not by.may(Permission.MANAGE_HOSTING):
        faults.add(ErrorCode.NOT_PERMITTED, "This needs the permission MANAGE_HOSTING.", "hosting")
    accounts.check(faults, wish, "hosting")
    if (email is None or not email.strip()) and all(fault.field != ("input", "email") for fault in faults.found):
        faults.add(ErrorCode.REQUIRED, "A hosting account needs an e-mail address.", "email")


async def _again(session: AsyncSession, answer: Mapping[str, Any], by: Viewer) -> Created:
    customer = await customers.find(session, UUID(str(answer["customer"])), by=by)
    if customer is None:
        raise fail(ErrorCode.NOT_FOUND, "The customer made with this key is gone.", "input", "idempotencyKey")
    if "hosting" not in answer:
        return Created(customer)
    promised = await accounts.again(session, answer["hosting"], by)
    return Created(customer, promised.account, promised.jobs)


async def update(
    session: AsyncSession, customer_id: UUID, changes: Changes, *, expected_version: int | None, by: Viewer
) -> Customer:
    """The customer with these changes. What is there already changes nothing, the version neither."""
    customer = await customers.lock(session, customer_id, by=by)
    if expected_version is not None and expected_version != customer.version:
        message = f"This customer is at version {customer.version}: look at it again before you change it."
        raise fail(ErrorCode.VERSION_CONFLICT, message, "input", "expectedVersion")
    faults = Faults("input")
    columns = await _columns(session, faults, customer, changes)
    fields = await custom_fields.every(session)
    answered = custom_fields.read(faults, fields, changes.get("custom_fields", ()), "customFields") or {}
    faults.raise_if_any()
    made = {name: (getattr(customer, name), new) for name, new in columns.items() if getattr(customer, name) != new}
    for name, (_, new) in made.items():
        setattr(customer, name, new)
    replied = await _answer(session, customer, answered)
    if not made and not replied:
        return customer
    customer.version += 1
    customer.updated_at = clock.now()
    async with taken(_UNIQUE):
        await session.flush()
    if made.keys() & {"mobile", "email"}:
        # A code that was sent to where the customer is not any more sets no password.
        await customer_passwords.void(session, customer.id)
    details: dict[str, object] = {name: [_plain(old), _plain(new)] for name, (old, new) in made.items()}
    if replied:
        details["custom_fields"] = {field.key: replied[field.id] for field in fields if field.id in replied}
    audit.record(session, by=by, action="customer.update", subject_id=customer.id, details=details)
    return customer


async def _columns(session: AsyncSession, faults: Faults, customer: Customer, changes: Changes) -> dict[str, Any]:
    """The new values of the columns that were named; of no use once a fault was found."""
    tenant = await session.get_one(Tenant, customer.tenant_id)
    columns: dict[str, Any] = {}
    if "name" in changes:
        columns["name"] = answers.full_name(faults, changes["name"])
    if "mobile" in changes:
        columns["mobile"] = answers.mobile_number(faults, tenant, changes["mobile"])
    if "email" in changes:
        columns["email"] = await answers.email_address(session, faults, tenant, changes["email"], customer.id)
    if "company" in changes:
        columns["company"] = answers.optional(faults, changes["company"], 255, "company")
    if "address" in changes:
        where = changes["address"]
        columns |= _address_columns(None if where is None else answers.address(faults, where))
    if "zone_id" in changes:
        await _zone_is_there(session, faults, changes["zone_id"])
        columns["zone_id"] = changes["zone_id"]
    return columns | message_settings.of_customer(faults, changes)


async def _answer(
    session: AsyncSession, customer: Customer, answered: Mapping[UUID, object]
) -> dict[UUID, list[object]]:
    """Keep these answers, None for those taken back; the old and the new value of each that changed, by field."""
    of_these = select(CustomFieldValue).where(
        CustomFieldValue.customer_id == customer.id, CustomFieldValue.field_id.in_(answered)
    )
    rows = {row.field_id: row for row in await session.scalars(of_these)} if answered else {}
    changed: dict[UUID, list[object]] = {}
    for field_id, new in answered.items():
        row = rows.get(field_id)
        old = None if row is None else row.value
        if new == old:
            continue
        changed[field_id] = [old, new]
        if row is None:
            session.add(
                CustomFieldValue(tenant_id=customer.tenant_id, customer_id=customer.id, field_id=field_id, value=new)
            )
        elif new is None:
            await session.delete(row)
        else:
            row.value = new
    return changed


async def remove(session: AsyncSession, customer_id: UUID, *, by: Viewer) -> None:
    """Delete a customer that never had anything to do with us, with its services and answers.

    Raises DomainError INVALID_STATE, a fault for each kind of history, when there is any: such a customer can only be
    terminated.
    """
    # Alone: a payment on its way is either seen here or finds no customer; it is never lost.
    customer = await customers.lock(session, customer_id, by=by, at=("customerId",), alone=True)
    counts = [_count(model, customer_id) for model, _, _ in HISTORY]
    found = (await session.execute(select(*counts))).one()
    faults = Faults()
    for count, (_, one, many) in zip(found, HISTORY, strict=True):
        if count:
            message = f"A customer with {count} {one if count == 1 else many} cannot be deleted."
            faults.add(ErrorCode.INVALID_STATE, message, "customerId")
    faults.raise_if_any()
    if await session.scalar(select(is_referred_to(Customer)).where(Customer.id == customer_id)):
        raise fail(ErrorCode.INVALID_STATE, _REFERRED_TO, "customerId")
    services = select(Service.id).where(Service.customer_id == customer_id)
    try:
        # Whoever came from another system can come again, and what was read of it stays in the report.
        await session.execute(
            update_rows(ImportRow).where(ImportRow.customer_id == customer_id).values(customer_id=None),
            execution_options={"synchronize_session": False},
        )
        for table in (CustomFieldValue, CustomerSignIn, CustomerPasswordReset, CustomerOrigin):
            await session.execute(delete(table).where(table.customer_id == customer_id))
        await session.execute(delete(ServiceMac).where(ServiceMac.service_id.in_(services)))
        await session.execute(delete(Service).where(Service.customer_id == customer_id))
        await session.execute(delete(Customer).where(Customer.id == customer_id))
    except IntegrityError as error:
        raise fail(ErrorCode.INVALID_STATE, _REFERRED_TO, "customerId") from error
    details = {"account_number": customer.account_number, "name": customer.name}
    audit.record(session, by=by, action="customer.delete", subject_id=customer_id, details=details)


def is_referred_to(customer: Any) -> ColumnElement[bool]:
    """Whether a row refers to a customer, or to one of its services, that does not go with it: so says the database
    itself, by its foreign keys."""
    found = []
    for table in Customer.metadata.sorted_tables:
        if table in _GO_ALONG:
            continue
        for key in table.foreign_key_constraints:
            if key.ondelete is not None or key.referred_table not in (Customer.__table__, Service.__table__):
                continue
            row = table.alias()
            [column] = [each for each in key.columns if each.name != "tenant_id"]
            of_customer = row.c[column.name] == customer.id
            if key.referred_table is Service.__table__:
                owned = select(Service.id).where(Service.customer_id == customer.id).correlate_except(Service)
                of_customer = row.c[column.name].in_(owned)
            found.append(exists(literal(1)).select_from(row).where(of_customer).correlate_except(row))
    return or_(*found)


def _count(model: Any, customer_id: UUID) -> Any:
    return select(func.count()).select_from(model).where(model.customer_id == customer_id).scalar_subquery()


async def _zone_is_there(session: AsyncSession, faults: Faults, zone_id: UUID | None) -> None:
    if zone_id is not None and await session.get(Zone, zone_id) is None:
        faults.add(ErrorCode.NOT_FOUND, "There is no such zone.", "zoneId")


def _address_columns(answer: Mapping[str, object] | None) -> dict[str, object]:
    given = answer or {}
    columns = {"street": "street", "city": "city", "state": "state", "postal_code": "postalCode", "country": "country"}
    return {column: given.get(name) for column, name in columns.items()}


def _plain(value: object) -> object:
    return str(value) if isinstance(value, UUID) else value
