"""Suspending, activating and disconnecting services, through the API."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, update

from ispgraph import clock, ids
from ispgraph.db import Database
from ispgraph.domain.models import (
    AuditEntry,
    ConnectionType,
    Customer,
    CustomerStatus,
    Job,
    Message,
    Operator,
    ProvisioningState,
    Role,
    Router,
    Service,
    ServiceStatus,
    Session,
    SessionState,
    SuspendReason,
)
from ispgraph.domain.permissions import DEFAULTS, Permission
from ispgraph.domain.services import status_of_customer
from tests import subscribers
from tests.api import Api
from tests.conftest import Dsns
from tests.factories import House
from tests.wizard import Wizard, faults

PAYLOAD = """errors { code message field } invoice { id } payment { id }
  customer { id version status statusReason
    services { id status startedAt network { desiredVersion radius { attribute value } } } }
  jobs { id kind status ... on NetworkJob { customer { id } router { id } } }"""
SUSPEND = f"mutation ($input: SuspendInput!) {{ customerSuspend(input: $input) {{ {PAYLOAD} }} }}"
ACTIVATE = f"mutation ($input: ActivateInput!) {{ customerActivate(input: $input) {{ {PAYLOAD} }} }}"
DISCONNECT = f"mutation ($input: DisconnectInput!) {{ customerDisconnect(input: $input) {{ {PAYLOAD} }} }}"
OVER = "The time of this service is over: recharge it or change its package first."

Dial = Callable[..., Awaitable[Session]]


class Desk:
    """One operator at work on the services of a house."""

    def __init__(self, api: Api, house: House, operator: Operator) -> None:
        self.api, self.house, self.operator = api, house, operator

    async def suspend(self, customer: Customer | str, **given: Any) -> dict[str, Any]:
        """The payload of customerSuspend; for non-payment unless said otherwise."""
        return await self._act(SUSPEND, "customerSuspend", customer, **{"reason": "NON_PAYMENT"} | given)

    async def activate(self, customer: Customer | str, **given: Any) -> dict[str, Any]:
        """The payload of customerActivate."""
        return await self._act(ACTIVATE, "customerActivate", customer, **given)

    async def disconnect(self, customer: Customer | str, **given: Any) -> dict[str, Any]:
        """The payload of customerDisconnect."""
        return await self._act(DISCONNECT, "customerDisconnect", customer, **given)

    async def _act(self, document: str, field: str, customer: Customer | str, **given: Any) -> dict[str, Any]:
        key = customer if isinstance(customer, str) else ids.encode("cus", customer.id)
        variables = {"customerId": key, **given}
        payload: dict[str, Any] = (await self.api.data(document, self.operator, input=variables))[field]
        return payload


@pytest.fixture
def desk(api: Api, house: House) -> Desk:
    """The desk of the admin of `house`."""
    return Desk(api, house, house.admin)


@pytest.fixture
def dial(dsns: Dsns) -> Dial:
    """Puts an accounting session of a service there, as only accounting may."""

    async def put(service: Service, number: int = 1, **fields: Any) -> Session:
        now = clock.now()
        row = Session(
            **{
                "id": ids.uuid7(),
                "tenant_id": service.tenant_id,
                "customer_id": service.customer_id,
                "service_id": service.id,
                "router_id": service.router_id,
                "acct_session_id": str(number),
                "unique_id": f"{service.id.hex}-{number}",
                "username": service.username,
                "connection_type": service.connection_type,
                "state": SessionState.OPEN,
                "started_at": now,
                "updated_at": now,
            }
            | fields
        )
        superuser = Database(dsns.superuser, pool_size=1)
        async with superuser.transaction(service.tenant_id) as session:
            session.add(row)
        await superuser.dispose()
        return row

    return put


def public(row: Any) -> str:
    """The public id of a row."""
    return ids.encode({Service: "svc", Session: "ses", Customer: "cus", Router: "rtr"}[type(row)], row.id)


async def fresh(house: House, row: Any) -> Any:
    """A row as it stands now."""
    async with house.database.read(house.tenant.id) as session:
        return await session.get_one(type(row), row.id)


async def count(house: House, model: type[Any]) -> int:
    """How many rows of a kind the house has."""
    async with house.database.read(house.tenant.id) as session:
        return await session.scalar(select(func.count()).select_from(model)) or 0


async def audited(house: House, customer: Customer) -> list[AuditEntry]:
    """The record about a customer, oldest first."""
    rows = select(AuditEntry).where(AuditEntry.subject_id == customer.id).order_by(AuditEntry.id)
    async with house.database.read(house.tenant.id) as session:
        return list(await session.scalars(rows))


async def pair(house: House, **fields: Any) -> tuple[Customer, Service]:
    """An active customer with one service; `fields` are the service's."""
    customer = await subscribers.customer(house)
    return customer, await subscribers.service(house, customer, **fields)


