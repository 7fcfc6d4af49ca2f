"""What lets operators in besides a password: second factors, codes by e-mail, API tokens, and those above."""

import asyncio
import base64
import hmac
import re
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from redis.asyncio import Redis
from sqlalchemy import select, text, update
from starlette.requests import HTTPConnection

from ispgraph import clock
from ispgraph.api.connections import Authorities
from ispgraph.db import Database
from ispgraph.domain import password_codes, throttle, viewers
from ispgraph.domain.messaging import sending
from ispgraph.domain.models import (
    AuditEntry,
    Message,
    Operator,
    PasswordReset,
    Role,
    SecondFactor,
)
from ispgraph.resolvers.context import ContextFactory
from ispgraph.settings import Settings
from tests.api import Api
from tests.factories import NETWORK_KEY, PASSWORD, House
from tests.test_operators import codes, public

VIEWER = "{ viewer { operator { id } actingOperator { id name email } permissions } }"
SIGN_IN = """mutation ($email: EmailAddress!, $password: String!) {
  signIn(input: {email: $email, password: $password}) {
    token challenge expiresAt viewer { permissions } errors { code field } } }"""
CONFIRM = """mutation ($challenge: String!, $code: String!) {
  signInConfirm(input: {challenge: $challenge, code: $code}) {
    token viewer { operator { id } } errors { code field } } }"""
BEGIN = "mutation ($password: String!) { twoFactorBegin(password: $password) { secret uri errors { code field } } }"
CONFIRM_FACTOR = """mutation ($code: String!) { twoFactorConfirm(code: $code) {
  recoveryCodes enabled errors { code field } } }"""
DISABLE = """mutation ($password: String!, $code: String!) {
  twoFactorDisable(input: {password: $password, code: $code}) { enabled errors { code field } } }"""
REMOVE = "mutation ($id: ID!) { operatorRemoveSecondFactor(operatorId: $id) { errors { code field } } }"
CHANGE = """mutation ($current: String!, $new: String!) {
  passwordChange(input: {currentPassword: $current, newPassword: $new}) { token errors { code field } } }"""
REQUEST = """mutation ($email: EmailAddress!, $tenant: String) {
  passwordResetRequest(input: {email: $email, tenant: $tenant}) { done errors { code field } } }"""
RESET = """mutation ($code: String!, $new: String!) {
  passwordReset(input: {code: $code, newPassword: $new}) { done errors { code field } } }"""
TOKEN = """mutation ($input: ApiTokenInput!) { apiTokenCreate(input: $input) {
  token apiToken { id name prefix permissions inForce lastUsedAt operator { id } } errors { code field } } }"""
REVOKE = "mutation ($id: ID!) { apiTokenRevoke(tokenId: $id) { apiToken { inForce } errors { code field } } }"
TOKENS = """query ($id: ID) { apiTokens(operatorId: $id) { id name lastUsedAt } }"""
AS = """mutation ($id: ID!) { signInAs(operatorId: $id) {
  token expiresAt viewer { operator { id } } errors { code field } } }"""
SIGN_INS = """query ($id: ID) { signIns(operatorId: $id) { nodes {
  id endedAt expiresAt actingOperator { id } operator { id } } } }"""
END = "mutation ($id: ID!) { signInEnd(signInId: $id) { signIn { endedAt } errors { code field } } }"
NEW = "another horse battery"


@pytest.fixture(autouse=True)
def believed_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(viewers, "_BELIEVED_SECONDS", 0.0)


async def run(api: Api, document: str, who: Operator | str | None = None, **variables: Any) -> dict[str, Any]:
    """The payload of the one field of a document, as an operator or with a token."""
    token = {"token": who} if isinstance(who, str) else {}
    answer = await api(document, None if isinstance(who, str) else who, **token, **variables)
    assert "errors" not in answer, answer["errors"]
    [payload] = answer["data"].values()
    found: dict[str, Any] = payload
    return found


async def refused(api: Api, document: str, who: Operator | str | None = None, **variables: Any) -> str:
    """The code with which a document was refused as a whole; empty when it was not."""
    token = {"token": who} if isinstance(who, str) else {}
    answer = await api(document, None if isinstance(who, str) else who, **token, **variables)
    return str(answer["errors"][0]["extensions"]["code"]) if "errors" in answer else ""


