"""Hosting accounts from promise to deletion, through the API, a worker and the panel's double."""

import asyncio
import json
import logging

import pytest
from sqlalchemy import func, select, text
from starlette.requests import Request
from starlette.responses import Response

from ispgraph import clock, ids
from ispgraph.actors.registry import ACTIONS
from ispgraph.actors.run import Runner
from ispgraph.adapters import nextpanel
from ispgraph.adapters.payments.doubles import Fault
from ispgraph.db import Database
from ispgraph.domain.models import Customer, HostingAccount, HostingStatus, Job, JobStatus, Role
from tests.factories import House, uuid_of
from tests.hosting.site import ACCOUNTS, CREATE, PASSWORD, Door, Site


async def test_a_customer_is_made_with_an_account_and_all_its_life_follows(site: Site, caplog) -> None:
    caplog.set_level(logging.DEBUG)
    given = {
        "name": "Ann Example",
        "mobile": "+8801712345678",
        "email": "ann@example.net",
        "company": "Example & Sons",
        "hosting": {"username": " Ann1 ", "password": PASSWORD, "packageId": "7"},
        "idempotencyKey": "one",
    }
    made = (await site.api.data(CREATE, site.house.admin, input=given))["customerCreate"]
    assert made["errors"] == []
    account, customer = made["hostingAccount"], made["customer"]["id"]
    assert (account["status"], account["username"], account["error"]) == ("PENDING", "ann1", None)
    assert account["customer"]["id"] == customer
    assert [job["kind"] for job in made["jobs"]] == ["hosting.apply"]
    again = (await site.api.data(CREATE, site.house.admin, input=given))["customerCreate"]
    assert (again["customer"], again["hostingAccount"]["id"], again["jobs"]) == (
        made["customer"],
        account["id"],
        made["jobs"],
    )
    other = {**given, "hosting": {**given["hosting"], "password": PASSWORD + "!"}}
    reused = (await site.api.data(CREATE, site.house.admin, input=other))["customerCreate"]
    assert [fault["code"] for fault in reused["errors"]] == ["IDEMPOTENCY_KEY_REUSED"]
    assert (await site.row(account["id"])).password is not None

    job = (await site.work())[-1]
    assert (job.status, job.attempts) == (JobStatus.SUCCEEDED, 1)
    row = await site.row(account["id"])
    assert (row.status, row.password, row.error, row.unsure) == (HostingStatus.ACTIVE, None, None, False)
    (there,) = site.double.named("ann1")
    assert row.external_id == str(there.id)
    assert {
        name: there.said[name] for name in ("email", "full_name", "phone", "company", "package_id", "is_admin")
    } == {
        "email": "ann@example.net",
        "full_name": "Ann Example",
        "phone": "+8801712345678",
        "company": "Example & Sons",
        "package_id": 7,
        "is_admin": False,
    }
    assert there.said["password"] == PASSWORD
    assert there.said["billing_id"] == account["id"]
    assert there.said["metadata"]["created_from"] == "ispgraph"

    suspended = await site.done("hostingSuspend", id=account["id"], reason="Sent spam")
    assert [job["status"] for job in suspended["jobs"]] == ["QUEUED"]
    assert suspended["account"]["status"] == "ACTIVE", "the panel has not heard of it yet"
    assert (await site.done("hostingSuspend", id=account["id"]))["jobs"][0]["id"] == suspended["jobs"][0]["id"]
    await site.work()
    assert (there.status, there.reason) == ("suspended", "Sent spam")
    assert (await site.row(account["id"])).status is HostingStatus.SUSPENDED
    assert (await site.done("hostingSuspend", id=account["id"]))["jobs"] == []
    await site.done("hostingUnsuspend", id=account["id"])
    await site.work()
    assert there.status == "active"

    await site.done("hostingRefreshStats", id=account["id"])
    await site.work()
    shown = (await site.api.data(ACCOUNTS, site.house.admin, id=customer))["customer"]["hostingAccounts"]
    assert shown[0]["stats"] | {"lastLogin": None} == {
        "domains": 3,
        "databases": 2,
        "emailAccounts": 10,
        "certificates": 1,
        "storageUsed": "5000000000",
        "accountAgeDays": 30,
        "lastLogin": None,
    }
    assert (await site.servers())["Panel 1"]["accountCount"] == 1

    await site.done("hostingDelete", id=account["id"])
    await site.work()
    assert site.double.accounts == {}
    assert (await site.row(account["id"])).status is HostingStatus.DELETED
    assert (await site.done("hostingDelete", id=account["id"]))["jobs"] == []
    for what in ("hostingSuspend", "hostingUnsuspend", "hostingRetry", "hostingRefreshStats"):
        payload = await site.does(what, id=account["id"])
        assert [(fault["code"], fault["field"]) for fault in payload["errors"]] == [("INVALID_STATE", ["accountId"])]
    assert (await site.servers())["Panel 1"]["accountCount"] == 0

    told = ["provision", "suspend", "unsuspend", "delete"]
    assert await site.trail(uuid_of(customer)) == [f"hosting.{what}" for what in told]
    assert PASSWORD not in caplog.text
    assert site.double.api_secret not in caplog.text
    # The one exchange in which the password went out is the only place that has it.
    assert sum(PASSWORD in asked.body.decode() for asked in site.double.log) == 1
    for table in ("jobs", "audit_entries", "idempotency_keys", "network_steps"):
        async with site.house.database.read(site.house.tenant.id) as session:
            rows = (await session.execute(text(f"select row_to_json({table})::text from {table}"))).scalars().all()
        assert rows
        assert not [row for row in rows if PASSWORD in row or site.double.api_secret in row]


