"""Who looks after a portal, how they are invited, and what becomes of portals that were left."""

import re
from dataclasses import replace
from email import message_from_bytes, policy
from email.message import EmailMessage

from redis.asyncio import Redis
from sqlalchemy import select, text

from ispgraph import clock, ids, scheduler
from ispgraph.actors.postman import Postman
from ispgraph.db import Database
from ispgraph.domain import gateways, visits
from ispgraph.domain.models import AuditEntry, GatewayKind, Message, PortalAdmin, PortalFile, Role
from ispgraph.domain.portals import invitations
from ispgraph.settings import Settings
from tests.api import Api
from tests.crowd import customer
from tests.factories import NETWORK_KEY, House
from tests.messaging import post
from tests.messaging.mail_server import PASSWORD, USER, Mail, mail_server
from tests.portals.studio import DRAFTS, Studio, picture
from tests.wizard import faults

LINK = re.compile(r"http://test(/portals/acme/invitation/([A-Za-z0-9_-]{43}))\s")


async def test_an_invitation_is_in_the_e_mail_alone(
    studio: Studio, api: Api, house: House, database: Database, settings: Settings, owner: Database
) -> None:
    await studio.save()
    made = await studio.invite("  Owner@Acme.Example ")
    assert faults(made) == []
    assert made["portal"]["admin"]["email"] == "owner@acme.example"
    tokens = []
    async with mail_server() as mail:
        await _mail_gateway(house, mail)
        postman = Postman(database, settings)
        await post.deliver(postman, house)
        await studio.invite("owner@acme.example", name="Olive O.")
        await post.deliver(postman, house)
        for envelope in mail.taken:
            assert envelope.rcpt_tos == ["owner@acme.example"]
    for number in (0, 1):
        found = LINK.search(_text(mail, number) + " ")
        assert found is not None, _text(mail, number)
        tokens.append(found[2])
    old, new = tokens
    assert old != new
    # The last one is good, on the portal it is for.
    page = await api.get(f"/portals/acme/invitation/{new}")
    assert (page.status_code, page.headers["cache-control"]) == (200, "private, no-store")
    assert "Olive O. (owner@acme.example)" in page.text
    for wrong in (f"acme/invitation/{old}", f"acme/invitation/{new[:-1]}", f"other/invitation/{new}"):
        assert (await api.get(f"/portals/{wrong}")).status_code == 404
    admin = (await studio.read())["admin"]
    assert (admin["name"], admin["invitations"]) == ("Olive O.", 2)
    # No table holds it.
    async with database.read(house.tenant.id) as session:
        bodies = (await session.scalars(select(Message.body))).all()
        assert len(bodies) == 2
        assert all("********" in body for body in bodies)
        for table in ("portal_admins", "messages", "jobs", "audit_entries", "portal_log", "idempotency_keys"):
            rows = (await session.execute(text(f"SELECT t::text FROM {table} t"))).scalars().all()
            assert not any(token in row for row in rows for token in tokens), table


async def test_an_invitation_ends(
    studio: Studio, api: Api, house: House, moved_clock: None, settings: Settings
) -> None:
    clock.set_clock("2026-05-01T10:00:00Z")
    await studio.save(active=True)
    await studio.invite()
    async with house.database.read(house.tenant.id) as session:
        admin = (await session.scalars(select(PortalAdmin))).one()
    token = invitations.token(settings.network_key, admin.id, 1)
    clock.set_clock("2026-05-08T09:00:00Z")
    assert (await api.get(f"/portals/acme/invitation/{token}")).status_code == 200
    clock.set_clock("2026-05-08T11:00:00Z")
    assert (await api.get(f"/portals/acme/invitation/{token}")).status_code == 404


async def test_a_front_end_gets_the_invitation_out_of_sight_of_logs(
    studio: Studio, house: House, database: Database, valkey: Redis, settings: Settings
) -> None:
    api = Api(database, valkey, replace(settings, portal_url="https://{subdomain}.portal.example"))
    studio.api = api
    await studio.save()
    await studio.invite()
    async with database.read(house.tenant.id) as session:
        body = await session.scalar(select(Message.body))
    assert body is not None
    assert "https://acme.portal.example/invitation#********" in body
    await api.close()


async def test_one_e_mail_is_one_admin(studio: Studio, api: Api, house: House, other_house: House) -> None:
    await house.add(second := customer(house, "Second"))
    other = Studio(api, house.admin, second)
    assert faults(await studio.invite()) == [("INVALID_STATE", "input.customerId")]
    await studio.save()
    await other.save("second")
    assert faults(await studio.invite(idempotencyKey="one")) == []
    assert faults(await studio.invite(idempotencyKey="one")) == []
    assert (await studio.read())["admin"]["invitations"] == 1, "asked again, not done again"
    assert faults(await studio.invite("x@acme.example", idempotencyKey="one")) == [
        ("IDEMPOTENCY_KEY_REUSED", "input.idempotencyKey")
    ]
    assert faults(await other.invite("OWNER@acme.example")) == [("TAKEN", "input.email")]
    assert faults(await other.invite(house.admin.email)) == [("TAKEN", "input.email")]
    assert faults(await other.invite("no address")) == [("INVALID", "input.email")]
    assert faults(await other.invite(name=" ")) == [("REQUIRED", "input.name")]
    # Another tenant may know the same person; an admin who is replaced is free for another portal.
    await other_house.add(third := customer(other_house, "Third"))
    foreign = Studio(api, other_house.admin, third)
    await foreign.save("third")
    assert faults(await foreign.invite()) == []
    replaced = (await studio.invite("new@acme.example"))["portal"]["admin"]
    assert (replaced["email"], replaced["invitations"]) == ("new@acme.example", 1)
    assert faults(await other.invite()) == []
    log = (await other.read())["log"]
    assert [entry["error"] for entry in log if entry["step"] == "ADMIN"][:2] == [
        "Another portal has an admin with this e-mail address.",
        "This is the e-mail address of an operator.",
    ]


