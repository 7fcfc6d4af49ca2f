"""Customers sign in, get passwords and lose them again."""

from datetime import timedelta
from typing import Any

from sqlalchemy import func, select, text, update

from ispgraph import clock, ids
from ispgraph.actors.postman import Postman
from ispgraph.db import Database
from ispgraph.domain import customer_sign_in, passwords, retention
from ispgraph.domain.models import (
    AuditEntry,
    Customer,
    CustomerPasswordReset,
    CustomerSignIn,
    CustomerStatus,
    Message,
    Role,
)
from ispgraph.settings import Settings
from tests.crowd import customer
from tests.factories import PASSWORD, PASSWORD_HASH, House
from tests.messaging import post
from tests.messaging.mail_server import mail_server
from tests.portals.test_people import _mail_gateway
from tests.self_care.home import ACCESS, CHANGE, INVITE, ME, NEW, OUT, REQUEST, RESET, Home, faults
from tests.wizard import PPPOE, Wizard

RENEW = "mutation { done: tokenRenew { token viewer { customer { id } } errors { code } } }"
WRONG = [("INVALID", "input")]
NEWCOMER = {"name": "Jane Example", "mobile": "01912345678", "email": "jane@example.com"}


async def change(house: House, row: Customer, **values: Any) -> None:
    """Have it so that a customer is otherwise."""
    async with house.database.transaction(house.tenant.id) as session:
        await session.execute(update(Customer).where(Customer.id == row.id).values(**values))


async def test_a_customer_signs_in_by_any_name_and_is_nobody_else(home: Home, other_house: House) -> None:
    # The same names in another tenant, with the same password, are others.
    twin = customer(other_house, "Twin", account_number="N-1001", mobile="+8801712345678", email="ann@example.net")
    twin.password_hash = PASSWORD_HASH
    await other_house.add(twin)
    for login in ("N-1001", " n-1001 ", "ann@example.net", "ANN@Example.net", "01712345678", "+880 1712-345678"):
        payload = await home.sign_in(login)
        assert (faults(payload), payload["challenge"]) == ([], None), login
        assert payload["viewer"] == {
            "customer": {"id": home.id, "accountNumber": "N-1001"},
            "operator": None,
            "permissions": [],
            "portalAdmin": None,
        }
    me = (await home.ask(ME))["viewer"]
    assert (me["customer"], me["operator"], me["tenant"]) == (
        {"id": home.id, "name": "Ann Example"},
        None,
        {"name": "North Networks"},
    )
    south = await home.sign_in(tenant="south")
    assert south["viewer"]["customer"]["id"] == ids.encode("cus", twin.id)
    # Who only knows what the network asks, or another tenant's name for it, is nobody.
    for login, password, where in (
        ("N-1001", "not the password", {"tenant": "north"}),
        ("nobody@example.net", PASSWORD, {"tenant": "north"}),
        ("N-1001", PASSWORD, {"tenant": "nowhere"}),
        ("N-1001", PASSWORD, {"portal": "nowhere"}),
        ("' OR 1=1 --", PASSWORD, {"tenant": "north"}),
        (str(home.customer.id), PASSWORD, {"tenant": "north"}),
        (home.house.admin.email, PASSWORD, {"tenant": "north"}),
    ):
        assert faults(await home.sign_in(login, password, **where)) == WRONG, (login, where)
    missing = await home.sign_in(" ", "", tenant=" ")
    assert faults(missing) == [("REQUIRED", f"input.{name}") for name in ("login", "password", "tenant")]
    # An operator's token is none of a customer's, nor the other way about.
    operators = 'mutation ($email: EmailAddress!) { done: signIn(input: {email: $email, password: "%s"}) { token } }'
    assert (await home.public(operators % PASSWORD, email="ann@example.net"))["token"] is None


async def test_the_wizard_tells_a_password_to_sign_in_with(home: Home, house: House) -> None:
    wizard = await (await Wizard.begin(home.api, house.admin)).fill(await house.package(), Basics=NEWCOMER)
    told = (await wizard.confirm())["credentials"]
    assert told["password"] == PPPOE["pppoe"]["password"]
    assert faults(await home.sign_in(told["loginName"], told["password"])) == WRONG, "the network's is another one"
    payload = await home.sign_in(told["loginName"], told["loginPassword"])
    assert payload["viewer"]["customer"]["accountNumber"] == told["loginName"]
    # Nor is the network's shown by any way that a customer has.
    document = "{ viewer { customer { services { username } messages { nodes { body } } } } }"
    me = (await home.ask(document))["viewer"]["customer"]
    assert me["services"] == [{"username": told["username"]}]
    assert told["password"] not in str(me)