async def test_the_panel_is_down_and_then_up(bare: Site) -> None:
    door = Door(bare.url)
    bare.url = door.url
    try:
        bare.server = await bare.add()
        server = (await bare.servers())["Panel 1"]
        assert (server["online"], server["available"]) == (False, False)
        assert "was not reached" in server["problem"]
        given = {
            "name": "Ann Example",
            "mobile": "+8801712345678",
            "email": "ann@example.net",
            "hosting": {"username": "ann", "password": PASSWORD},
        }
        made = (await bare.api.data(CREATE, bare.house.admin, input=given))["customerCreate"]
        assert made["errors"] == []
        other = await bare.done("hostingProvision", **await bare.wish(username="bob"))
        for _ in range(5):
            await bare.wait(70)
        account = (await bare.api.data(ACCOUNTS, bare.house.admin, id=made["customer"]["id"]))["customer"]
        (account,) = account["hostingAccounts"]
        assert account["status"] == "PENDING"
        assert account["error"].startswith("Waits for the server Panel 1, out of reach since ")
        waiting = await bare.rows(select(Job).where(Job.kind == "hosting.apply"))
        assert [(job.status, job.attempts) for job in waiting] == [(JobStatus.QUEUED, 0)] * 2, "waiting is no attempt"

        await door.open()
        await bare.wait(70)
        for public in (account["id"], other["account"]["id"]):
            row = await bare.row(public)
            assert (row.status, row.error, row.waits) == (HostingStatus.ACTIVE, None, False)
        assert len(bare.double.accounts) == 2
        assert (await bare.servers())["Panel 1"]["available"]
    finally:
        await door.close()


@pytest.mark.parametrize(
    ("fault", "searchable", "telling"),
    [
        (Fault.RESET_AFTER, True, True),
        (Fault.ERROR_AFTER, False, True),
        (Fault.HANG_AFTER, True, False),
        (Fault.RESET_AFTER, False, False),
    ],
)
async def test_an_answer_that_was_lost_makes_no_second_account(
    site: Site, monkeypatch: pytest.MonkeyPatch, fault: Fault, searchable: bool, telling: bool
) -> None:
    site.double.searchable, site.double.telling = searchable, telling
    if fault is Fault.HANG_AFTER:
        monkeypatch.setattr(nextpanel, "CREATE_SECONDS", 2.0)
    site.double.fail("create", fault)
    made = await site.done("hostingProvision", **await site.wish())
    await site.work()
    async with asyncio.timeout(30):
        while not site.double.named("ann"):
            await asyncio.sleep(0)
    row = await site.row(made["account"]["id"])
    assert (row.status, row.unsure) == (HostingStatus.PENDING, True)
    assert row.error is not None

    monkeypatch.undo()
    await site.wait(400)
    row = await site.row(made["account"]["id"])
    (there,) = site.double.named("ann")
    if searchable or telling:
        assert (row.status, row.external_id, row.password) == (HostingStatus.ACTIVE, str(there.id), None)
        assert len(site.double.asked("create")) == (1 if searchable else 2)
    else:
        # Nothing tells whose it is: a person has to look.
        assert row.status is HostingStatus.FAILED
        assert row.error == (
            "The item already exists there: Username already exists. It may be this very account, made by an attempt "
            "whose answer was lost: look on the panel."
        )
        await site.done("hostingDelete", id=made["account"]["id"])
        await site.work()
        row = await site.row(made["account"]["id"])
        assert row.status is HostingStatus.DELETED
        assert "Look there for ann" in (row.error or "")