async def entries(database: Database, house: House) -> list[AuditEntry]:
    async with database.read(house.tenant.id) as session:
        return list(await session.scalars(select(AuditEntry).order_by(AuditEntry.id)))


# ------------------------------------------------------------------------------------------ the second factor


_at = {"now": clock.now()}


def later(seconds: int) -> None:
    """So long after the test began: the clock stands still, or a code would be another one in mid-test."""
    _at["now"] = _at["began"] + timedelta(seconds=seconds)


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    _at["now"] = _at["began"] = clock.now()
    monkeypatch.setattr(clock, "now", lambda: _at["now"])


def now_code(secret: str, steps: int = 0) -> str:
    """As a device makes it (RFC 6238, RFC 4226 section 5.3); nothing of the product is used."""
    step = int(clock.now().timestamp()) // 30 + steps
    mac = hmac.digest(base64.b32decode(secret), step.to_bytes(8, "big"), "sha1")
    start = mac[-1] & 15
    return f"{(int.from_bytes(mac[start : start + 4], 'big') & 0x7FFFFFFF) % 10**6:06}"


async def factor(api: Api, who: Operator) -> tuple[str, list[str]]:
    """A second factor that counts: its secret, and the recovery codes."""
    begun = await run(api, BEGIN, who, password=PASSWORD)
    confirmed = await run(api, CONFIRM_FACTOR, who, code=now_code(begun["secret"]))
    assert (confirmed["errors"], confirmed["enabled"]) == ([], True)
    return begun["secret"], confirmed["recoveryCodes"]


async def challenge(api: Api, who: Operator, password: str = PASSWORD) -> str:
    signed = await run(api, SIGN_IN, email=who.email, password=password)
    assert (signed["token"], signed["viewer"], signed["errors"]) == (None, None, [])
    return str(signed["challenge"])


@pytest.mark.usefixtures("still")
async def test_a_second_factor_from_its_beginning_to_its_end(api: Api, house: House, database: Database) -> None:
    later(0)
    who = await house.operator(Role.STAFF)
    begun = await run(api, BEGIN, who, password=PASSWORD)
    uri = urlsplit(begun["uri"])
    assert (uri.scheme, uri.netloc) == ("otpauth", "totp")
    assert parse_qs(uri.query) == {"secret": [begun["secret"]], "issuer": [house.tenant.name]}
    # It does not count before it was confirmed, and a wrong code confirms nothing.
    assert (await run(api, SIGN_IN, email=who.email, password=PASSWORD))["token"]
    wrong = f"{(int(now_code(begun['secret'])) + 1) % 10**6:06}"
    assert codes(await run(api, CONFIRM_FACTOR, who, code=wrong)) == [("INVALID", "input.code")]
    confirmed = await run(api, CONFIRM_FACTOR, who, code=now_code(begun["secret"]))
    assert len(set(confirmed["recoveryCodes"])) == 10
    assert codes(await run(api, CONFIRM_FACTOR, who, code=now_code(begun["secret"]))) == [
        ("INVALID_STATE", "input.code")
    ]
    assert [fault["code"] for fault in (await run(api, BEGIN, who, password=PASSWORD))["errors"]] == ["INVALID_STATE"]
    # From now on the password alone lets nobody in, and what comes for it is no token.
    waits = await challenge(api, who)
    assert await refused(api, VIEWER, waits) == "UNAUTHENTICATED"
    # Not the code that confirmed, not that of two steps ago or two steps on.
    secret = begun["secret"]
    assert codes(await run(api, CONFIRM, challenge=waits, code=now_code(secret))) == [("INVALID", "input.code")]
    later(120)
    waits = await challenge(api, who)
    for steps in (-2, 2):
        given = now_code(secret, steps)
        assert codes(await run(api, CONFIRM, challenge=waits, code=given)) == [("INVALID", "input.code")]
    signed = await run(api, CONFIRM, challenge=waits, code=now_code(secret))
    assert signed["viewer"]["operator"] == {"id": public(who)}
    assert await refused(api, VIEWER, signed["token"]) == ""
    # None is taken twice, nor one older than the last; that of the next step is, for clocks that differ.
    for given in (now_code(secret), now_code(secret, -1)):
        assert codes(await run(api, CONFIRM, challenge=waits, code=given)) == [("INVALID", "input.code")]
    assert (await run(api, CONFIRM, challenge=waits, code=now_code(secret, 1)))["token"]
    # Nothing of it stands in clear.
    async with database.read(house.tenant.id) as session:
        [row] = (await session.scalars(select(SecondFactor))).all()
        assert secret.encode() not in row.secret
        assert len(row.recovery) == 10
        told = list(await session.scalars(select(Message.body).where(Message.operator_id == who.id)))
    assert secret not in str(told)
    assert any("a code is asked" in each for each in told)
    later(240)
    right = {"password": PASSWORD, "code": now_code(secret)}
    assert codes(await run(api, DISABLE, who, **(right | {"password": "x"}))) == [("INVALID", "input.password")]
    assert codes(await run(api, DISABLE, who, **(right | {"code": "000000"}))) == [("INVALID", "input.code")]
    assert await run(api, DISABLE, who, **right) == {"enabled": False, "errors": []}
    assert (await run(api, SIGN_IN, email=who.email, password=PASSWORD))["token"]
    actions = [entry.action for entry in await entries(database, house)]
    for action in ("operator.confirm_second_factor", "operator.disable_second_factor"):
        assert actions.count(action) == 1
    assert secret not in str([entry.details for entry in await entries(database, house)])