async def test_invitations_are_not_sent_without_end(studio: Studio) -> None:
    await studio.save()
    for _ in range(20):
        assert faults(await studio.invite()) == []
    assert faults(await studio.invite()) == [("LIMIT_EXCEEDED", "input.sendInvitation")]
    assert faults(await studio.invite(sendInvitation=False)) == []


async def test_a_portal_that_was_left_is_told_of_and_forgotten(
    studio: Studio, api: Api, house: House, other_house: House, database: Database, moved_clock: None
) -> None:
    clock.set_clock("2026-05-01T10:00:00Z")
    clerk = await house.operator(Role.STAFF, email="clerk@north.example")
    await studio.by(clerk).save()
    await studio.upload(logo=picture())
    await house.add(kept := customer(house, "Kept"))
    await Studio(api, house.admin, kept).save("kept", active=True)
    clock.set_clock("2026-05-02T09:00:00Z")
    await scheduler.look_at_portals(database)
    assert await _told(database, house) == []
    clock.set_clock("2026-05-02T12:00:00Z")
    for _ in range(2):
        await scheduler.look_at_portals(database)
    said = (
        "North Networks: Staff Example, the portal Acme Cafe (acme, account {}) was begun and left. Still to be done: "
        "admin. It is deleted 2026-05-03 18:"
    )
    portal = await studio.read()
    account = portal["customer"]["accountNumber"]
    ((to, body),) = await _told(database, house)
    assert (to, body.startswith(said.format(account))) == ("clerk@north.example", True), body
    assert (portal["status"], (await api.data(DRAFTS, clerk, status=["EXPIRED"]))["portalDrafts"]["totalCount"]) == (
        "EXPIRED",
        1,
    )
    # It can still be gone on with, by somebody else; then it has another day, and one more.
    clock.set_clock("2026-05-03T09:00:00Z")
    assert (await studio.save(theme="dark"))["portal"]["status"] == "PARTIAL"
    clock.set_clock("2026-05-03T11:00:00Z")
    await scheduler.look_at_portals(database)
    assert await studio.read() is not None
    clock.set_clock("2026-05-04T12:00:00Z")
    await scheduler.look_at_portals(database)
    assert len(await _told(database, house)) == 2
    # Nobody else gets the name before it is forgotten.
    await other_house.add(rival := customer(other_house, "Rival"))
    theirs = Studio(api, other_house.admin, rival)
    assert faults(await theirs.save()) == [("TAKEN", "input.subdomain")]
    clock.set_clock("2026-05-05T13:00:00Z")
    await scheduler.look_at_portals(database)
    assert await studio.read() is None
    assert faults(await theirs.save()) == []
    assert (await Studio(api, house.admin, kept).read())["active"] is True
    async with database.read(house.tenant.id) as session:
        entry = await session.scalar(select(AuditEntry).where(AuditEntry.action == "portal.forget"))
        assert entry is not None
        assert entry.details == {"subdomain": "acme", "steps": ["BRANDING", "ASSETS"]}
        file = (await session.scalars(select(PortalFile))).one()
        assert file.portal_id is None
        assert file.unused_since is not None


async def test_an_unfinished_portal_can_be_given_up(studio: Studio, api: Api, house: House) -> None:
    assert (await studio.discard())["errors"] == [{"code": "INVALID_STATE", "field": ["customerId"]}]
    await studio.save()
    await studio.upload(logo=picture())
    assert await studio.discard() == {"portal": None, "errors": []}
    assert await studio.read() is None
    assert (await studio.save(active=True))["portal"]["active"] is True
    assert (await studio.discard())["errors"] == [{"code": "INVALID_STATE", "field": ["customerId"]}]


async def test_invitations_are_not_guessed(
    studio: Studio, api: Api, house: House, settings: Settings, valkey: Redis
) -> None:
    """Whoever has guessed too often sees none, not even one that is good; the portal is for everybody."""
    await studio.save(active=True)
    await studio.invite()
    async with house.database.read(house.tenant.id) as session:
        admin = (await session.scalars(select(PortalAdmin))).one()
    good = f"/portals/acme/invitation/{invitations.token(settings.network_key, admin.id, 1)}"
    assert (await api.get(good)).status_code == 200
    for number in range(visits.GUESSES):
        assert (await api.get(f"/portals/acme/invitation/{number:043d}")).status_code == 404
    assert (await api.get(good)).status_code == 404
    assert (await api.get("/portals/acme")).status_code == 200


async def _told(database: Database, house: House) -> list[tuple[str, str]]:
    async with database.read(house.tenant.id) as session:
        rows = select(Message).where(Message.event == "portal.abandoned").order_by(Message.id)
        return [(row.to, row.body) for row in await session.scalars(rows)]


async def _mail_gateway(house: House, mail: Mail) -> None:
    key = ids.uuid7()
    await post.gateway(
        house,
        kind=GatewayKind.EMAIL,
        provider="smtp",
        settings={
            "host": "127.0.0.1",
            "port": str(mail.port),
            "security": "none",
            "username": USER,
            "sender": "North <north@isp.example>",
        },
        id=key,
        secrets=gateways.sealed(NETWORK_KEY, house.tenant.id, key, {"password": PASSWORD}),
    )


def _text(mail: Mail, number: int) -> str:
    content = mail.taken[number].content
    assert isinstance(content, bytes)
    found = message_from_bytes(content, policy=policy.default)
    assert isinstance(found, EmailMessage)
    plain = found.get_body(("plain",))
    assert plain is not None
    return str(plain.get_content())
