"""What lets people in, and what webhooks are signed with, is changed once for a key; no secret is kept for it."""

from typing import Any

import pytest
from sqlalchemy import func, select

from ispgraph import clock
from ispgraph.db import Database
from ispgraph.domain.models import AuditEntry, IdempotencyKey, Role, SecondFactor, SignIn
from ispgraph.domain.models import WebhookEndpoint as Endpoint
from tests.api import Api
from tests.factories import PASSWORD, House
from tests.test_access import NEW, SIGN_IN, VIEWER, now_code, refused, run
from tests.test_operators import codes, public

BEGIN = """mutation ($password: String!, $key: String) { twoFactorBegin(password: $password, idempotencyKey: $key) {
  secret uri errors { code field } } }"""
CONFIRM = """mutation ($code: String!, $key: String) { twoFactorConfirm(code: $code, idempotencyKey: $key) {
  recoveryCodes enabled errors { code field } } }"""
DISABLE = """mutation ($code: String!, $password: String!, $key: String) {
  twoFactorDisable(input: {password: $password, code: $code, idempotencyKey: $key}) {
    enabled errors { code field } } }"""
CHANGE = """mutation ($current: String!, $new: String!, $key: String) {
  passwordChange(input: {currentPassword: $current, newPassword: $new, idempotencyKey: $key}) {
    token errors { code field } } }"""
AS = """mutation ($id: ID!, $key: String) { signInAs(operatorId: $id, idempotencyKey: $key) {
  token viewer { operator { id } actingOperator { id } } errors { code field } } }"""
HOOK = """mutation ($input: WebhookEndpointInput!) { webhookEndpointSave(input: $input) {
  endpoint { id } secret errors { code field } } }"""


async def count(database: Database, house: House, model: type[Any] = AuditEntry, *where: Any) -> int:
    async with database.read(house.tenant.id) as session:
        return await session.scalar(select(func.count()).select_from(model).where(*where)) or 0


async def kept(database: Database, house: House) -> str:
    """All that stands under keys, to look for secrets in."""
    async with database.read(house.tenant.id) as session:
        return str((await session.execute(select(IdempotencyKey.answer, IdempotencyKey.input_hash))).all())


