"""Reading the users that a router keeps itself, through the API, and giving them to an import and to nobody else."""

import io
from typing import Any

from sqlalchemy import select, update

from ispgraph import clock, ids
from ispgraph.db import Database
from ispgraph.domain import files, router_readings
from ispgraph.domain.errors import DomainError
from ispgraph.domain.imports import router_users
from ispgraph.domain.imports.rows import Plan, Problem, Row
from ispgraph.domain.models import FileChunk, JobStatus, Operator, Role, Tenant
from ispgraph.lab.faults import Trap
from tests.api import Api
from tests.factories import House
from tests.imports.counter import Counter, counts
from tests.network.world import World, until
from tests.wizard import faults

READ = """mutation($input: RouterReadUsersInput!) { routerReadUsers(input: $input) {
  router { name } jobs { id kind } errors { code field } } }"""
JOB = """query($id: ID!) { job(id: $id) { status message progressDone ... on NetworkJob {
  fileId router { name } steps { outcome detail } } } }"""


async def asked(world: World, by: Operator, **given: Any) -> dict[str, Any]:
    """The payload of `routerReadUsers`."""
    router = {"routerId": ids.encode("rtr", world.routers["north"].id)} | given
    payload: dict[str, Any] = (await world.api.data(READ, by, input=router))["routerReadUsers"]
    return payload


async def taken(world: World, by: Operator, file_id: str) -> bytes | None:
    """What an import is given; None where it is told that there is no such file."""
    viewer = await world.house.viewer(by)
    async with world.database.read(world.house.tenant.id) as session:
        try:
            return await router_readings.body(
                *(session, ids.decode("fil", file_id)),
                **{"network_key": world.settings.network_key, "by": viewer, "field": ["input", "fileId"]},
            )
        except DomainError as error:
            return {("input", "fileId"): None}[error.faults[0].field or ()]


async def test_users_of_a_router_are_read_and_kept_sealed(world: World, house: House, moved_clock: None, monkeypatch):
    monkeypatch.setattr(files, "CHUNK_BYTES", 300)
    nas = await world.router()
    nas.router.create("/ppp/profile", {"name": "10M", "rate-limit": "5M/10M"})
    for number in range(20):
        nas.router.create("/ppp/secret", {"name": f"user{number}", "password": f"secret={number} ৳", "profile": "10M"})
    nas.router.create("/ip/hotspot/user", {"name": "guest", "password": "", "disabled": "yes", "comment": 'it\'s "x"'})

    payload = await asked(world, house.admin, idempotencyKey="once")
    again = await asked(world, house.admin, idempotencyKey="once")
    assert payload["jobs"] == again["jobs"]
    assert (payload["router"], payload["errors"]) == ({"name": "north"}, [])
    [job] = payload["jobs"]
    assert job["kind"] == "router.readUsers"
    await world.succeeded([job["id"]])

    found = (await world.api.data(JOB, house.admin, id=job["id"]))["job"]
    assert (found["message"], found["progressDone"], found["router"]) == ("Users read: 21.", 21, {"name": "north"})
    assert [step["outcome"] for step in found["steps"]] == ["VERIFIED"] * 4
    assert "Read 20 items of /ppp/secret." in [step["detail"] for step in found["steps"]]
    # Nothing was changed, and the passwords rest in no form that could be read.
    assert len(list(nas.router.table("/ppp/secret"))) == 20
    async with world.database.read(house.tenant.id) as session:
        chunks = list(await session.scalars(select(FileChunk.body)))
    assert len(chunks) > 3
    assert not any(b"secret=" in chunk or b"user" in chunk for chunk in chunks)
    [answer] = [await world.api.get(f"/downloads/files/{house.tenant.id.hex}/{found['fileId'][4:]}")]
    assert answer.status_code in (401, 403, 404)

    body = await taken(world, house.admin, found["fileId"])
    read = list(router_users.read(io.BytesIO(body or b"")))
    assert [each.values["name"] for each in read if isinstance(each, Plan)] == ["10M"]
    rows = [each.values for each in read if isinstance(each, Row)]
    assert [(row["username"], row["password"], row["package"]) for row in rows[:20]] == [
        (f"user{number}", f"secret={number} ৳", "10M") for number in range(20)
    ]
    assert (rows[20]["username"], rows[20]["status"], rows[20]["note"]) == ("guest", "SUSPENDED", 'it\'s "x"')
    assert not any(isinstance(each, Problem) for each in read)

    # Who may not manage routers is told of no file, and gets none; after a day nobody does.
    clerk = await house.operator(Role.STAFF, house.admin)
    assert (await world.api.data(JOB, clerk, id=job["id"]))["job"]["fileId"] is None
    assert await taken(world, clerk, found["fileId"]) is None
    assert await taken(world, house.admin, ids.encode("fil", ids.uuid7())) is None
    clock.set_clock("+90000")
    assert await taken(world, house.admin, found["fileId"]) is None