@pytest.mark.usefixtures("still")
async def test_a_recovery_code_does_once(api: Api, house: House, database: Database) -> None:
    later(0)
    who = await house.operator(Role.STAFF)
    _, recovery = await factor(api, who)
    waits = await challenge(api, who)
    attempts = [run(api, CONFIRM, challenge=waits, code=recovery[0].upper().replace("-", " ")) for _ in range(3)]
    found = await asyncio.gather(*attempts)
    assert sorted(bool(each["token"]) for each in found) == [False, False, True]
    assert (await run(api, CONFIRM, challenge=waits, code=recovery[1]))["token"]
    async with database.read(house.tenant.id) as session:
        assert len((await session.scalars(select(SecondFactor.recovery))).one()) == 8
    used = [entry for entry in await entries(database, house) if entry.action == "operator.use_recovery_code"]
    assert [entry.details for entry in used] == [{"left": 9}, {"left": 8}]


@pytest.mark.usefixtures("still")
async def test_a_challenge_ends(api: Api, house: House, database: Database) -> None:
    later(0)
    who = await house.operator(Role.STAFF)
    secret, _ = await factor(api, who)
    over = [("INVALID", "input.challenge")]
    waits = await challenge(api, who)
    later(301)
    assert codes(await run(api, CONFIRM, challenge=waits, code=now_code(secret))) == over
    waits = await challenge(api, who)
    async with database.transaction(house.tenant.id) as session:
        await session.execute(update(Operator).where(Operator.id == who.id).values(token_version=7))
    assert codes(await run(api, CONFIRM, challenge=waits, code=now_code(secret))) == over, "another password since"
    own = await api.token(house.admin)
    for forged in ("", "x", own):
        assert codes(await run(api, CONFIRM, challenge=forged, code=now_code(secret))) == over


@pytest.mark.usefixtures("still")
async def test_guessing_codes_is_braked(api: Api, house: House) -> None:
    later(0)
    who = await house.operator(Role.STAFF)
    secret, _ = await factor(api, who)
    waits = await challenge(api, who)
    # Where one has signed in from before has a count of its own, which has no free attempts above these.
    answers = [await refused(api, CONFIRM, challenge=waits, code=f"{number:06}") for number in range(12)]
    assert "RATE_LIMITED" in answers
    assert await refused(api, CONFIRM, challenge=waits, code=now_code(secret, 1)) == "RATE_LIMITED"


