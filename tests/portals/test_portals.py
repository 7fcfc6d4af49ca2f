"""A portal from the first save to the day on which the world sees it."""

import asyncio
import io
from pathlib import Path

from PIL import Image
from sqlalchemy import func, select

from ispgraph import ids
from ispgraph.db import Database
from ispgraph.domain.models import AuditEntry, CustomerStatus, PortalLogEntry, PortalStep, Role
from ispgraph.domain.portals import pictures
from tests.api import Api
from tests.crowd import customer
from tests.factories import House
from tests.portals.studio import DRAFTS, Studio, of, opened, picture
from tests.statements import counted
from tests.wizard import faults


async def test_the_whole_way(studio: Studio, api: Api, house: House) -> None:
    begun = await studio.save(subtitle="Coffee", theme="dark")
    portal = begun["portal"]
    assert (begun["errors"], portal["subdomain"], portal["active"], portal["status"]) == ([], "acme", False, "DRAFT")
    assert (portal["completedSteps"], portal["nextStep"], portal["progressPercent"]) == (["BRANDING"], "ASSETS", 33)
    assert [(asset["kind"], asset["status"], asset["url"]) for asset in portal["assets"]] == [
        (kind, "PENDING", None) for kind in ("LOGO", "BACKGROUND", "ICON")
    ]
    # Nobody sees it yet; it is listed as unfinished, for another operator as well, who goes on with it.
    assert (await api.get("/portals/acme")).status_code == 404
    colleague = await house.operator(Role.STAFF)
    drafts = (await api.data(DRAFTS, colleague))["portalDrafts"]
    assert (drafts["totalCount"], drafts["nodes"][0]["id"]) == (1, portal["id"])
    assert (await api.data(DRAFTS, colleague, mine=True))["portalDrafts"]["nodes"] == []
    staff = studio.by(colleague)

    uploaded = await staff.upload(logo=picture(mode="RGBA"), background=b"<html>no</html>", icon=picture(size=(20, 10)))
    assert [(asset["kind"], asset["status"]) for asset in uploaded["assets"]] == [
        ("LOGO", "UPLOADED"), ("BACKGROUND", "FAILED"), ("ICON", "UPLOADED"),
    ]  # fmt: skip
    failed = of(uploaded, "BACKGROUND")
    assert failed["error"] == "This is no picture of these kinds: PNG, JPEG, WEBP, GIF."
    assert (failed["url"], failed["attempts"], failed["failures"]) == (None, 1, 1)
    assert uploaded["portal"]["status"] == "FAILED"
    assert uploaded["portal"]["completedSteps"] == ["BRANDING"]
    # Before it is active, whoever has the address of a picture sees it, and no other address leads there.
    preview = of(uploaded, "LOGO")["url"]
    shown = await api.get(preview)
    assert (shown.status_code, shown.headers["cache-control"]) == (200, "private, no-store")
    assert (await api.get(preview.partition("?")[0])).status_code == 404
    assert (await api.get(preview.replace("logo-", "icon-"))).status_code == 404

    again = await staff.upload(background=picture("JPEG", (800, 600)))
    assert [(asset["kind"], asset["status"], asset["attempts"]) for asset in again["assets"]] == [
        ("BACKGROUND", "UPLOADED", 2)
    ]
    assert (again["portal"]["status"], again["portal"]["nextStep"]) == ("PARTIAL", "ADMIN")
    done = (await staff.invite())["portal"]
    assert (done["active"], done["status"], done["nextStep"], done["progressPercent"]) == (True, "COMPLETED", None, 100)
    assert (done["admin"]["email"], done["admin"]["invitations"]) == ("owner@acme.example", 1)
    # The pictures of one request are taken side by side.
    log = [(entry["step"], entry["kind"], entry["succeeded"]) for entry in done["log"]]
    assert (log[0], log[-1]) == (("BRANDING", None, True), ("ADMIN", None, True))
    assert sorted(log[1:4]) == [("ASSETS", "BACKGROUND", False), ("ASSETS", "ICON", True), ("ASSETS", "LOGO", True)]
    assert log[4] == ("ASSETS", "BACKGROUND", True)
    assert (await api.data(DRAFTS, colleague))["portalDrafts"]["nodes"] == []
    assert await studio.read() == done

    # And now the world.
    looks = await api.get("/portals/acme")
    body = looks.json()
    assert (body["displayName"], body["subtitle"], body["theme"]) == ("Acme Cafe", "Coffee", "dark")
    assert looks.headers["cache-control"] == "public, max-age=1800"
    assert looks.headers["access-control-allow-origin"] == "*"
    sizes = {}
    for kind in ("logo", "background", "icon"):
        assert body[kind]["url"] == of(done, kind.upper())["url"]
        found = await api.get(body[kind]["url"])
        assert found.headers["content-type"] == "image/webp"
        assert found.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert found.headers["x-content-type-options"] == "nosniff"
        assert found.headers["content-security-policy"] == "default-src 'none'; sandbox"
        seen = opened(found.content)
        assert (seen.format, seen.size) == ("WEBP", (body[kind]["width"], body[kind]["height"]))
        sizes[kind] = seen.size
    assert sizes == {"logo": (200, 150), "background": (1920, 1080), "icon": (64, 64)}