async def suspended(house: House, **fields: Any) -> tuple[Customer, Service]:
    """A suspended customer with one suspended service."""
    customer = await subscribers.customer(house, status=CustomerStatus.SUSPENDED, status_reason="Maintenance")
    given = {"status": ServiceStatus.SUSPENDED, "suspend_reason": SuspendReason.MAINTENANCE}
    return customer, await subscribers.service(house, customer, **{"suspended_at": clock.now()} | given | fields)


async def test_suspended_and_activated(desk: Desk, house: House) -> None:
    router = await house.router()
    customer, service = await pair(house, router_id=router.id, started_at=clock.now() - timedelta(days=3))
    before = clock.now()
    payload = await desk.suspend(customer, note=" third reminder ")
    assert payload["errors"] == []
    assert payload["invoice"] is None
    assert payload["payment"] is None
    assert payload["customer"]["status"] == "SUSPENDED"
    assert payload["customer"]["statusReason"] == "Non-payment: third reminder"
    assert payload["customer"]["version"] == 2
    (shown,) = payload["customer"]["services"]
    assert shown["status"] == "SUSPENDED"
    assert shown["network"]["desiredVersion"] == 2
    assert {"attribute": "Auth-Type", "value": "Reject"} in shown["network"]["radius"]
    (job,) = payload["jobs"]
    assert (job["kind"], job["status"], job["router"]["id"]) == ("service.provision", "QUEUED", public(router))
    row: Service = await fresh(house, service)
    assert row.suspend_reason is SuspendReason.NON_PAYMENT
    assert row.provisioning is ProvisioningState.PENDING
    assert row.suspended_at is not None
    assert before <= row.suspended_at <= clock.now()

    payload = await desk.activate(customer, note="paid in cash")
    assert payload["errors"] == []
    assert (payload["customer"]["status"], payload["customer"]["statusReason"]) == ("ACTIVE", None)
    assert payload["customer"]["version"] == 3
    (shown,) = payload["customer"]["services"]
    assert shown["status"] == "ACTIVE"
    assert shown["network"]["desiredVersion"] == 3
    assert "Auth-Type" not in {attribute["attribute"] for attribute in shown["network"]["radius"]}
    assert len(payload["jobs"]) == 1
    assert payload["jobs"][0]["id"] != job["id"]
    row = await fresh(house, service)
    assert row.suspend_reason is None
    assert row.suspended_at is None
    assert row.started_at == service.started_at, "it began when it began"

    first, second = await audited(house, customer)
    assert (first.action, first.operator_id) == ("customer.suspend", house.admin.id)
    active = {"status": "ACTIVE", "suspend_reason": None, "suspended_at": None}
    active |= {"customer_status": "ACTIVE", "status_reason": None}
    assert first.details["service"] == str(service.id)
    assert first.details["note"] == "third reminder"
    assert first.details["before"] == active
    after: Any = first.details["after"]
    assert after.pop("suspended_at") is not None
    assert after == {
        "status": "SUSPENDED",
        "suspend_reason": "NON_PAYMENT",
        "customer_status": "SUSPENDED",
        "status_reason": "Non-payment: third reminder",
    }
    assert second.action == "customer.activate"
    assert second.details["note"] == "paid in cash"
    again: Any = second.details["before"]
    assert again["status"] == "SUSPENDED"
    assert second.details["after"] == active


