"""Hosting servers: their credentials, how they are tested and looked at, and their places."""

import asyncio

import pytest
from sqlalchemy import select, text

from ispgraph import ids
from ispgraph.adapters.payments.doubles import Fault
from ispgraph.domain import secrets
from ispgraph.domain.models import HostingAccount, HostingStatus, Job, JobStatus
from tests.factories import NETWORK_KEY, House, uuid_of
from tests.hosting.site import CREATE, PASSWORD, Site

REMOVE = "mutation ($id: ID!) { hostingServerDelete(serverId: $id) { deletedId errors { code message field } } }"


async def test_a_server_proves_its_key_and_is_looked_at_again(bare: Site) -> None:
    bare.double.weak = True
    server = await bare.add(capacity=10)
    (job,) = await bare.rows(select(Job))
    weak = (
        "Our login may not do this: Not enough permissions: the API key lacks super-admin privilege for account "
        "management"
    )
    assert (job.status, job.message, job.attempts) == (JobStatus.FAILED, weak, 1)
    shown = (await bare.servers())["Panel 1"]
    assert (shown["online"], shown["available"], shown["problem"]) == (False, False, weak)
    assert [one.operation for one in bare.double.log] == ["health", "read"], "health alone proves nothing"

    bare.double.weak = False
    tested = await bare.done("hostingServerTest", id=server)
    assert tested["jobs"][0]["kind"] == "hosting.test"
    await bare.work()
    shown = (await bare.servers())["Panel 1"]
    assert (shown["online"], shown["available"], shown["problem"], shown["accountCount"]) == (True, True, None, 0)

    before = len(await bare.rows(select(Job)))
    for _ in range(3):
        await bare.wait(61)
    looks = await bare.rows(select(Job).where(Job.kind == "hosting.check"))
    assert len(looks) == 1, "one job that is used again and again"
    assert len(await bare.rows(select(Job))) == before + 1
    bare.double.fail("health", Fault.ERROR, Fault.RESET)
    await bare.wait(61)
    shown = (await bare.servers())["Panel 1"]
    assert (shown["online"], shown["problem"]) == (False, "The panel answered with status 500")
    await bare.wait(61)
    await bare.wait(61)
    shown = (await bare.servers())["Panel 1"]
    assert (shown["online"], shown["problem"]) == (True, None)
    assert (await bare.server_row(server)).failures == 0

    await bare.done("hostingServerUpdate", serverId=server, active=False)
    assert not (await bare.servers())["Panel 1"]["available"]
    payload = await bare.does("hostingProvision", **await bare.wish(serverId=server))
    assert [(fault["code"], fault["field"][-1]) for fault in payload["errors"]] == [("INVALID_STATE", "serverId")]
    payload = await bare.does("hostingProvision", **await bare.wish())
    assert [fault["code"] for fault in payload["errors"]] == ["NOT_CONFIGURED"]
    asked = len(bare.double.log)
    await bare.wait(61)
    assert len(bare.double.log) == asked, "what is not in use is not looked at"


async def test_credentials_are_sealed_and_move_to_no_other_address(site: Site, house: House) -> None:
    row = await site.server_row()
    async with house.database.read(house.tenant.id) as session:
        dump = str((await session.execute(text("select row_to_json(s)::text from hosting_servers s"))).scalars().all())
        dump += str((await session.execute(text("select row_to_json(a)::text from audit_entries a"))).scalars().all())
    assert "npk_of_north" not in dump
    assert "nps_of_north" not in dump
    with pytest.raises(secrets.BadSecret):
        secrets.unseal(NETWORK_KEY, row.credentials, secrets.hosting_server(house.tenant.id, ids.uuid7()))
    payload = await site.does("hostingServerUpdate", serverId=site.server, baseUrl="http://127.0.0.1:9")
    assert [(fault["code"], fault["field"]) for fault in payload["errors"]] == [("REQUIRED", ["input", "apiKey"])]

    changed = await site.done("hostingServerUpdate", serverId=site.server, apiSecret="nps_wrong")
    assert len(changed["jobs"]) == 1
    await site.work()
    assert "Invalid API secret" in (await site.servers())["Panel 1"]["problem"]
    again = await site.done("hostingServerUpdate", serverId=site.server, name="Panel One", capacity=7)
    assert again["jobs"] == []
    assert (again["server"]["name"], again["server"]["capacity"]) == ("Panel One", 7)
    assert await site.trail(uuid_of(site.server)) == [
        "hosting_server.create",
        "hosting_server.update",
        "hosting_server.update",
    ]


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"name": " "}, "name"),
        ({"baseUrl": "panel.example"}, "baseUrl"),
        ({"baseUrl": "https://key:word@panel.example"}, "baseUrl"),
        ({"baseUrl": "https://169.254.169.254"}, "baseUrl"),
        ({"baseUrl": "https://panel.example/?a=b"}, "baseUrl"),
        ({"apiKey": ""}, "apiKey"),
        ({"apiSecret": "a b"}, "apiSecret"),
        ({"apiKey": "a\r\nX-Other: b"}, "apiKey"),
        ({"capacity": 0}, "capacity"),
        ({"capacity": -5}, "capacity"),
    ],
)
async def test_a_server_that_is_typed_wrong(bare: Site, given: dict[str, object], field: str) -> None:
    good = {"name": "Panel", "baseUrl": "https://panel.example", "apiKey": "npk_a", "apiSecret": "nps_a"}
    payload = await bare.does("hostingServerAdd", **good | given)
    assert [fault["field"] for fault in payload["errors"]] == [["input", field]]
    assert await bare.servers() == {}


