"""Customers and services that stand there without the wizard."""

from typing import Any

from ispgraph import ids
from ispgraph.domain import secrets
from ispgraph.domain.models import ConnectionType, Customer, CustomerStatus, Service, ServiceStatus
from tests.factories import NETWORK_KEY, House


async def customer(house: House, **fields: Any) -> Customer:
    """An active customer of the admin."""
    key = ids.uuid7()
    row = Customer(
        **{
            "id": key,
            "account_number": key.hex[-12:],
            "name": "Ann Example",
            "mobile": "+8801712345678",
            "operator_id": house.admin.id,
            "status": CustomerStatus.ACTIVE,
        }
        | fields
    )
    await house.add(row)
    return row


async def service(house: House, customer: Customer, **fields: Any) -> Service:
    """An active PPPoE service with a package of its own."""
    key = ids.uuid7()
    package = await house.package(f"Package {key.hex[-6:]}")
    row = Service(
        **{
            "id": key,
            "customer_id": customer.id,
            "package_id": package.id,
            "router_id": None,
            "connection_type": ConnectionType.PPPOE,
            "status": ServiceStatus.ACTIVE,
            "username": f"u{key.hex[-8:]}",
            "password": secrets.seal(NETWORK_KEY, "secret", secrets.service_password(house.tenant.id, key)),
        }
        | fields
    )
    await house.add(row)
    return row
