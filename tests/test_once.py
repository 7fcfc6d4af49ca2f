"""What is done to operators, grants, tokens and sign-ins happens once for a key."""

from datetime import timedelta
from typing import Any

from sqlalchemy import func, select

from ispgraph import clock, ids
from ispgraph.db import Database
from ispgraph.domain.models import ApiToken, AuditEntry, IdempotencyKey, Operator, Role, SecondFactor
from tests.api import Api, schema
from tests.factories import PASSWORD, House, sign_in
from tests.test_operators import codes, public

# What takes no key: who signs in or out, and by a code that does once; what sets a state, so that again changes nothing
# or is refused (INVALID_STATE, VERSION_CONFLICT, TAKEN); what asks somebody else how things stand, which has no effect
# here. Not to be made longer: what makes something takes a key.
WITHOUT = frozenset(
    {
        *("signIn", "signInConfirm", "signOut", "tokenRenew", "customerSignIn", "portalAcceptInvitation"),
        *("passwordReset", "passwordResetRequest", "customerPasswordRequest", "preferencesUpdate"),
        *("customerUpdate", "customerDelete", "customerSetAccess", "customerRevealNetworkPassword"),
        *("customerDraftStart", "customerDraftSetBasics", "customerDraftSetConnection", "customerDraftSetPackage"),
        *("customerDraftSetAddress", "customerDraftSetCustomFields", "customerDraftSetPayment", "customerDraftCancel"),
        *("packageCreate", "packageUpdate", "taxProfileSave", "zoneCreate", "customFieldDefine"),
        *("invoiceVoid", "operatorSetCreditLimit", "gatewayPaymentCheck", "gatewayRefundCheck"),
        *("voucherCancel", "voucherSheet", "voucherBatchCancel", "routerTest", "routerReconcile"),
        *("jobRetry", "jobCancel", "messageTemplateSave", "messageTemplateReset", "tenantSettingsUpdate"),
        *("ticketSetStatus", "ticketAssign", "ticketUpdate", "portalSave", "portalUploadAssets", "portalDiscard"),
        *("customerRequestTransfer", "customerDecideTransfer", "hostingServerAdd", "hostingServerUpdate"),
        *("hostingServerTest", "hostingServerDelete", "hostingRetry", "hostingSuspend", "hostingUnsuspend"),
        *("hostingDelete", "hostingRefreshStats"),
    }
)


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
