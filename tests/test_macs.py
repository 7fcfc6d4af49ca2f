"""The devices that a service is bound to, through the API."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import select

from ispgraph.domain.models import (
    AuditEntry,
    ConnectionType,
    Customer,
    Job,
    Operator,
    Package,
    Role,
    RouterMode,
    ServiceMac,
    ServiceStatus,
)
from ispgraph.domain.permissions import DEFAULTS, Permission
from tests import subscribers
from tests.api import Api
from tests.factories import House
from tests.test_services import audited, count, fresh, pair, public
from tests.wizard import faults

PAYLOAD = """errors { code message field } warnings customer { id service { macAddresses network { desiredVersion } } }
  jobs { id kind ... on NetworkJob { router { id } } }"""
BIND = f"mutation ($input: MacBindInput!) {{ customerAddMacBinding(input: $input) {{ {PAYLOAD} }} }}"
UNBIND = f"mutation ($input: MacBindInput!) {{ customerRemoveMacBinding(input: $input) {{ {PAYLOAD} }} }}"
MAC, SECOND = "02:00:5E:AA:00:01", "02:00:5E:AA:00:02"
HOTSPOT = {"connection_type": ConnectionType.HOTSPOT}


class Desk:
    """One operator who binds and sets free."""

    def __init__(self, api: Api, operator: Operator) -> None:
        self.api, self.operator = api, operator

    async def bind(self, customer: Customer, mac: str | None = None, **given: Any) -> dict[str, Any]:
        """The payload of customerAddMacBinding."""
        return await self._act(BIND, "customerAddMacBinding", customer, mac, given)

    async def unbind(self, customer: Customer, mac: str | None = None, **given: Any) -> dict[str, Any]:
        """The payload of customerRemoveMacBinding."""
        return await self._act(UNBIND, "customerRemoveMacBinding", customer, mac, given)

    async def _act(
        self, document: str, field: str, customer: Customer, mac: str | None, given: dict[str, Any]
    ) -> dict[str, Any]:
        variables = {"customerId": public(customer), **({"macAddress": mac} if mac is not None else {}), **given}
        payload: dict[str, Any] = (await self.api.data(document, self.operator, input=variables))[field]
        return payload


@pytest.fixture
def desk(api: Api, house: House) -> Desk:
    """The desk of the admin of `house`."""
    return Desk(api, house.admin)


def shown(payload: dict[str, Any]) -> list[str]:
    """The devices that a payload without errors shows."""
    assert payload["errors"] == []
    macs: list[str] = payload["customer"]["service"]["macAddresses"]
    return macs


async def test_bound_and_set_free(desk: Desk, house: House) -> None:
    router = await house.router()
    customer, service = await pair(house, router_id=router.id)

    payload = await desk.bind(customer, MAC)
    assert shown(payload) == [MAC]
    assert payload["customer"]["service"]["network"]["desiredVersion"] == 2
    (job,) = payload["jobs"]
    assert (job["kind"], job["router"]["id"]) == ("service.provision", public(router))
    assert payload["warnings"] == []
    assert shown(await desk.bind(customer, SECOND)) == [MAC, SECOND]

    payload = await desk.unbind(customer, MAC.lower())
    assert shown(payload) == [SECOND]
    assert payload["warnings"] == []
    assert len(payload["jobs"]) == 1
    payload = await desk.unbind(customer)
    assert shown(payload) == []
    assert payload["warnings"] == ["This service can now be used from any device."]
    assert payload["customer"]["service"]["network"]["desiredVersion"] == 5

    entries = await audited(house, customer)
    assert {entry.operator_id for entry in entries} == {house.admin.id}
    assert {entry.details["service"] for entry in entries} == {str(service.id)}
    assert [(entry.action, entry.details["before"], entry.details["after"]) for entry in entries] == [
        ("customer.bindMac", [], [MAC]),
        ("customer.bindMac", [MAC], [MAC, SECOND]),
        ("customer.unbindMac", [MAC, SECOND], [SECOND]),
        ("customer.unbindMac", [SECOND], []),
    ]


@pytest.mark.parametrize("spelling", [MAC.lower(), "02-00-5e-aa-00-01", "0200.5eaa.0001", "02005EAA0001", f" {MAC} "])
async def test_any_usual_notation(desk: Desk, house: House, spelling: str) -> None:
    customer, _ = await pair(house)
    assert shown(await desk.bind(customer, spelling)) == [MAC]
    assert faults(await desk.bind(customer, MAC)) == [("NO_CHANGE", "input.macAddress")]
    assert shown(await desk.unbind(customer, spelling)) == []


@pytest.mark.parametrize(
    "unfit", ["00:00:00:00:00:00", "FF:FF:FF:FF:FF:FF", "01:00:5E:00:00:01", "02:00:5E:AA:00", "192.0.2.1", "02:00-5e"]
)
async def test_what_is_no_device_is_refused(desk: Desk, house: House, unfit: str) -> None:
    customer, service = await pair(house)
    assert faults(await desk.bind(customer, unfit)) == [("INVALID", "input.macAddress")]
    assert faults(await desk.unbind(customer, unfit)) == [("INVALID", "input.macAddress")]
    assert (await fresh(house, service)).desired_version == 1


async def test_nothing_to_do_is_said(desk: Desk, house: House) -> None:
    customer, service = await pair(house)
    for blank in (None, " "):
        assert faults(await desk.bind(customer, blank)) == [("REQUIRED", "input.macAddress")]
    assert faults(await desk.unbind(customer)) == [("NO_CHANGE", "input.customerId")]
    assert faults(await desk.unbind(customer, serviceId=public(service))) == [("NO_CHANGE", "input.serviceId")]
    assert faults(await desk.unbind(customer, MAC)) == [("NO_CHANGE", "input.macAddress")]
    # A blank that was sent is a mistake, not the wish to remove all.
    await house.add(ServiceMac(service_id=service.id, mac=MAC))
    assert faults(await desk.unbind(customer, "")) == [("REQUIRED", "input.macAddress")]
    assert (await fresh(house, service)).desired_version == 1
    assert [await count(house, kind) for kind in (Job, ServiceMac)] == [0, 1]
    assert await audited(house, customer) == []


async def test_ten_devices_are_enough(desk: Desk, house: House) -> None:
    customer, service = await pair(house)
    await house.add(*(ServiceMac(service_id=service.id, mac=f"02:00:5E:AA:01:{n:02X}") for n in range(9)))
    answers = await asyncio.gather(*(desk.bind(customer, f"02:00:5E:AA:02:{n:02X}") for n in range(4)))
    assert sorted(faults(answer)[:1] for answer in answers) == [[], *[[("LIMIT_EXCEEDED", "input.macAddress")]] * 3]
    assert await count(house, ServiceMac) == 10


async def test_a_router_that_keeps_its_users_binds_one(desk: Desk, house: House) -> None:
    router = await house.router(mode=RouterMode.LOCAL)
    customer, _ = await pair(house, router_id=router.id)
    assert shown(await desk.bind(customer, MAC)) == [MAC]
    payload = await desk.bind(customer, SECOND)
    assert faults(payload) == [("LIMIT_EXCEEDED", "input.macAddress")]
    assert "one device only" in payload["errors"][0]["message"]


async def test_a_device_logs_in_for_one_hotspot_and_dials_for_many(desk: Desk, house: House) -> None:
    guests = [await pair(house, **HOTSPOT) for _ in range(3)]
    answers = await asyncio.gather(*(desk.bind(customer, MAC) for customer, _ in guests))
    assert sorted(faults(answer)[:1] for answer in answers) == [[], *[[("TAKEN", "input.macAddress")]] * 2]
    for _ in range(2):
        customer, _ = await pair(house)
        assert shown(await desk.bind(customer, MAC)) == [MAC]


async def test_what_follows_for_a_hotspot_is_said(desk: Desk, house: House) -> None:
    customer, service = await pair(house, **HOTSPOT)
    await desk.bind(customer, MAC)
    payload = await desk.unbind(customer, MAC, idempotencyKey="once")
    by_name = "A device of this hotspot no longer gets on line by its address alone, but with username and password."
    assert payload["warnings"] == ["This service can now be used from any device.", by_name]
    assert (await desk.unbind(customer, MAC, idempotencyKey="once"))["warnings"] == payload["warnings"]
    async with house.database.transaction(house.tenant.id) as session:
        (await session.get_one(Package, service.package_id)).bind_mac_on_first_login = True
    await desk.bind(customer, MAC)
    payload = await desk.unbind(customer)
    assert payload["warnings"] == ["This service will be bound to the next device that gets on line.", by_name]


async def test_services_that_nobody_logs_in_to(desk: Desk, house: House) -> None:
    for fields, said in (
        ({"connection_type": ConnectionType.STATIC_IP, "ip_address": "10.0.0.7"}, "Nobody logs in"),
        ({"connection_type": ConnectionType.OTHER}, "Nobody logs in"),
        ({"status": ServiceStatus.TERMINATED}, "terminated"),
    ):
        customer, _ = await pair(house, **fields)
        payload = await desk.bind(customer, MAC)
        assert faults(payload) == [("INVALID_STATE", "input.customerId")]
        assert said in payload["errors"][0]["message"]
    assert await count(house, ServiceMac) == 0


async def test_the_same_key_does_it_once(desk: Desk, house: House) -> None:
    customer, service = await pair(house)
    for act in (desk.bind, desk.unbind):
        answers = await asyncio.gather(*(act(customer, MAC, idempotencyKey="once") for _ in range(4)))
        assert [answer["errors"] for answer in answers] == [[]] * 4
        assert len({answer["jobs"][0]["id"] for answer in answers}) == 1
        other = await act(customer, SECOND, idempotencyKey="once")
        assert faults(other) == [("IDEMPOTENCY_KEY_REUSED", "input.idempotencyKey")]
    assert (await fresh(house, service)).desired_version == 3


@pytest.mark.parametrize("document", [BIND, UNBIND])
async def test_it_needs_a_permission(api: Api, house: House, document: str) -> None:
    customer, _ = await pair(house)
    lacking = sorted(each.value for each in DEFAULTS[Role.ADMIN] if each is not Permission.REMOVE_MAC_BIND)
    clerk = await house.operator(Role.MANAGER, permissions=lacking)
    variables = {"input": {"customerId": public(customer), "macAddress": MAC}}
    answer = await api(document, clerk, **variables)
    assert [error["extensions"]["code"] for error in answer["errors"]] == ["FORBIDDEN"]
    assert await count(house, ServiceMac) == 0


async def test_others_are_not_noticed(api: Api, house: House, other_house: House) -> None:
    reseller, rival = await house.operator(Role.OPERATOR), await house.operator(Role.OPERATOR)
    customer = await subscribers.customer(house, operator_id=reseller.id)
    service = await subscribers.service(house, customer, **HOTSPOT)
    await house.add(ServiceMac(service_id=service.id, mac=MAC, logs_in=True))
    for stranger in (rival, other_house.admin):
        desk = Desk(api, stranger)
        for payload in (await desk.bind(customer, SECOND), await desk.unbind(customer, MAC)):
            assert faults(payload) == [("NOT_FOUND", "input.customerId")]
    # Another provider has devices of its own.
    own, _ = await pair(other_house, **HOTSPOT)
    assert shown(await Desk(api, other_house.admin).bind(own, MAC)) == [MAC]
    assert await count(house, ServiceMac) == 1


async def test_a_package_that_binds(api: Api, house: House) -> None:
    document = """mutation($input: PackageInput!) { packageCreate(input: $input) {
      package { id bindMacOnFirstLogin } errors { code } } }"""
    terms = {"connectionTypes": ["PPPOE"], "downloadKbps": 2000, "uploadKbps": 1000, "price": "5"}
    for name, given, expected in (("Open", {}, False), ("Bound", {"bindMacOnFirstLogin": True}, True)):
        data = await api.data(document, house.admin, input={"name": name, **terms, **given})
        assert data["packageCreate"]["package"]["bindMacOnFirstLogin"] is expected
    update = """mutation($id: ID!, $input: PackageInput!) { packageUpdate(packageId: $id, input: $input) {
      package { bindMacOnFirstLogin } } }"""
    key = data["packageCreate"]["package"]["id"]
    data = await api.data(update, house.admin, id=key, input={"name": "Bound", **terms})
    assert data["packageUpdate"]["package"]["bindMacOnFirstLogin"] is False
    async with house.database.read(house.tenant.id) as session:
        (entry,) = await session.scalars(select(AuditEntry).where(AuditEntry.action == "package.update"))
    assert entry.details == {"bind_mac_on_first_login": [True, False]}
