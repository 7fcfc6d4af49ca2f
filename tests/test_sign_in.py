"""Signing in, tokens, and the brake on guessing."""

import asyncio
import base64
import json
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from redis.asyncio import Redis
from sqlalchemy import event, update

from ispgraph import clock
from ispgraph.db import Database
from ispgraph.domain import passwords, sign_in, throttle, tokens, viewers
from ispgraph.domain.models import Operator, Role, SignIn
from ispgraph.settings import Settings
from tests import factories
from tests.api import Api
from tests.factories import PASSWORD, TOKEN_KEY, House

SIGN_IN = """mutation ($email: EmailAddress!, $password: String!, $tenant: String) {
  signIn(input: {email: $email, password: $password, tenant: $tenant}) {
    token expiresAt viewer { tenant { name } operator { id email walletBalance { amount } } permissions }
    errors { code message field } } }"""
VIEWER = "{ viewer { operator { email } } }"
WRONG = {"code": "INVALID", "message": "The e-mail address or the password is wrong.", "field": ["input"]}


async def attempt(api: Api, email: str, password: str = PASSWORD, tenant: str | None = None) -> dict[str, Any]:
    answer: dict[str, Any] = (await api.data(SIGN_IN, email=email, password=password, tenant=tenant))["signIn"]
    return answer


def code(answer: dict[str, Any]) -> str:
    return str(answer["errors"][0]["extensions"]["code"])


async def test_sign_in_renew_and_out(api: Api, house: House) -> None:
    signed = await attempt(api, "Admin@North.example")
    assert signed["errors"] == []
    assert signed["viewer"]["tenant"] == {"name": "North Networks"}
    assert signed["viewer"]["operator"]["walletBalance"] == {"amount": "0.00"}
    token = signed["token"]
    assert (await api(VIEWER, token=token))["data"]["viewer"]["operator"]["email"] == "admin@north.example"
    renewed = (await api("mutation { tokenRenew { token errors { code } } }", token=token))["data"]["tokenRenew"]
    out = await api("mutation { signOut { token viewer { permissions } errors { code } } }", token=token)
    assert out["data"]["signOut"] == {"token": None, "viewer": None, "errors": []}
    for ended in (token, renewed["token"]):
        assert code(await api(VIEWER, token=ended)) == "UNAUTHENTICATED"
    assert (await attempt(api, "admin@north.example"))["token"]


async def test_one_sign_in_ends_without_the_others(api: Api, house: House) -> None:
    first, second = [(await attempt(api, "admin@north.example"))["token"] for _ in range(2)]
    await api("mutation { signOut { errors { code } } }", token=first)
    assert code(await api(VIEWER, token=first)) == "UNAUTHENTICATED"
    assert "errors" not in await api(VIEWER, token=second)


async def test_what_follows_in_the_document_is_done_as_who_signed_in(api: Api, house: House) -> None:
    document = SIGN_IN.rstrip("} \n") + " } } out: signOut { errors { code } } again: signOut { errors { code } } }"
    answer = await api(document, email="admin@north.example", password=PASSWORD)
    assert answer["data"] is None
    assert [(error["path"], error["extensions"]["code"]) for error in answer["errors"]] == [
        (["again"], "UNAUTHENTICATED")
    ]


async def test_every_reason_to_refuse_gets_the_same_answer(api: Api, house: House) -> None:
    inactive = await house.operator(Role.STAFF, active=False)
    tries = [
        ("admin@north.example", "wrong password", None),
        ("nobody@north.example", PASSWORD, None),
        (inactive.email, PASSWORD, None),
        ("admin@north.example", PASSWORD, "south"),
        ("admin@north.example", PASSWORD, "no such\x01slug"),
        ("admin@north.example", "\u00e9" * 5000, None),
    ]
    answers = [json.dumps(await attempt(api, *one)) for one in tries]
    assert set(answers) == {json.dumps({"token": None, "expiresAt": None, "viewer": None, "errors": [WRONG]})}


async def test_an_unknown_account_costs_the_same_hashing(
    api: Api, house: House, other_house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str | bytes] = []
    verify = passwords.PasswordHasher.verify

    def counted(hasher: passwords.PasswordHasher, password_hash: str | bytes, password: str | bytes) -> bool:
        asked.append(password_hash)
        return verify(hasher, password_hash, password)

    monkeypatch.setattr(passwords.PasswordHasher, "verify", counted)
    for tenant, times in ((None, 2), ("north", 1), ("elsewhere", 1)):
        for email in ("admin@north.example", "nobody@north.example"):
            asked.clear()
            await attempt(api, email, "wrong password", tenant)
            assert len(asked) == times
            assert all("m=19456,t=2,p=1" in str(password_hash) for password_hash in asked)