@pytest.mark.usefixtures("still")
async def test_who_stands_above_helps_who_has_lost_the_device(api: Api, house: House, database: Database) -> None:
    later(0)
    reseller, rival = await house.operator(Role.OPERATOR), await house.operator(Role.OPERATOR)
    who = await house.operator(Role.STAFF, reseller)
    await factor(api, who)
    for other, code in ((rival, "NOT_FOUND"), (who, None)):
        if code is None:
            assert await refused(api, REMOVE, other, id=public(who)) == "FORBIDDEN"
        else:
            assert codes(await run(api, REMOVE, other, id=public(who))) == [(code, "operatorId")]
    assert codes(await run(api, REMOVE, reseller, id=public(reseller))) == [("NOT_PERMITTED", "operatorId")]
    assert (await run(api, REMOVE, reseller, id=public(who)))["errors"] == []
    assert await refused(api, VIEWER, who) == "UNAUTHENTICATED"
    assert (await run(api, SIGN_IN, email=who.email, password=PASSWORD))["token"]
    assert codes(await run(api, REMOVE, reseller, id=public(who))) == [("INVALID_STATE", "operatorId")]
    found = [(e.action, e.operator_id, e.subject_id) for e in await entries(database, house)]
    assert ("operator.remove_second_factor", reseller.id, who.id) in found


# ------------------------------------------------------------------------------------------ passwords


async def test_another_password_ends_the_other_sign_ins(api: Api, house: House, database: Database) -> None:
    who = await house.operator(Role.STAFF)
    mine, other = [(await run(api, SIGN_IN, email=who.email, password=PASSWORD))["token"] for _ in range(2)]
    for current, new, fault in (
        ("wrong", NEW, ("INVALID", "input.currentPassword")),
        (PASSWORD, "short", ("INVALID", "input.newPassword")),
        (PASSWORD, who.email, ("INVALID", "input.newPassword")),
        (PASSWORD, PASSWORD, ("NO_CHANGE", "input.newPassword")),
    ):
        assert codes(await run(api, CHANGE, mine, current=current, new=new)) == [fault]
    changed = await run(api, CHANGE, mine, current=PASSWORD, new=NEW)
    assert changed["errors"] == []
    assert await refused(api, VIEWER, changed["token"]) == ""
    for ended in (mine, other):
        assert await refused(api, VIEWER, ended) == "UNAUTHENTICATED"
    assert codes(await run(api, SIGN_IN, email=who.email, password=PASSWORD)) == [("INVALID", "input")]
    assert (await run(api, SIGN_IN, email=who.email, password=NEW))["token"]
    assert "operator.change_password" in [entry.action for entry in await entries(database, house)]
    assert NEW not in str([entry.details for entry in await entries(database, house)])


async def test_guessing_the_present_password_is_braked(api: Api, house: House) -> None:
    who = await house.operator(Role.STAFF)
    answers = [await refused(api, CHANGE, who, current="guess", new=NEW) for _ in range(12)]
    assert "RATE_LIMITED" in answers
    assert await refused(api, CHANGE, who, current=PASSWORD, new=NEW) == "RATE_LIMITED"


async def sent_code(database: Database, house: House) -> str:
    """The code in the latest message, as it goes out: in the database it is not."""
    async with database.transaction(house.tenant.id) as session:
        rows = select(Message).where(Message.event == password_codes.EVENT).order_by(Message.id.desc())
        message = (await session.scalars(rows)).first()
        assert message is not None
        assert "********" in message.body
        body = await sending._in_clear(session, message, NETWORK_KEY)
    found = re.search(r"code within an hour: (\S{86}) ", body)
    assert found, body
    return found[1]


