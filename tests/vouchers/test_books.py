"""What check-invariants says of vouchers whose books were tampered with."""

import pytest
from sqlalchemy import text

from ispgraph import invariants
from ispgraph.db import Database
from tests.billing.changing import sound
from tests.conftest import Dsns
from tests.vouchers.stall import Stall


@pytest.mark.parametrize(
    ("statement", "rules"),
    [
        ("UPDATE voucher_batches SET made = 1", {"voucher-batches"}),
        ("UPDATE voucher_batches SET returned = 1", {"voucher-batches"}),
        ("UPDATE voucher_batches SET sold = 1", {"voucher-account"}),
        ("UPDATE voucher_batches SET price_minor = 6999", {"vouchers", "voucher-account"}),
        ("UPDATE vouchers SET payment_id = NULL", {"vouchers"}),
        (
            "UPDATE vouchers SET payment_id = NULL, redeemed_at = NULL, redeemed_by_id = NULL",
            {"vouchers", "voucher-account"},
        ),
    ],
)
async def test_a_breach_is_found(stall: Stall, owner: Database, dsns: Dsns, statement: str, rules: set[str]) -> None:
    codes = await stall.codes(2)
    customer, _ = await stall.guest()
    await stall.recharge(customer, voucherCode=codes[0])
    await sound(owner)
    superuser = Database(dsns.superuser, pool_size=1)
    async with superuser.transaction(None) as session:
        await session.execute(text("SET LOCAL session_replication_role = replica"))
        await session.execute(text(statement))
    await superuser.dispose()
    assert {found.rule.name for found in await invariants.check(owner) if found.broken} == rules
