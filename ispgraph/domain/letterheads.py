"""What stands on a tenant's invoices and receipts: who sends them, how to reach the sender, and a logo."""

import asyncio
import base64
import binascii
import io
import re
from dataclasses import dataclass

from PIL import Image, ImageOps
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph.domain import values
from ispgraph.domain.errors import ErrorCode, Faults
from ispgraph.domain.models import Tenant, TenantLogo
from ispgraph.domain.permissions import Viewer

LOGO_BYTES = 150_000
"""So large a logo may be as it is sent; in base64 it fits into a request."""
LINES = 6
_SIDE = 4000
# Printed at 40 mm this is still sharp.
_KEPT = (1000, 500)
_DATA_URL = re.compile(r"data:image/(?:png|jpeg);base64,")


@dataclass(frozen=True, slots=True)
class Changes:
    """What is to stand there from now on; None leaves a thing as it is, a blank takes it away."""

    legal_name: str | None = None
    address: str | None = None
    phone: str | None = None
    email: str | None = None
    tax_number: str | None = None
    footer: str | None = None
    logo: str | None = None
    """A PNG or JPEG in base64."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A logo, ready to be kept."""

    media_type: str
    width: int
    height: int
    body: bytes

    def __str__(self) -> str:
        return f"{self.media_type}, {self.width} by {self.height}"


def checked(faults: Faults, changes: Changes, *, by: Viewer) -> dict[str, str | None]:
    """The columns that change, without the logo; of no use once a fault was found."""
    found: dict[str, str | None] = {}
    for name, given, field, read, arguments in (
        ("legal_name", changes.legal_name, "legalName", values.text, (200,)),
        ("address", changes.address, "address", _lines, (500,)),
        ("phone", changes.phone, "phone", values.phone, (by.country,)),
        ("email", changes.email, "email", values.email, ()),
        ("tax_number", changes.tax_number, "taxNumber", values.text, (60,)),
        ("footer", changes.footer, "footer", _lines, (500,)),
    ):
        if given is not None:
            at = ("letterhead", field)
            found[name] = values.checked(faults, read, given, *arguments, at=at) if given.strip() else None
    return found


async def checked_logo(faults: Faults, raw: str) -> Picture | None:
    """What a logo in base64 shows, drawn anew so that nothing but the picture is kept."""
    try:
        return await asyncio.to_thread(_picture, raw)
    except values.Unfit as error:
        faults.add(ErrorCode.INVALID, str(error), "letterhead", "logo")
        return None


async def logo(session: AsyncSession, tenant: Tenant) -> TenantLogo | None:
    """The logo without its `body`."""
    return await session.get(TenantLogo, tenant.id)


async def set_logo(session: AsyncSession, tenant: Tenant, picture: Picture | None) -> bool:
    """Put a logo in place of the one there is, or take it away; whether that changed anything."""
    row = await session.get(TenantLogo, tenant.id, with_for_update=True)
    if picture is None:
        if row is not None:
            await session.delete(row)
        return row is not None
    kept = await session.scalar(select(TenantLogo.body).where(TenantLogo.tenant_id == tenant.id))
    if kept == picture.body:
        return False
    if row is None:
        row = TenantLogo(tenant_id=tenant.id)
        session.add(row)
    row.media_type, row.width, row.height = picture.media_type, picture.width, picture.height
    row.body = picture.body
    return True


def _lines(raw: str, maximum: int) -> str:
    found = values.text("\n".join(line.strip() for line in raw.splitlines()), maximum, lines=True)
    if found.count("\n") >= LINES:
        raise values.Unfit(f"This must have at most {LINES} lines.")
    return found


def _picture(raw: str) -> Picture:
    encoded = "".join(_DATA_URL.sub("", raw.strip(), count=1).split())
    if len(encoded) * 3 // 4 > LOGO_BYTES + 2:
        raise values.Unfit(f"A logo has at most {LOGO_BYTES // 1000} kB.")
    try:
        sent = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise values.Unfit("A logo is sent in base64.") from error
    if len(sent) > LOGO_BYTES:
        raise values.Unfit(f"A logo has at most {LOGO_BYTES // 1000} kB.")
    try:
        with Image.open(io.BytesIO(sent), formats=("PNG", "JPEG")) as image:
            if max(image.size) > _SIDE:
                raise values.Unfit(f"A logo has at most {_SIDE} by {_SIDE} pixels.")
            return _drawn(image)
    except values.Unfit:
        raise
    # Which of these a broken file ends in depends on where it is broken.
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, Image.DecompressionBombError) as error:
        raise values.Unfit("A logo is a PNG or JPEG file.") from error


def _drawn(image: Image.Image) -> Picture:
    photo = image.format == "JPEG"
    upright = ImageOps.exif_transpose(image)
    kept = upright.convert("RGB" if photo or not upright.has_transparency_data else "RGBA")
    kept.thumbnail(_KEPT)
    # Pillow would write on what the file told about itself: comments, profiles.
    kept.info.clear()
    out = io.BytesIO()
    if photo:
        kept.save(out, "JPEG", quality=90)
    else:
        kept.save(out, "PNG", optimize=True)
    return Picture("image/jpeg" if photo else "image/png", kept.width, kept.height, out.getvalue())
