"""What is asked for again with the same key is done once."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

from redis.asyncio import Redis
from sqlalchemy import delete, func, select, update

from ispgraph import clock, ids
from ispgraph.db import Database
from ispgraph.domain.models import ApiToken, AuditEntry, Draft, IdempotencyKey, Operator, Role, SecondFactor, Zone
from ispgraph.settings import Settings
from tests.api import Api, schema
from tests.crowd import customer
from tests.factories import PASSWORD, House, sign_in, uuid_of
from tests.test_operators import codes, public

# What takes no key: who signs in or out, and by a code that does once; what only tells something; and pictures, which
# may be sent again.
WITHOUT = frozenset(
    {
        *("signIn", "signInConfirm", "signOut", "tokenRenew", "customerSignIn", "portalAcceptInvitation"),
        *("passwordReset", "passwordResetRequest", "customerPasswordRequest"),
        *("customerRevealNetworkPassword", "voucherSheet", "portalUploadAssets"),
    }
)


ZONE = "mutation ($input: ZoneInput!) { zoneCreate(input: $input) { zone { id name } errors { code field } } }"
RENAME = """mutation ($input: CustomerUpdateInput!) { done: customerUpdate(input: $input) {
  customer { name version } errors { code field } } }"""


def test_what_makes_something_takes_a_key() -> None:
    mutations = schema()._schema.mutation_type
    assert mutations is not None
    without = set()
    for name, mutation in mutations.fields.items():
        inputs = [getattr(getattr(each.type, "of_type", each.type), "fields", {}) for each in mutation.args.values()]
        if "idempotencyKey" not in mutation.args and not any("idempotencyKey" in fields for fields in inputs):
            without.add(name)
    assert without == WITHOUT


async def test_what_is_done_to_operators_is_done_once(api: Api, house: House, database: Database) -> None:
    clerk, other = await house.operator(Role.STAFF), await house.operator(Role.STAFF)
    manager = await house.operator(Role.MANAGER)
    entry = await sign_in(database, other)
    await house.add(SecondFactor(operator_id=other.id, secret=b"sealed", confirmed_at=clock.now(), recovery=[]))
    soon = (clock.now() + timedelta(days=300)).isoformat()
    new = {"name": "New Example", "email": "new@example.net", "password": PASSWORD, "role": "STAFF"}
    lent = {"operatorId": public(clerk), "permission": "SEND_SMS", "expiresAt": soon}
    granted = await _ask(
        api, house.admin, "operatorGrant", {"input": ("OperatorGrantInput!", lent)}, "grant { id }", "g"
    )
    whom = {"operatorId": ("ID!", public(clerk))}
    cases: list[tuple[str, dict[str, tuple[str, Any]], str]] = [
        ("operatorCreate", {"input": ("OperatorInput!", new)}, "operator { id name }"),
        ("operatorSetPermissions", {**whom, "permissions": ("[Permission!]!", ["SEND_SMS"])},
         "operator { permissions }"),
        ("operatorUpdate", {"input": ("OperatorUpdateInput!", {"operatorId": public(clerk), "name": "Other"})},
         "operator { name }"),
        ("operatorSetParent", {**whom, "parentId": ("ID!", public(manager))}, "operator { parent { id } }"),
        ("operatorGrant", {"input": ("OperatorGrantInput!", lent)}, "grant { id }"),
        ("operatorDeactivate", {"input": ("OperatorDeactivateInput!", {"operatorId": public(clerk)})},
         "operator { active } deactivatedCount releasedTicketCount"),
        ("operatorActivate", whom, "operator { active }"),
        ("signInEnd", {"signInId": ("ID!", ids.encode("sgn", entry.id))}, "signIn { endedAt }"),
        ("operatorRemoveSecondFactor", {"operatorId": ("ID!", public(other))}, "operator { id }"),
    ]  # fmt: skip
    assert granted["errors"] == []
    for name, arguments, fields in cases:
        before = await _entries(house, database)
        first = await _ask(api, house.admin, name, arguments, fields, name)
        assert first["errors"] == [], name
        done = await _entries(house, database)
        assert done == before + 1, name
        assert await _ask(api, house.admin, name, arguments, fields, name) == first, name
        assert await _entries(house, database) == done, name
    # Another input under the key, a key of somebody else, and one that was taken back.
    again = {"input": ("OperatorInput!", new | {"password": "another long password"})}
    reused = await _ask(api, house.admin, "operatorCreate", again, "operator { id }", "operatorCreate")
    assert codes(reused) == [("IDEMPOTENCY_KEY_REUSED", "input.idempotencyKey")]
    taken = await _ask(api, house.admin, "operatorCreate", cases[0][1], "operator { id }", "another key")
    assert codes(taken) == [("TAKEN", "input.email")]
    revoke = {"grantId": ("ID!", granted["grant"]["id"])}
    assert codes(await _ask(api, house.admin, "operatorRevokeGrant", revoke, "grant { id }", "r")) == [
        ("INVALID_STATE", "grantId")
    ], "the same grant took its place"
    async with database.read(house.tenant.id) as session:
        kept = str((await session.execute(select(IdempotencyKey.answer, IdempotencyKey.input_hash))).all())
        assert await session.scalar(select(func.count()).where(Operator.email == new["email"])) == 1
    assert PASSWORD not in kept


async def test_a_token_is_told_once_also_to_the_same_key(api: Api, house: House, database: Database) -> None:
    soon = (clock.now() + timedelta(days=300)).isoformat()
    given = {"input": ("ApiTokenInput!", {"name": "Panel", "permissions": ["SEND_SMS"], "expiresAt": soon})}
    answers = [
        await _ask(api, house.admin, "apiTokenCreate", given, "token apiToken { id inForce }", "one") for _ in range(2)
    ]
    token = answers[0]["token"]
    assert token.startswith("ispg_")
    assert answers[1] == {**answers[0], "token": None}
    revoke = {"tokenId": ("ID!", answers[0]["apiToken"]["id"])}
    for _ in range(2):
        ended = await _ask(api, house.admin, "apiTokenRevoke", revoke, "apiToken { inForce }", "two")
        assert ended == {"apiToken": {"inForce": False}, "errors": []}
    async with database.read(house.tenant.id) as session:
        assert await session.scalar(select(func.count()).select_from(ApiToken)) == 1
        assert token not in str((await session.execute(select(IdempotencyKey.answer))).all())


async def test_what_is_asked_at_the_same_time_is_done_once(api: Api, house: House, database: Database) -> None:
    start = "mutation ($key: String!) { done: customerDraftStart(idempotencyKey: $key) { draft { id version } } }"
    answers = await asyncio.gather(*(api.data(start, house.admin, key="race") for _ in range(8)))
    assert answers == [answers[0]] * 8
    other = await api.data(start, house.admin, key="other")
    assert other != answers[0]
    async with database.read(house.tenant.id) as session:
        assert await session.scalar(select(func.count()).select_from(Draft)) == 2


async def test_the_second_answer_shows_what_is_there_by_now(api: Api, house: House, owner: Database) -> None:
    made = await _zone(api, house.admin, "North", "one")
    assert (made["zone"]["name"], made["errors"]) == ("North", [])
    assert codes(await _zone(api, house.admin, "South", "one")) == [("IDEMPOTENCY_KEY_REUSED", "input.idempotencyKey")]
    async with owner.transaction(house.tenant.id) as session:
        await session.execute(update(Zone).values(name="Upper"))
    assert await _zone(api, house.admin, "North", "one") == {"zone": {**made["zone"], "name": "Upper"}, "errors": []}
    # The key is the operator's own: of somebody else it is another.
    other = await house.operator(Role.ADMIN)
    assert (await _zone(api, other, "North", "one"))["zone"]["id"] != made["zone"]["id"]
    async with owner.transaction(house.tenant.id) as session:
        await session.execute(delete(Zone).where(Zone.id == uuid_of(made["zone"]["id"])))
    assert await _zone(api, house.admin, "North", "one") == {"zone": None, "errors": []}


async def test_a_key_is_known_again_while_the_network_key_is_changed(
    api: Api, house: House, database: Database, valkey: Redis, settings: Settings
) -> None:
    made = await _zone(api, house.admin, "North", "one")
    other = bytes(range(60, 92))
    changed = Api(database, valkey, replace(settings, network_key=other + settings.network_key))
    assert await _zone(changed, house.admin, "North", "one") == made
    assert codes(await _zone(changed, house.admin, "Other", "one")) == [
        ("IDEMPOTENCY_KEY_REUSED", "input.idempotencyKey")
    ]
    await changed.close()


async def test_what_was_refused_leaves_the_key_free(api: Api, house: House, database: Database) -> None:
    someone = customer(house, "Aster")
    await house.add(someone)
    given = {"customerId": ids.encode("cus", someone.id), "name": "Other", "idempotencyKey": "once"}
    late = await api.data(RENAME, house.admin, input=given | {"expectedVersion": 7})
    assert codes(late["done"]) == [("VERSION_CONFLICT", "input.expectedVersion")]
    done = await api.data(RENAME, house.admin, input=given)
    assert done["done"] == {"customer": {"name": "Other", "version": 2}, "errors": []}
    assert await api.data(RENAME, house.admin, input=given) == done
    # What was left out is something else than a blank.
    assert codes((await api.data(RENAME, house.admin, input=given | {"company": ""}))["done"]) == [
        ("IDEMPOTENCY_KEY_REUSED", "input.idempotencyKey")
    ]
    assert codes((await api.data(RENAME, house.admin, input=given | {"idempotencyKey": ""}))["done"]) == [
        ("INVALID", "input.idempotencyKey")
    ]
    async with database.read(house.tenant.id) as session:
        changes = select(func.count()).select_from(AuditEntry).where(AuditEntry.subject_id == someone.id)
        assert await session.scalar(changes) == 1


async def test_who_may_in_one_zone_is_answered_again(api: Api, house: House) -> None:
    clerk, north = await house.operator(Role.STAFF, permissions=["VIEW_CUSTOMERS"]), await house.zone("North")
    someone = customer(house, "Aster", zone_id=north.id)
    await house.add(someone)
    lent = {"operatorId": public(clerk), "permission": "EDIT_CUSTOMERS", "zoneId": ids.encode("zon", north.id)}
    granted = await _ask(api, house.admin, "operatorGrant", {"input": ("OperatorGrantInput!", lent)}, "grant {id}", "g")
    assert granted["errors"] == []
    given = {"customerId": ids.encode("cus", someone.id), "name": "Other", "idempotencyKey": "once"}
    answers = [await api.data(RENAME, clerk, input=given) for _ in range(2)]
    assert answers == [{"done": {"customer": {"name": "Other", "version": 2}, "errors": []}}] * 2


async def test_words_and_settings_are_answered_again(api: Api, house: House) -> None:
    save = """mutation ($input: MessageTemplateInput!) { done: messageTemplateSave(input: $input) {
      template { id key body changed } errors { code } } }"""
    words = {"key": "own.outage", "channel": "SMS", "body": "No light today."}
    first = await api.data(save, house.admin, input={**words, "idempotencyKey": "one"})
    assert first["done"]["template"]["body"] == "No light today."
    await api.data(save, house.admin, input={**words, "body": "Light again."})
    again = await api.data(save, house.admin, input={**words, "idempotencyKey": "one"})
    assert again["done"]["template"] == {**first["done"]["template"], "body": "Light again."}
    change = """mutation ($input: TenantSettingsInput!) { done: tenantSettingsUpdate(input: $input) {
      settings { invoiceDueDays } errors { code } } }"""
    answers = [
        (await api.data(change, house.admin, input=given))["done"]["settings"]["invoiceDueDays"]
        for given in (
            {"invoiceDueDays": 3, "idempotencyKey": "one"},
            {"invoiceDueDays": 9},
            {"invoiceDueDays": 3, "idempotencyKey": "one"},
        )
    ]
    assert answers == [3, 9, 9]


async def _zone(api: Api, who: Operator, name: str, key: str) -> dict[str, Any]:
    made: dict[str, Any] = (await api.data(ZONE, who, input={"name": name, "idempotencyKey": key}))["zoneCreate"]
    return made


async def _ask(
    api: Api, who: Operator, name: str, arguments: dict[str, tuple[str, Any]], fields: str, key: str
) -> dict[str, Any]:
    """The payload of a mutation, with the key in its input or beside its arguments."""
    values = {each: value for each, (_, value) in arguments.items()}
    kinds = {each: kind for each, (kind, _) in arguments.items()}
    if "input" in values:
        values["input"] = values["input"] | {"idempotencyKey": key}
    else:
        values["idempotencyKey"], kinds["idempotencyKey"] = key, "String"
    declared = ", ".join(f"${each}: {kind}" for each, kind in kinds.items())
    given = ", ".join(f"{each}: ${each}" for each in kinds)
    document = f"mutation ({declared}) {{ {name}({given}) {{ {fields} errors {{ code field }} }} }}"
    payload: dict[str, Any] = (await api.data(document, who, **values))[name]
    return payload


async def _entries(house: House, database: Database) -> int:
    async with database.read(house.tenant.id) as session:
        return await session.scalar(select(func.count()).select_from(AuditEntry)) or 0