@pytest.mark.usefixtures("still")
async def test_a_forgotten_password(api: Api, house: House, database: Database) -> None:
    later(0)
    who = await house.operator(Role.STAFF)
    gone = await house.operator(Role.STAFF, active=False)
    token = (await run(api, SIGN_IN, email=who.email, password=PASSWORD))["token"]
    same = {"done": True, "errors": []}
    for email in ("nobody@example.net", gone.email):
        assert await run(api, REQUEST, email=email) == same
    async with database.read(house.tenant.id) as session:
        assert (await session.scalars(select(Message))).all() == []
    assert await run(api, REQUEST, email=who.email.upper()) == same
    first = await sent_code(database, house)
    assert await run(api, REQUEST, email=who.email, tenant="north") == same
    second = await sent_code(database, house)
    # Only the digest is kept, and a later request makes the former void.
    async with database.read(house.tenant.id) as session:
        [row] = (await session.scalars(select(PasswordReset))).all()
        assert row.digest == password_codes.digest(second)
        assert second not in str(await session.scalar(text("SELECT json_agg(m) FROM messages m")))
    no_code = [("INVALID", "input.code")]
    forged = second[:-2] + ("A" if second[-2] != "A" else "B") + second[-1]
    for code in (first, forged, "", "x" * 86, second[:80], "é"):
        assert codes(await run(api, RESET, code=code, new=NEW)) == no_code, code
    assert codes(await run(api, RESET, code=second, new="short")) == [("INVALID", "input.newPassword")]
    assert await run(api, RESET, code=f" {second} ", new=NEW) == same
    assert await refused(api, VIEWER, token) == "UNAUTHENTICATED"
    assert codes(await run(api, RESET, code=second, new=NEW + "!")) == no_code, "it does once"
    assert (await run(api, SIGN_IN, email=who.email, password=NEW))["token"]
    later(4000)
    await run(api, REQUEST, email=who.email)
    late = await sent_code(database, house)
    later(4000 + 3601)
    assert codes(await run(api, RESET, code=late, new=PASSWORD)) == no_code, "it does for an hour"
    await run(api, REQUEST, email=who.email)
    void = await sent_code(database, house)
    changed = """mutation ($input: OperatorUpdateInput!) { operatorUpdate(input: $input) { errors { code } } }"""
    await run(api, changed, house.admin, input={"operatorId": public(who), "email": "moved@example.net"})
    assert codes(await run(api, RESET, code=void, new=PASSWORD)) == no_code, "sent to an address that is no more"


async def test_asking_for_codes_is_braked(api: Api, house: House, valkey: Redis) -> None:
    who = await house.operator(Role.STAFF)
    outcomes = []
    for email in (who.email, "nobody@example.net"):
        await valkey.flushdb()
        outcomes.append([await refused(api, REQUEST, email=email) for _ in range(6)])
    assert outcomes[0] == outcomes[1], "the brake tells nothing either"
    assert outcomes[0][0] == ""
    assert outcomes[0][-1] == "RATE_LIMITED"
    assert throttle.LONGEST_SECONDS == 900


async def test_a_code_may_be_used_once_at_a_time(api: Api, house: House, database: Database) -> None:
    who = await house.operator(Role.STAFF)
    await run(api, REQUEST, email=who.email)
    code = await sent_code(database, house)
    found = await asyncio.gather(*(run(api, RESET, code=code, new=f"{NEW} {number}") for number in range(3)))
    assert sorted(bool(each["done"]) for each in found) == [False, False, True]


# ------------------------------------------------------------------------------------------ API tokens


def within(**fields: Any) -> dict[str, Any]:
    ends = (clock.now() + timedelta(days=30)).isoformat()
    return {"name": "Panel", "permissions": ["VIEW_CUSTOMERS"], "expiresAt": ends} | fields


@pytest.mark.usefixtures("still")
async def test_a_token_from_its_making_to_its_end(api: Api, house: House, database: Database) -> None:
    later(0)
    who = await house.operator(Role.STAFF)
    made = await run(api, TOKEN, who, input=within(permissions=["VIEW_CUSTOMERS", "SEND_SMS"]))
    token, row = made["token"], made["apiToken"]
    assert made["errors"] == []
    assert token.startswith(row["prefix"] + "_")
    assert (row["permissions"], row["inForce"], row["lastUsedAt"]) == (["SEND_SMS", "VIEW_CUSTOMERS"], True, None)
    seen = await run(api, VIEWER, token)
    assert seen == {
        "operator": {"id": public(who)}, "actingOperator": None, "permissions": ["SEND_SMS", "VIEW_CUSTOMERS"]
    }  # fmt: skip
    [listed] = await run(api, TOKENS, who)  # type: ignore[misc]
    assert listed["lastUsedAt"] is not None  # type: ignore[index]
    # What the operator may less, the token may less.
    async with database.transaction(house.tenant.id) as session:
        await session.execute(update(Operator).where(Operator.id == who.id).values(permissions=["SEND_SMS"]))
        assert token not in str(await session.scalar(text("SELECT json_agg(t) FROM api_tokens t")))
    assert (await run(api, VIEWER, token))["permissions"] == ["SEND_SMS"]
    assert await refused(api, "{ customers { totalCount } }", token) == "FORBIDDEN"
    # Altered, cut short, of another row: nobody.
    prefix, rest = token[:13], token[14:]
    for bad in (token[:-1], token[:-1] + ("A" if token[-1] != "A" else "Q"), f"{prefix}_", "ispg_", rest):
        assert await refused(api, VIEWER, bad) == "UNAUTHENTICATED", bad
    later(30 * 86400 + 1)
    assert await refused(api, VIEWER, token) == "UNAUTHENTICATED"


