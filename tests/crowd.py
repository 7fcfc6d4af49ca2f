"""Customers for lists: one as wished, or thousands by one statement."""

from typing import Any
from uuid import UUID

import asyncpg

from ispgraph import ids
from ispgraph.domain.models import ConnectionType, Customer, CustomerStatus, Service, ServiceStatus
from tests.factories import House

_MANY = """
    INSERT INTO customers (id, tenant_id, account_number, version, name, mobile, email, operator_id, status, joined_at,
                           updated_at)
    SELECT (lpad(to_hex(n), 12, '0') || substr(md5($1::uuid::text || n), 1, 20))::uuid, $1, (100000 + n)::text, 1,
           initcap(substr(md5('first' || n), 1, 6)) || ' ' || initcap(substr(md5('last' || n), 1, 8)),
           '+88017' || lpad((n * 7919 % 100000000)::text, 8, '0'), 'person' || n || '@example.net', $2,
           CASE n % 10 WHEN 0 THEN 'SUSPENDED' WHEN 1 THEN 'EXPIRED' ELSE 'ACTIVE' END,
           timestamptz '2026-01-01 00:00Z' + make_interval(mins => n), now()
      FROM generate_series(1, $3::integer) n"""
_SERVICES = """
    INSERT INTO services (id, tenant_id, customer_id, package_id, is_primary, connection_type, status, username,
                          password, auto_renew, desired_version, applied_version, created_at, expires_at,
                          provisioning, drift)
    SELECT gen_random_uuid(), tenant_id, id, $2, true, 'PPPOE', 'ACTIVE', 'line' || md5(account_number),
           '\\x00', false, 1, 0, now(), joined_at + interval '400 days', 'APPLIED', '[]'
      FROM customers WHERE tenant_id = $1"""


def customer(house: House, name: str, **fields: Any) -> Customer:
    """An unsaved customer of the house's admin."""
    key = ids.uuid7()
    return Customer(
        **{
            "id": key,
            "account_number": f"N{key.hex[-10:]}",
            "name": name,
            "mobile": "+8801900000000",
            "operator_id": house.admin.id,
            "status": CustomerStatus.ACTIVE,
        }
        | fields
    )


def service(of: Customer, package_id: UUID, **fields: Any) -> Service:
    """An unsaved service of a customer, active and over PPPoE."""
    key = ids.uuid7()
    return Service(
        **{
            "id": key,
            "customer_id": of.id,
            "package_id": package_id,
            "connection_type": ConnectionType.PPPOE,
            "status": ServiceStatus.ACTIVE,
            "username": f"s{key.hex}",
            "password": b"sealed",
        }
        | fields
    )


async def fill(superuser_dsn: str, house: House, count: int) -> None:
    """So many customers with a service each, and the statistics of the planner."""
    package = await house.package()
    connection = await asyncpg.connect(superuser_dsn)
    async with connection.transaction():
        await connection.execute("SELECT set_config('app.tenant_id', $1, true)", str(house.tenant.id))
        await connection.execute(_MANY, house.tenant.id, house.admin.id, count)
        await connection.execute(_SERVICES, house.tenant.id, package.id)
    # Also sorts in what waits in the indexes of trigrams.
    await connection.execute("VACUUM ANALYZE")
    await connection.close()
