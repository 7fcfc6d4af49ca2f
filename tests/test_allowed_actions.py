"""What a customer's page offers is what the mutations accept: each is tried, in a transaction that is rolled back."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from ispgraph import clock, ids
from ispgraph.db import Database
from ispgraph.domain import allowed_actions, models
from ispgraph.domain.models import (
    ConnectionType,
    Customer,
    CustomerStatus,
    Operator,
    OperatorGrant,
    Package,
    ResetPeriod,
    Role,
    Service,
    ServiceStatus,
    ServiceWatch,
    SuspendReason,
)
from ispgraph.domain.permissions import IN_ZONES, Permission
from tests import subscribers
from tests.api import Api
from tests.conftest import Dsns
from tests.factories import House
from tests.limits.conftest import Line
from tests.messaging.post import gateway
from tests.paying.counter import account
from tests.undone import undone

SHOWN = """query ($ids: [ID!]!) { nodes(ids: $ids) { ... on Customer { id allowedActions
  services { id allowedActions } } } }"""

# For each permission the mutation that it stands for, and an input that nothing is wrong with.
_INPUT = "mutation ($input: {kind}!) {{ {field}(input: $input) {{ errors {{ code field }} }} }}"
MUTATIONS: Mapping[str, tuple[str, str, dict[str, Any]]] = {
    "ACTIVATE_CUSTOMERS": ("customerActivate", "ActivateInput", {}),
    "SUSPEND_CUSTOMERS": ("customerSuspend", "SuspendInput", {"reason": "OTHER"}),
    "DISCONNECT_CUSTOMERS": ("customerDisconnect", "DisconnectInput", {}),
    "CHANGE_PACKAGE": ("customerChangePackage", "ChangePackageInput", {"packageId": "faster"}),
    "EDIT_SPEED_LIMIT": ("customerSetSpeedLimit", "SpeedLimitInput", {"downloadKbps": 5, "uploadKbps": 5}),
    "EDIT_TIME_LIMIT": ("customerSetTimeLimit", "TimeLimitInput", {"dailySeconds": 60}),
    "EDIT_VOLUME_LIMIT": ("customerSetVolumeLimit", "VolumeLimitInput", {"dailyBytes": "60"}),
    "ACTIVATE_FUP": ("customerActivateFup", "ServiceRef", {}),
    "REMOVE_MAC_BIND": ("customerRemoveMacBinding", "MacBindInput", {}),
    "GENERATE_BILLS": ("customerGenerateBill", "GenerateBillInput", {"amount": "5"}),
    "EDIT_BILLING_PROFILE": (
        "customerUpdateBillingProfile", "UpdateBillingProfileInput",
        {"profile": {"contactName": "Ann Example"}, "confirmImpact": True},
    ),
    "RECORD_PAYMENTS": ("customerRecordAdvancePayment", "AdvancePaymentInput", {"amount": "5", "method": "CASH"}),
    "REFUND_PAYMENTS": ("customerAdjustBalance", "AdjustBalanceInput", {"amount": "5", "reason": "Goodwill"}),
    "SEND_SMS": ("customerSendSms", "SendSmsInput", {"body": "Hello"}),
    "SEND_PAYMENT_LINK": ("customerSendPaymentLink", "SendPaymentLinkInput", {"channels": []}),
    "CHANGE_OPERATOR": ("customerRequestTransfer", "TransferInput", {"toOperatorId": "other"}),
    "EDIT_SUSPEND_DATE": ("customerSetSuspendDate", "SuspendDateInput", {"recurringDayOfMonth": 5}),
    "DAILY_RECHARGE": ("customerDailyRecharge", "DailyRechargeInput", {"days": 1, "method": "CASH"}),
    "HOTSPOT_RECHARGE": ("customerHotspotRecharge", "HotspotRechargeInput", {"method": "CASH"}),
    "EDIT_CUSTOMERS": ("customerUpdate", "CustomerUpdateInput", {"name": "Another Example"}),
    "DELETE_CUSTOMERS": ("customerDelete", "", {}),
    "MANAGE_TICKETS": ("ticketCreate", "TicketCreateInput", {"subject": "Slow", "body": "It is slow."}),
    "EXPORT_DATA": ("customerExportSessions", "SessionExportInput", {}),
    "REVEAL_SECRETS": ("customerRevealNetworkPassword", "", {}),
}  # fmt: skip
# What says that the state or the rights do not allow it. INVALID, say, would be the test's own fault.
REFUSALS = {
    *("NOT_PERMITTED", "NO_CHANGE", "INVALID_STATE", "NOT_CONFIGURED", "TAKEN", "INSUFFICIENT_FUNDS", "NOT_FOUND"),
}

# Those whose states say most.
TELLING = (
    *("pending", "on line", "bound", "suspended for debts", "expired", "terminated", "above the threshold"),
    *("in fair use", "hotspot", "hotspot suspended", "static without a router", "without any service", "going over"),
    *("wants no SMS", "billed"),
)

# A recharge makes one for them, so it says of which package.
WITHOUT_A_LIVING_SERVICE = {"without any service", "another's", "terminated", "terminated in fair use"}


@dataclass
class Town:
    """Customers in all the states there are, and operators with all kinds of rights."""

    api: Api
    database: Database
    house: House
    customers: dict[str, Customer]
    services: dict[str, Service]
    operators: dict[str, Operator]
    packages: dict[str, Package]

    async def shown(self, who: Operator) -> dict[str, set[str]]:
        """What is offered, by customer."""
        keys = {name: ids.encode("cus", row.id) for name, row in self.customers.items()}
        nodes = (await self.api.data(SHOWN, who, ids=list(keys.values())))["nodes"]
        return {name: set(node["allowedActions"]) if node else set() for name, node in zip(keys, nodes, strict=True)}

    async def accepted(self, permission: str, who: Operator, name: str, service: Service | None = None) -> bool:
        """Whether the mutation is, of the service or of the one that is taken without any. It leaves nothing behind."""
        field, kind, given = MUTATIONS[permission]
        key = {"customerId": ids.encode("cus", self.customers[name].id)}
        if service is not None:
            key["serviceId"] = ids.encode("svc", service.id)
        if kind:
            document = _INPUT.format(kind=kind, field=field)
            answer = await self.api(document, who, input={**key, **self._sound(name, given)})
        else:
            arguments = ", ".join(f'{each}: "{value}"' for each, value in key.items())
            answer = await self.api(f"mutation {{ {field}({arguments}) {{ errors {{ code field }} }} }}", who)
        if "errors" in answer:
            assert [each["extensions"]["code"] for each in answer["errors"]] == ["FORBIDDEN"], answer
            return False
        codes = {each["code"] for each in answer["data"][field]["errors"]}
        assert codes <= REFUSALS, (permission, name, answer)
        return not codes

    def _sound(self, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
        values = dict(given)
        if "packageId" in values:
            values["packageId"] = ids.encode("pkg", self.packages["faster"].id)
        if "toOperatorId" in values:
            values["toOperatorId"] = ids.encode("opr", self.operators["other"].id)
        if values == {"method": "CASH"} and name in WITHOUT_A_LIVING_SERVICE:
            values["packageId"] = ids.encode("pkg", self.packages["faster"].id)
        return values


@pytest.fixture
async def town(api: Api, house: House, database: Database, dsns: Dsns) -> AsyncIterator[Town]:
    accounting = Database(dsns.superuser, pool_size=2)
    made = await _people(api, house, database, accounting)
    with undone(database):
        yield made
    await accounting.dispose()


async def _people(api: Api, house: House, database: Database, accounting: Database) -> Town:
    operators = await _operators(house)
    zone = await house.zone("North")
    await _grants(house, operators, zone)
    router = await house.router()
    await gateway(house)
    await account(house, "bank_transfer", {}, "Bank")
    fair = {"fup_threshold_bytes": 1000, "fup_download_kbps": 100, "fup_upload_kbps": 100}
    fair |= {"fup_reset_period": ResetPeriod.DAY, "fup_notify_at_percent": 80}
    packages = {
        "usual": await house.package("Home 20"),
        "faster": await house.package("Home 50"),
        "fair": await house.package("Fair 20", **fair),
    }
    now = clock.now()
    paid = {"started_at": now - timedelta(days=9), "expires_at": now + timedelta(days=20), "router_id": router.id}
    hotspot: dict[str, Any] = {"connection_type": ConnectionType.HOTSPOT, **paid}
    static: dict[str, Any] = {"connection_type": ConnectionType.STATIC_IP, **paid}
    status, reason = ServiceStatus, SuspendReason
    fair_use = {"package_id": packages["fair"].id}
    lines: dict[str, dict[str, Any]] = {
        "pending": {"status": status.PENDING, "router_id": router.id},
        "active": paid,
        "on line": paid,
        "bound": paid,
        "suspended by hand": {**paid, "status": status.SUSPENDED, "suspend_reason": reason.OTHER},
        "suspended for debts": {**paid, "status": status.SUSPENDED, "suspend_reason": reason.NON_PAYMENT},
        "suspended and over": {**paid, "status": status.SUSPENDED, "expires_at": now - timedelta(days=1)},
        "expired": {**paid, "status": status.EXPIRED, "expires_at": now - timedelta(days=1)},
        "over but active": {**paid, "expires_at": now - timedelta(minutes=1)},
        "terminated": {**paid, "status": status.TERMINATED},
        "without an end": {"started_at": now - timedelta(days=9)},
        "without a password": {**paid, "password": b""},
        "below the threshold": {**paid, **fair_use},
        "above the threshold": {**paid, **fair_use},
        "in fair use": {**paid, **fair_use},
        "terminated in fair use": {**paid, **fair_use, "status": status.TERMINATED},
        "hotspot": hotspot,
        "hotspot pending": {**hotspot, "status": status.PENDING, "expires_at": None},
        "hotspot suspended": {**hotspot, "status": status.SUSPENDED},
        "hotspot expired": {**hotspot, "status": status.EXPIRED, "expires_at": now - timedelta(days=1)},
        "hotspot bound": hotspot,
        "static": static,
        "static without a router": {**static, "router_id": None},
        "in the zone": paid,
        "wants no SMS": paid,
        "going over": paid,
        "billed": paid,
    }
    town = Town(api, database, house, {}, {}, operators, packages)
    for name, fields in lines.items():
        wishes: dict[str, Any] = {"zone_id": zone.id} if name == "in the zone" else {}
        wishes |= {"sms_opt_out": True} if name == "wants no SMS" else {}
        followed = CustomerStatus(fields.get("status", status.ACTIVE).value)
        who = await subscribers.customer(house, operator_id=operators["sub"].id, status=followed, **wishes)
        town.customers[name] = who
        row = await subscribers.service(house, who, **({"package_id": packages["usual"].id} | fields))
        town.services[name] = row
    town.customers["without any service"] = await subscribers.customer(
        house, operator_id=operators["sub"].id, status=CustomerStatus.PENDING
    )
    both = town.customers["with two"] = await subscribers.customer(house, operator_id=operators["sub"].id)
    for name, fields in (
        ("first", {"is_primary": True, "status": status.SUSPENDED}),
        ("second", {"is_primary": False, **hotspot}),
    ):
        town.services[name] = await subscribers.service(
            house, both, **({**paid, "package_id": packages["usual"].id} | fields)
        )
    town.customers["another's"] = await subscribers.customer(house, operator_id=operators["rival"].id)
    await _happenings(town, api, accounting)
    return town


async def _happenings(town: Town, api: Api, accounting: Database) -> None:
    house = town.house

    def line(name: str) -> Line:
        return Line(api, house, accounting, town.customers[name], town.services[name])

    await line("on line").dial()
    for number, name in enumerate(("bound", "hotspot bound")):
        mac = f"aa:bb:cc:00:00:0{number}"
        await house.add(models.ServiceMac(service_id=town.services[name].id, mac=mac, logs_in=bool(number)))
    await line("below the threshold").use(999)
    for name in ("above the threshold", "in fair use", "terminated in fair use"):
        await line(name).use(1000)
    key = (house.tenant.id, town.services["in fair use"].id)
    await line("in fair use").change(ServiceWatch, key, fup_activated_at=clock.now())
    bill = _INPUT.format(kind="GenerateBillInput", field="customerGenerateBill")
    billed = {"customerId": ids.encode("cus", town.customers["billed"].id), "amount": "5"}
    assert (await api.data(bill, house.admin, input=billed))["customerGenerateBill"]["errors"] == []
    going = {"customerId": ids.encode("cus", town.customers["going over"].id)}
    going |= {"toOperatorId": ids.encode("opr", town.operators["other"].id)}
    ask = _INPUT.format(kind="TransferInput", field="customerRequestTransfer")
    assert (await api.data(ask, house.admin, input=going))["customerRequestTransfer"]["errors"] == []


async def _operators(house: House) -> dict[str, Operator]:
    """Of each role one with the usual permissions, and one with all of them."""
    every = sorted(permission.value for permission in Permission)
    found = {"ADMIN": house.admin, "SUPER_ADMIN": await house.operator(Role.SUPER_ADMIN)}
    seller = found["OPERATOR"] = await house.operator(Role.OPERATOR, sms_credits=5)
    found["sub"] = found["SUB_OPERATOR"] = await house.operator(Role.SUB_OPERATOR, seller)
    for role in (Role.MANAGER, Role.ACCOUNTANT, Role.STAFF, Role.CUSTOMER):
        found[role.value] = await house.operator(role)
    for role in (Role.ADMIN, Role.MANAGER, Role.ACCOUNTANT, Role.STAFF):
        found[f"{role.value} with everything"] = await house.operator(role, permissions=every)
    found["OPERATOR with everything"] = await house.operator(Role.STAFF, seller, permissions=every)
    found["rival"] = await house.operator(Role.OPERATOR, permissions=every)
    found["other"] = await house.operator(Role.OPERATOR)
    for name in ("granted for a while", "granted in a zone", "granted once"):
        found[name] = await house.operator(Role.STAFF, permissions=["VIEW_CUSTOMERS"])
    return found


async def _grants(house: House, operators: Mapping[str, Operator], zone: models.Zone) -> None:
    now = clock.now()
    for name, fields in (
        ("granted for a while", {"expires_at": now + timedelta(hours=1)}),
        ("granted in a zone", {"zone_id": zone.id}),
        ("granted once", {"expires_at": now - timedelta(hours=1)}),
    ):
        await house.add(
            *(
                OperatorGrant(
                    operator_id=operators[name].id,
                    permission=permission.value,
                    created_at=now - timedelta(days=1),
                    granted_by_id=house.admin.id,
                    **fields,
                )
                for permission in IN_ZONES
            )
        )


async def agree(town: Town, names: Sequence[str], customers: Sequence[str]) -> dict[str, set[bool]]:
    """Compare what is offered with what is accepted, for these operators and customers; the answers by permission."""
    answers: dict[str, set[bool]] = {permission: set() for permission in MUTATIONS}
    differing = []
    for name in names:
        who = town.operators[name]
        shown = await town.shown(who)
        for customer in customers:
            for permission in MUTATIONS:
                accepted = await town.accepted(permission, who, customer)
                answers[permission].add(accepted)
                if accepted != (permission in shown[customer]):
                    differing.append((name, customer, permission, accepted))
            assert shown[customer] <= set(MUTATIONS)
    assert differing == []
    return answers


def test_every_detail_action_is_tried() -> None:
    listed = {*allowed_actions.OF_CUSTOMER, *allowed_actions.OF_SERVICE}
    assert {permission.value for permission in listed} == set(MUTATIONS)
    # What can be granted for a zone is done to one customer, so it is offered there or it is nothing on its page.
    assert listed >= IN_ZONES - {Permission.VIEW_CUSTOMERS}


async def test_what_is_offered_is_what_is_accepted(town: Town) -> None:
    answers = await agree(town, ["SUPER_ADMIN"], TELLING)
    always = {"GENERATE_BILLS", "EDIT_BILLING_PROFILE", "RECORD_PAYMENTS", "REFUND_PAYMENTS", "EDIT_CUSTOMERS"}
    always |= {"MANAGE_TICKETS", "EXPORT_DATA", "SEND_PAYMENT_LINK"}
    assert {permission for permission, found in answers.items() if found == {True}} == always
    assert {permission for permission, found in answers.items() if True not in found} == set()
    # The same by service: what is offered of one is accepted with its id.
    nodes = (await town.api.data(SHOWN, town.house.admin, ids=[ids.encode("cus", town.customers["with two"].id)]))[
        "nodes"
    ]
    by_id = {each["id"]: set(each["allowedActions"]) for each in nodes[0]["services"]}
    for name in ("first", "second"):
        service = town.services[name]
        for permission in allowed_actions.OF_SERVICE:
            offered = permission.value in by_id[ids.encode("svc", service.id)]
            accepted = await town.accepted(permission.value, town.house.admin, "with two", service)
            assert offered == accepted, (name, permission)


async def test_it_is_offered_to_whom_it_is_allowed(town: Town) -> None:
    await agree(town, ["SUB_OPERATOR", "STAFF with everything", "granted for a while"], ["going over"])
    await agree(town, ["granted in a zone"], ["in the zone", "active"])
    await agree(town, ["OPERATOR"], ["another's"])
    for name in ("CUSTOMER", "granted once"):
        assert not any((await town.shown(town.operators[name])).values()), name


@pytest.mark.long
async def test_what_is_offered_is_what_is_accepted_to_everybody(town: Town) -> None:
    await agree(town, sorted(set(town.operators) - {"other"}), list(town.customers))


async def test_settings_take_actions_away(town: Town) -> None:
    async with town.database.transaction(town.house.tenant.id) as session:
        for row in await session.scalars(models.Gateway.__table__.select().with_only_columns(models.Gateway.id)):
            (await session.get_one(models.Gateway, row)).active = False
    answers = await agree(town, ["ADMIN"], ["active"])
    assert (answers["SEND_SMS"], answers["SEND_PAYMENT_LINK"]) == ({False}, {False})
