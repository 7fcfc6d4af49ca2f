"""Money for the provider's own vouchers."""

from typing import Any

from sqlalchemy import func, select

from ispgraph.db import Database
from ispgraph.domain.models import Account, Operator, Posting, Role
from tests.billing.changing import around_today, sound
from tests.vouchers.stall import Stall
from tests.vouchers.test_batches import top_up

SELL = """mutation ($input: VoucherSaleInput!) { voucherBatchRecordSale(input: $input) {
  batch { sold count price { amount } } errors { code field message } } }"""
TAKEN = """query ($from: Date!, $to: Date!) { collectionsReport(from: $from, to: $to) { total {
  payments received { amount } refunds refunded { amount } } } }"""


async def sell(stall: Stall, batch: dict[str, Any], count: int, who: Operator | None = None, **given: Any) -> Any:
    asked = {"batchId": batch["id"], "count": count, "method": "CASH", **given}
    return (await stall.api.data(SELL, who or stall.house.admin, input=asked))["voucherBatchRecordSale"]


async def held(stall: Stall, account: Account) -> int:
    async with stall.house.database.read(stall.house.tenant.id) as session:
        rows = select(func.coalesce(func.sum(Posting.amount_minor), 0)).where(Posting.account == account)
        return int((await session.scalars(rows)).one())


async def test_what_sellers_hand_in_is_booked_when_it_comes(stall: Stall, owner: Database) -> None:
    made = await stall.batch(3)
    batch, codes = made["batch"], [voucher["code"] for voucher in made["vouchers"]]
    worth = 7_000
    customer, _ = await stall.guest()
    assert (await stall.recharge(customer, voucherCode=codes[0]))["errors"] == []
    # Redeemed, and its seller is still to hand in the money.
    assert (await held(stall, Account.VOUCHERS), await held(stall, Account.CASH)) == (worth, 0)
    for _ in range(2):
        done = await sell(stall, batch, 2, reference="Kiosk", idempotencyKey="monday")
        assert (done["errors"], done["batch"]["sold"]) == ([], 2)
    # One of those that were sold is still to be redeemed.
    assert (await held(stall, Account.VOUCHERS), await held(stall, Account.CASH)) == (-worth, 2 * worth)
    await sound(owner)

    for count, given, code, field in (
        (2, {}, "INVALID", "count"),
        (-3, {}, "INVALID", "count"),
        (0, {}, "INVALID", "count"),
        (1, {"method": "WALLET"}, "INVALID", "method"),
        (1, {"method": "VOUCHER"}, "INVALID", "method"),
    ):
        refused = await sell(stall, batch, count, **given)
        assert [(error["code"], error["field"]) for error in refused["errors"]] == [(code, ["input", field])]
    assert (await sell(stall, batch, -1))["batch"]["sold"] == 1
    assert (await held(stall, Account.VOUCHERS), await held(stall, Account.CASH)) == (0, worth)
    await sound(owner)
    taken = await stall.api.data(TAKEN, stall.house.admin, **around_today())
    assert taken["collectionsReport"]["total"] == {
        "payments": 1,
        "received": {"amount": "140.00"},
        "refunds": 1,
        "refunded": {"amount": "70.00"},
    }


async def test_those_of_a_reseller_are_paid_for_already(stall: Stall, owner: Database) -> None:
    reseller = await stall.house.operator(Role.OPERATOR)
    await top_up(stall, reseller, "100")
    theirs, ours = (await stall.batch(1, reseller))["batch"], (await stall.batch())["batch"]
    cash = await held(stall, Account.CASH)
    refused = await sell(stall, theirs, 1)
    assert [(error["code"], error["field"]) for error in refused["errors"]] == [("INVALID_STATE", ["input", "batchId"])]
    hidden = await sell(stall, ours, 1, reseller)
    assert [error["code"] for error in hidden["errors"]] == ["NOT_FOUND"]
    assert await held(stall, Account.CASH) == cash
    await sound(owner)
