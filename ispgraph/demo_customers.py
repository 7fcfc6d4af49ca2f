"""The demo's customers, made by the wizard's own verbs: each kind of connection, paid in full, in part, too much, not
at all, by the provider itself and by its resellers."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph.domain.models import ConnectionType, Customer, Package, PaymentMethod, Zone
from ispgraph.domain.onboarding import confirm, drafts, steps
from ispgraph.domain.permissions import Viewer

_NOT_SAID = dict.fromkeys(("state", "postalCode", "country"))
_PASSWORD = "demo-line-only"  # noqa: S105  of lines that do not exist


@dataclass(frozen=True, slots=True)
class Person:
    """A customer to be: `by` is the operator who signs the contract, the part of the address before the @."""

    name: str
    by: str
    package: str
    zone: str
    paid: str
    kind: ConnectionType = ConnectionType.PPPOE
    access: str | None = None


_KIND = ConnectionType
EXAMPLE_NET = (
    Person("Aster Example", "admin", "Home 20", "North Harbour", "800"),
    Person("Birch Example", "admin", "Home 50", "North Hill", "600"),
    Person("Cedar Example", "admin", "Home 100 Fair Use", "South", "2000"),
    Person("Dahlia Example", "admin", "Home 50", "South Market", "1200", _KIND.STATIC_IP, "192.0.2.10"),
    Person("Elm Example", "operator", "Home 20", "North Harbour", "0"),
    Person("Fern Example", "sub-operator", "Hotspot Week", "North Harbour", "150", _KIND.HOTSPOT, "02:00:5E:00:00:01"),
    Person("Ginger Example", "operator-2", "Home 20", "South Market", "800"),
    Person("Hazel Example", "sub-operator-2", "Day Pass", "South Market", "30"),
)
OTHER_NET = (Person("Otter Elsewhere", "admin", "Other 10", "Elsewhere", "500"),)


async def add(session: AsyncSession, people: Sequence[Person], by: dict[str, Viewer], network_key: bytes) -> None:
    """Make those who are not there yet."""
    there = set(await session.scalars(select(Customer.email)))
    packages = {row.name: row.id for row in await session.scalars(select(Package))}
    zones = {row.name: row.id for row in await session.scalars(select(Zone))}
    for number, person in enumerate(people):
        email = f"{person.name.split()[0].lower()}@customers.example"
        if email in there:
            continue
        who = by[person.by]
        draft = (await drafts.start(session, by=who)).id
        mobile = f"0171100{number:04d}"
        await steps.set_basics(
            session, draft, name=person.name, mobile=mobile, email=email, expected_version=None, by=who
        )
        await steps.set_connection(
            session,
            draft,
            given={person.kind: _access(person)},
            router_id=None,
            network_key=network_key,
            expected_version=None,
            by=who,
        )
        await steps.set_package(session, draft, package_id=packages[person.package], expected_version=None, by=who)
        address = {"street": f"{number + 1} Example Street", "city": "Example Town"} | _NOT_SAID
        await steps.set_address(
            session, draft, address=address, zone_id=zones[person.zone], expected_version=None, by=who
        )
        await steps.set_payment(
            session,
            draft,
            amount=Decimal(person.paid),
            method=PaymentMethod.CASH,
            reference=None,
            notes=None,
            expected_version=None,
            by=who,
        )
        await confirm.confirm(session, draft, idempotency_key=None, network_key=network_key, by=who)


def _access(person: Person) -> dict[str, str | None]:
    if person.kind is ConnectionType.HOTSPOT:
        return {"mac_address": person.access, "device_type": None}
    if person.kind is ConnectionType.STATIC_IP:
        return {"ip_address": person.access, "subnet": None}
    return {"username": "", "password": _PASSWORD, "profile": None}