async def test_wrong_credentials_fail_and_a_retry_with_the_right_ones_succeeds(site: Site) -> None:
    good = site.double.api_secret
    site.double.api_secret = "nps_rotated"
    made = await site.done("hostingProvision", **await site.wish())
    job = (await site.work())[-1]
    assert (job.status, job.attempts) == (JobStatus.FAILED, 1)
    row = await site.row(made["account"]["id"])
    assert (row.status, row.error) == (HostingStatus.FAILED, "The login was refused: Invalid API secret")
    assert row.password is not None
    server = (await site.servers())["Panel 1"]
    assert (server["online"], server["problem"]) == (False, "The login was refused: Invalid API secret")
    assert server["accountCount"] == 1, "its place is kept for it"
    payload = await site.does("hostingSuspend", id=made["account"]["id"])
    assert [fault["code"] for fault in payload["errors"]] == ["INVALID_STATE"]

    site.double.api_secret = good
    again = await site.done("hostingRetry", id=made["account"]["id"])
    assert (again["account"]["status"], again["account"]["error"]) == ("PENDING", None)
    await site.work()
    assert (await site.row(made["account"]["id"])).status is HostingStatus.ACTIVE
    assert (await site.servers())["Panel 1"]["online"]
    assert [fault["code"] for fault in (await site.does("hostingRetry", id=made["account"]["id"]))["errors"]] == [
        "INVALID_STATE"
    ]


async def test_a_username_that_a_stranger_has_on_the_panel(site: Site) -> None:
    site.double.put("ann", billing_id="of another house")
    made = await site.done("hostingProvision", **await site.wish())
    await site.work()
    row = await site.row(made["account"]["id"])
    assert (row.status, row.error, row.unsure) == (
        HostingStatus.FAILED,
        "The item already exists there: Username already exists",
        False,
    )
    await site.done("hostingDelete", id=made["account"]["id"])
    await site.work()
    assert (await site.row(made["account"]["id"])).status is HostingStatus.DELETED
    assert len(site.double.named("ann")) == 1, "the stranger's is not touched"


async def test_a_panel_that_fails_is_asked_eight_times_and_not_for_ever(site: Site) -> None:
    site.double.fail("create", *[Fault.ERROR] * 8)
    made = await site.done("hostingProvision", **await site.wish())
    await site.work()
    for _ in range(7):
        assert (await site.row(made["account"]["id"])).status is HostingStatus.PENDING
        await site.wait(400)
    row = await site.row(made["account"]["id"])
    assert (row.status, row.error) == (HostingStatus.FAILED, "The panel answered with status 500")
    assert (await site.servers())["Panel 1"]["online"], "its health was good all along"
    await site.done("hostingRetry", id=made["account"]["id"])
    await site.work()
    assert (await site.row(made["account"]["id"])).status is HostingStatus.ACTIVE


async def test_the_latest_wish_counts(site: Site) -> None:
    account = await site.account()
    (there,) = site.double.named("ann")
    site.double.fail("suspend", Fault.RESET_AFTER)
    await site.done("hostingSuspend", id=account)
    await site.work()
    assert there.status == "suspended"
    assert (await site.row(account)).status is HostingStatus.ACTIVE
    # What is wanted now is what the row says of the panel, and yet the panel has to be told.
    await site.done("hostingUnsuspend", id=account)
    await site.wait(400)
    assert there.status == "active"
    row = await site.row(account)
    assert (row.status, row.unsure, row.error) == (HostingStatus.ACTIVE, False, None)
    assert len(site.double.asked("unsuspend")) == 1

    site.double.stern = True
    there.status = "suspended"
    await site.done("hostingSuspend", id=account)
    await site.work()
    assert (await site.row(account)).status is HostingStatus.SUSPENDED, "that it is so already is no failure"
    del site.double.accounts[there.id]
    await site.done("hostingUnsuspend", id=account)
    await site.work()
    row = await site.row(account)
    assert (row.status, row.error) == (
        HostingStatus.FAILED,
        "The panel has this account no longer. Delete it here, and make another one.",
    )
    await site.done("hostingDelete", id=account)
    await site.work()
    assert (await site.row(account)).status is HostingStatus.DELETED


async def test_a_promise_that_is_deleted_before_it_is_kept_never_reaches_the_panel(site: Site) -> None:
    made = await site.done("hostingProvision", **await site.wish())
    deleted = await site.done("hostingDelete", id=made["account"]["id"])
    assert deleted["jobs"][0]["id"] == made["jobs"][0]["id"]
    await site.work()
    row = await site.row(made["account"]["id"])
    assert (row.status, row.password) == (HostingStatus.DELETED, None)
    assert site.double.asked("create") == []
    # The name is free again.
    await site.done("hostingProvision", **await site.wish())


