"""Batches of vouchers: made, listed, paid for, cancelled."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, text, update

from ispgraph import clock, ids
from ispgraph.db import Database
from ispgraph.domain import secrets, voucher_codes
from ispgraph.domain.models import AuditEntry, Operator, Role, Voucher, VoucherBatch
from ispgraph.domain.permissions import DEFAULTS, Permission
from tests.billing.changing import sound
from tests.factories import NETWORK_KEY, House, uuid_of
from tests.vouchers.stall import BATCHES, CANCEL, CANCEL_BATCH, Stall
from tests.wizard import faults

WALLET = "query ($id: ID!) { node(id: $id) { ... on Operator { walletBalance { amount } } } }"
TOP_UP = """mutation ($input: OperatorPaymentInput!) { operatorRecordPayment(input: $input) { errors { code } } }"""


async def top_up(stall: Stall, operator: Operator, amount: str) -> None:
    given = {"operatorId": ids.encode("opr", operator.id), "kind": "TOP_UP", "amount": amount, "method": "CASH"}
    assert (await stall.api.data(TOP_UP, stall.house.admin, input=given))["operatorRecordPayment"]["errors"] == []


async def wallet(stall: Stall, operator: Operator) -> str:
    found = await stall.api.data(WALLET, stall.house.admin, id=ids.encode("opr", operator.id))
    return str(found["node"]["walletBalance"]["amount"])


async def test_a_few_are_made_at_once(stall: Stall, owner: Database) -> None:
    made = await stall.batch(3, prefix="cafe", expiresAt="2999-01-01T00:00:00Z", idempotencyKey="k")
    assert (made["errors"], made["job"]) == ([], None)
    batch, vouchers = made["batch"], made["vouchers"]
    assert (batch["count"], batch["made"], batch["prefix"], batch["price"]["amount"]) == (3, 3, "CAFE", "70.00")
    assert [each["number"] for each in vouchers] == [1, 2, 3]
    assert {(each["status"], each["package"]["name"], each["expiresAt"]) for each in vouchers} == {
        ("UNUSED", "Week", "2999-01-01T00:00:00Z")
    }
    for each in vouchers:
        assert each["code"].startswith("CAFE-")
        assert voucher_codes.read(each["code"]) is not None
    again = await stall.batch(3, prefix="cafe", expiresAt="2999-01-01T00:00:00Z", idempotencyKey="k")
    assert again == made
    assert faults(await stall.batch(4, idempotencyKey="k")) == [("IDEMPOTENCY_KEY_REUSED", "input.idempotencyKey")]
    assert (await stall.listed())["totalCount"] == 3
    await sound(owner)


async def test_nobody_reads_a_code_in_the_database(stall: Stall, dsns: Any) -> None:
    (code,) = await stall.codes()
    plain = voucher_codes.read(code) or ""
    async with stall.house.database.read(stall.house.tenant.id) as session:
        row = (await session.scalars(select(Voucher))).one()
        tables = await session.scalars(
            text("SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace")
        )
        for table in tables:
            if await session.scalar(text("SELECT has_table_privilege(:t, 'SELECT')"), {"t": table}):
                rows = await session.scalars(text(f"SELECT x::text FROM {table} x"))
                assert not [found for found in rows if plain in found or code in found]
    assert row.lookup == voucher_codes.lookup(NETWORK_KEY, row.tenant_id, plain)
    assert secrets.unseal(NETWORK_KEY, row.code, secrets.voucher_code(row.tenant_id, row.id)) == code
    with pytest.raises(secrets.BadSecret):
        secrets.unseal(NETWORK_KEY, row.code, secrets.voucher_code(row.tenant_id, ids.uuid7()))


async def test_many_are_made_by_a_job(stall: Stall, owner: Database) -> None:
    made = await stall.batch(1_200)
    assert (made["errors"], made["vouchers"], made["batch"]["made"], made["job"]["kind"]) == (
        [],
        [],
        0,
        "vouchers.make",
    )
    await stall.work(made["job"])
    document = """query ($id: ID!) { job(id: $id) { __typename status progressDone progressTotal message
      ... on VoucherJob { batch { made count } } } }"""
    job = (await stall.api.data(document, stall.house.admin, id=made["job"]["id"]))["job"]
    assert job == {
        "__typename": "VoucherJob",
        "status": "SUCCEEDED",
        "progressDone": 1_200,
        "progressTotal": 1_200,
        "message": "1200 vouchers.",
        "batch": {"made": 1_200, "count": 1_200},
    }
    page = await stall.listed(first=100)
    assert page["totalCount"] == 1_200
    more = await stall.listed(first=100, after=page["pageInfo"]["endCursor"])
    assert len({each["code"] for each in (*page["nodes"], *more["nodes"])}) == 200
    await sound(owner)


async def test_a_batch_that_is_cancelled_while_it_is_made_ends(stall: Stall, owner: Database) -> None:
    made = await stall.batch(600)
    done = await stall.api.data(CANCEL_BATCH, stall.house.admin, id=made["batch"]["id"])
    assert done["voucherBatchCancel"]["errors"] == []
    await stall.work(made["job"])
    assert (await stall.listed())["totalCount"] == 0
    await sound(owner)


async def test_what_cannot_be_made(stall: Stall) -> None:
    past = (clock.now() - timedelta(seconds=1)).isoformat()
    for given, fault in (
        ({"count": 0}, ("INVALID", "input.count")),
        ({"count": 10_001}, ("INVALID", "input.count")),
        ({"prefix": "TOO-LONG"}, ("INVALID", "input.prefix")),
        ({"prefix": "é"}, ("INVALID", "input.prefix")),
        ({"expiresAt": past}, ("INVALID", "input.expiresAt")),
    ):
        assert faults(await stall.batch(**{"count": 1} | given)) == [fault]  # type: ignore[arg-type]
    line = await stall.house.package("Line", connection_types=["PPPOE"])
    assert faults(await stall.batch(package=line)) == [("INVALID", "input.packageId")]
    gone = await stall.house.package("Gone", active=False)
    assert faults(await stall.batch(package=gone)) == [("INVALID_STATE", "input.packageId")]
    assert (await stall.listed())["totalCount"] == 0


async def test_who_may(stall: Stall, other_house: House) -> None:
    without = sorted(each.value for each in DEFAULTS[Role.MANAGER] - {Permission.MANAGE_VOUCHERS})
    clerk = await stall.house.operator(Role.MANAGER, permissions=without)
    made = await stall.batch(1)
    answer = await stall.api("{ vouchers { nodes { code } } }", clerk)
    assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    document = "query ($id: ID!) { node(id: $id) { ... on Voucher { code status batch { id } } } }"
    seen = (await stall.api.data(document, clerk, id=made["vouchers"][0]["id"]))["node"]
    assert seen == {"code": "****-****-****", "status": "UNUSED", "batch": None}
    for stranger in (other_house.admin, await stall.house.operator(Role.OPERATOR)):
        assert (await stall.api.data(document, stranger, id=made["vouchers"][0]["id"]))["node"] is None
    customer, _ = await stall.guest()
    done = await stall.recharge(customer, clerk, voucherCode=made["vouchers"][0]["code"])
    assert (done["errors"], done["voucher"]["code"]) == ([], "****-****-****")
    foreign = {"status": None}
    assert (await stall.listed(other_house.admin, **foreign))["totalCount"] == 0
    assert faults(await cancelled(stall, made["vouchers"][0]["id"], other_house.admin)) == [("NOT_FOUND", "voucherId")]


async def cancelled(stall: Stall, key: str, who: Operator | None = None) -> dict[str, Any]:
    found: dict[str, Any] = (await stall.api.data(CANCEL, who or stall.house.admin, id=key))["voucherCancel"]
    return found


async def test_a_reseller_pays_for_vouchers_and_sees_the_own(stall: Stall, owner: Database) -> None:
    reseller, other = [await stall.house.operator(Role.OPERATOR) for _ in range(2)]
    await stall.batch(2)
    assert faults(await stall.batch(1, reseller)) == [("INSUFFICIENT_FUNDS", "input.count")]
    await top_up(stall, reseller, "250")
    assert faults(await stall.batch(4, reseller)) == [("INSUFFICIENT_FUNDS", "input.count")]
    made = await stall.batch(3, reseller)
    assert (made["errors"], made["batch"]["paidBy"]["name"]) == ([], reseller.name)
    assert await wallet(stall, reseller) == "40.00"
    assert ((await stall.listed(reseller))["totalCount"], (await stall.listed(other))["totalCount"]) == (3, 0)
    assert (await stall.listed())["totalCount"] == 5
    assert (await stall.api.data(BATCHES, reseller))["voucherBatches"]["totalCount"] == 1
    first, second, third = made["vouchers"]
    assert faults(await cancelled(stall, first["id"], other)) == [("NOT_FOUND", "voucherId")]
    done = await cancelled(stall, first["id"], reseller)
    assert (done["errors"], done["vouchers"][0]["status"]) == ([], "CANCELLED")
    assert await wallet(stall, reseller) == "110.00"
    assert faults(await cancelled(stall, first["id"], reseller)) == [("NO_CHANGE", "voucherId")]
    customer, _ = await stall.guest()
    assert (await stall.recharge(customer, voucherCode=second["code"]))["errors"] == []
    assert faults(await cancelled(stall, second["id"], reseller)) == [("INVALID_STATE", "voucherId")]
    await sound(owner)
    all_left = (await stall.api.data(CANCEL_BATCH, reseller, id=made["batch"]["id"]))["voucherBatchCancel"]
    assert (all_left["errors"], all_left["batch"]["redeemedCount"]) == ([], 1)
    assert await wallet(stall, reseller) == "180.00"
    again = (await stall.api.data(CANCEL_BATCH, reseller, id=made["batch"]["id"]))["voucherBatchCancel"]
    assert faults(again) == [("NO_CHANGE", "batchId")]
    assert faults(await stall.recharge(customer, voucherCode=third["code"])) == [("INVALID_STATE", "input.voucherCode")]
    await sound(owner)


@pytest.mark.usefixtures("moved_clock")
async def test_the_list_by_status(stall: Stall) -> None:
    made = await stall.batch(4, expiresAt=(clock.now() + timedelta(days=5)).isoformat())
    lasting = await stall.batch(1)
    customer, _ = await stall.guest()
    first, second, *_ = made["vouchers"]
    await stall.recharge(customer, voucherCode=first["code"])
    await cancelled(stall, second["id"])
    clock.set_clock((clock.now() + timedelta(days=6)).isoformat())

    async def numbers(*statuses: str, **given: Any) -> list[int]:
        return sorted(each["number"] for each in (await stall.listed(status=statuses, **given))["nodes"])

    assert await numbers("REDEEMED") == [1]
    assert await numbers("CANCELLED") == [2]
    assert await numbers("EXPIRED") == [3, 4]
    assert await numbers("UNUSED") == [1]
    assert await numbers("UNUSED", "REDEEMED", batch=made["batch"]["id"]) == [1]
    assert (await stall.listed(batch=lasting["batch"]["id"]))["totalCount"] == 1
    for each in (await stall.listed())["nodes"]:
        document = "query ($id: ID!) { node(id: $id) { ... on Voucher { status code } } }"
        found = (await stall.api.data(document, stall.house.admin, id=each["id"]))["node"]
        assert found == {"status": each["status"], "code": each["code"]}


async def test_the_database_keeps_what_was_redeemed(stall: Stall) -> None:
    (code,) = await stall.codes()
    customer, _ = await stall.guest()
    await stall.recharge(customer, voucherCode=code)
    for values in ({"redeemed_at": None, "redeemed_by_id": None, "payment_id": None}, {"cancelled_at": clock.now()}):
        with pytest.raises(Exception, match="stays so"):
            async with stall.house.database.transaction(stall.house.tenant.id) as session:
                await session.execute(update(Voucher).values(values))
    with pytest.raises(Exception, match="permission denied"):
        async with stall.house.database.transaction(stall.house.tenant.id) as session:
            await session.execute(text("DELETE FROM vouchers"))


async def test_it_is_on_record(stall: Stall) -> None:
    made = await stall.batch(1)
    await cancelled(stall, made["vouchers"][0]["id"])
    async with stall.house.database.read(stall.house.tenant.id) as session:
        entries = select(AuditEntry).where(AuditEntry.action.startswith("voucher")).order_by(AuditEntry.id)
        rows = (await session.scalars(entries)).all()
        assert [(row.action, row.subject_id) for row in rows] == [
            ("voucher_batch.create", uuid_of(made["batch"]["id"])),
            ("voucher.cancel", uuid_of(made["vouchers"][0]["id"])),
        ]
        batch = (await session.scalars(select(VoucherBatch))).one()
    assert (batch.made, batch.returned) == (1, 1)


async def test_a_reseller_buys_on_credit_up_to_the_limit(stall: Stall, owner: Database) -> None:
    reseller = await stall.house.operator(Role.OPERATOR)
    limit = """mutation ($input: OperatorCreditLimitInput!) { operatorSetCreditLimit(input: $input) {
      operator { creditLimit { amount } } errors { code field } } }"""

    async def allow(amount: str, who: Operator) -> dict[str, Any]:
        given = {"operatorId": ids.encode("opr", reseller.id), "amount": amount}
        found: dict[str, Any] = (await stall.api.data(limit, who, input=given))["operatorSetCreditLimit"]
        return found

    assert faults(await allow("1", reseller)) == [("NOT_PERMITTED", "input.operatorId")]
    assert faults(await allow("-1", stall.house.admin)) == [("INVALID", "input.amount")]
    assert faults(await allow("0", stall.house.admin)) == [("NO_CHANGE", "input.amount")]
    done = await allow("150", stall.house.admin)
    assert done == {"operator": {"creditLimit": {"amount": "150.00"}}, "errors": []}
    # Of three sales at once, of 70.00 each, the credit is enough for two.
    sold = await asyncio.gather(*(stall.batch(1, reseller) for _ in range(3)))
    assert sorted(str(faults(each)) for each in sold) == ["[('INSUFFICIENT_FUNDS', 'input.count')]", "[]", "[]"]
    assert await wallet(stall, reseller) == "-140.00"
    # What is paid out is never on credit.
    paid = {"operatorId": ids.encode("opr", reseller.id), "kind": "PAYOUT", "amount": "1", "method": "CASH"}
    refused = (await stall.api.data(TOP_UP, stall.house.admin, input=paid))["operatorRecordPayment"]
    assert [each["code"] for each in refused["errors"]] == ["INSUFFICIENT_FUNDS"]
    await allow("0", stall.house.admin)
    assert faults(await stall.batch(1, reseller)) == [("INSUFFICIENT_FUNDS", "input.count")]
    assert await wallet(stall, reseller) == "-140.00"
    await sound(owner)