async def test_blanks_are_named(api: Api, house: House) -> None:
    errors = (await attempt(api, " ", ""))["errors"]
    assert [(error["code"], error["field"]) for error in errors] == [
        ("REQUIRED", ["input", "email"]),
        ("REQUIRED", ["input", "password"]),
    ]


async def test_an_address_used_at_two_providers(api: Api, house: House, other_house: House) -> None:
    for one in (house, other_house):
        await one.operator(Role.STAFF, email="both@example.net")
    refused = await attempt(api, "both@example.net")
    assert [(error["code"], error["field"]) for error in refused["errors"]] == [("REQUIRED", ["input", "tenant"])]
    assert refused["token"] is None
    assert (await attempt(api, "both@example.net", "wrong password"))["errors"] == [WRONG]
    signed = await attempt(api, "both@example.net", tenant=" South ")
    assert signed["viewer"]["tenant"]["name"] == "South Networks"


async def test_an_old_hash_is_renewed(api: Api, house: House, database: Database) -> None:
    old = passwords.PasswordHasher(time_cost=1, memory_cost=64, parallelism=1).hash(PASSWORD)
    staff = await house.operator(Role.STAFF, password_hash=old)
    assert (await attempt(api, staff.email))["token"]
    async with database.read(house.tenant.id) as session:
        found = (await session.get_one(Operator, staff.id)).password_hash
    assert "m=19456,t=2,p=1" in found
    assert (await attempt(api, staff.email))["token"]


async def change(database: Database, house: House, **fields: Any) -> None:
    async with database.transaction(house.tenant.id) as session:
        await session.execute(update(Operator).where(Operator.id == house.admin.id).values(**fields))


@pytest.mark.parametrize("fields", [{"active": False}, {"token_version": 2}])
async def test_revocation_by_the_operators_row(
    api: Api, house: House, database: Database, monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any]
) -> None:
    monkeypatch.setattr(viewers, "_BELIEVED_SECONDS", 0.0)
    token = (await attempt(api, "admin@north.example"))["token"]
    assert "errors" not in await api(VIEWER, token=token)
    await change(database, house, **fields)
    assert code(await api(VIEWER, token=token)) == "UNAUTHENTICATED"


async def test_another_process_stops_believing_within_a_second(api: Api, house: House, database: Database) -> None:
    token = (await attempt(api, "admin@north.example"))["token"]
    assert "errors" not in await api(VIEWER, token=token)
    async with database.transaction(house.tenant.id) as session:
        await session.execute(update(SignIn).values(ended_at=clock.now()))
    assert viewers._BELIEVED_SECONDS < 1
    async with asyncio.timeout(10):
        while "errors" not in await api(VIEWER, token=token):
            await asyncio.sleep(0.05)


@pytest.mark.usefixtures("moved_clock")
async def test_tokens_and_sign_ins_end(api: Api, house: House, settings: Settings) -> None:
    token = (await attempt(api, "admin@north.example"))["token"]
    clock.set_clock(f"+{settings.token_seconds - 5}")
    renew = "mutation { tokenRenew { token expiresAt errors { code } } }"
    renewed = (await api(renew, token=token))["data"]["tokenRenew"]["token"]
    clock.set_clock(f"+{settings.token_seconds + 1}")
    assert code(await api(VIEWER, token=token)) == "UNAUTHENTICATED"
    assert "errors" not in await api(VIEWER, token=renewed)


@pytest.mark.usefixtures("moved_clock")
async def test_renewal_does_not_outlast_the_sign_in(database: Database, house: House, settings: Settings) -> None:
    short = replace(settings, session_seconds=1000)
    claims = replace(_claims(house), expires_at=clock.now() + timedelta(seconds=900))
    sign_in_row = SignIn(
        id=claims.session_id,
        operator_id=house.admin.id,
        token_version=1,
        expires_at=clock.now() + timedelta(seconds=1000),
    )
    await house.add(sign_in_row)
    token = tokens.issue(TOKEN_KEY, claims)
    clock.set_clock("+600")
    viewer = await sign_in.viewer(database, short, token)
    async with database.transaction(house.tenant.id) as session:
        renewed = await sign_in.renew(session, short, by=viewer)
    assert renewed.expires_at == sign_in_row.expires_at.replace(microsecond=0)
    clock.set_clock("+1001")
    with pytest.raises(sign_in.NotSignedIn):
        await sign_in.viewer(database, short, renewed.token)


def _claims(house: House) -> tokens.Claims:
    ends = clock.now().replace(microsecond=0) + timedelta(minutes=15)
    return tokens.Claims(house.tenant.id, house.admin.id, house.admin.id, 1, ends)