async def test_the_public_page_is_cached_by_what_it_says(studio: Studio, api: Api, database: Database) -> None:
    await studio.save(active=True)
    first = await api.get("/portals/acme")
    tag = first.headers["etag"]
    assert first.status_code == 200
    assert not tag.startswith("W/")
    for given in (tag, f'"x", {tag}', f"W/{tag}", "*"):
        same = await api.client.get("/portals/acme", headers={"If-None-Match": given})
        assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", tag)
    await studio.save(subtitle="Now with tea")
    changed = await api.client.get("/portals/acme", headers={"If-None-Match": tag})
    assert (changed.status_code, changed.json()["subtitle"]) == (200, "Now with tea")
    logo = (await studio.upload(logo=picture()))["assets"][0]["url"]
    shown = await api.get(logo)
    same = await api.client.get(logo, headers={"If-None-Match": shown.headers["etag"]})
    assert (same.status_code, same.content) == (304, b"")
    # Another picture has another address, and the one before is there for whoever has an old page.
    other = (await studio.upload(logo=picture(size=(10, 10))))["assets"][0]["url"]
    assert other != logo
    assert (await api.get("/portals/acme")).json()["logo"]["url"] == other
    assert (await api.get(logo)).status_code == 200
    # Inactive, unknown, impossible and terminated are one answer.
    await studio.save(active=False)
    answers = [await api.get(path) for path in ("/portals/acme", "/portals/nobody", "/portals/A%00_", other, logo)]
    assert len({(answer.status_code, answer.text, answer.headers["cache-control"]) for answer in answers}) == 1
    assert (answers[0].status_code, answers[0].headers["cache-control"]) == (404, "no-store")


async def test_a_terminated_customer_has_no_portal(studio: Studio, api: Api, house: House) -> None:
    await studio.save(active=True)
    async with house.database.transaction(house.tenant.id) as session:
        row = await session.get_one(type(customer(house, "x")), ids.decode("cus", studio.customer))
        row.status = CustomerStatus.TERMINATED
    assert (await api.get("/portals/acme")).status_code == 404
    assert faults(await studio.save(active=True)) == [("INVALID_STATE", "input.customerId")]


async def test_an_operator_decides_when_it_is_seen(studio: Studio) -> None:
    """Held back, a portal is finished and stays inactive; afterwards it is switched at will, and never a draft."""
    await studio.save(active=False)
    await studio.upload(logo=picture())
    held = (await studio.invite(sendInvitation=False))["portal"]
    assert (held["status"], held["active"], held["admin"]["invitations"]) == ("COMPLETED", False, 0)
    assert held["admin"]["invitationSentAt"] is None
    assert (await studio.save(active=True))["portal"]["active"] is True
    off = (await studio.save(active=False))["portal"]
    assert (off["status"], off["active"]) == ("COMPLETED", False)