async def test_a_revoked_token_ends_at_once(api: Api, house: House, other_house: House) -> None:
    reseller, rival = await house.operator(Role.OPERATOR), await house.operator(Role.OPERATOR)
    who = await house.operator(Role.STAFF, reseller)
    made = [await run(api, TOKEN, who, input=within(name=f"{number}")) for number in range(3)]
    keys = [each["apiToken"]["id"] for each in made]
    # One's own, those of whoever stands below, and nobody's else.
    assert [len(await run(api, TOKENS, by, id=public(who))) for by in (who, reseller, rival, other_house.admin)] == [
        3, 3, 0, 0
    ]  # fmt: skip
    for by in (rival, other_house.admin):
        assert codes(await run(api, REVOKE, by, id=keys[0])) == [("NOT_FOUND", "tokenId")]
    for by, key in ((who, keys[0]), (reseller, keys[1])):
        assert await run(api, REVOKE, by, id=key) == {"apiToken": {"inForce": False}, "errors": []}
    assert codes(await run(api, REVOKE, who, id=keys[0])) == [("INVALID_STATE", "tokenId")]
    assert [await refused(api, VIEWER, each["token"]) for each in made] == ["UNAUTHENTICATED", "UNAUTHENTICATED", ""]
    shut = """mutation ($input: OperatorDeactivateInput!) { operatorDeactivate(input: $input) { errors { code } } }"""
    await run(api, shut, reseller, input={"operatorId": public(who)})
    assert await refused(api, VIEWER, made[2]["token"]) == "UNAUTHENTICATED"
    back = "mutation ($id: ID!) { operatorActivate(operatorId: $id) { errors { code } } }"
    await run(api, back, reseller, id=public(who))
    assert await refused(api, VIEWER, made[2]["token"]) == "UNAUTHENTICATED", "it stays revoked"


async def test_what_no_token_is_made_for(api: Api, house: House) -> None:
    who = await house.operator(Role.STAFF)
    past, far = [(clock.now() + timedelta(days=days)).isoformat() for days in (-1, 731)]
    for fields, faults in (
        ({"permissions": ["MANAGE_ROUTERS"]}, [("NOT_PERMITTED", "input.permissions")]),
        ({"name": " ", "expiresAt": past}, [("REQUIRED", "input.name"), ("INVALID", "input.expiresAt")]),
        ({"expiresAt": far}, [("INVALID", "input.expiresAt")]),
    ):
        made = await run(api, TOKEN, who, input=within(**fields))
        assert (codes(made), made["token"]) == (faults, None)


async def test_a_program_changes_nothing_of_how_its_operator_signs_in(api: Api, house: House) -> None:
    """A stolen token is not made into more than it is."""
    sub = await house.operator(Role.STAFF)
    every = ["MANAGE_OPERATORS", "VIEW_CUSTOMERS"]
    token = (await run(api, TOKEN, house.admin, input=within(permissions=every)))["token"]
    strangers: list[tuple[str, dict[str, Any]]] = [
        (CHANGE, {"current": PASSWORD, "new": NEW}),
        (BEGIN, {"password": PASSWORD}),
        (CONFIRM_FACTOR, {"code": "1"}),
        (DISABLE, {"password": PASSWORD, "code": "1"}),
        (TOKEN, {"input": within()}),
        (AS, {"id": public(sub)}),
        ("mutation { tokenRenew { token errors { code } } }", {}),
        ("mutation { signOut { errors { code } } }", {}),
    ]
    for document, variables in strangers:
        answer = await run(api, document, token, **variables)
        assert [fault["code"] for fault in answer["errors"]] == ["NOT_PERMITTED"], document
    # It gives no more than it has, and takes no account over that may more.
    grant = """mutation ($input: OperatorGrantInput!) { operatorGrant(input: $input) { errors { code field } } }"""
    ends = (clock.now() + timedelta(days=1)).isoformat()
    given = {"operatorId": public(sub), "permission": "REFUND_PAYMENTS", "expiresAt": ends}
    assert codes(await run(api, grant, token, input=given)) == [("NOT_PERMITTED", "input.permission")]
    edit = """mutation ($input: OperatorUpdateInput!) { operatorUpdate(input: $input) { errors { code field } } }"""
    moved = {"operatorId": public(sub), "email": "thief@example.net"}
    assert codes(await run(api, edit, token, input=moved)) == [("NOT_PERMITTED", "input.operatorId")]


