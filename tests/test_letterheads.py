"""What a tenant puts at the head of its papers, and what it may not."""

import base64
import io
from typing import Any

import pytest
from PIL import Image
from sqlalchemy import select

from ispgraph.domain import letterheads
from ispgraph.domain.models import AuditEntry, Role, TenantLogo
from tests.api import Api
from tests.factories import House
from tests.wizard import faults

FIELDS = "locale letterhead { legalName address phone email taxNumber footer logo { mediaType width height } }"
SET = (
    "mutation ($input: TenantSettingsInput!) { tenantSettingsUpdate(input: $input) { settings { "
    + FIELDS
    + " } errors { code message field } } }"
)
GET = "{ tenantSettings { " + FIELDS + " } }"
NONE = dict.fromkeys(("legalName", "address", "phone", "email", "taxNumber", "footer", "logo"))
GIVEN = {
    "legalName": " North Networks Ltd. ",
    "address": "12 Example Road \r\n  Dhaka 1207",
    "phone": "01712-345678",
    "email": "Billing@North.example",
    "taxNumber": "000-111-222",
    "footer": "Pay at any branch.\nThank you.",
}
KEPT = {
    "legalName": "North Networks Ltd.",
    "address": "12 Example Road\nDhaka 1207",
    "phone": "+8801712345678",
    "email": "billing@north.example",
    "taxNumber": "000-111-222",
    "footer": "Pay at any branch.\nThank you.",
}


def picture(kind: str = "PNG", size: tuple[int, int] = (300, 100), mode: str = "RGB", **options: Any) -> str:
    """A picture in base64."""
    out = io.BytesIO()
    Image.new(mode, size, 1).save(out, kind, **options)
    return base64.b64encode(out.getvalue()).decode()


async def change(api: Api, house: House, **given: Any) -> dict[str, Any]:
    """The settings after a change that is accepted."""
    payload = (await api.data(SET, house.admin, input=given))["tenantSettingsUpdate"]
    assert payload["errors"] == []
    settings: dict[str, Any] = payload["settings"]
    assert (await api.data(GET, house.admin))["tenantSettings"] == settings
    return settings


async def test_a_letterhead_is_set_kept_and_taken_away(api: Api, house: House, other_house: House) -> None:
    assert await change(api, house) == {"locale": "bn-BD", "letterhead": NONE}
    shown = {"locale": "en-IN", "letterhead": NONE | KEPT}
    assert await change(api, house, locale="en-in", letterhead=GIVEN) == shown
    # Left out is left alone.
    assert await change(api, house, letterhead={}) == shown
    assert await change(api, house, letterhead=None) == shown
    shown["letterhead"] |= {"phone": None, "footer": None}
    assert await change(api, house, letterhead={"phone": None, "footer": " \n "}) == shown
    assert await change(api, house, locale=None) == shown | {"locale": "bn-BD"}
    assert (await api.data(GET, other_house.admin))["tenantSettings"] == {"locale": "bn-BD", "letterhead": NONE}
    async with house.database.read(house.tenant.id) as session:
        trail = list(await session.scalars(select(AuditEntry.details).order_by(AuditEntry.id)))
    assert trail[0]["legal_name"] == "North Networks Ltd."
    assert trail[1:] == [{"phone": None, "footer": None}, {"locale": None}]