@pytest.mark.parametrize(
    ("reason", "note", "told"),
    [
        ("NON_PAYMENT", None, "Non-payment"),
        ("VIOLATION", "spam", "Violation of the terms: spam"),
        ("MAINTENANCE", "", "Maintenance"),
        ("CUSTOMER_REQUEST", "  ", "Customer request"),
        ("OTHER", "x" * 200, "Other reason: " + "x" * 200),
    ],
)
async def test_reasons_are_readable(desk: Desk, house: House, reason: str, note: str | None, told: str) -> None:
    customer, _ = await pair(house)
    payload = await desk.suspend(customer, reason=reason, note=note)
    assert (payload["errors"], payload["customer"]["statusReason"]) == ([], told)


async def test_a_pending_service_begins(api: Api, house: House, owner: Database, desk: Desk) -> None:
    async with owner.transaction(house.tenant.id) as session:
        (await session.merge(house.tenant)).pending_until_paid = True
    made = await (await (await Wizard.begin(api, house.admin)).fill(await house.package(), pays="0")).confirm()
    assert made["customer"]["status"] == "PENDING"
    before = clock.now()
    payload = await desk.activate(made["customer"]["id"])
    assert payload["errors"] == []
    assert payload["customer"]["status"] == "ACTIVE"
    (service,) = payload["customer"]["services"]
    assert service["status"] == "ACTIVE"
    assert service["startedAt"] >= before.isoformat()[:19]
    assert "Auth-Type" not in {row["attribute"] for row in service["network"]["radius"]}


async def test_what_cannot_be_suspended_says_why(desk: Desk, house: House) -> None:
    customer = await subscribers.customer(house)
    for status, code, said in (
        ("SUSPENDED", "NO_CHANGE", "suspended already"),
        ("PENDING", "INVALID_STATE", "until it is activated"),
        ("EXPIRED", "INVALID_STATE", "until it is recharged"),
        ("TERMINATED", "INVALID_STATE", "was terminated"),
    ):
        service = await subscribers.service(house, customer, status=ServiceStatus(status), is_primary=False)
        payload = await desk.suspend(customer, serviceId=public(service), notify=True)
        assert faults(payload) == [(code, "input.serviceId")]
        assert said in payload["errors"][0]["message"]
        assert (payload["customer"], payload["jobs"]) == (None, [])
        untouched: Service = await fresh(house, service)
        assert untouched.desired_version == 1
        assert untouched.status.value == status
    assert (await fresh(house, customer)).version == 1
    assert [await count(house, kind) for kind in (Job, Message)] == [0, 0]
    assert await audited(house, customer) == []


async def test_what_cannot_be_activated_says_why(desk: Desk, house: House) -> None:
    customer = await subscribers.customer(house)
    past, future = clock.now() - timedelta(seconds=1), clock.now() + timedelta(days=1)
    for status, ends, code, said in (
        ("ACTIVE", None, "NO_CHANGE", "active already"),
        ("ACTIVE", future, "NO_CHANGE", "active already"),
        ("ACTIVE", past, "INVALID_STATE", OVER),
        ("SUSPENDED", past, "INVALID_STATE", OVER),
        ("PENDING", past, "INVALID_STATE", OVER),
        ("EXPIRED", None, "INVALID_STATE", OVER),
        ("TERMINATED", past, "INVALID_STATE", "make a new one"),
    ):
        service = await subscribers.service(
            house, customer, status=ServiceStatus(status), is_primary=False, expires_at=ends
        )
        payload = await desk.activate(customer, serviceId=public(service), notify=True)
        assert faults(payload) == [(code, "input.serviceId")], (status, ends)
        assert said in payload["errors"][0]["message"]
        untouched: Service = await fresh(house, service)
        assert untouched.desired_version == 1
        assert untouched.status.value == status
    assert (await fresh(house, customer)).version == 1
    assert [await count(house, kind) for kind in (Job, Message)] == [0, 0]
    assert await audited(house, customer) == []