# ------------------------------------------------------------------------------------------ in another's place


@pytest.mark.usefixtures("still")
async def test_who_stands_above_acts_in_the_place_of_who_stands_below(
    api: Api, house: House, database: Database
) -> None:
    later(0)
    reseller = await house.operator(Role.OPERATOR, name="Rita Example")
    clerk = await house.operator(Role.STAFF, reseller, permissions=["VIEW_CUSTOMERS", "REFUND_PAYMENTS", "SEND_SMS"])
    acting = await run(api, AS, reseller, id=public(clerk))
    assert acting["errors"] == []
    token = acting["token"]
    seen = await run(api, VIEWER, token)
    assert seen["operator"] == {"id": public(clerk)}
    assert seen["actingOperator"]["id"] == public(reseller)
    assert seen["actingOperator"]["name"] == "Rita Example"
    # The reseller may not refund, and does not by acting for somebody who may.
    assert seen["permissions"] == ["SEND_SMS", "VIEW_CUSTOMERS"]
    # Both names stand in the record, and who was acted for sees it, is told, and can end it.
    template = """mutation { operatorUpdate(input: {operatorId: "x", name: "x"}) { errors { code } } }"""
    assert await refused(api, template, token) == "FORBIDDEN"
    assert (await run(api, "mutation { tokenRenew { token errors { code } } }", token))["token"]
    listed = (await run(api, SIGN_INS, clerk))["nodes"]
    [shown] = [row for row in listed if row["actingOperator"]]
    assert shown["actingOperator"] == {"id": public(reseller)}
    for by in (reseller, house.admin):
        assert shown["id"] in [row["id"] for row in (await run(api, SIGN_INS, by, id=public(clerk)))["nodes"]]
    async with database.read(house.tenant.id) as session:
        bodies = list(await session.scalars(select(Message.body).where(Message.operator_id == clerk.id)))
    assert "Rita Example has signed in in your place" in bodies[0]
    found = [e for e in await entries(database, house) if e.action == "operator.sign_in_as"]
    assert [(entry.operator_id, entry.subject_id) for entry in found] == [(reseller.id, clerk.id)]
    # How the other one signs in is not for the one who acts.
    for document, variables in (
        (CHANGE, {"current": PASSWORD, "new": NEW}),
        (BEGIN, {"password": PASSWORD}),
        (CONFIRM_FACTOR, {"code": "1"}),
        (DISABLE, {"password": PASSWORD, "code": "1"}),
        (TOKEN, {"input": within()}),
    ):
        answer = await run(api, document, token, **variables)
        assert [fault["code"] for fault in answer["errors"]] == ["NOT_PERMITTED"], document
    await run(api, "mutation { signOut { errors { code } } }", token)
    assert await refused(api, VIEWER, token) == "UNAUTHENTICATED"
    [out] = [e for e in await entries(database, house) if e.action == "operator.sign_out"]
    assert (out.operator_id, out.details) == (clerk.id, {"acting": str(reseller.id)})
    # Half an hour is the most, however often the token is renewed.
    token = (await run(api, AS, reseller, id=public(clerk)))["token"]
    later(600)
    token = (await run(api, "mutation { tokenRenew { token errors { code } } }", token))["token"]
    later(1400)
    token = (await run(api, "mutation { tokenRenew { token errors { code } } }", token))["token"]
    later(1795)
    assert await refused(api, VIEWER, token) == ""
    later(1801)
    assert await refused(api, VIEWER, token) == "UNAUTHENTICATED"