async def test_a_name_that_several_have_in_common(home: Home, house: House) -> None:
    hashed = await passwords.hashed(NEW)
    sister = customer(house, "Bea Example", account_number="N-1002", mobile=home.customer.mobile, password_hash=hashed)
    await house.add(sister)
    for password, who in ((PASSWORD, home.id), (NEW, ids.encode("cus", sister.id))):
        payload = await home.sign_in("01712345678", password)
        assert payload["viewer"]["customer"]["id"] == who
    # With one password for all of them only the account number tells who is meant.
    await change(house, sister, password_hash=PASSWORD_HASH)
    assert faults(await home.sign_in("01712345678")) == [("INVALID", "input.login")]
    assert (await home.sign_in("N-1002"))["viewer"]["customer"]["id"] == ids.encode("cus", sister.id)
    # Those without a password stand in nobody's way.
    for number in range(customer_sign_in.MOST):
        await house.add(customer(house, "Child", account_number=f"N-0{number}", mobile=home.customer.mobile))
    await change(house, sister, password_hash=None)
    assert (await home.sign_in("01712345678"))["viewer"]["customer"]["id"] == home.id


async def test_an_unknown_name_costs_as_much_as_a_known_one(home: Home, house: House, monkeypatch: Any) -> None:
    verified: list[bool] = []
    verify = passwords.verify

    async def counted(password_hash: str | None, password: str) -> bool:
        verified.append(password_hash is not None)
        return await verify(password_hash, password)

    monkeypatch.setattr(passwords, "verify", counted)
    for login, where in (("N-1001", "north"), ("N-9999", "north"), ("01700000000", "north"), ("N-1001", "nowhere")):
        verified.clear()
        assert faults(await home.sign_in(login, "not the password", tenant=where)) == WRONG
        assert len(verified) == customer_sign_in.MOST
        assert sum(verified) == (login == "N-1001" and where == "north")
    # Whoever asks for a code learns nothing either.
    answers = [
        await home.public(REQUEST, input={"login": login, "tenant": where})
        for login, where in (("N-1001", "north"), ("N-9999", "north"), ("x@example.net", "nowhere"))
    ]
    assert answers == [{"done": True, "errors": []}] * 3
    assert len(await home.codes()) == 1


async def test_guessing_is_slowed_down(home: Home, house: House) -> None:
    guess = """mutation ($login: String!) { done: customerSignIn(input: {login: $login, password: "x", tenant: "north"})
      { token } }"""
    tried = []
    for number in range(7):
        login = "01712345678" if number % 2 else "+880 1712 345678"
        answer = await home.api(guess, login=login)
        tried.append(answer["errors"][0]["extensions"]["code"] if "errors" in answer else "")
    assert tried == [""] * 5 + ["RATE_LIMITED"] * 2, "one number, however it is written"
    # The right password is not let in either meanwhile, and another account is not concerned.
    answer = await home.api(guess.replace('"x"', f'"{PASSWORD}"'), login="01712345678")
    assert answer["errors"][0]["extensions"]["retryAfterSeconds"] > 0
    answers = [await home.api(REQUEST, input={"login": "N-1001", "tenant": "north"}) for _ in range(5)]
    assert ["errors" in answer for answer in answers] == [False] * 3 + [False, True] or "errors" in answers[-1]


