"""Sheets of vouchers, as they are printed."""

import io
from datetime import timedelta
from typing import Any

import pytest
import segno

from ispgraph import clock
from ispgraph.api import printing
from ispgraph.domain import voucher_sheets
from ispgraph.domain.models import Operator, Role
from tests import printed
from tests.factories import House
from tests.vouchers.stall import CANCEL, CANCEL_BATCH, Stall
from tests.wizard import faults

SHEET = """mutation ($id: ID!) { voucherSheet(batchId: $id) { batch { id } urls expiresAt
  errors { code message field } } }"""


async def sheets(stall: Stall, batch: dict[str, Any], who: Operator | None = None) -> dict[str, Any]:
    found: dict[str, Any] = (await stall.api.data(SHEET, who or stall.house.admin, id=batch["id"]))["voucherSheet"]
    return found


async def test_a_sheet_has_what_can_be_redeemed(stall: Stall) -> None:
    made = await stall.batch(4, prefix="PREFIX88", expiresAt="2999-01-01T00:00:00Z")
    used, cancelled, *left = (voucher["code"] for voucher in made["vouchers"])
    customer, _ = await stall.guest()
    await stall.recharge(customer, voucherCode=used)
    await stall.api.data(CANCEL, stall.house.admin, id=made["vouchers"][1]["id"])
    done = await sheets(stall, made["batch"])
    assert (done["errors"], len(done["urls"])) == ([], 1)
    answer = await stall.api.get(done["urls"][0])
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/pdf")
    assert answer.headers["cache-control"] == "private, no-store"
    shown = printed.text(answer.content)
    assert all(code in shown for code in left)
    assert used not in shown
    assert cancelled not in shown
    for told in ("North Networks", "Week", "7 days", "1000 B", "20 Mbit/s / 5 Mbit/s", "70.00", "No. 3", "1 Jan 2999"):
        assert told in shown, shown
    assert sum(page.empty_boxes for page in printed.pages(answer.content)) == 0


def test_the_picture_is_the_address() -> None:
    url = "https://isp.example/hotspot/north?code=CAFE-2345-6789-ABCD"
    svg, made = printing._picture(url), io.BytesIO()
    segno.make(url, error="m", micro=False, mask=3).save(made, kind="svg", xmldecl=False, border=2)
    assert svg == made.getvalue().decode()
    assert segno.make(url, error="m", micro=False).error == "M"


async def test_a_large_batch_has_several_sheets(stall: Stall, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voucher_sheets, "PER_SHEET", 3)
    made = await stall.batch(7)
    urls = (await sheets(stall, made["batch"]))["urls"]
    assert len(urls) == 3
    codes = [voucher["code"] for voucher in made["vouchers"]]
    for number, url in enumerate(urls):
        shown = printed.text((await stall.api.get(url)).content)
        assert [code in shown for code in codes] == [place // 3 == number for place in range(7)]


@pytest.mark.usefixtures("moved_clock")
async def test_the_link_is_good_for_an_hour_and_for_this_alone(stall: Stall, other_house: House) -> None:
    made, other = await stall.batch(2), await stall.batch(1)
    (url,) = (await sheets(stall, made["batch"]))["urls"]
    for wrong in (
        url.replace(made["batch"]["id"][4:], other["batch"]["id"][4:]),
        url.replace("from=1", "from=0"),
        url.replace(stall.house.tenant.id.hex, other_house.tenant.id.hex),
        url[:-2],
        url.partition("?")[0],
    ):
        assert (await stall.api.get(wrong)).status_code == 403
    await stall.api.data(CANCEL_BATCH, stall.house.admin, id=made["batch"]["id"])
    assert (await stall.api.get(url)).status_code == 404
    clock.set_clock((clock.now() + timedelta(minutes=61)).isoformat())
    assert (await stall.api.get(url)).status_code == 410


async def test_who_may_print(stall: Stall, other_house: House) -> None:
    reseller = await stall.house.operator(Role.OPERATOR)
    made = await stall.batch(1)
    for stranger in (reseller, other_house.admin):
        assert faults(await sheets(stall, made["batch"], stranger)) == [("NOT_FOUND", "batchId")]
    answer = await stall.api(SHEET, await stall.house.operator(Role.STAFF), id=made["batch"]["id"])
    assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    waiting = await stall.batch(101)
    assert faults(await sheets(stall, waiting["batch"])) == [("INVALID_STATE", "batchId")]
    await stall.work(waiting["job"])
    assert (await sheets(stall, waiting["batch"]))["errors"] == []
    await stall.api.data(CANCEL_BATCH, stall.house.admin, id=made["batch"]["id"])
    assert faults(await sheets(stall, made["batch"])) == [("INVALID_STATE", "batchId")]
