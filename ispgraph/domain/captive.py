"""Visitors of a hotspot, who are not signed in: they redeem a voucher and get on line.

Every voucher redeemed by a visitor makes an account of its own, so that nobody gets at another's by a telephone number;
whoever has an account tells its password to have it go on. That a code cannot be redeemed is all that is ever said of
it. Tries are counted before anything is looked at, for each address and for each provider.
"""

import hmac
import secrets as randomness
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from redis.asyncio import Redis
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock
from ispgraph.db import Database
from ispgraph.domain import customer_records, hotspot, macs, secrets, services, throttle, values
from ispgraph.domain.errors import DomainError, ErrorCode, Faults, fail
from ispgraph.domain.hotspot import Bought, Login, Wish
from ispgraph.domain.models import (
    ConnectionType,
    Customer,
    CustomerStatus,
    Router,
    Service,
    ServiceMac,
    Tenant,
)

REALM = "hotspot "
TENANT_FREE = 200
"""So many wrong tries at one provider, from addresses where nobody redeemed anything before, are free of a wait."""
ADDRESS_FREE = 20
"""So many from one address: a hotspot's visitors often share one."""
_WRONG = "This does not work. Check the code, and the username and password if you gave them."
_NAME = "Hotspot guest"
_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"


@dataclass(frozen=True, slots=True)
class Portal:
    """Whose page it is, and the hosts at which that provider's routers answer."""

    tenant: Tenant
    hosts: frozenset[str]


@dataclass(frozen=True, slots=True)
class Try:
    """What a visitor has typed: a code with a mobile number for a new account, or with the username and password of the
    account that is to go on. `mac`: the device, when it is to get on line without a password from now on."""

    code: str
    mobile: str
    username: str
    password: str
    mac: str | None


@dataclass(frozen=True, slots=True)
class Admitted:
    """How the visitor gets on line, with what and until when; whether the device was taken note of."""

    login: Login
    fresh: bool
    package: str
    until: datetime
    device: bool | None


async def portal(database: Database, slug: str) -> Portal | None:
    """The portal of a provider."""
    async with database.read(None) as session:
        tenant_id = await session.scalar(text("SELECT hotspot_tenant(:slug)"), {"slug": slug})
    if tenant_id is None:
        return None
    async with database.read(tenant_id) as session:
        tenant = await session.get_one(Tenant, tenant_id)
        rows = (await session.execute(select(Router.address, Router.radius_address))).all()
    return Portal(tenant, frozenset(str(host).lower() for row in rows for host in row if host))


async def redeem(
    database: Database, redis: Redis, network_key: bytes, tenant: Tenant, given: Try, address: str | None
) -> Admitted:
    """Redeem a voucher for a visitor.

    Raises DomainError at the path `mobile`, or `code` with one message whatever is wrong with the code or the account,
    and at `account` for what its owner should know of it; throttle.Throttled; errors of Redis.
    """
    mobile = None if given.username else _mobile(given.mobile, tenant)
    attempt = await throttle.begin(
        redis, tenant.id.hex, address, realm=REALM, account_free=TENANT_FREE, address_free=ADDRESS_FREE
    )
    admitted = await database.run(tenant.id, lambda session: _redeem(session, tenant.id, given, mobile, network_key))
    await throttle.give_back(redis, attempt)
    return admitted


def _mobile(raw: str, tenant: Tenant) -> str:
    faults = Faults()
    found = values.checked(faults, values.phone, raw, tenant.country, at=("mobile",))
    faults.raise_if_any()
    assert found is not None
    return found


async def _redeem(
    session: AsyncSession, tenant_id: UUID, given: Try, mobile: str | None, network_key: bytes
) -> Admitted:
    tenant = await session.get_one(Tenant, tenant_id)
    # Whose account it is stands first, as everywhere: customers are locked before vouchers.
    owner = None if mobile is not None else await _account(session, given, network_key)
    try:
        bought = await hotspot.by_voucher(session, tenant, given.code, network_key=network_key, at=("code",))
    except DomainError as error:
        raise fail(ErrorCode.INVALID, _WRONG, "code") from error
    if owner is None:
        assert mobile is not None
        customer, service, login = await _guest(session, tenant, bought, mobile, network_key)
        others = [service]
    else:
        customer, service = owner
        others = list((await services.services_of(session, [customer.id]))[customer.id])
        service = next(each for each in others if each.id == service.id)
        login = Login(service.username, given.password)
    device = None if given.mac is None else await _remember(session, service, given.mac)
    try:
        await hotspot.go_on(session, customer, service, others, bought, Wish(given.code, None, None, None), None)
    except DomainError as error:
        raise fail(error.faults[0].code, error.faults[0].message, "account") from error
    assert service.expires_at is not None
    return Admitted(login, owner is None, bought.package.name, service.expires_at, device)


async def _account(session: AsyncSession, given: Try, network_key: bytes) -> tuple[Customer, Service]:
    """The account that somebody has the password of, its customer locked."""
    try:
        username = values.username(given.username)
    except values.Unfit as error:
        raise fail(ErrorCode.INVALID, _WRONG, "code") from error
    rows = select(Service).where(Service.username == username)
    service = await session.scalar(rows.where(Service.connection_type == ConnectionType.HOTSPOT))
    if service is None:
        raise fail(ErrorCode.INVALID, _WRONG, "code")
    bound_to = secrets.service_password(service.tenant_id, service.id)
    right = secrets.unseal(network_key, service.password, bound_to)
    if not hmac.compare_digest(right.encode(), given.password.encode()):
        raise fail(ErrorCode.INVALID, _WRONG, "code")
    held = select(Customer).where(Customer.id == service.customer_id).with_for_update(key_share=True)
    return (await session.scalars(held)).one(), service


async def _guest(
    session: AsyncSession, tenant: Tenant, bought: Bought, mobile: str, network_key: bytes
) -> tuple[Customer, Service, Login]:
    """A new customer of whoever made the voucher, with an account that nobody can guess."""
    assert bought.voucher is not None
    customer = await customer_records.enrolled(
        session,
        tenant,
        basics={"name": _NAME, "mobile": mobile, "email": None},
        address=None,
        zone_id=None,
        operator_id=bought.voucher[1].created_by_id,
        status=CustomerStatus.PENDING,
        at=clock.now(),
    )
    session.add(customer)
    await session.flush()
    username = "v" + "".join(randomness.choice(_LETTERS) for _ in range(9))
    service, login = await hotspot.new_service(session, customer, bought.package, username, network_key)
    return customer, service, login


async def _remember(session: AsyncSession, service: Service, mac: str) -> bool:
    """Let a device in by its address alone from now on; False when it is another account's."""
    bound = set(await session.scalars(select(ServiceMac.mac).where(ServiceMac.service_id == service.id)))
    if mac.lower() in {str(each).lower() for each in bound}:
        return True
    held = select(ServiceMac.id).where(ServiceMac.mac == mac, ServiceMac.logs_in)
    if len(bound) >= macs.MOST or await session.scalar(held) is not None:
        return False
    try:
        async with session.begin_nested():
            session.add(ServiceMac(tenant_id=service.tenant_id, service_id=service.id, mac=mac, logs_in=True))
    except IntegrityError:
        # Somebody else was faster.
        return False
    return True
