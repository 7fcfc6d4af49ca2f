"""The pages on which people set a password, and those who look after a portal: their invitation and what they may."""

from html import unescape
from typing import Any

import pytest
from sqlalchemy import select

from ispgraph import clock
from ispgraph.domain import password_codes, visits
from ispgraph.domain.models import AuditEntry, PasswordReset, PortalAdmin
from ispgraph.domain.portals import invitations
from tests.crowd import customer
from tests.factories import NETWORK_KEY, PASSWORD
from tests.portals.studio import Studio
from tests.self_care.home import CHANGE, ME, NEW, REQUEST, Home, faults
from tests.wizard import faults as wizard_faults

ACCEPT = """mutation ($input: PortalInvitationInput!) { done: portalAcceptInvitation(input: $input) {
  done errors { code field } } }"""
ADMIN = "query ($id: ID!) { customer(by: {id: $id}) { portal { admin { email acceptedAt invitationExpiresAt } } } }"
OWNER = {"login": "owner@acme.example", "password": NEW}


def safe(page: Any) -> str:
    """The text of a page that keeps to itself, needs no script, and fits a telephone."""
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "form-action 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "script-src" not in policy
    assert page.headers["cache-control"] == "private, no-store"
    assert page.headers["referrer-policy"] == "no-referrer"
    assert "<script" not in page.text
    assert 'name="viewport"' in page.text
    found: str = unescape(page.text)
    return found


async def test_a_password_is_set_on_a_page(home: Home) -> None:
    await home.public(REQUEST, input={"login": "N-1001", "tenant": "north"})
    [code] = await home.codes()
    page = await home.api.get(f"/password/{code}")
    assert f'value="{code}"' in safe(page)
    path = f"/password/{code}"
    different = await home.api.submit(path, code=code, password=NEW, again=PASSWORD)
    assert (different.status_code, "not the same" in safe(different), code in different.text) == (400, True, True)
    short = await home.api.submit(path, code=code, password="x", again="x")
    assert (short.status_code, "at least 10 characters" in safe(short)) == (400, True)
    done = await home.api.submit(path, code=code, password=NEW, again=NEW)
    assert (done.status_code, "You can sign in" in safe(done)) == (200, True)
    assert faults(await home.sign_in(password=NEW)) == []
    again = await home.api.submit(path, code=code, password=PASSWORD, again=PASSWORD)
    assert (again.status_code, "wrong, was used" in safe(again)) == (400, True)
    assert faults(await home.sign_in(password=NEW)) == []
    # Typed in by hand, and what is typed stands there as text.
    assert 'id="code"' in safe(await home.api.get("/password"))
    nasty = '"><script>alert(1)</script>'
    for shown in (
        await home.api.submit("/password", code=nasty, password=NEW, again="x"),
        await home.api.get("/password/%22%3E%3Cscript%3E"),
    ):
        assert "<script" not in shown.text
    assert (await home.api.get("/password", "POST", b"\xff\xfe" * 20_000)).status_code == 400


async def test_an_operators_code_is_taken_too(home: Home) -> None:
    admin = home.house.admin
    asked = "mutation ($e: EmailAddress!) { done: passwordResetRequest(input: {email: $e}) { done } }"
    await home.public(asked, e=admin.email)
    async with home.house.database.read(home.house.tenant.id) as session:
        row = (await session.scalars(select(PasswordReset))).one()
    code = password_codes.code(NETWORK_KEY, row.tenant_id, row.id)
    done = await home.api.submit(f"/password/{code}", code=code, password=NEW, again=NEW)
    assert done.status_code == 200
    signing = "mutation ($e: EmailAddress!, $p: String!) { done: signIn(input: {email: $e, password: $p}) { token } }"
    assert (await home.public(signing, e=admin.email, p=NEW))["token"]
    assert (await home.public(signing, e=admin.email, p=PASSWORD))["token"] is None


async def test_whoever_guesses_codes_is_held_back(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visits, "GUESSES", 3)
    tried = [(await home.api.submit("/password", code="x" * 86, password=NEW, again=NEW)).status_code for _ in range(4)]
    assert tried == [400, 400, 400, 429]


async def invited(home: Home) -> tuple[Studio, str, PortalAdmin]:
    """A portal, and its admin's invitation."""
    studio = Studio(home.api, home.house.admin, home.customer)
    await studio.save()
    return (studio, *(await token(home, studio)))


async def token(home: Home, studio: Studio, **given: Any) -> tuple[str, PortalAdmin]:
    """The token of another invitation."""
    assert wizard_faults(await studio.invite(**given)) == []
    async with home.house.database.read(home.house.tenant.id) as session:
        admin = (await session.scalars(select(PortalAdmin))).one()
    return invitations.token(NETWORK_KEY, admin.id, admin.invitations), admin