async def test_a_login_that_may_not_see_passwords_is_told_of(world: World, house: House):
    nas = await world.router()
    nas.router.groups["full"] = nas.router.groups["full"] - {"sensitive"}
    nas.router.create("/ppp/secret", {"name": "rahim", "password": "secret"})

    [job] = (await asked(world, house.admin))["jobs"]
    await world.succeeded([job["id"]])

    file_id = (await world.api.data(JOB, house.admin, id=job["id"]))["job"]["fileId"]
    row, problem = router_users.read(io.BytesIO(await taken(world, house.admin, file_id) or b""))
    assert isinstance(problem, Problem)
    assert isinstance(row, Row)
    assert (problem.number, problem.column, row.values["password"]) == (row.number, "password", "")


async def test_a_router_that_is_away_and_has_no_hotspot_is_read_when_it_is_back(world: World, house: House):
    nas = await world.router()
    nas.router.create("/ppp/secret", {"name": "rahim", "password": "secret"})
    nas.router.faults.set(refuse=True)

    [job] = (await asked(world, house.admin))["jobs"]
    await until(lambda: world.failures("north", 1))
    waiting = (await world.api.data(JOB, house.admin, id=job["id"]))["job"]
    assert (waiting["status"] in ("QUEUED", "RUNNING"), waiting["fileId"]) == (True, None)
    traps = [Trap(f"/ip/hotspot/user{menu}/print", "no such command prefix", once=False) for menu in ("", "/profile")]
    nas.router.faults.set(refuse=False, traps=traps)

    await world.succeeded([job["id"]])
    found = (await world.api.data(JOB, house.admin, id=job["id"]))["job"]
    assert found["message"] == "Users read: 1."
    assert ("UNCHANGED", "There is no /ip/hotspot/user.") in [
        (step["outcome"], step["detail"]) for step in found["steps"]
    ]


async def test_refusals(world: World, house: House, api: Api, other_house: Any):
    await world.router()
    await world.router("silent", "127.0.0.12", login=False)
    clerk = await house.operator(Role.STAFF, house.admin)

    assert (await asked(world, other_house.admin))["errors"] == [
        {"code": "NOT_FOUND", "field": ["input", "routerId"]},
    ]
    assert (await asked(world, house.admin, routerId=ids.encode("rtr", world.routers["silent"].id)))["errors"] == [
        {"code": "NOT_CONFIGURED", "field": ["input", "routerId"]},
    ]
    answer = await api(READ, clerk, input={"routerId": ids.encode("rtr", world.routers["north"].id)})
    assert "FORBIDDEN" in str(answer) or "NOT_PERMITTED" in str(answer)
    assert JobStatus.QUEUED.value not in str(answer)


async def test_what_was_read_is_imported(world: World, house: House, owner: Database, moved_clock: None):
    async with owner.transaction(house.tenant.id) as session:
        await session.execute(update(Tenant).values(email_required=False))
    nas = await world.router()
    nas.router.create("/ppp/profile", {"name": "10M", "rate-limit": "5M/10M"})
    nas.router.create("/ppp/secret", {"name": "rahim", "password": "it's = 1", "profile": "10M"})
    nas.router.create("/ppp/secret", {"name": "karim", "password": "x", "profile": "10M", "disabled": "yes"})
    [job] = (await asked(world, house.admin))["jobs"]
    await world.succeeded([job["id"]])
    file_id = (await world.api.data(JOB, house.admin, id=job["id"]))["job"]["fileId"]
    counter = Counter(world.api, house, world.settings, await house.package("10M"))
    given = {"source": "ROUTER", "fileId": file_id, "mobile": "01711999999", "expiresAt": "2999-01-01T00:00:00Z"}

    # Who may not manage routers cannot take what they hold either.
    clerk = await house.operator(Role.STAFF, house.admin, permissions=["CREATE_CUSTOMERS"])
    assert faults(await counter.begin_without(clerk, **given)) == [("NOT_FOUND", "input.fileId")]
    begun = await counter.begin_without(**given, idempotencyKey="once")
    assert begun["errors"] == []
    await world.succeeded([begun["job"]["id"]])
    dry = await counter.read(begun["customerImport"])
    assert (dry["status"], counts(dry)) == ("CHECKED", {"rowCount": 2, "newCount": 2}), dry
    await world.succeeded([(await counter.run(dry))["job"]["id"]])
    done = await counter.read(dry)
    found = done["reconciliation"]
    assert (found["customersTold"], found["customersHere"], found["activeTold"], found["activeHere"]) == (2, 2, 1, 1)
    assert (found["balanceTold"], found["differing"], found["equal"]) == ({"amount": "0.00"}, [], True)
    rahim, service = await counter.person("rahim")
    assert (rahim.status.value, service.username, counter.password(service)) == ("ACTIVE", "rahim", "it's = 1")
    assert (await counter.person("karim"))[0].status.value == "SUSPENDED"

    # What was promised stays promised when the reading is gone; anything new needs another.
    clock.set_clock("+90000")
    assert (await counter.begin_without(**given, idempotencyKey="once"))["customerImport"]["id"] == done["id"]
    assert faults(await counter.begin_without(**given)) == [("NOT_FOUND", "input.fileId")]