async def test_one_of_several_services(desk: Desk, house: House) -> None:
    customer = await subscribers.customer(house)
    other = await subscribers.service(house, customer, is_primary=False)
    primary = await subscribers.service(house, customer)
    # The primary one is meant unless another is named.
    payload = await desk.suspend(customer)
    assert (payload["customer"]["status"], payload["customer"]["statusReason"]) == ("ACTIVE", None)
    shown = {service["id"]: service for service in payload["customer"]["services"]}
    assert (shown[public(primary)]["status"], shown[public(other)]["status"]) == ("SUSPENDED", "ACTIVE")
    for service, refused in ((primary, True), (other, False)):
        attributes = {row["attribute"] for row in shown[public(service)]["network"]["radius"]}
        assert ("Auth-Type" in attributes) is refused
    payload = await desk.suspend(customer, serviceId=public(other), reason="MAINTENANCE")
    assert (payload["customer"]["status"], payload["customer"]["statusReason"]) == ("SUSPENDED", "Maintenance")
    payload = await desk.activate(customer)
    assert (payload["customer"]["status"], payload["customer"]["statusReason"]) == ("ACTIVE", None)
    statuses = {service["id"]: service["status"] for service in payload["customer"]["services"]}
    assert statuses == {public(primary): "ACTIVE", public(other): "SUSPENDED"}


def test_the_status_of_a_customer_follows_the_services() -> None:
    s, c = ServiceStatus, CustomerStatus
    for statuses, expected in (
        ({s.ACTIVE, s.SUSPENDED, s.EXPIRED, s.PENDING, s.TERMINATED}, c.ACTIVE),
        ({s.SUSPENDED, s.EXPIRED, s.PENDING, s.TERMINATED}, c.SUSPENDED),
        ({s.EXPIRED, s.PENDING, s.TERMINATED}, c.EXPIRED),
        ({s.PENDING, s.TERMINATED}, c.PENDING),
        ({s.TERMINATED}, c.TERMINATED),
    ):
        assert status_of_customer(statuses) is expected


async def test_which_service_is_meant(desk: Desk, house: House) -> None:
    nobody = await subscribers.customer(house)
    stranger, foreign = await pair(house)
    for act in (desk.suspend, desk.activate, desk.disconnect):
        payload = await act(nobody)
        assert faults(payload) == [("INVALID_STATE", "input.customerId")]
        assert payload["errors"][0]["message"] == "This customer has no service."
        assert faults(await act(nobody, serviceId=public(foreign))) == [("NOT_FOUND", "input.serviceId")]
        assert faults(await act(nobody, serviceId=public(stranger))) == [("NOT_FOUND", "input.serviceId")]
    only = await subscribers.service(house, nobody, is_primary=False)
    assert (await desk.suspend(nobody))["errors"] == []
    assert (await fresh(house, only)).status is ServiceStatus.SUSPENDED
    await subscribers.service(house, nobody, is_primary=False)
    assert faults(await desk.suspend(nobody)) == [("REQUIRED", "input.serviceId")]


async def test_notes_have_bounds(desk: Desk, house: House) -> None:
    customer, _ = await pair(house)
    for note in ("x" * 201, "\u202eturned", "a\nb"):
        assert faults(await desk.suspend(customer, note=note)) == [("INVALID", "input.note")]
        assert faults(await desk.activate(customer, note=note)) == [("INVALID", "input.note")]