_BAD: list[tuple[dict[str, str], tuple[str, str]]] = [
    ({"subdomain": "xn--80ak6aa92e"}, ("INVALID", "input.subdomain")),
    ({"subdomain": "аcme"}, ("INVALID", "input.subdomain")),  # its first letter is Cyrillic
    ({"subdomain": "ａｃｍｅ"}, ("INVALID", "input.subdomain")),
    ({"subdomain": "www"}, ("INVALID", "input.subdomain")),
    ({"subdomain": "adm1n"}, ("INVALID", "input.subdomain")),
    ({"subdomain": "rnail2"}, ("INVALID", "input.subdomain")),
    ({"subdomain": "-acme"}, ("INVALID", "input.subdomain")),
    ({"subdomain": "a.b.c"}, ("INVALID", "input.subdomain")),
    ({"subdomain": "ab"}, ("INVALID", "input.subdomain")),
    ({"subdomain": "a" * 64}, ("INVALID", "input.subdomain")),
    ({"subdomain": "2026"}, ("INVALID", "input.subdomain")),
    ({"subdomain": " "}, ("REQUIRED", "input.subdomain")),
    ({"displayName": "\u202eemca"}, ("INVALID", "input.displayName")),
    ({"displayName": "x" * 101}, ("INVALID", "input.displayName")),
    ({"subtitle": "x" * 201}, ("INVALID", "input.subtitle")),
    ({"theme": "url(javascript:alert(1))"}, ("INVALID", "input.theme")),
    ({"theme": "#12345"}, ("INVALID", "input.theme")),
    ({"customerId": "cus_" + "0" * 32}, ("NOT_FOUND", "input.customerId")),
]


async def test_bad_branding_is_named(studio: Studio) -> None:
    for given, expected in _BAD:
        assert faults(await studio.save(**given)) == [expected], given
    assert await studio.read() is None


async def test_of_twenty_who_want_a_name_at_once_one_gets_it(
    api: Api, house: House, other_house: House, database: Database
) -> None:
    homes = [house, other_house] * 10
    for number, home in enumerate(homes):
        await home.add(customer(home, f"Rival {number}"))
    studios = []
    for home in (house, other_house):
        async with database.read(home.tenant.id) as session:
            rows = (await session.scalars(select(type(customer(home, "x"))))).all()
        studios += [Studio(api, home.admin, row) for row in rows]
    together = asyncio.Barrier(len(studios))

    async def save(number: int, studio: Studio) -> list[tuple[str, str]]:
        await together.wait()
        # Some want the very name, and some one that looks like it.
        return faults(await studio.save("acme1" if number % 2 else "acmel"))

    answers = await asyncio.gather(*(save(number, each) for number, each in enumerate(studios)))
    assert len(answers) == 20
    assert sorted(answers) == [[], *[[("TAKEN", "input.subdomain")]] * 19]
    # A draft holds its name, and gives it back with another one.
    (winner,) = [each for each, answer in zip(studios, answers, strict=True) if answer == []]
    loser = next(each for each, answer in zip(studios, answers, strict=True) if answer)
    assert faults(await winner.save("acme-cafe")) == []
    assert faults(await loser.save("acme1")) == []


async def test_two_operators_do_not_write_over_one_another(studio: Studio, house: House, database: Database) -> None:
    first = (await studio.save())["portal"]["version"]
    assert faults(await studio.save(theme="dark", expectedVersion=first)) == []
    assert faults(await studio.save(theme="light", expectedVersion=first)) == [
        ("VERSION_CONFLICT", "input.expectedVersion")
    ]
    portal = await studio.read()
    assert portal["theme"] == "dark"
    assert [(entry["succeeded"]) for entry in portal["log"]] == [True, True, False]
    async with database.read(house.tenant.id) as session:
        saved = select(AuditEntry).where(AuditEntry.action == "portal.save").order_by(AuditEntry.id)
        audited = (await session.scalars(saved)).all()
    assert [entry.details.get("theme") for entry in audited] == [None, "dark"]