def _part(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def test_a_token_says_what_was_put_in(house: House) -> None:
    claims = _claims(house)
    assert tokens.read([TOKEN_KEY], tokens.issue(TOKEN_KEY, claims)) == claims


def test_tampered_tokens(house: House) -> None:
    token = tokens.issue(TOKEN_KEY, _claims(house))
    head, body, signature = token.split(".")
    fields = jwt.decode(token, options={"verify_signature": False})
    header = jwt.get_unverified_header(token)
    key = Ed25519PrivateKey.from_private_bytes(TOKEN_KEY)

    def signed(payload: dict[str, Any], **headers: Any) -> str:
        return jwt.encode(payload, key, algorithm="EdDSA", headers={**header, **headers})

    assert tokens.read([TOKEN_KEY], signed(fields)) == _claims(house)
    public = key.public_key().public_bytes_raw()
    bad = {
        "empty": "",
        "text": "not a token",
        "no algorithm": f"{_part({**header, 'alg': 'none'})}.{body}.",
        "algorithm none, signed": f"{_part({**header, 'alg': 'none'})}.{body}.{signature}",
        "hmac with the public key": jwt.encode(fields, public, algorithm="HS256", headers=header | {"alg": "HS256"}),
        "another key": jwt.encode(fields, Ed25519PrivateKey.generate(), algorithm="EdDSA", headers=header),
        "other words": f"{head}.{_part({**fields, 'ver': 2})}.{signature}",
        "another audience": signed(fields | {"aud": "elsewhere"}),
        "another issuer": signed(fields | {"iss": "elsewhere"}),
        "another type": signed(fields, typ="JWT"),
        "another key id": signed(fields, kid="0"),
        "expired": signed(fields | {"exp": int(clock.now().timestamp()) - 1}),
        "endless": signed(fields | {"exp": 10**30}),
        "no expiry": signed({name: value for name, value in fields.items() if name != "exp"}),
        "no session": signed({name: value for name, value in fields.items() if name != "sid"}),
        "a session that is no id": signed(fields | {"sid": 5}),
        "too long": signed(fields | {"more": "x" * 3000}),
    }
    for what, forged in bad.items():
        with pytest.raises(tokens.BadToken):
            pytest.fail(f"{what}: {tokens.read([TOKEN_KEY], forged)}")


async def test_a_token_for_another_tenant_names_nobody(database: Database, house: House, other_house: House) -> None:
    viewer = await house.viewer()
    claims = replace(_claims(house), session_id=viewer.session_id)
    assert await viewers.of_claims(database, claims) is not None
    assert await viewers.of_claims(database, replace(claims, tenant_id=other_house.tenant.id)) is None


async def test_tokens_that_come_together_are_asked_about_together(
    database: Database, house: House, other_house: House
) -> None:
    whose = [house.admin, await house.operator(Role.STAFF), await house.operator(Role.OPERATOR), other_house.admin]
    claims = []
    for who in whose:
        row = await factories.sign_in(database, who)
        claims.append(tokens.Claims(who.tenant_id, who.id, row.id, who.token_version, row.expires_at))
    admin, staff, reseller, abroad = claims
    # A sign-in of somebody else, an older password, another tenant's sign-in, and one that never was.
    wrong = [
        replace(staff, session_id=admin.session_id),
        replace(reseller, version=reseller.version - 1),
        replace(abroad, tenant_id=admin.tenant_id),
        replace(admin, session_id=uuid4()),
    ]
    asked: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if "sign_ins" in statement:
            asked.append(statement)

    event.listen(database.engine.sync_engine, "before_cursor_execute", note)
    found = await asyncio.gather(*(viewers.of_claims(database, each) for each in (*claims, *wrong, admin)))
    event.remove(database.engine.sync_engine, "before_cursor_execute", note)
    assert [each.operator_id if each else None for each in found] == [
        *(who.id for who in whose), None, None, None, None, house.admin.id
    ]  # fmt: skip
    assert [each.scope_id if each else None for each in found[:3]] == [None, None, whose[2].id]
    assert len(asked) == 2, "one for each tenant"


# ------------------------------------------------------------------------------------------ the throttle


async def test_guessing_is_braked(api: Api, house: House) -> None:
    answers = [await api(SIGN_IN, email="admin@north.example", password="guess") for _ in range(10)]
    refused = [answer["errors"][0] for answer in answers if "errors" in answer]
    assert len(answers) - len(refused) >= throttle.ACCOUNT_FREE
    assert refused[0]["extensions"]["code"] == "RATE_LIMITED"
    assert 1 <= refused[0]["extensions"]["retryAfterSeconds"] <= 32
    for _ in range(10):
        # The right password has to wait as well, or the answer would tell.
        answer = await api(SIGN_IN, email="ADMIN@north.example", password="guess")
        if "errors" in answer:
            break
    assert code(await api(SIGN_IN, email="ADMIN@north.example", password=PASSWORD)) == "RATE_LIMITED"


async def test_one_document_guesses_once(api: Api, house: House) -> None:
    guess = 'signIn(input: {email: "admin@north.example", password: "guess"}) { errors { code } }'
    assert code(await api(f"mutation {{ a: {guess} b: {guess} }}")) == "BAD_REQUEST"


async def _fails(redis: Redis, account: str, address: str = "192.0.2.1") -> None:
    await throttle.begin(redis, account, address)


async def _wait(redis: Redis, account: str, address: str = "192.0.2.1") -> int:
    with pytest.raises(throttle.Throttled) as refused:
        await throttle.begin(redis, account, address)
    return refused.value.retry_after


@pytest.mark.usefixtures("moved_clock")
async def test_waits_double_up_to_a_quarter_of_an_hour(valkey: Redis) -> None:
    for number in range(throttle.ACCOUNT_FREE):
        await _fails(valkey, "a@example.net", f"192.0.2.{number}")
    waits, moved = [], 0
    for number in range(14):
        waits.append(await _wait(valkey, "a@example.net", f"198.51.100.{number}"))
        moved += waits[-1] + 1
        clock.set_clock(f"+{moved}")
        await _fails(valkey, "a@example.net", f"198.51.100.{number}")
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900, 900]