async def test_an_admin_accepts_and_signs_in_for_the_customer(home: Home) -> None:
    studio, first, _ = await invited(home)
    assert wizard_faults(await studio.invite()) == []
    second, admin = await token(home, studio)
    given = {"subdomain": "acme", "newPassword": NEW}
    assert faults(await home.sign_in(**OWNER, portal="acme")) == [("INVALID", "input")], "not accepted yet"
    # A code is for those who have accepted.
    await home.public(REQUEST, input={"login": "owner@acme.example", "portal": "acme"})
    assert await home.codes() == []
    for wrong in ({"token": first}, {"token": second[:-1]}, {"token": second, "subdomain": "other"}):
        assert faults(await home.public(ACCEPT, input=given | wrong)) == [("INVALID", "input.token")]
    short = await home.public(ACCEPT, input=given | {"token": second, "newPassword": "short"})
    assert faults(short) == [("INVALID", "input.newPassword")]
    # On the page, which was open when the invitation was still good.
    path = f"/portals/acme/invitation/{second}"
    assert "Olive Owner (owner@acme.example)" in safe(await home.api.get(path))
    different = await home.api.submit(path, password=NEW, again="x")
    assert (different.status_code, "not the same" in safe(different)) == (400, True)
    done = await home.api.submit(path, password=NEW, again=NEW)
    assert (done.status_code, "Acme Cafe" in safe(done)) == (200, True)
    assert (await home.api.get(path)).status_code == 404
    assert (await home.api.submit(path, password=PASSWORD, again=PASSWORD)).status_code == 404
    assert faults(await home.public(ACCEPT, input=given | {"token": second})) == [("INVALID", "input.token")]
    shown = (await home.api.data(ADMIN, home.house.admin, id=home.id))["customer"]["portal"]["admin"]
    assert (shown["email"], shown["acceptedAt"] is not None, shown["invitationExpiresAt"]) == (admin.email, True, None)
    # Signed in by the provider or by the portal, as the customer, with a name of one's own.
    for where in ({"portal": "acme"}, {"tenant": "north"}, {"portal": "acme", "tenant": "north"}):
        payload = await home.sign_in(**OWNER, **where)
        assert faults(payload) == []
        assert payload["viewer"]["customer"]["id"] == home.id
        assert payload["viewer"]["portalAdmin"] == {"name": "Olive Owner"}
    assert faults(await home.sign_in(**OWNER, portal="acme", tenant="south")) == [("INVALID", "input")]
    # In a portal only its customer and its admin are known.
    neighbour = customer(home.house, "Bea", account_number="N-1002", password_hash=home.customer.password_hash)
    await home.house.add(neighbour)
    assert faults(await home.sign_in("N-1002", portal="acme")) == [("INVALID", "input")]
    assert faults(await home.sign_in("N-1001", portal="acme")) == []
    # The customer's password stays the customer's, and the admin's the admin's.
    await home.sign_in(**OWNER, portal="acme")
    assert faults(await home.do(CHANGE, current=PASSWORD, new="third horse battery")) == [
        ("INVALID", "input.currentPassword")
    ]
    assert faults(await home.do(CHANGE, current=NEW, new="third horse battery")) == []
    assert faults(await home.sign_in()) == []
    async with home.house.database.read(home.house.tenant.id) as session:
        entries = list(await session.scalars(select(AuditEntry)))
    told = [(entry.action, entry.details.get("by")) for entry in entries]
    assert ("portal.accept_invitation", None) in told
    assert ("customer.change_password", f"portal admin {admin.id}") in told


async def test_an_admin_who_is_replaced_is_out(home: Home) -> None:
    studio, given, _ = await invited(home)
    accept = {"subdomain": "acme", "token": given, "newPassword": NEW}
    assert faults(await home.public(ACCEPT, input=accept)) == []
    await home.sign_in(**OWNER, portal="acme")
    await home.public(REQUEST, input={"login": "owner@acme.example", "portal": "acme"})
    assert len(await home.codes()) == 1
    assert await home.refused(ME) == ""
    await token(home, studio, email="new@acme.example")
    assert await home.refused(ME) == "UNAUTHENTICATED"
    assert faults(await home.sign_in(**OWNER, portal="acme")) == [("INVALID", "input")]
    assert await home.codes() == []
    # With the portal everything that let its admin in goes as well.
    given, _ = await token(home, studio, email="new@acme.example")
    assert faults(await home.public(ACCEPT, input=accept | {"token": given})) == []
    assert faults(await home.sign_in("new@acme.example", NEW, tenant="north")) == []
    assert wizard_faults(await studio.discard()) == []
    assert await home.refused(ME) == "UNAUTHENTICATED"


async def test_an_invitation_is_over_after_a_week(home: Home, moved_clock: None) -> None:
    clock.set_clock("2026-05-01T10:00:00Z")
    home.api.sign_in_again()
    _, given, _ = await invited(home)
    clock.set_clock("2026-05-08T10:01:00Z")
    accept = {"subdomain": "acme", "token": given, "newPassword": NEW}
    assert faults(await home.public(ACCEPT, input=accept)) == [("INVALID", "input.token")]
    assert (await home.api.submit(f"/portals/acme/invitation/{given}", password=NEW, again=NEW)).status_code == 404
