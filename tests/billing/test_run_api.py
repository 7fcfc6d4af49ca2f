"""Billing runs through the API: started, followed, listed, found again; for those who see all customers."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, text

from ispgraph import clock, ids
from ispgraph.actors.registry import ACTIONS
from ispgraph.actors.run import Runner
from ispgraph.db import Database
from ispgraph.domain.models import AuditEntry, BillingRun, Operator, Role
from ispgraph.domain.permissions import DEFAULTS, Permission
from ispgraph.settings import Settings
from tests.api import Api
from tests.billing import office
from tests.factories import House
from tests.statements import counted

pytestmark = pytest.mark.usefixtures("moved_clock")
END = datetime(2027, 3, 10, 5, tzinfo=UTC)
RUN = """id asOf dryRun status startedAt endedAt startedBy { name } services invoices failed
  subtotal { amount } tax { amount } total { amount } failures { reason service { id username } }
  lines { description explanation periodStart periodEnd subtotal { amount } total { amount } service { id } }
  job { id kind status message progressDone progressTotal ... on BillingJob { run { id invoices } } }"""
START = f"""mutation ($input: BillingRunInput!) {{ billingRunStart(input: $input) {{
  run {{ {RUN} }} errors {{ code message field }} }} }}"""
LIST = f"{{ billingRuns(first: 50) {{ totalCount nodes {{ {RUN} }} }} }}"
NODE = f"query ($id: ID!) {{ node(id: $id) {{ ... on BillingRun {{ {RUN} }} }} }}"


async def start(api: Api, who: Operator, **given: Any) -> Any:
    return (await api.data(START, who, input={"dryRun": False, **given}))["billingRunStart"]


async def work(house: House, settings: Settings, run: Mapping[str, Any]) -> None:
    """What a worker does with the job of a run."""
    job = ids.decode("job", run["job"]["id"])
    await Runner(house.database, settings, ACTIONS).run_job(house.tenant.id.hex, job.hex)


async def test_a_run_is_started_followed_and_found_again(api: Api, house: House, settings: Settings) -> None:
    clock.set_clock("2027-03-10T06:00:00Z")
    service = await office.service(house, END - timedelta(days=40))
    odd = await office.service(house, END)
    async with house.database.transaction(house.tenant.id) as session:
        await session.execute(text("UPDATE services SET billing_anchor = 'infinity' WHERE id = :id"), {"id": odd.id})
    begun = await start(api, house.admin, idempotencyKey="k")
    assert begun["errors"] == []
    run = begun["run"]
    assert (run["status"], run["dryRun"], run["invoices"], run["startedBy"]) == (
        "QUEUED",
        False,
        0,
        {"name": house.admin.name},
    )
    assert (await start(api, house.admin, idempotencyKey="k"))["run"]["id"] == run["id"]
    reused = await start(api, house.admin, idempotencyKey="k", dryRun=True)
    assert reused["errors"][0]["code"] == "IDEMPOTENCY_KEY_REUSED"
    await work(house, settings, run)
    done = (await api.data(NODE, house.admin, id=run["id"]))["node"]
    assert (done["status"], done["services"], done["invoices"], done["failed"]) == ("SUCCEEDED", 1, 2, 1)
    assert (done["subtotal"], done["total"]) == ({"amount": "1000.00"}, {"amount": "1000.00"})
    assert done["startedAt"] < done["endedAt"]
    (failure,) = done["failures"]
    assert failure["service"] == {"id": ids.encode("svc", odd.id), "username": odd.username}
    assert failure["reason"].startswith("PostgreSQL refused it: ")
    job = done["job"]
    assert (job["kind"], job["progressDone"], job["progressTotal"]) == ("billing.run", 1, 2)
    assert job["message"] == "1 services were billed: 2 invoices, 1000.00 USD. 1 could not be billed."
    assert job["run"] == {"id": run["id"], "invoices": 2}
    assert (await api.data(LIST, house.admin))["billingRuns"] == {"totalCount": 1, "nodes": [done]}
    async with house.database.read(house.tenant.id) as session:
        (entry,) = await session.scalars(select(AuditEntry).where(AuditEntry.action == "billing.run"))
    assert (entry.operator_id, entry.details["dry_run"]) == (house.admin.id, False)
    assert {invoice.service_id for invoice, _ in await office.billed(house)} == {service.id}


async def test_a_trial_shows_its_lines(api: Api, house: House, settings: Settings, database: Database) -> None:
    clock.set_clock("2027-03-10T06:00:00Z")
    services = [await office.service(house, END - timedelta(days=20)) for _ in range(3)]
    run = (await start(api, house.admin, dryRun=True, asOf="2027-03-31"))["run"]
    assert run["asOf"] == "2027-03-31T18:00:00Z"
    await work(house, settings, run)
    with counted(database) as seen:
        (done,) = (await api.data(LIST, house.admin))["billingRuns"]["nodes"]
    assert len(seen) == 1
    assert (done["services"], done["invoices"], done["total"]["amount"]) == (3, 6, "3000.00")
    assert [line["service"]["id"] for line in done["lines"][::2]] == [ids.encode("svc", each.id) for each in services]
    first = done["lines"][0]
    assert first["description"].endswith(", 1 month, 18 February to 18 March 2027")
    assert (first["periodStart"], first["periodEnd"]) == ("2027-02-18T05:00:00Z", "2027-03-18T05:00:00Z")
    assert first["total"] == {"amount": "500.00"}
    assert await office.billed(house) == []


async def test_a_day_to_come_is_refused(api: Api, house: House) -> None:
    clock.set_clock("2027-03-10T06:00:00Z")
    for day in ("2027-03-11", "9999-12-31"):
        payload = await start(api, house.admin, asOf=day)
        assert [(error["code"], error["field"]) for error in payload["errors"]] == [("INVALID", ["input", "asOf"])]
    assert (await start(api, house.admin, asOf="2027-03-10"))["errors"] == []
    payload = await start(api, house.admin, asOf="9999-12-31", dryRun=True)
    assert [(error["code"], error["field"]) for error in payload["errors"]] == [("INVALID", ["input", "asOf"])]
    assert (await api.data("{ billingRuns { totalCount } }", house.admin))["billingRuns"]["totalCount"] == 1


async def test_a_run_is_for_those_who_see_all_customers(
    api: Api, house: House, other_house: House, settings: Settings
) -> None:
    spelt = sorted({each.value for each in DEFAULTS[Role.OPERATOR]} | {Permission.GENERATE_BILLS.value})
    reseller = await house.operator(Role.OPERATOR, permissions=spelt)
    staff = await house.operator(Role.STAFF, permissions=["VIEW_CUSTOMERS"])
    payload = await start(api, reseller)
    assert [(error["code"], error["field"]) for error in payload["errors"]] == [("NOT_PERMITTED", None)]
    answer = await api(START, staff, input={"dryRun": True})
    assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    async with house.database.read(house.tenant.id) as session:
        assert (await session.scalars(select(BillingRun))).all() == []
    run = (await start(api, house.admin))["run"]
    assert (await api.data(LIST, reseller))["billingRuns"] == {"totalCount": 0, "nodes": []}
    for stranger in (reseller, staff, other_house.admin):
        assert (await api.data(NODE, stranger, id=run["id"]))["node"] is None
    assert (await api.data(NODE, house.admin, id=run["id"]))["node"]["id"] == run["id"]