async def test_others_are_not_noticed(api: Api, house: House, other_house: House, dial: Dial) -> None:
    reseller, rival = await house.operator(Role.OPERATOR), await house.operator(Role.OPERATOR)
    customer = await subscribers.customer(house, operator_id=reseller.id)
    service = await subscribers.service(house, customer)
    session = await dial(service)
    named = {"serviceId": public(service)}
    for stranger, where in ((rival, house), (other_house.admin, other_house)):
        desk = Desk(api, where, stranger)
        answers = [await desk.suspend(customer), await desk.suspend(customer, **named), await desk.activate(customer)]
        answers += [await desk.disconnect(customer), await desk.disconnect(customer, sessionId=public(session))]
        assert [faults(answer) for answer in answers] == [[("NOT_FOUND", "input.customerId")]] * 5
        # Neither by way of a customer of one's own.
        own = await subscribers.customer(where, operator_id=stranger.id)
        await subscribers.service(where, own)
        assert faults(await desk.suspend(own, **named)) == [("NOT_FOUND", "input.serviceId")]
        assert faults(await desk.disconnect(own, sessionId=public(session))) == [("NOT_FOUND", "input.sessionId")]
    assert (await fresh(house, service)).desired_version == 1
    desk = Desk(api, house, reseller)
    assert (await desk.disconnect(customer))["errors"] == []
    payload = await desk.suspend(customer)
    assert payload["errors"] == []
    assert payload["customer"]["status"] == "SUSPENDED"


@pytest.mark.parametrize(
    ("document", "given", "permission"),
    [
        (SUSPEND, {"reason": "OTHER"}, Permission.SUSPEND_CUSTOMERS),
        (ACTIVATE, {}, Permission.ACTIVATE_CUSTOMERS),
        (DISCONNECT, {}, Permission.DISCONNECT_CUSTOMERS),
    ],
)
async def test_each_needs_its_permission(
    api: Api, house: House, document: str, given: dict[str, Any], permission: Permission
) -> None:
    customer, _ = await pair(house)
    lacking = sorted(each.value for each in DEFAULTS[Role.ADMIN] if each is not permission)
    clerk = await house.operator(Role.MANAGER, permissions=lacking)
    variables = {"input": {"customerId": public(customer), **given}}
    answer = await api(document, clerk, **variables)
    assert [error["extensions"]["code"] for error in answer["errors"]] == ["FORBIDDEN"]
    answer = await api(document, None, **variables)
    assert [error["extensions"]["code"] for error in answer["errors"]] == ["UNAUTHENTICATED"]


async def test_who_may_not_view_customers_is_shown_none(api: Api, house: House) -> None:
    customer, _ = await pair(house)
    blind = await house.operator(Role.STAFF, permissions=["SUSPEND_CUSTOMERS"])
    payload = await Desk(api, house, blind).suspend(customer)
    assert payload["errors"] == []
    assert payload["customer"] is None
    assert (await fresh(house, customer)).status is CustomerStatus.SUSPENDED


async def test_the_same_key_does_it_once(desk: Desk, house: House, dial: Dial) -> None:
    customer, service = await pair(house)
    await dial(service)
    for act, changed in (
        (desk.disconnect, {"serviceId": public(service)}),
        (desk.suspend, {"reason": "OTHER"}),
        (desk.activate, {"notify": True}),
    ):
        answers = await asyncio.gather(*(act(customer, idempotencyKey="once") for _ in range(4)))
        assert [answer["errors"] for answer in answers] == [[]] * 4
        assert len({answer["jobs"][0]["id"] for answer in answers}) == 1
        assert {len(answer["jobs"]) for answer in answers} == {1}
        assert {answer["customer"]["id"] for answer in answers} == {public(customer)}
        other = await act(customer, idempotencyKey="once", **changed)
        assert faults(other) == [("IDEMPOTENCY_KEY_REUSED", "input.idempotencyKey")]
    assert [entry.action for entry in await audited(house, customer)] == [
        "customer.disconnect",
        "customer.suspend",
        "customer.activate",
    ]
    assert (await fresh(house, service)).desired_version == 3
    # What was refused is not remembered: the key is free for another try.
    assert faults(await desk.activate(customer, idempotencyKey="later"))[0][0] == "NO_CHANGE"
    await desk.suspend(customer)
    assert (await desk.activate(customer, idempotencyKey="later"))["errors"] == []