async def test_the_log_is_bounded(studio: Studio, house: House, database: Database) -> None:
    await studio.save()
    for _ in range(3):
        await studio.save("www")
    async with database.transaction(house.tenant.id) as session:
        rows = (await session.scalars(select(PortalLogEntry).order_by(PortalLogEntry.id))).all()
        assert [row.succeeded for row in rows] == [True, False, False, False]
        portal, who = rows[0].portal_id, rows[0].by_id
    await house.add(
        *(
            PortalLogEntry(portal_id=portal, step=PortalStep.BRANDING, succeeded=False, error=f"no {n}", by_id=who)
            for n in range(300)
        )
    )
    await studio.save()
    async with database.read(house.tenant.id) as session:
        assert await session.scalar(select(func.count(PortalLogEntry.id))) == 200
    log = (await studio.read())["log"]
    assert (len(log), log[-1]["succeeded"], log[-2]["error"]) == (200, True, "no 299")


async def test_statements_do_not_grow_with_portals(studio: Studio, api: Api, house: House, database: Database) -> None:
    numbers = []
    for batch in (range(2), range(2, 7)):
        for number in batch:
            await house.add(made := customer(house, f"Customer {number}"))
            each = Studio(api, house.admin, made)
            await each.save(f"portal-of-{number}")
            await each.upload(logo=picture())
        await api.data(DRAFTS, house.admin)
        with counted(database) as seen:
            await api.data(DRAFTS, house.admin)
        numbers.append(len(seen))
    # The portals, and what the addresses of the pictures are made of.
    assert numbers == [4, 4], seen


def test_nothing_but_the_picture_is_kept() -> None:
    """Turned upright, and without where it was taken, by whom and with what."""
    photo = Image.new("RGB", (400, 100), (255, 0, 0))
    photo.paste((0, 0, 255), (0, 0, 200, 100))
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "Secret Camera"
    out = io.BytesIO()
    photo.save(out, "JPEG", exif=exif, comment=b"Secret comment", icc_profile=b"Secret profile", quality=95)
    kept = pictures.drawn(pictures.AssetKind.LOGO, out.getvalue() + b"<script>Secret tail</script>")
    assert b"Secret" not in kept.body
    assert b"EXIF" not in kept.body
    seen = opened(kept.body).convert("RGB")
    assert seen.size in ((37, 150), (38, 150))
    assert seen.getpixel((19, 5))[2] > 200, "the blue half is on top"  # type: ignore[index]
    assert seen.getpixel((19, 145))[0] > 200  # type: ignore[index]


async def test_only_who_may_and_only_theirs(
    studio: Studio, api: Api, house: House, other_house: House, tmp_path: Path
) -> None:
    reseller = await house.operator(Role.OPERATOR)
    accountant = await house.operator(Role.ACCOUNTANT)
    await studio.save()
    for stranger in (other_house.admin, reseller):
        theirs = studio.by(stranger)
        assert faults(await theirs.save("other")) == [("NOT_FOUND", "input.customerId")]
        assert faults(await theirs.invite()) == [("NOT_FOUND", "input.customerId")]
        assert faults(await theirs.upload(logo=picture())) == [("NOT_FOUND", "customerId")]
        assert (await theirs.discard())["errors"] == [{"code": "NOT_FOUND", "field": ["customerId"]}]
        assert (await api.data(DRAFTS, stranger))["portalDrafts"]["nodes"] == []
        node = await api.data("query ($id: ID!) { node(id: $id) { id } }", stranger, id=(await studio.read())["id"])
        assert node["node"] is None
    answer = (await studio.by(accountant).post(logo=picture())).json()
    assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    assert list((tmp_path / "files").rglob("*.webp")) == []
    assert [entry["succeeded"] for entry in (await studio.read())["log"]] == [True]