async def test_acting_ends_with_what_it_stands_on(api: Api, house: House, database: Database) -> None:
    reseller, rival = await house.operator(Role.OPERATOR), await house.operator(Role.OPERATOR)
    clerk = await house.operator(Role.STAFF, reseller)

    async def acting() -> str:
        return str((await run(api, AS, reseller, id=public(clerk)))["token"])

    token = await acting()
    [entry] = [row for row in (await run(api, SIGN_INS, clerk))["nodes"] if row["actingOperator"]]
    assert codes(await run(api, END, rival, id=entry["id"])) == [("NOT_FOUND", "signInId")]
    assert (await run(api, END, clerk, id=entry["id"]))["signIn"]["endedAt"]
    assert await refused(api, VIEWER, token) == "UNAUTHENTICATED"
    assert codes(await run(api, END, clerk, id=entry["id"])) == [("INVALID_STATE", "signInId")]
    token = await acting()
    move = """mutation ($id: ID!, $to: ID!) { operatorSetParent(operatorId: $id, parentId: $to) { errors { code } } }"""
    await run(api, move, house.admin, id=public(clerk), to=public(rival))
    assert await refused(api, VIEWER, token) == "UNAUTHENTICATED", "the clerk stands below another one"
    await run(api, move, house.admin, id=public(clerk), to=public(reseller))
    token = await acting()
    assert await refused(api, VIEWER, token) == ""
    rights = """mutation ($id: ID!) { operatorSetPermissions(operatorId: $id, permissions: [VIEW_CUSTOMERS]) {
      errors { code } } }"""
    await run(api, rights, house.admin, id=public(reseller))
    assert await refused(api, VIEWER, token) == "UNAUTHENTICATED", "the reseller manages nobody"


async def test_who_may_not_act_for_whom(api: Api, house: House, other_house: House) -> None:
    reseller, rival = await house.operator(Role.OPERATOR), await house.operator(Role.OPERATOR)
    second = await house.operator(Role.ADMIN)
    sub = await house.operator(Role.SUB_OPERATOR, reseller, permissions=["MANAGE_OPERATORS"])
    clerk = await house.operator(Role.STAFF, sub)
    idle = await house.operator(Role.STAFF, reseller, active=False)
    for by, whom, code in (
        (reseller, reseller, "NOT_PERMITTED"),
        (reseller, house.admin, "NOT_FOUND"),
        (reseller, rival, "NOT_FOUND"),
        (house.admin, second, "NOT_PERMITTED"),
        (house.admin, other_house.admin, "NOT_FOUND"),
        (sub, reseller, "NOT_FOUND"),
        (reseller, idle, "INVALID_STATE"),
    ):
        answer = await run(api, AS, by, id=public(whom))
        assert codes(answer) == [(code, "operatorId")], (by.name, whom.name)
    token = (await run(api, AS, reseller, id=public(sub)))["token"]
    answer = await run(api, AS, token, id=public(clerk))
    assert [fault["code"] for fault in answer["errors"]] == ["NOT_PERMITTED"], "not one through another"


# ------------------------------------------------------------------------------------------ connections


class Listener:
    """A connection that stays open, with what it presented."""

    def __init__(self, token: str) -> None:
        headers = [(b"authorization", f"Bearer {token}".encode())]
        self.connection = HTTPConnection({"type": "websocket", "headers": headers, "client": ("192.0.2.1", 5)})
        self.parameters = None
        self.ended = asyncio.Event()

    def authority_ended(self) -> None:
        self.ended.set()


async def test_connections_end_with_what_they_presented(
    api: Api, house: House, database: Database, valkey: Redis, settings: Settings
) -> None:
    who = await house.operator(Role.OPERATOR)
    clerk = await house.operator(Role.STAFF, who)
    program = (await run(api, TOKEN, clerk, input=within()))["token"]
    acting = (await run(api, AS, who, id=public(clerk)))["token"]
    factory = ContextFactory(database, valkey, settings)
    authorities = Authorities(factory)
    listeners = [Listener(each) for each in (await api.token(clerk), program, acting, await api.token(who))]
    for listener in listeners:
        context = await factory(listener.connection, None)
        assert context.viewer is not None
        authorities.watch(listener, context.viewer)
    shut = """mutation ($input: OperatorDeactivateInput!) { operatorDeactivate(input: $input) { errors { code } } }"""
    await run(api, shut, who, input={"operatorId": public(clerk)})
    async with asyncio.timeout(60):
        for listener in listeners[:3]:
            await listener.ended.wait()
    assert not listeners[3].ended.is_set()
    for listener in listeners:
        authorities.forget(listener)