async def test_races_end_in_one_state(desk: Desk, house: House) -> None:
    customer, service = await pair(house)
    barrier = asyncio.Barrier(20)

    async def act(number: int) -> dict[str, Any]:
        await barrier.wait()
        return await (desk.suspend(customer) if number % 2 else desk.activate(customer))

    answers = await asyncio.gather(*(act(number) for number in range(20)))
    done = [answer for answer in answers if not answer["errors"]]
    assert done
    assert {fault for answer in answers for fault in faults(answer)} <= {("NO_CHANGE", "input.customerId")}
    trail = await audited(house, customer)
    states = [entry.details["after"]["status"] for entry in trail]  # type: ignore[index]
    assert len(states) == len(done)
    assert states == ["SUSPENDED", "ACTIVE"] * (len(states) // 2) + ["SUSPENDED"] * (len(states) % 2)
    row: Service = await fresh(house, service)
    assert row.status.value == states[-1]
    assert row.desired_version == 1 + len(done)
    found: Customer = await fresh(house, customer)
    assert found.status.value == row.status.value
    assert found.version == 1 + len(done)
    assert await count(house, Job) == len(done)


async def test_a_change_waits_for_another(desk: Desk, house: House) -> None:
    customer, service = await pair(house)
    async with house.database.transaction(house.tenant.id) as session:
        await session.execute(update(Service).where(Service.id == service.id).values(desired_version=5))
        waiting = asyncio.create_task(desk.suspend(customer))
        await asyncio.wait([waiting], timeout=0.3)
        assert not waiting.done()
    assert (await waiting)["errors"] == []
    assert (await fresh(house, service)).desired_version == 6


async def test_two_services_suspended_at_once(desk: Desk, house: House) -> None:
    customer, first = await pair(house)
    second = await subscribers.service(house, customer, is_primary=False)
    await asyncio.gather(*(desk.suspend(customer, serviceId=public(each)) for each in (first, second)))
    found: Customer = await fresh(house, customer)
    assert found.status is CustomerStatus.SUSPENDED
    assert found.version == 3


async def test_jobs_for_each_router_it_is_on(desk: Desk, house: House, dial: Dial) -> None:
    own, visited = await house.router("127.0.0.2"), await house.router("127.0.0.3")
    customer, service = await pair(house, router_id=own.id)
    await dial(service, router_id=visited.id)
    payload = await desk.suspend(customer)
    assert {job["router"]["id"] for job in payload["jobs"]} == {public(own), public(visited)}
    assert {job["customer"]["id"] for job in payload["jobs"]} == {public(customer)}


async def test_told_if_wanted(desk: Desk, house: House) -> None:
    customer, _ = await pair(house)
    await desk.suspend(customer)
    assert await count(house, Message) == 0
    await desk.activate(customer, notify=True)
    assert await count(house, Message) == 1


# -- disconnecting


async def test_every_open_session_is_ended(desk: Desk, house: House, dial: Dial) -> None:
    own, visited = await house.router("127.0.0.2"), await house.router("127.0.0.3")
    customer, service = await pair(house, router_id=own.id)
    other = await subscribers.service(house, customer, is_primary=False)
    here = [await dial(service, number) for number in (1, 2)]
    there = await dial(service, 3, router_id=visited.id)
    await dial(service, 4, state=SessionState.STOPPED, stopped_at=clock.now())
    await dial(other, 5)
    payload = await desk.disconnect(customer)
    assert payload["errors"] == []
    assert payload["customer"]["version"] == 1
    jobs = {job["router"]["id"]: job for job in payload["jobs"]}
    assert set(jobs) == {public(own), public(visited)}
    assert {job["kind"] for job in payload["jobs"]} == {"service.disconnect"}
    async with house.database.read(house.tenant.id) as session:
        arguments = {row.router_id: row.arguments for row in await session.scalars(select(Job))}
    assert arguments == {
        own.id: {"sessions": [str(row.id) for row in here]},
        visited.id: {"sessions": [str(there.id)]},
    }
    row: Service = await fresh(house, service)
    assert (row.status, row.desired_version) == (ServiceStatus.ACTIVE, 1)
    (entry,) = await audited(house, customer)
    assert entry.action == "customer.disconnect"
    assert entry.details == {"service": str(service.id), "sessions": [str(row.id) for row in (*here, there)]}


async def test_one_session_is_ended(desk: Desk, house: House, dial: Dial) -> None:
    customer, service = await pair(house)
    other = await subscribers.service(house, customer, is_primary=False)
    await dial(service, 1)
    chosen, elsewhere = await dial(service, 2), await dial(other, 3)
    ended = await dial(service, 4, state=SessionState.STALE, stopped_at=clock.now())
    _, foreign = await pair(house)
    strange = await dial(foreign, 5)
    nobodys = await dial(service, 6, service_id=None)

    async def end(session: Session, **given: Any) -> list[tuple[str, str]]:
        return faults(await desk.disconnect(customer, sessionId=public(session), **given))

    assert await end(ended) == [("INVALID_STATE", "input.sessionId")]
    assert await end(strange) == [("NOT_FOUND", "input.sessionId")]
    assert await end(nobodys) == [("NOT_FOUND", "input.sessionId")]
    assert await end(elsewhere, serviceId=public(service)) == [("NOT_FOUND", "input.sessionId")]
    assert faults(await desk.disconnect(customer, sessionId="ses_1")) == [("NOT_FOUND", "input.sessionId")]
    assert await count(house, Job) == 0
    # A session tells its service, the primary one or not.
    for session, of in ((chosen, service), (elsewhere, other)):
        assert await end(session) == []
        async with house.database.read(house.tenant.id) as reading:
            job = (await reading.scalars(select(Job).order_by(Job.id.desc()))).first()
        assert job is not None
        assert (job.service_id, job.arguments) == (of.id, {"sessions": [str(session.id)]})
    assert await end(chosen, serviceId=public(service)) == []


async def test_nothing_to_end(desk: Desk, house: House) -> None:
    router = await house.router(name="edge-9")
    customer, service = await pair(house, router_id=router.id)
    payload = await desk.disconnect(customer)
    assert faults(payload) == [("INVALID_STATE", "input.customerId")]
    assert payload["errors"][0]["message"] == (
        "This service has no open session. Its router edge-9 has never sent accounting: sessions on it are not known."
    )
    async with house.database.transaction(house.tenant.id) as session:
        await session.execute(update(Router).values(accounting_last_seen_at=clock.now()))
    payload = await desk.disconnect(customer, serviceId=public(service))
    assert faults(payload) == [("INVALID_STATE", "input.serviceId")]
    assert payload["errors"][0]["message"] == "This service has no open session."
    without, _ = await pair(house)
    payload = await desk.disconnect(without)
    assert payload["errors"][0]["message"] == "This service has no open session."
    assert await count(house, Job) == 0
    assert await audited(house, customer) == []


async def test_a_static_address_loses_its_connections(desk: Desk, house: House) -> None:
    router = await house.router()
    static = {"connection_type": ConnectionType.STATIC_IP, "ip_address": "192.0.2.7"}
    customer, _ = await pair(house, router_id=router.id, **static)
    payload = await desk.disconnect(customer)
    assert payload["errors"] == []
    (job,) = payload["jobs"]
    assert (job["kind"], job["router"]["id"]) == ("service.disconnect", public(router))
    adrift, _ = await pair(house, **static | {"ip_address": "192.0.2.8"})
    payload = await desk.disconnect(adrift)
    assert faults(payload) == [("INVALID_STATE", "input.customerId")]
    assert "no router" in payload["errors"][0]["message"]


async def test_a_suspended_one_can_be_disconnected(desk: Desk, house: House, dial: Dial) -> None:
    customer, service = await suspended(house)
    await dial(service)
    assert (await desk.disconnect(customer))["errors"] == []
    assert (await fresh(house, service)).status is ServiceStatus.SUSPENDED