async def test_attempts_at_once_cannot_slip_through(valkey: Redis) -> None:
    answers = await asyncio.gather(
        *(throttle.begin(valkey, "a@example.net", f"192.0.2.{number}") for number in range(40)), return_exceptions=True
    )
    assert sum(isinstance(answer, throttle.Attempt) for answer in answers) == throttle.ACCOUNT_FREE


async def test_an_address_is_braked_across_accounts_and_by_network(valkey: Redis) -> None:
    for number in range(throttle.ADDRESS_FREE):
        await _fails(valkey, f"{number}@example.net", f"2001:db8::{number}")
    assert await _wait(valkey, "new@example.net", "2001:db8::ffff") == 1
    await _fails(valkey, "new@example.net", "2001:db8:0:1::1")


async def test_success_begins_anew_and_is_not_held_against_the_address(valkey: Redis) -> None:
    for _ in range(3):
        for _ in range(throttle.ACCOUNT_FREE - 1):
            await _fails(valkey, "a@example.net", "192.0.2.9")
        attempt_ = await throttle.begin(valkey, "a@example.net", "192.0.2.1")
        await throttle.give_back(valkey, attempt_)
        await valkey.delete(throttle._key("address", "192.0.2.9"))
    for _ in range(3 * throttle.ADDRESS_FREE):
        await throttle.give_back(valkey, await throttle.begin(valkey, "a@example.net", "192.0.2.1"))
    for number in range(throttle.ADDRESS_FREE):
        await _fails(valkey, f"{number}@example.net", "192.0.2.1")


async def test_strangers_cannot_lock_an_operator_out(valkey: Redis) -> None:
    await throttle.give_back(valkey, await throttle.begin(valkey, "a@example.net", "192.0.2.1"))
    for number in range(throttle.ACCOUNT_FREE):
        await _fails(valkey, "a@example.net", f"198.51.100.{number}")
    assert await _wait(valkey, "a@example.net", "203.0.113.5") == 1
    known = await throttle.begin(valkey, "a@example.net", "192.0.2.1")
    assert await valkey.ttl(known.keys[2]) > 86400


async def test_without_redis_nobody_signs_in(database: Database, house: House, settings: Settings) -> None:
    redis = Redis.from_url("redis://127.0.0.1:1/0", retry=None)
    api = Api(database, redis, settings)
    assert code(await api(SIGN_IN, email="admin@north.example", password=PASSWORD)) == "UNAVAILABLE"
    assert "errors" not in await api(VIEWER, house.admin)
    await api.close()
    await redis.aclose()


async def test_strangers_at_an_address_do_not_shut_out_who_is_known_there(api: Api, house: House) -> None:
    document = "mutation ($input: SignInInput!) { signIn(input: $input) { token errors { code } } }"
    known = {"email": house.admin.email, "password": PASSWORD, "tenant": house.tenant.slug}
    assert (await api.data(document, input=known))["signIn"]["token"]
    for number in range(30):
        wrong = {"email": f"stranger{number}@example.com", "password": "a wrong password"}
        await api(document, input=wrong)
    answer = await api(document, input={"email": "another@example.com", "password": "a wrong password"})
    assert answer["errors"][0]["extensions"]["code"] == "RATE_LIMITED"
    assert (await api.data(document, input=known))["signIn"]["token"]