async def test_a_second_factor_is_begun_confirmed_and_ended_once(
    api: Api, house: House, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The clock stands still, or a code would be another one in mid-test.
    at = clock.now()
    monkeypatch.setattr(clock, "now", lambda: at)
    who = await house.operator(Role.STAFF)
    begun = await run(api, BEGIN, who, password=PASSWORD, key="b")
    before = await count(database, house)
    assert await run(api, BEGIN, who, password=PASSWORD, key="b") == begun
    assert codes(await run(api, BEGIN, who, password="a guess", key="b")) == [("INVALID", "input.password")]
    code = now_code(begun["secret"])
    confirmed = await run(api, CONFIRM, who, code=code, key="c")
    assert (len(confirmed["recoveryCodes"]), confirmed["errors"]) == (10, [])
    again = await run(api, CONFIRM, who, code=code, key="c")
    assert again == {"recoveryCodes": None, "enabled": True, "errors": []}
    other = await run(api, CONFIRM, who, code="000000", key="c")
    assert codes(other) == [("IDEMPOTENCY_KEY_REUSED", "idempotencyKey")]
    assert await run(api, BEGIN, who, password=PASSWORD, key="b") == {"secret": None, "uri": None, "errors": []}
    # A recovery code is used up by the first of two, and the second does not miss it.
    gone = {"password": PASSWORD, "code": confirmed["recoveryCodes"][0], "key": "d"}
    for _ in range(2):
        assert await run(api, DISABLE, who, **gone) == {"enabled": False, "errors": []}
    assert await count(database, house, SecondFactor) == 0
    # Confirmed, a recovery code used, disabled.
    assert await count(database, house) == before + 3
    # Begun anew with another key, the first key tells nothing of it.
    fresh = await run(api, BEGIN, who, password=PASSWORD, key="e")
    assert fresh["secret"] not in (None, begun["secret"])
    assert (await run(api, BEGIN, who, password=PASSWORD, key="b"))["secret"] is None
    everything = await kept(database, house)
    for secret in (begun["secret"], fresh["secret"], PASSWORD, code, *confirmed["recoveryCodes"]):
        assert secret not in everything


async def test_a_password_is_changed_once(api: Api, house: House, database: Database) -> None:
    who = await house.operator(Role.STAFF)
    mine = (await run(api, SIGN_IN, email=who.email, password=PASSWORD))["token"]
    given = {"current": PASSWORD, "new": NEW, "key": "k"}
    changed = await run(api, CHANGE, mine, **given)
    assert changed["errors"] == []
    before = await count(database, house)
    # Whoever lost the answer signs in with the new password, and asks again.
    signed = (await run(api, SIGN_IN, email=who.email, password=NEW))["token"]
    again = await run(api, CHANGE, signed, **given)
    assert again["errors"] == []
    for token in (changed["token"], signed, again["token"]):
        assert await refused(api, VIEWER, token) == ""
    assert await count(database, house, AuditEntry, AuditEntry.action == "operator.change_password") == 1
    assert await count(database, house) == before + 1, "the sign-in"
    # The key opens nothing by itself: what counts is the present password.
    for current, new in ((PASSWORD, "a guess of a password"), (NEW, PASSWORD)):
        answer = await run(api, CHANGE, signed, current=current, new=new, key="k")
        assert codes(answer) == [("INVALID", "input.currentPassword")]
    reused = await run(api, CHANGE, signed, current="not the former one", new=NEW, key="k")
    assert codes(reused) == [("IDEMPOTENCY_KEY_REUSED", "input.idempotencyKey")]

    everything = await kept(database, house)
    assert not any(each in everything for each in (PASSWORD, NEW, changed["token"], again["token"]))


async def test_in_anothers_place_once(api: Api, house: House, database: Database) -> None:
    clerk, other = await house.operator(Role.STAFF), await house.operator(Role.STAFF)
    first = await run(api, AS, house.admin, id=public(clerk), key="k")
    again = await run(api, AS, house.admin, id=public(clerk), key="k")
    assert first["errors"] == again["errors"] == []
    assert (
        first["viewer"]
        == again["viewer"]
        == {
            "operator": {"id": public(clerk)},
            "actingOperator": {"id": public(house.admin)},
        }
    )
    assert await count(database, house, SignIn, SignIn.acting_id.is_not(None)) == 1
    assert codes(await run(api, AS, house.admin, id=public(other), key="k")) == [
        ("IDEMPOTENCY_KEY_REUSED", "idempotencyKey")
    ]
    assert first["token"] not in await kept(database, house)
    # One that has ended is not begun anew by its key.
    await run(api, "mutation { signOut { errors { code } } }", again["token"])
    assert codes(await run(api, AS, house.admin, id=public(clerk), key="k")) == [("INVALID_STATE", "operatorId")]
    assert await count(database, house, SignIn, SignIn.acting_id.is_not(None)) == 1


async def test_what_is_done_to_a_webhook_is_done_once(api: Api, house: House, database: Database) -> None:
    given = {"name": "Panel", "url": "https://panel.example/hook", "events": ["CUSTOMER_CREATED"]}
    saved = await run(api, HOOK, house.admin, input=given)
    assert saved["errors"] == []
    endpoint, secrets = saved["endpoint"]["id"], [saved["secret"]]
    status = "endpoint { status formerSecretUntil }"
    for verb, fields in (
        ("RotateSecret", f"{status} secret"),
        ("Pause", status),
        ("Resume", status),
        ("Delete", "endpointId"),
    ):
        document = f"""mutation ($id: ID!, $key: String) {{
          webhookEndpoint{verb}(endpointId: $id, idempotencyKey: $key) {{ {fields} errors {{ code field }} }} }}"""
        before = await count(database, house)
        first = await run(api, document, house.admin, id=endpoint, key="k")
        assert first["errors"] == [], verb
        secrets.append(first.pop("secret", None))
        again = await run(api, document, house.admin, id=endpoint, key="k")
        assert again.pop("secret", None) is None
        assert again == first, verb
        assert await count(database, house) == before + 1, verb
    assert len(set(secrets)) == 3, "two, and nothing"
    assert await count(database, house, Endpoint, Endpoint.removed_at.is_not(None)) == 1
    everything = await kept(database, house)
    assert not any(each in everything for each in secrets if each)