async def test_two_workers_take_turns_on_a_server(site: Site, database: Database) -> None:
    for number in range(6):
        await site.done("hostingProvision", **await site.wish(username=f"user{number}"))
    open_now, most = 0, 0
    create = site.double._create
    runs: list[asyncio.Task[None]] = []

    async def counted(request: Request) -> Response:
        """The first one waits until every other job was given back, or is here as well."""
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        while open_now == 1 and sum(run.done() for run in runs) < len(runs) - 1:
            await asyncio.sleep(0.01)
        open_now -= 1
        return await create(request)

    path = "/api/v1/billing/accounts"
    site.double.app.router.routes[1] = site.double.route(path, "create", site.double._known(counted))
    waiting = await site.rows(select(Job).where(Job.kind == "hosting.apply"))
    runners = [Runner(database, site.settings, ACTIONS) for _ in range(2)]
    runs += [
        asyncio.ensure_future(runner.run_job(job.tenant_id.hex, job.id.hex)) for job in waiting for runner in runners
    ]
    await asyncio.gather(*runs)
    for _ in range(6):
        await site.wait(6)
    assert most == 1
    assert sorted(one.said["username"] for one in site.double.accounts.values()) == [f"user{n}" for n in range(6)]
    assert len(site.double.asked("create")) == 6
    done = await site.rows(select(Job).where(Job.kind == "hosting.apply"))
    assert {(job.status, job.attempts) for job in done} == {(JobStatus.SUCCEEDED, 1)}


async def test_what_is_typed_wrong_is_named_and_changes_nothing(site: Site, house: House) -> None:
    nobody = await site.customer(email=None)
    wrong = await site.wish(nobody, "ann b!", serverId=None, packageId="a b")
    wrong["hosting"]["password"] = "short"
    payload = await site.does("hostingProvision", **wrong)
    assert {(fault["code"], ".".join(fault["field"])) for fault in payload["errors"]} == {
        ("INVALID", "input.hosting.username"),
        ("INVALID", "input.hosting.password"),
        ("INVALID", "input.hosting.packageId"),
        ("REQUIRED", "input.customerId"),
    }
    for username in ("", "1ann", "ann.b", "ann-b", "ann b", "a" * 33, "änn", "ann;reboot"):
        payload = await site.does("hostingProvision", **await site.wish(username=username))
        assert [fault["field"] for fault in payload["errors"]] == [["input", "hosting", "username"]], username
    await site.done("hostingProvision", **await site.wish())
    payload = await site.does("hostingProvision", **await site.wish(username="ANN"))
    assert payload["errors"] == [
        {"code": "TAKEN", "message": "The username ann is taken.", "field": ["input", "hosting", "username"]}
    ]
    clerk = await house.operator(Role.STAFF)
    given = {
        "name": "Bob Example",
        "mobile": "+8801712345678",
        "email": "bob@example.net",
        "hosting": {"username": "ann", "password": PASSWORD},
    }
    for who, code in ((house.admin, "TAKEN"), (clerk, "NOT_PERMITTED")):
        payload = (await site.api.data(CREATE, who, input=given))["customerCreate"]
        assert [fault["code"] for fault in payload["errors"]] == [code]
        assert payload["customer"] is None
    async with house.database.read(house.tenant.id) as session:
        assert await session.scalar(select(func.count()).where(Customer.email == "bob@example.net")) == 0
        assert await session.scalar(select(func.count()).select_from(HostingAccount)) == 1


async def test_an_account_is_seen_with_its_customer_only(site: Site, house: House, other_house: House) -> None:
    account = await site.account()
    rival = await house.operator(Role.OPERATOR, permissions=["VIEW_CUSTOMERS", "MANAGE_HOSTING"])
    see = "query ($id: ID!) { node(id: $id) { id } }"
    assert (await site.api.data(see, house.admin, id=account))["node"] == {"id": account}
    for stranger in (rival, other_house.admin):
        assert (await site.api.data(see, stranger, id=account))["node"] is None
        for what in ("hostingSuspend", "hostingUnsuspend", "hostingDelete", "hostingRetry", "hostingRefreshStats"):
            payload = await site.does(what, stranger, id=account)
            assert [fault["code"] for fault in payload["errors"]] == ["NOT_FOUND"], what
    assert (await site.api.data(see, other_house.admin, id=site.server))["node"] is None
    assert (await site.api.data("{ hostingServers { id } }", other_house.admin))["hostingServers"] == []
    clerk = await house.operator(Role.STAFF)
    answer = await site.api("{ hostingServers { id } }", clerk)
    assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    assert json.dumps(answer).find("npk_") == -1
    row = await site.row(account)
    deletion = "mutation ($id: ID!) { customerDelete(customerId: $id) { errors { code message } } }"
    refused = await site.api.data(deletion, house.admin, id=ids.encode("cus", row.customer_id))
    assert "A customer with 1 hosting account cannot be deleted." in {
        fault["message"] for fault in refused["customerDelete"]["errors"]
    }
    assert clock.now() >= row.created_at