async def test_every_fault_of_a_letterhead_is_told_and_nothing_changes(api: Api, house: House) -> None:
    bad = {
        "legalName": "x" * 201,
        "address": "\n".join("1234567"),
        "phone": "12",
        "email": "not an address",
        "taxNumber": "9\x07",
        "footer": "\u202eeman",
        "logo": "bm90IGEgcGljdHVyZQ==",
    }
    payload = (await api.data(SET, house.admin, input={"locale": "klingon", "letterhead": bad}))["tenantSettingsUpdate"]
    assert payload["settings"] is None
    assert set(faults(payload)) == {("INVALID", f"input.letterhead.{name}") for name in bad} | {
        ("INVALID", "input.locale")
    }
    half = {"letterhead": GIVEN | {"email": "nowhere"}}
    assert faults((await api.data(SET, house.admin, input=half))["tenantSettingsUpdate"]) == [
        ("INVALID", "input.letterhead.email")
    ]
    assert (await api.data(GET, house.admin))["tenantSettings"] == {"locale": "bn-BD", "letterhead": NONE}
    answer = await api(SET, await house.operator(Role.MANAGER), input={"letterhead": GIVEN})
    assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN"


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (picture(), ("image/png", 300, 100)),
        (f"data:image/png;base64,{picture(mode='RGBA')}", ("image/png", 300, 100)),
        (picture("JPEG"), ("image/jpeg", 300, 100)),
        (picture("JPEG", mode="CMYK"), ("image/jpeg", 300, 100)),
        (picture(mode="P"), ("image/png", 300, 100)),
        (picture(mode="I;16"), ("image/png", 300, 100)),
        (picture(size=(4000, 1000)), ("image/png", 1000, 250)),
        (picture(size=(1, 4000)), ("image/png", 1, 500)),
    ],
    ids=["png", "data-url", "jpeg", "cmyk", "palette", "deep", "large", "thin"],
)
async def test_logos(api: Api, house: House, other_house: House, sent: str, kept: tuple[str, int, int]) -> None:
    shown = (await change(api, house, letterhead={"logo": sent}))["letterhead"]["logo"]
    assert tuple(shown.values()) == kept
    # The same again is no change.
    await change(api, house, letterhead={"logo": sent})
    async with house.database.read(house.tenant.id) as session:
        body = await session.scalar(select(TenantLogo.body))
        trail = list(await session.scalars(select(AuditEntry.details)))
    assert trail == [{"logo": f"{kept[0]}, {kept[1]} by {kept[2]}"}]
    with Image.open(io.BytesIO(body or b"")) as image:
        assert (image.size, image.mode) in (((kept[1], kept[2]), "RGB"), ((kept[1], kept[2]), "RGBA"))
    async with other_house.database.read(other_house.tenant.id) as session:
        assert await session.scalar(select(TenantLogo.tenant_id)) is None
    assert (await change(api, house, letterhead={"logo": None}))["letterhead"]["logo"] is None


async def test_nothing_but_the_picture_is_kept(api: Api, house: House) -> None:
    raw = base64.b64decode(picture("JPEG", comment=b"who and where")) + b"<script>more</script>"
    await change(api, house, letterhead={"logo": base64.b64encode(raw).decode()})
    async with house.database.read(house.tenant.id) as session:
        body = await session.scalar(select(TenantLogo.body))
    assert body is not None
    assert b"script" not in body
    assert b"where" not in body


@pytest.mark.parametrize(
    "sent",
    [
        "no base64 at all",
        "AAAA",
        "////",
        picture("GIF"),
        picture("BMP"),
        picture("TIFF"),
        picture()[:80],
        picture("JPEG")[:400],
        base64.b64encode(b"<svg xmlns='http://www.w3.org/2000/svg'/>").decode(),
        picture(size=(4001, 1)),
        picture(size=(30_000, 30_000), mode="1"),
        base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(letterheads.LOGO_BYTES)).decode(),
    ],
    ids=["text", "zeros", "ones", "gif", "bmp", "tiff", "cut-png", "cut-jpeg", "svg", "wide", "bomb", "heavy"],
)
async def test_what_is_no_logo(api: Api, house: House, sent: str) -> None:
    await change(api, house, letterhead={"logo": picture()})
    payload = (await api.data(SET, house.admin, input={"letterhead": {"logo": sent, "phone": None}}))[
        "tenantSettingsUpdate"
    ]
    assert faults(payload) == [("INVALID", "input.letterhead.logo")]
    assert (await api.data(GET, house.admin))["tenantSettings"]["letterhead"]["logo"]["width"] == 300