async def test_a_token_ends_with_what_it_stands_for(home: Home, house: House) -> None:
    async def ended() -> bool:
        return await home.refused(ME) == "UNAUTHENTICATED"

    await home.entered()
    renewed = (await home.do(RENEW))["token"]
    assert await home.refused(ME, renewed) == ""
    assert faults(await home.do(OUT)) == []
    assert [await home.refused(ME, token) for token in (home.token, renewed)] == ["UNAUTHENTICATED"] * 2
    # Suspended is not out: bills are paid all the same.
    await home.entered()
    await change(house, home.customer, status=CustomerStatus.SUSPENDED)
    assert not await ended()
    await change(house, home.customer, status=CustomerStatus.TERMINATED)
    assert await ended()
    assert faults(await home.sign_in()) == WRONG
    assert await home.public(REQUEST, input={"login": "N-1001", "tenant": "north"}) == {"done": True, "errors": []}
    assert await home.codes() == []
    await change(house, home.customer, status=CustomerStatus.ACTIVE)
    assert not await ended()
    # The office shuts a customer out, and lets it in again: what ended stays so.
    assert (await home.office(ACCESS, id=home.id, allowed=False))["customer"] == {"portalAccess": False}
    assert faults(await home.office(ACCESS, id=home.id, allowed=False)) == [("NO_CHANGE", "input.allowed")]
    assert await ended()
    assert faults(await home.sign_in()) == WRONG
    assert faults(await home.office(INVITE, input={"customerId": home.id})) == [("INVALID_STATE", "input.customerId")]
    assert faults(await home.office(ACCESS, id=home.id, allowed=True)) == []
    assert await ended()
    assert faults(await home.sign_in()) == []
    async with house.database.read(house.tenant.id) as session:
        entries = list(await session.scalars(select(AuditEntry).order_by(AuditEntry.id)))
    told = [(entry.action, entry.operator_id, entry.details.get("by")) for entry in entries]
    assert ("customer.sign_in", None, "customer") in told
    assert ("customer.sign_out", None, "customer") in told
    assert ("customer.set_access", house.admin.id, None) in told


async def test_a_password_is_changed_by_who_knows_it(home: Home, house: House) -> None:
    other = (await home.entered()).token
    await home.entered()
    for given, fault in (
        ({"current": "not it", "new": NEW}, ("INVALID", "input.currentPassword")),
        ({"current": PASSWORD, "new": "short"}, ("INVALID", "input.newPassword")),
        ({"current": PASSWORD, "new": PASSWORD}, ("NO_CHANGE", "input.newPassword")),
    ):
        assert faults(await home.do(CHANGE, **given)) == [fault]
    changed = await home.do(CHANGE, current=PASSWORD, new=NEW)
    assert faults(changed) == []
    assert await home.refused(ME, changed["token"]) == ""
    assert await home.refused(ME) == "UNAUTHENTICATED", "the token of before"
    assert await home.refused(ME, other) == "UNAUTHENTICATED", "the other device"
    assert faults(await home.sign_in()) == WRONG
    assert faults(await home.sign_in(password=NEW)) == []
    async with house.database.read(house.tenant.id) as session:
        row = await session.get_one(Customer, home.customer.id)
        [body] = await session.scalars(select(Message.body).where(Message.customer_id == row.id))
        assert (row.password_hash or "").startswith("$argon2id$")
        assert "your password was changed" in body


async def test_a_password_is_changed_once_for_a_key(home: Home, house: House) -> None:
    document = CHANGE.replace("newPassword: $new", 'newPassword: $new, idempotencyKey: "k"')
    await home.entered()
    for _ in range(2):
        changed = await home.do(document, current=PASSWORD, new=NEW)
        assert faults(changed) == []
        home.token = changed["token"]
    # The key opens nothing by itself: what counts is the present password.
    wrong = await home.do(document, current=PASSWORD, new="yet another battery")
    assert faults(wrong) == [("INVALID", "input.currentPassword")]
    reused = await home.do(document, current="not the former one", new=NEW)
    assert faults(reused) == [("IDEMPOTENCY_KEY_REUSED", "input.idempotencyKey")]
    async with house.database.read(house.tenant.id) as session:
        rows = select(func.count()).where(AuditEntry.action == "customer.change_password")
        assert await session.scalar(rows) == 1