async def test_names_are_unique_and_servers_with_accounts_stay(site: Site, house: House) -> None:
    payload = await site.does(
        "hostingServerAdd", name="Panel 1", baseUrl=site.url, apiKey="npk_a", apiSecret="nps_a", capacity=1
    )
    assert [(fault["code"], fault["field"]) for fault in payload["errors"]] == [("TAKEN", ["input", "name"])]
    spare = await site.add("Spare")
    assert (await site.api.data(REMOVE, house.admin, id=spare))["hostingServerDelete"]["deletedId"] == spare
    assert list(await site.servers()) == ["Panel 1"]
    await site.account()
    refused = (await site.api.data(REMOVE, house.admin, id=site.server))["hostingServerDelete"]
    assert [(fault["code"], fault["field"]) for fault in refused["errors"]] == [("INVALID_STATE", ["serverId"])]
    assert list(await site.servers()) == ["Panel 1"]


async def test_of_twenty_at_once_as_many_get_a_place_as_there_are(site: Site) -> None:
    await site.done("hostingServerUpdate", serverId=site.server, capacity=3)
    wishes = [await site.wish(username=f"user{number}") for number in range(10)]
    gate = asyncio.Event()

    async def provision(wish: dict[str, object]) -> list[str]:
        await gate.wait()
        return [fault["code"] for fault in (await site.does("hostingProvision", **wish))["errors"]]

    async def create(number: int) -> tuple[str, str | None]:
        await gate.wait()
        given = {
            "name": "Bob Example",
            "mobile": "+8801712345678",
            "email": f"bob{number}@example.net",
            "hosting": {"username": f"bob{number}", "password": PASSWORD},
        }
        made = (await site.api.data(CREATE, site.house.admin, input=given))["customerCreate"]
        assert made["errors"] == []
        assert made["customer"] is not None
        assert len(made["jobs"]) == (made["hostingAccount"]["status"] == "PENDING")
        return made["hostingAccount"]["status"], made["hostingAccount"]["error"]

    tasks = [asyncio.ensure_future(provision(wish)) for wish in wishes]
    others = [asyncio.ensure_future(create(number)) for number in range(10)]
    gate.set()
    provisioned, created = await asyncio.gather(*tasks), await asyncio.gather(*others)
    assert provisioned.count([]) + created.count(("PENDING", None)) == 3
    assert all(codes in ([], ["LIMIT_EXCEEDED"]) for codes in provisioned)
    assert set(created) <= {("PENDING", None), ("FAILED", "Every hosting server is full.")}, (
        "the customer always stands"
    )

    shown = (await site.servers())["Panel 1"]
    assert (shown["accountCount"], shown["available"]) == (3, False)
    assert shown["advice"] is not None
    await site.work()
    assert len(site.double.accounts) == 3

    # Whoever came too late with a new customer is tried again when somebody has gone.
    late = await site.wish(username="late")
    given = {"name": "Cid Example", "mobile": "+8801712345678", "email": "cid@example.net", "hosting": late["hosting"]}
    made = (await site.api.data(CREATE, site.house.admin, input=given))["customerCreate"]
    public = made["hostingAccount"]["id"]
    payload = await site.does("hostingRetry", id=public)
    assert [(fault["code"], fault["field"]) for fault in payload["errors"]] == [("LIMIT_EXCEEDED", ["accountId"])]
    gone = (await site.rows(select(HostingAccount).where(HostingAccount.status == HostingStatus.ACTIVE)))[0]
    await site.done("hostingDelete", id=ids.encode("hac", gone.id))
    await site.work()
    await site.done("hostingRetry", id=public)
    await site.work()
    assert (await site.row(public)).status is HostingStatus.ACTIVE
    assert (await site.servers())["Panel 1"]["accountCount"] == 3


async def test_the_server_of_which_least_is_taken_is_chosen_and_one_that_answers_first(site: Site) -> None:
    await site.done("hostingServerUpdate", serverId=site.server, capacity=10)
    big = await site.add("Big", capacity=30)
    chosen = []
    for number in range(5):
        made = await site.done("hostingProvision", **await site.wish(username=f"user{number}"))
        chosen.append(made["account"]["server"]["name"])
    # The first two are even; then a tenth of the small one is more than a thirtieth of the big one, and so on.
    assert sorted(chosen[:2]) == ["Big", "Panel 1"]
    assert chosen[2:] == ["Big", "Big", "Panel 1" if chosen[2:4] == ["Big", "Panel 1"] else chosen[4]]
    assert (await site.servers())["Big"]["advice"] is None
    await site.done("hostingServerUpdate", serverId=big, apiSecret="nps_wrong")
    await site.work()
    made = await site.done("hostingProvision", **await site.wish(username="later"))
    assert made["account"]["server"]["name"] == "Panel 1", "the other is not online"
    await site.done("hostingServerUpdate", serverId=site.server, capacity=3)
    shown = (await site.servers())["Panel 1"]
    assert (shown["accountCount"], shown["available"]) == (3, False) or shown["accountCount"] < 3
    await site.done("hostingServerUpdate", serverId=site.server, capacity=shown["accountCount"])
    payload = await site.does("hostingProvision", **await site.wish(username="full", serverId=site.server))
    assert [(fault["code"], fault["field"][-1]) for fault in payload["errors"]] == [("LIMIT_EXCEEDED", "serverId")]
    made = await site.done("hostingProvision", **await site.wish(username="waits"))
    assert made["account"]["server"]["name"] == "Big", "it gets the account when it answers again"