async def test_an_invitation_and_a_code_set_a_password_once(
    home: Home, house: House, database: Database, settings: Settings, moved_clock: None
) -> None:
    clock.set_clock("2026-05-01T10:00:00Z")
    home.api.sign_in_again()
    await change(house, home.customer, password_hash=None)
    assert faults(await home.sign_in()) == WRONG, "without a password nobody comes in"
    async with mail_server() as mail:
        await _mail_gateway(house, mail)
        invited = await home.office(INVITE, input={"customerId": home.id, "channels": ["EMAIL"], "idempotencyKey": "1"})
        assert faults(invited) == []
        [message] = invited["messages"]
        assert (message["channel"], message["to"]) == ("EMAIL", "ann@example.net")
        again = await home.office(INVITE, input={"customerId": home.id, "channels": ["EMAIL"], "idempotencyKey": "1"})
        assert again == invited
        await post.deliver(Postman(database, settings), house)
        sent = mail.last().get_body(("plain",)).get_content()  # type: ignore[union-attr]
    [first] = await home.codes()
    assert f"{settings.origin}/password/{first}" in "".join(sent.split())
    assert first not in message["body"]
    assert "********" in message["body"]
    # Another one makes it void; it does once, and ends what was open.
    await home.public(REQUEST, input={"login": "01712345678", "tenant": "north"})
    _, second = await home.codes()
    assert faults(await home.public(RESET, code=first, new=NEW)) == [("INVALID", "input.code")]
    assert faults(await home.public(RESET, code=second[:-2] + "AA", new=NEW)) == [("INVALID", "input.code")]
    assert faults(await home.public(RESET, code=second, new="short")) == [("INVALID", "input.newPassword")]
    assert await home.public(RESET, code=second, new=NEW) == {"done": True, "errors": []}
    assert faults(await home.public(RESET, code=second, new=PASSWORD)) == [("INVALID", "input.code")]
    assert faults(await home.sign_in(password=NEW)) == []
    await home.public(REQUEST, input={"login": "ann@example.net", "tenant": "north"})
    late = (await home.codes())[-1]
    clock.set_clock("2026-05-01T10:58:00Z")
    assert faults(await home.public(RESET, code=late, new="short")) == [("INVALID", "input.newPassword")]
    clock.set_clock("2026-05-01T11:01:00Z")
    assert faults(await home.public(RESET, code=late, new=PASSWORD)) == [("INVALID", "input.code")]
    assert faults(await home.sign_in(password=NEW)) == [], "nothing came of it"
    # Who has another number now is not reached by what was sent to the last one.
    await home.public(REQUEST, input={"login": "01712345678", "tenant": "north"})
    moved = (await home.codes())[-1]
    update_ = """mutation ($id: ID!, $mobile: PhoneNumber!) { done: customerUpdate(input: {customerId: $id,
      mobile: $mobile}) { errors { code } } }"""
    home.api.sign_in_again()
    assert await home.office(update_, id=home.id, mobile="+8801812345678") == {"errors": []}
    assert faults(await home.public(RESET, code=moved, new=PASSWORD)) == [("INVALID", "input.code")]
    # By the way of the name alone, so that it proves who reads it; and no table holds a code.
    async with database.read(house.tenant.id) as session:
        ways = [(row.event, row.channel.value) for row in await session.scalars(select(Message).order_by(Message.id))]
        assert ways[:2] == [("customer.invited", "EMAIL"), ("customer.password_reset", "SMS")]
        assert ways[-2:] == [("customer.password_reset", "EMAIL"), ("customer.password_reset", "SMS")]
        for table in ("customer_password_resets", "messages", "jobs", "audit_entries", "idempotency_keys"):
            rows = (await session.execute(text(f"SELECT t::text FROM {table} t"))).scalars().all()
            assert not any(code in row for row in rows for code in (first, second, late)), table


async def test_who_may_invite_and_how_often(home: Home, house: House, other_house: House) -> None:
    clerk = await house.operator(Role.STAFF)
    accountant = await house.operator(Role.ACCOUNTANT)
    reseller = await house.operator(Role.OPERATOR)
    wish = {"customerId": home.id}
    assert faults((await home.api.data(INVITE, clerk, input=wish))["done"]) == []
    refused = await home.api(INVITE, accountant, input=wish)
    assert refused["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    for stranger in (reseller, other_house.admin):
        unseen = (await home.api.data(INVITE, stranger, input=wish))["done"]
        assert faults(unseen) == [("NOT_FOUND", "input.customerId")]
    await change(house, home.customer, email=None)
    nothing = await home.office(INVITE, input=wish | {"channels": ["EMAIL"]})
    assert faults(nothing) == [("INVALID", "input.channels")]
    for _ in range(9):
        assert faults(await home.office(INVITE, input=wish)) == []
    assert faults(await home.office(INVITE, input=wish)) == [("LIMIT_EXCEEDED", "input.customerId")]


async def test_what_has_ended_is_forgotten(home: Home, house: House, moved_clock: None) -> None:
    await home.entered()
    await home.public(REQUEST, input={"login": "N-1001", "tenant": "north"})
    later = clock.now() + timedelta(seconds=home.settings.session_seconds) + retention.KEPT
    clock.set_clock(later.isoformat())
    async with house.database.transaction(house.tenant.id) as session:
        await retention.prune(session, house.tenant.id)
        for table in (CustomerSignIn, CustomerPasswordReset):
            assert (await session.scalars(select(table))).all() == []
